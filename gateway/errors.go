package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
)

func forbidden(origin string) error {
	return wire.Refuse(http.StatusForbidden, "pages of the origin %q are not allowed to do this", origin)
}

// errNotModified is no error: the client has the state already.
var errNotModified = errors.New("gateway: not modified")

// fail answers with an error, as documented for all of REST.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errNotModified) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if wire.IsFault(err) {
		g.logger.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	code, body := wire.ErrorAnswer(w.Header(), err)
	g.respond(w, code, body)
}

// respond sends a whole answer of JSON.
func (g *Gateway) respond(w http.ResponseWriter, code int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_ = g.outlet(w).write(body) // whoever left does not read it
}

// muxError renders the errors of the generated handlers.
func (g *Gateway) muxError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if c := callOf(r.Context()); c != nil && c.err != nil {
		err = c.err // which the handler has made a status without details of
	}
	if s, ok := status.FromError(err); ok && s.Code() == codes.InvalidArgument {
		err = resource.Errorf(resource.InvalidField, "%s", s.Message())
	}
	g.fail(w, r, err)
}

// routingError renders what the mux says of a path that no handler takes.
func (g *Gateway) routingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	if code != http.StatusMethodNotAllowed {
		g.notFound(w, r)
		return
	}
	allowed := g.allowed(r)
	w.Header().Set("Allow", allowed)
	g.fail(w, r, wire.Refuse(code, "%s does not take %s; it takes %s", clip(r.URL.Path), r.Method, allowed))
}

package gateway

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/improbable-eng/grpc-web/go/grpcweb"
	"google.golang.org/grpc/codes"

	"github.com/watchroute/watchroute/server"
)

// grpcWeb serves gRPC-Web, over HTTP and over its own WebSocket protocol. CORS and
// the origin are checked before.
type grpcWeb struct {
	wrapped *grpcweb.WrappedGrpcServer
	native  http.Handler // of gRPC itself; nil: it is refused
	timeout time.Duration
	calls   atomic.Int64 // under way
}

func newGRPCWeb(g *Gateway) *grpcWeb {
	calls := answered(g.cfg.GRPC)
	w := &grpcWeb{timeout: g.cfg.WriteTimeout, wrapped: grpcweb.WrapHandler(calls,
		grpcweb.WithEndpointsFunc(func() []string { return grpcweb.ListGRPCResources(g.cfg.GRPC) }),
		grpcweb.WithWebsockets(true),
		grpcweb.WithWebsocketPingInterval(g.cfg.PingInterval),
		grpcweb.WithWebsocketsMessageReadLimit(int64(g.cfg.MaxRequestBytes)))}
	if g.cfg.OnePort {
		w.native = calls
	}
	return w
}

// takes says whether a request is gRPC-Web, or gRPC that is served beside it.
func (w *grpcWeb) takes(r *http.Request) bool {
	return w != nil && (w.wrapped.IsGrpcWebRequest(r) || w.wrapped.IsGrpcWebSocketRequest(r) || w.takesNative(r))
}

func (w *grpcWeb) takesNative(r *http.Request) bool {
	const content = "application/grpc"
	t := r.Header.Get("Content-Type")
	return w.native != nil && r.ProtoMajor == 2 && r.Method == http.MethodPost && (t == content || strings.HasPrefix(t, content+"+") || strings.HasPrefix(t, content+";"))
}

// ServeHTTP implements http.Handler. A client that does not read is cut off after
// the write timeout: gRPC's own handler does not look at what becomes of a write,
// but a write that fails ends the request's context.
func (w *grpcWeb) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.calls.Add(1)
	defer w.calls.Add(-1)
	out := &grpcWebWriter{answer{&outlet{w: rw, rc: http.NewResponseController(rw), timeout: w.timeout}}}
	if w.takesNative(r) {
		w.native.ServeHTTP(out, r)
		return
	}
	r = r.Clone(server.WithTransport(r.Context(), "grpc-web"))
	if w.wrapped.IsGrpcWebSocketRequest(r) {
		w.wrapped.HandleGrpcWebsocketRequest(out, r)
		return
	}
	w.wrapped.HandleGrpcWebRequest(out, r)
}

// answered serves gRPC, and says something where that did not: a gRPC server that is
// being stopped returns without a word, and a client on WebSocket would wait for one.
func answered(calls http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.ServeHTTP(w, r)
		if h := w.Header(); h.Get("Grpc-Status") == "" {
			h.Set("Grpc-Status", strconv.Itoa(int(codes.Unavailable)))
			h.Set("Grpc-Message", "the server is shutting down")
			_ = r.Body.Close() // on WebSocket this sends the trailers
		}
	})
}

// grpcWebWriter bounds the time of writes.
type grpcWebWriter struct{ answer }

// Write implements http.ResponseWriter. It does not flush: gRPC does, after each
// message.
func (w *grpcWebWriter) Write(b []byte) (n int, err error) {
	err = w.within(func() error {
		n, err = w.w.Write(b)
		return err
	})
	return n, err
}

// Flush implements http.Flusher.
func (w *grpcWebWriter) Flush() { _ = w.within(w.rc.Flush) }

// Hijack implements http.Hijacker.
func (w *grpcWebWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.rc.Hijack()
	if err != nil {
		return nil, nil, err
	}
	timed := &timedConn{Conn: conn, timeout: w.timeout}
	rw.Writer.Reset(timed)
	return timed, rw, nil
}

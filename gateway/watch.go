package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server"
	"github.com/watchroute/watchroute/server/contract"
)

// Parameters of every watch URL beside the fields of its request.
var watchExtras = []string{"wait", "last_event_id"}

// watchCall is a request for a watch.
type watchCall struct {
	// request is what the URL asks for, once err is nil.
	request *watchroutev1.WatchRequest
	err     error
	// wait is how long a long-poll waits.
	wait  time.Duration
	waits bool
	// rename gives an error the field names of the URL.
	rename func(error) error
}

// stream is a transport that goes on over a plain answer.
type stream struct {
	name, mediaType string
	codec           hub.Codec
}

var (
	ndjson = stream{"ndjson", "application/x-ndjson", wire.NDJSON}
	sse    = stream{"sse", "text/event-stream", wire.SSE}
)

// genericWatch serves a route of ResourceService.Watch.
func (g *Gateway) genericWatch(taken map[string]string) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		g.serveWatch(w, r, func(values url.Values) (*watchroutev1.WatchRequest, error) {
			req := &watchroutev1.WatchRequest{Parent: path["parent"]}
			if name, ok := path["names"]; ok {
				req.Names = []string{name}
			}
			return req, populate(req.ProtoReflect(), values, taken, watchExtras...)
		}, func(err error) error { return err })
	}
}

// contractWatch serves a route of a contract's Watch.
func (g *Gateway) contractWatch(m *contract.Method, route contract.Route) runtime.HandlerFunc {
	taken := takenBy(route.Params, "")
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		g.serveWatch(w, r, func(values url.Values) (*watchroutev1.WatchRequest, error) {
			req, err := request(m, m.NewInput(), path, values, taken, watchExtras...)
			if err != nil {
				return nil, err
			}
			return req.(*watchroutev1.WatchRequest), nil
		}, m.Error)
	}
}

// serveWatch serves a watch URL with the transport that the client asks for.
func (g *Gateway) serveWatch(w http.ResponseWriter, r *http.Request, parse func(url.Values) (*watchroutev1.WatchRequest, error), rename func(error) error) {
	c := &watchCall{rename: rename}
	c.err = c.read(r, parse, g.cfg.MaxWait)
	if wantsWebSocket(r) {
		g.serveWatchSocket(w, r, c)
		return
	}
	if c.err != nil {
		g.fail(w, r, c.err)
		return
	}
	w.Header().Add("Vary", "Accept")
	if c.waits {
		if _, ok := accepted(r.Header, jsonType); !ok {
			g.fail(w, r, wire.Refuse(http.StatusNotAcceptable, "a long-poll is answered with %s", jsonType))
			return
		}
		g.serveLongPoll(w, r, c)
		return
	}
	mediaType, ok := accepted(r.Header, ndjson.mediaType, sse.mediaType)
	switch {
	case !ok:
		g.fail(w, r, wire.Refuse(http.StatusNotAcceptable, "a watch is sent as %s or %s, or with ?wait=30s as %s", ndjson.mediaType, sse.mediaType, jsonType))
	case mediaType == sse.mediaType:
		lastEventID(r, c.request)
		g.serveStream(w, r, c, sse)
	default:
		g.serveStream(w, r, c, ndjson)
	}
}

// read reads the URL.
func (c *watchCall) read(r *http.Request, parse func(url.Values) (*watchroutev1.WatchRequest, error), most time.Duration) error {
	values, err := query(r)
	if err != nil {
		return err
	}
	if c.wait, c.waits, err = takeWait(values, most); err != nil {
		return err
	}
	last, err := takeLastEventID(values)
	if err != nil {
		return err
	}
	if c.request, err = parse(values); err != nil {
		return err
	}
	if last != "" {
		resumeFrom(c.request, last)
	}
	return nil
}

// serveStream serves NDJSON and SSE.
func (g *Gateway) serveStream(w http.ResponseWriter, r *http.Request, c *watchCall, s stream) {
	ctx := server.WithTransport(r.Context(), s.name)
	lined := hijackable(w, r) && !isHead(r)
	watch, err := g.service.OpenWatch(ctx, hub.Request{Watch: c.request, Codec: s.codec, Transport: s.name, Served: lined})
	out := g.outlet(w)
	if err != nil && s == sse && wire.HTTPStatus(err) == http.StatusServiceUnavailable {
		// Any other status than 200 would end an EventSource for good.
		if out.open(s.mediaType) == nil {
			_ = out.write(s.codec.Append(nil, &hub.Message{Kind: hub.Closed, Err: resource.AsError(c.rename(err))}))
		}
		return
	}
	if err != nil {
		g.fail(w, r, c.rename(err))
		return
	}
	if lined {
		g.serveLine(w, c, s, watch)
		return
	}
	if err := out.open(s.mediaType); err != nil || isHead(r) {
		watch.Close(err)
		return
	}
	if err := server.Forward(ctx, watch, out.frames); endsWithClosed(ctx, err) {
		_ = out.write(watch.Closing(c.rename(err)).Bytes) // the stream is over in any case
	}
}

// serveLine takes the connection over. The stream ends with it (RFC 9112, section
// 6.3): no chunks stand between the frames, which go out as the hub has them.
func (g *Gateway) serveLine(w http.ResponseWriter, c *watchCall, s stream, watch *hub.Watch) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		watch.Close(err)
		panic(http.ErrAbortHandler) // the connection is in nobody's hands
	}
	head := w.Header()
	streamHeader(head, s.mediaType)
	head.Set("Connection", "close")
	head.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	var first bytes.Buffer
	first.WriteString("HTTP/1.1 200 OK\r\n")
	_ = head.Write(&first) // to memory
	first.WriteString("\r\n")
	said, _ := rw.Reader.Peek(rw.Reader.Buffered())
	l, err := g.adopt(conn, said, first.Bytes(), &streamTalk{rename: c.rename})
	if err != nil {
		g.logger.Error("a connection could not be taken over", "error", err)
		watch.Close(err)
		return
	}
	g.deliver(l, watch)
}

// endsWithClosed says whether a stream's end is to be told to the client: it was
// not drained, and the client is there and reads.
func endsWithClosed(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !errors.As(err, new(*lostError))
}

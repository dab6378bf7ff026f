package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/improbable-eng/grpc-web/go/grpcweb"
	"google.golang.org/grpc/codes"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server"
)

// grpcWeb serves gRPC-Web, over HTTP and over its own WebSocket protocol. CORS and
// the origin are checked before.
type grpcWeb struct {
	wrapped *grpcweb.WrappedGrpcServer
	native  http.Handler  // of gRPC itself; nil: it is refused
	timeout time.Duration // of a write
	body    time.Duration // of a request
	calls   atomic.Int64  // under way
}

func newGRPCWeb(g *Gateway) *grpcWeb {
	calls := answered(g.cfg.GRPC)
	w := &grpcWeb{timeout: g.cfg.WriteTimeout, body: g.cfg.BodyTimeout, wrapped: grpcweb.WrapHandler(calls,
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
	if r.URL.Path != watchroutev1.ResourceService_Session_FullMethodName { // whose requests end when it does
		r.Body = &timedBody{ReadCloser: r.Body, rc: http.NewResponseController(rw), timeout: w.body}
	}
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

// timedBody is a request's body that must have come within a time.
type timedBody struct {
	io.ReadCloser
	rc      *http.ResponseController
	timeout time.Duration
	begun   bool
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (n int, err error) {
	if !b.begun {
		b.begun = true
		_ = b.rc.SetReadDeadline(time.Now().Add(b.timeout)) // a WebSocket has its own
	}
	if n, err = b.ReadCloser.Read(p); err == io.EOF {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
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

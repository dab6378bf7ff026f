package gateway

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server"
)

// The subprotocols. A client that offers none speaks JSON.
const (
	jsonProtocol  = "watchroute.v1.json"
	protoProtocol = "watchroute.v1.proto"
)

// dialect is how messages look on a WebSocket.
type dialect struct {
	opcode gws.Opcode
	form   server.SessionForm
	framed hub.Codec // a watch's messages with their frames
}

var (
	jsonDialect  = &dialect{gws.OpcodeText, server.JSONForm, wire.WebSocketJSON}
	protoDialect = &dialect{gws.OpcodeBinary, server.ProtoForm, wire.WebSocketProto}
)

// webSocket is the WebSocket of a session, and over TLS that of a single watch, which
// otherwise is a line. Two goroutines belong to it: the request's,
// which alone writes messages, and one that reads. gws reads, answers pings and
// writes control frames; messages are framed here, so that many go out in one write.
type webSocket struct {
	*dialect
	ws   *gws.Conn
	conn *timedConn

	ctx context.Context
	// leave ends ctx: the client has left, or did what it may not.
	leave   context.CancelCauseFunc
	receive func(opcode gws.Opcode, data []byte)
	buf     []byte

	heard atomic.Bool // something, since the last ping
	every time.Duration
	pulse sync.Mutex // held while a ping is sent
	timer *time.Timer
	over  bool // guarded by pulse
}

// errLeft is the cause of the end of a socket's context when its client has left.
var errLeft = errors.New("gateway: the client left")

// upgrader makes sockets of requests.
type upgrader struct {
	plain  *gws.Upgrader            // without a subprotocol
	speaks map[string]*gws.Upgrader // by subprotocol
}

func newUpgrader(maxMessage int) *upgrader {
	upgrade := func(protocols ...string) *gws.Upgrader {
		return gws.NewUpgrader(socketEvents{}, &gws.ServerOption{
			// Up to twice the limit the client is told what the limit is.
			SubProtocols: protocols, ReadMaxPayloadSize: 2 * maxMessage, CheckUtf8Enabled: true,
			Logger: quiet{}, NewSession: func() gws.SessionStorage { return &slot{} },
		})
	}
	return &upgrader{plain: upgrade(), speaks: map[string]*gws.Upgrader{
		jsonProtocol: upgrade(jsonProtocol), protoProtocol: upgrade(protoProtocol),
	}}
}

// slot is where gws keeps a connection's socket.
type slot struct {
	gws.SessionStorage // none
	socket             *webSocket
}

func socketOf(c *gws.Conn) *webSocket { return c.Session().(*slot).socket }

// upgrade makes a socket of a request, or answers with an error and gives nil.
func (g *Gateway) upgrade(w http.ResponseWriter, r *http.Request) *webSocket {
	conn, _, d, ws := g.shake(w, r)
	if conn == nil {
		return nil
	}
	s := &webSocket{dialect: d, conn: conn, ws: ws, every: g.cfg.PingInterval}
	s.ws.Session().(*slot).socket = s
	return s
}

// shake does the handshake, or answers with an error and gives nil. in is what the
// client's bytes are read through.
func (g *Gateway) shake(w http.ResponseWriter, r *http.Request) (conn *timedConn, in *bufio.Reader, d *dialect, ws *gws.Conn) {
	if r.Header.Get("Sec-WebSocket-Version") != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		g.fail(w, r, wire.Refuse(http.StatusUpgradeRequired, "version 13 of WebSocket is spoken here"))
		return nil, nil, nil, nil
	}
	if r.Header.Get("Sec-WebSocket-Key") == "" {
		g.fail(w, r, resource.Errorf(resource.InvalidField, "the header Sec-WebSocket-Key is missing").In("Sec-WebSocket-Key"))
		return nil, nil, nil, nil
	}
	protocol, ok := subprotocol(r.Header)
	if !ok {
		g.fail(w, r, resource.Errorf(resource.InvalidField, "the subprotocols are %s and %s", jsonProtocol, protoProtocol).In("Sec-WebSocket-Protocol"))
		return nil, nil, nil, nil
	}
	raw, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		g.fail(w, r, wire.Refuse(http.StatusNotImplemented, "WebSocket needs HTTP/1.1"))
		return nil, nil, nil, nil
	}
	d, up := jsonDialect, g.sockets.plain
	if protocol != "" {
		up = g.sockets.speaks[protocol]
		r = r.Clone(r.Context())
		r.Header.Set("Sec-WebSocket-Protocol", protocol)
	}
	if protocol == protoProtocol {
		d = protoDialect
	}
	if in = rw.Reader; in.Buffered() == 0 {
		in = bufio.NewReaderSize(raw, 1<<10) // what clients say is short
	}
	conn = &timedConn{Conn: raw, timeout: g.cfg.WriteTimeout}
	if ws, err = up.UpgradeFromConn(lingeringConn{conn}, in, r); err != nil {
		_ = raw.Close()
		return nil, nil, nil, nil
	}
	return conn, in, d, ws
}

// subprotocol picks the first of those that the client offers.
func subprotocol(h http.Header) (protocol string, ok bool) {
	offers := strings.Join(h.Values("Sec-WebSocket-Protocol"), ",")
	if strings.TrimSpace(offers) == "" {
		return "", true
	}
	for offer := range strings.SplitSeq(offers, ",") {
		if offer = strings.TrimSpace(offer); offer == jsonProtocol || offer == protoProtocol {
			return offer, true
		}
	}
	return "", false
}

// serve runs f, which sends, while what the client says goes to receive. Then it
// sends what end gives, framed, closes, and waits until all is over. f's ctx ends when the
// client leaves.
func (s *webSocket) serve(parent context.Context, receive func(gws.Opcode, []byte), f func(ctx context.Context) error, end func(error) []byte) {
	s.ctx, s.leave = context.WithCancelCause(parent)
	defer s.leave(nil)
	s.receive = receive
	s.heard.Store(true)
	s.pulse.Lock()
	s.timer = time.AfterFunc(s.every, s.ping)
	s.pulse.Unlock()
	cut := context.AfterFunc(parent, func() { _ = s.conn.Close() })
	defer cut()
	var reading sync.WaitGroup
	reading.Go(func() {
		s.ws.ReadLoop()
		s.leave(errLeft)
	})

	err := f(s.ctx)
	if cause := context.Cause(s.ctx); errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	s.leave(nil) // nothing more is received
	if parent.Err() == nil && !errors.Is(err, errLeft) && !errors.As(err, new(*lostError)) {
		s.close(err, end(err))
	} else {
		_ = s.conn.Close()
	}
	reading.Wait() // at most until the client answers the close, or linger
	_ = s.conn.Close()
	s.pulse.Lock()
	s.over = true
	s.pulse.Unlock()
	s.timer.Stop()
}

// close says the last message and the close code; no error: a drain.
func (s *webSocket) close(err error, last []byte) {
	if s.buf = append(s.buf[:0], last...); len(last) > 0 && s.flush() != nil {
		return
	}
	code, reason := uint16(wire.CloseDrained), "DRAINED"
	if err != nil {
		code, reason = wire.CloseCode(err), wire.Reason(err)
	}
	_ = s.ws.WriteClose(code, []byte(reason))
}

// send writes messages, each as one frame, in one write.
func (s *webSocket) send(messages ...[]byte) error {
	s.buf = s.buf[:0]
	for _, m := range messages {
		s.buf = append(wire.AppendFrameHeader(s.buf, byte(s.opcode), len(m)), m...)
	}
	return s.flush()
}

// frames sends frames that have their headers, in one write.
func (s *webSocket) frames(frames []hub.Frame) error {
	s.buf = s.buf[:0]
	for i := range frames {
		s.buf = append(s.buf, frames[i].Bytes...)
	}
	return s.flush()
}

func (s *webSocket) flush() error {
	const keep = 16 << 10 // an idle connection keeps no more
	_, err := s.conn.Write(s.buf)
	if cap(s.buf) > keep {
		s.buf = nil
	}
	if err != nil {
		return lost(err, s.conn.timeout)
	}
	return nil
}

// ping asks whether the client is there, and drops one that has not been heard of
// since the last time.
func (s *webSocket) ping() {
	s.pulse.Lock()
	defer s.pulse.Unlock()
	switch {
	case s.over:
	case !s.heard.Swap(false):
		_ = s.conn.Close()
	case s.ws.WritePing(nil) == nil:
		s.timer.Reset(s.every)
	}
}

// socketEvents is what gws calls while it reads.
type socketEvents struct{ gws.BuiltinEventHandler }

// OnPing implements gws.Event.
func (socketEvents) OnPing(c *gws.Conn, payload []byte) {
	socketOf(c).heard.Store(true)
	_ = c.WritePong(payload)
}

// OnPong implements gws.Event.
func (socketEvents) OnPong(c *gws.Conn, _ []byte) { socketOf(c).heard.Store(true) }

// OnMessage implements gws.Event.
func (socketEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	s := socketOf(c)
	s.heard.Store(true)
	s.receive(m.Opcode, m.Bytes())
	_ = m.Close()
}

// quiet is gws's logger: what a connection fails of is not the operator's business.
type quiet struct{}

// Error implements gws.Logger.
func (quiet) Error(v ...any) { slog.Debug("websocket", "error", v) }

// timedConn is a connection whose writes have a deadline, one at a time. After one
// that failed it is closed: whoever reads it must notice.
type timedConn struct {
	net.Conn
	timeout time.Duration
	mu      sync.Mutex // held while writing
}

// Write implements net.Conn.
func (c *timedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.SetWriteDeadline(time.Now().Add(c.timeout))
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err == nil {
		err = c.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		_ = c.Conn.Close()
	}
	return n, err
}

// lingeringConn is a connection whose Close closes the sending half only, and gives
// the client a moment to close the other: otherwise what is on the way to it, the
// close code above all, might be lost.
type lingeringConn struct{ *timedConn }

// linger is how long a client may take to answer a close.
const linger = 2 * time.Second

// Close implements net.Conn.
func (c lingeringConn) Close() error {
	if err := c.SetReadDeadline(time.Now().Add(linger)); err != nil {
		return c.Conn.Close()
	}
	if err := closeWrite(c.Conn); err != nil {
		return c.Conn.Close()
	}
	return nil
}

package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/watchroute/watchroute/internal/clock"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/socket"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server"
)

// socketTalk is the talk of a single watch on a WebSocket: from server to client
// only.
type socketTalk struct {
	*dialect
	rename func(error) error
	frames socket.Frames // of the client

	line  *line
	heard atomic.Bool // something, since the last ping
	every time.Duration
	alarm clock.Alarm // for the next ping
}

// mostSaid bounds a frame of a client who has nothing to say.
const mostSaid = 4 << 10

// serveWatchSocket serves a watch on WebSocket.
func (g *Gateway) serveWatchSocket(w http.ResponseWriter, r *http.Request, c *watchCall) {
	const name = "websocket"
	conn, in, d, _ := g.shake(w, r)
	if conn == nil {
		return
	}
	t := &socketTalk{dialect: d, rename: c.rename, frames: socket.Frames{MaxPayload: mostSaid}, every: g.cfg.PingInterval}
	t.heard.Store(true)
	said, _ := in.Peek(in.Buffered())
	l, err := g.adoptSocket(conn, said, t)
	if err != nil {
		g.logger.Error("a WebSocket could not be taken over", "error", err)
		return
	}
	var watch *hub.Watch
	if err = c.err; err == nil {
		watch, err = g.service.OpenWatch(server.WithTransport(r.Context(), name), hub.Request{Watch: c.request, Codec: d.framed, Transport: name, Served: true})
	}
	if err != nil {
		l.Over(nil, err)
		return
	}
	g.deliver(l, watch)
}

func (g *Gateway) adoptSocket(conn *timedConn, said []byte, t *socketTalk) (*line, error) {
	l, err := g.adopt(conn.Conn, said, nil, t)
	if err == nil {
		t.line = l
		g.lines.clock.Set(&t.alarm, t, time.Now().Add(t.every))
	}
	return l, err
}

// received implements talk.
func (t *socketTalk) received(l *line, data []byte) {
	t.heard.Store(true)
	err := t.frames.Feed(data, func(opcode byte, _ bool, payload []byte) error {
		switch opcode {
		case socket.OpPing:
			l.say(socket.AppendFrame(nil, socket.OpPong, payload))
		case socket.OpPong:
		case socket.OpClose:
			return t.closed(l, payload)
		default:
			return resource.Errorf(resource.InvalidField, "the client of a watch has nothing to say; sessions are at %s", sessionPath).In("body")
		}
		return nil
	})
	if bad := new(socket.FrameError); errors.As(err, &bad) {
		l.sayLast(closeFrame(bad.Code, bad.Reason))
	} else if err != nil && !errors.Is(err, errLeft) {
		l.end(resource.AsError(err))
	}
}

// closed answers a client's close.
func (t *socketTalk) closed(l *line, payload []byte) error {
	code, _, err := socket.CloseCode(payload)
	switch {
	case err != nil:
		return err
	case len(payload) == 0:
		l.sayLast(socket.AppendFrame(nil, socket.OpClose, nil))
	default:
		l.sayLast(closeFrame(code, ""))
	}
	return errLeft
}

func closeFrame(code uint16, reason string) []byte {
	const most = 123
	return socket.AppendFrame(nil, socket.OpClose, append(binary.BigEndian.AppendUint16(nil, code), reason[:min(len(reason), most)]...))
}

// farewell implements talk: the message `closed`, and the close code.
func (t *socketTalk) farewell(w *hub.Watch, err error) (last []byte) {
	code, reason := uint16(wire.CloseDrained), "DRAINED"
	if err != nil {
		code, reason = wire.CloseCode(err), wire.Reason(err)
		if err = t.rename(err); w != nil {
			last = w.Closing(err).Bytes
		} else {
			last = t.framed.Append(nil, &hub.Message{Kind: hub.Closed, Err: resource.AsError(err)})
		}
	}
	return append(last, closeFrame(code, reason)...)
}

// linger implements talk.
func (t *socketTalk) linger() time.Duration { return linger }

// over implements talk.
func (t *socketTalk) over(l *line) { l.lines.clock.Stop(&t.alarm) }

// Ring implements clock.Target: it asks whether the client is there, and drops one
// that has not been heard of since the last time.
func (t *socketTalk) Ring() {
	if !t.heard.Swap(false) {
		t.line.Left(context.DeadlineExceeded)
		return
	}
	t.line.say(socket.AppendFrame(nil, socket.OpPing, nil))
	t.line.lines.clock.Set(&t.alarm, t, time.Now().Add(t.every))
}

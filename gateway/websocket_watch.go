package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

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
	rename  func(error) error
	frames  socket.Frames // of the client
	renewal *renewal

	line  *line
	heard atomic.Bool // something, since the last ping
	every time.Duration
	alarm clock.Alarm // for the next ping
}

// mostSaid bounds a frame of a client who has little to say: a credential at most.
const mostSaid = 20 << 10

// watchSocket is the transport's name.
const watchSocket = "websocket"

// errMute is said to the client of a watch that says something.
func errMute() *resource.Error {
	return resource.Errorf(resource.InvalidField, "the client of a watch has nothing to say but `authenticate`; sessions are at %s", sessionPath).In("body")
}

// serveWatchSocket serves a watch on WebSocket.
func (g *Gateway) serveWatchSocket(w http.ResponseWriter, r *http.Request, c *watchCall) {
	if r.TLS != nil {
		g.serveWatchSecure(w, r, c)
		return
	}
	conn, in, d, _ := g.shake(w, r)
	if conn == nil {
		return
	}
	t := &socketTalk{dialect: d, rename: c.rename, frames: socket.Frames{MaxPayload: mostSaid}, every: g.cfg.PingInterval, renewal: g.renewal(r)}
	t.heard.Store(true)
	said, _ := in.Peek(in.Buffered())
	l, err := g.adoptSocket(conn, said, t)
	if err != nil {
		g.logger.Error("a WebSocket could not be taken over", "error", err)
		return
	}
	watch, err := t.renewal.open(l.lines.done, l.leaving(), func() (*hub.Watch, error) {
		if c.err != nil {
			return nil, c.err
		}
		return g.service.OpenWatch(server.WithTransport(r.Context(), watchSocket), hub.Request{Watch: c.request, Codec: d.framed, Transport: watchSocket, Served: true})
	})
	if err != nil {
		l.Over(nil, l.why(err))
		return
	}
	g.deliver(l, watch)
}

// serveWatchSecure serves a watch on WebSocket over TLS, which no line can be made of:
// the bytes of its frames are not those that go over the network.
func (g *Gateway) serveWatchSecure(w http.ResponseWriter, r *http.Request, c *watchCall) {
	s := g.upgrade(w, r)
	if s == nil {
		return
	}
	t := &socketTalk{dialect: s.dialect, rename: c.rename, renewal: g.renewal(r)}
	var watch *hub.Watch
	s.serve(server.WithTransport(r.Context(), watchSocket), func(opcode gws.Opcode, data []byte) {
		secret, ok := authentication(s.dialect, byte(opcode), data)
		if !ok {
			s.leave(errMute())
			return
		}
		if err := t.renewal.renew(s.ctx, secret); err != nil {
			s.leave(resource.AsError(err))
		}
	}, func(ctx context.Context) (err error) {
		if watch, err = t.renewal.open(nil, ctx.Done(), func() (*hub.Watch, error) {
			if c.err != nil {
				return nil, c.err
			}
			return g.service.OpenWatch(ctx, hub.Request{Watch: c.request, Codec: s.framed, Transport: watchSocket})
		}); err != nil {
			if ctx.Err() != nil { // the client has left, or said what ends it
				err = ctx.Err()
			}
			return err
		}
		return server.Forward(ctx, watch, s.frames)
	}, func(err error) []byte {
		if err == nil {
			return nil
		}
		return t.last(watch, err)
	})
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
	err := t.frames.Feed(data, func(opcode byte, whole bool, payload []byte) error {
		switch opcode {
		case socket.OpPing:
			l.say(socket.AppendFrame(nil, socket.OpPong, payload))
		case socket.OpPong:
		case socket.OpClose:
			return t.closed(l, payload)
		default:
			secret, ok := authentication(t.dialect, opcode, payload)
			if !ok || !whole {
				return errMute()
			}
			l.lines.running.Go(func() { // it may have to ask for keys
				if err := t.renewal.renew(context.Background(), secret); err != nil {
					l.end(resource.AsError(err))
				}
			})
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
		code, reason, last = wire.CloseCode(err), wire.Reason(err), t.last(w, err)
	}
	return append(last, closeFrame(code, reason)...)
}

// last gives the message `closed`; nil w where no watch opened.
func (t *socketTalk) last(w *hub.Watch, err error) []byte {
	if err = t.rename(err); w != nil {
		return w.Closing(err).Bytes
	}
	return t.framed.Append(nil, &hub.Message{Kind: hub.Closed, Err: resource.AsError(err)})
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

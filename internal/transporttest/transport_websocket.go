package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"nhooyr.io/websocket"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// webSocket watches on a WebSocket: one watch at its URL, or a session.
type webSocket struct {
	web
	binary bool
	first  string // the credential that it begins with; empty: none
}

func newWebSocketJSON(t testing.TB, n *Node, d Dialer) Transport {
	return webSocket{web: newWebClient(t, n, d), first: d.First}
}

func newWebSocketProto(t testing.TB, n *Node, d Dialer) Transport {
	return webSocket{web: newWebClient(t, n, d), binary: true, first: d.First}
}

func newWebSocketSessionJSON(t testing.TB, n *Node, d Dialer) Transport {
	return webSocketSessions{webSocket{web: newWebClient(t, n, d), first: d.First}}
}

func newWebSocketSessionProto(t testing.TB, n *Node, d Dialer) Transport {
	return webSocketSessions{webSocket{web: newWebClient(t, n, d), binary: true, first: d.First}}
}

// Watch implements Transport.
func (w webSocket) Watch(ctx context.Context, r *watchroutev1.WatchRequest) (Stream, error) {
	return w.WatchURL(ctx, watchURL(r))
}

// WatchURL implements URLs.
func (w webSocket) WatchURL(ctx context.Context, url string) (Stream, error) {
	s, err := w.dial(ctx, url)
	if err != nil {
		return nil, err
	}
	stream := socketStream{s}
	if w.first != "" {
		if err := stream.Authenticate(w.first); err != nil {
			return nil, err
		}
	}
	return opened(stream)
}

func (w webSocket) dial(ctx context.Context, path string) (*socket, error) {
	protocol := "watchroute.v1.json"
	if w.binary {
		protocol = "watchroute.v1.proto"
	}
	ctx, cancel := context.WithCancel(ctx)
	conn, answer, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(w.url, "http")+path, &websocket.DialOptions{
		HTTPClient: w.http, HTTPHeader: http.Header{"Origin": {w.url}}, Subprotocols: []string{protocol}, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		cancel()
		if answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
			body, _ := io.ReadAll(answer.Body)
			return nil, fromHTTPBody(answer.StatusCode, body)
		}
		return nil, err
	}
	if conn.Subprotocol() != protocol {
		cancel()
		_ = conn.CloseNow()
		return nil, fmt.Errorf("the subprotocol is %q, not %q", conn.Subprotocol(), protocol)
	}
	conn.SetReadLimit(-1)
	return &socket{ctx: ctx, cancel: cancel, conn: conn, binary: w.binary}, nil
}

// socket is a WebSocket connection.
type socket struct {
	ctx    context.Context
	cancel context.CancelFunc
	conn   *websocket.Conn
	binary bool
}

// read gives the next message. io.EOF: the server closed in order, or was drained.
// An *Error: with a close code that says why, without anything else.
func (s *socket) read() ([]byte, error) {
	typ, data, err := s.conn.Read(s.ctx)
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		switch code := int(closed.Code); {
		case code == 1000 || code == 1012:
			return nil, io.EOF
		case code > 4000 && code < 4100:
			return nil, &Error{Close: code, Message: closed.Reason}
		}
	}
	if err != nil {
		return nil, err
	}
	if want := map[bool]websocket.MessageType{false: websocket.MessageText, true: websocket.MessageBinary}[s.binary]; typ != want {
		return nil, fmt.Errorf("a message of the type %v came, not %v", typ, want)
	}
	return data, nil
}

// because completes an error that was told with what the close frame says, which
// must follow.
func (s *socket) because(e *Error) error {
	_, err := s.read()
	var closed *Error
	if !errors.As(err, &closed) || closed.Close == 0 {
		return fmt.Errorf("after %w there is no close code but %w", e, err)
	}
	e.Close = closed.Close
	return e
}

// Close cuts the connection.
func (s *socket) Close() error {
	s.cancel()
	_ = s.conn.CloseNow() // it may be closed already
	return nil
}

// socketStream is a single watch.
type socketStream struct{ *socket }

// Recv implements Stream.
func (s socketStream) Recv() (*Message, error) {
	data, err := s.read()
	if err != nil {
		return nil, err
	}
	m, err := s.decode(data)
	if err == nil && m.Kind == Closed {
		return nil, s.because(fromStatus(m.Status))
	}
	return m, err
}

// Authenticate implements Renewable.
func (s socketStream) Authenticate(credential string) error { return s.send(authenticate(credential)) }

func (s socketStream) decode(data []byte) (*Message, error) {
	if !s.binary {
		return fromJSON(data)
	}
	r := &watchroutev1.WatchResponse{}
	if err := proto.Unmarshal(data, r); err != nil {
		return nil, err
	}
	return fromProto(r)
}

// webSocketSessions opens sessions.
type webSocketSessions struct{ socket webSocket }

// Caller implements Transport.
func (w webSocketSessions) Caller() Caller { return w.socket.Caller() }

// Watch implements Transport.
func (w webSocketSessions) Watch(ctx context.Context, r *watchroutev1.WatchRequest) (Stream, error) {
	x, err := w.Session(ctx)
	if err != nil {
		return nil, err
	}
	return watchIn(x, r)
}

// Session implements Sessions.
func (w webSocketSessions) Session(ctx context.Context) (Session, error) {
	s, err := w.socket.dial(ctx, "/v1/session")
	if err != nil {
		return nil, err
	}
	return introduced(&socketSession{socket: s}, w.socket.first)
}

type socketSession struct {
	*socket
	unpacker
}

// Send implements Session.
func (s *socketSession) Send(r *watchroutev1.SessionRequest) error { return s.send(r) }

// send writes a message of a session's client.
func (s *socket) send(r *watchroutev1.SessionRequest) error {
	if s.binary {
		data, err := proto.Marshal(r)
		if err != nil {
			return err
		}
		return s.conn.Write(s.ctx, websocket.MessageBinary, data)
	}
	data, err := protojson.Marshal(r)
	if err != nil {
		return err
	}
	return s.conn.Write(s.ctx, websocket.MessageText, data)
}

// Recv implements Session.
func (s *socketSession) Recv() (*SessionMessage, error) {
	m, err := s.next(func() ([]*SessionMessage, error) {
		data, err := s.read()
		if err != nil {
			return nil, err
		}
		if !s.binary {
			return sessionFromJSON(data)
		}
		r := &watchroutev1.SessionResponse{}
		if err := proto.Unmarshal(data, r); err != nil {
			return nil, err
		}
		return sessionFromProto(r)
	})
	if err == nil && m.WatchID == "" && m.Closed != nil {
		return nil, s.because(fromStatus(m.Closed))
	}
	return m, err
}

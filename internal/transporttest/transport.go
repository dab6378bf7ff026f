package transporttest

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// patience is how long anything may take that is to happen soon.
const patience = 20 * time.Second

// Transport is one way to watch a node. All methods may be called at once.
type Transport interface {
	// Watch opens a watch and waits for its first message, which Recv then gives.
	// ctx bounds the whole life of the stream. What the server says against it is
	// an *Error.
	Watch(ctx context.Context, r *watchroutev1.WatchRequest) (Stream, error)
	// Caller makes the unary calls that belong to the transport.
	Caller() Caller
}

// Stream is an open watch. Recv is for one goroutine, Close for any.
type Stream interface {
	// Recv waits for the next message. io.EOF: the server ended the watch in order.
	// An *Error: it ended it for that reason.
	Recv() (*Message, error)
	// Close cuts the connection, or where it is shared the stream, without a word.
	Close() error
}

// URLs is a transport on which a watch is a URL.
type URLs interface {
	// WatchURL opens the watch at a path with its query.
	WatchURL(ctx context.Context, url string) (Stream, error)
}

// Kit makes a transport.
type Kit struct {
	Name string
	// Typed: it watches the collection of the shop's contract and no other, one
	// resource or all.
	Typed bool
	// Session: the transport carries many watches.
	Session bool
	// Poll: events come in answers to requests, not in a stream.
	Poll bool
	// URL: a watch is a URL, that of a GET request.
	URL bool
	New func(t testing.TB, n *Node, d Dialer) Transport
}

// Transports are all of them.
var Transports = []Kit{
	{Name: "gRPC", New: newGRPC},
	{Name: "gRPC typed", Typed: true, New: newTyped},
	{Name: "gRPC Session", Session: true, New: newSession},
	{Name: "gRPC-Web", New: newWeb},
	{Name: "gRPC-Web WebSocket", New: newWebSocketWeb},
	{Name: "NDJSON", URL: true, New: newNDJSON},
	{Name: "SSE", URL: true, New: newSSE},
	{Name: "WebSocket JSON", URL: true, New: newWebSocketJSON},
	{Name: "WebSocket binary", URL: true, New: newWebSocketProto},
	{Name: "WebSocket Session JSON", Session: true, New: newWebSocketSessionJSON},
	{Name: "WebSocket Session binary", Session: true, New: newWebSocketSessionProto},
	{Name: "long-poll", Poll: true, URL: true, New: newLongPoll},
}

// TLS are those that go another way through the node over TLS, or HTTP/2. Both binary
// WebSockets, for one, go the way of their siblings.
var TLS = []Kit{
	secure("gRPC", "TLS", false),
	secure("gRPC Session", "TLS", false),
	secure("gRPC-Web", "HTTP/2", true),
	secure("gRPC-Web WebSocket", "TLS", false),
	secure("NDJSON", "HTTP/2", true),
	secure("SSE", "TLS", false),
	secure("SSE", "HTTP/2", true),
	secure("WebSocket JSON", "TLS", false),
	secure("WebSocket Session JSON", "TLS", false),
	secure("long-poll", "HTTP/2", true),
}

const over = " over "

// secure gives the transport of a name over TLS.
func secure(name, by string, http2 bool) Kit {
	kit := Transports[slices.IndexFunc(Transports, func(k Kit) bool { return k.Name == name })]
	plain := kit.New
	kit.Name += over + by
	kit.New = func(t testing.TB, n *Node, d Dialer) Transport {
		d.TLS, d.HTTP2 = true, http2
		return plain(t, n, d)
	}
	return kit
}

// is says whether a kit is the transport of a name, over whatever.
func (k Kit) is(name string) bool {
	own, _, _ := strings.Cut(k.Name, over)
	return own == name
}

// Dialer opens a transport's connections.
type Dialer struct {
	// ReadBuffer is the size of the sockets' read buffers in bytes. Default: the
	// system's.
	ReadBuffer int
	// TLS: they speak it, to the node's ports that do.
	TLS bool
	// HTTP2: over TLS HTTP/2 is offered beside HTTP/1.1, as browsers do.
	HTTP2 bool
	// Presented is what the calls come with.
	Presented
	// From is the address that they come from. Default: the system's choice.
	From net.IP
	// Tap keeps what they receive. Default: nothing does.
	Tap *Tap
}

// version is that of HTTP which is spoken.
func (d Dialer) version() int {
	if d.HTTP2 {
		return 2
	}
	return 1
}

// url is where the node's HTTP is.
func (d Dialer) url(n *Node) string {
	if d.TLS {
		return "https://" + n.httpTLS.address()
	}
	return "http://" + n.http.address()
}

// calls is the port of the node's gRPC.
func (d Dialer) calls(n *Node) *port {
	if d.TLS {
		return n.grpcTLS
	}
	return n.grpc
}

func (d Dialer) credentials() credentials.TransportCredentials {
	if d.TLS {
		return d.Tap.credentials(credentials.NewTLS(identity().client))
	}
	return insecure.NewCredentials()
}

// Dial opens a TCP connection.
func (d Dialer) Dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{}
	if d.From != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: d.From}
	}
	if d.ReadBuffer > 0 {
		// Before it connects, or the window is larger than the buffer.
		dialer.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, d.ReadBuffer)
			}); e != nil {
				return e
			}
			return err
		}
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil || d.TLS {
		return conn, err
	}
	return d.Tap.on(conn), nil
}

// client makes an HTTP client that ends with the test.
func (d Dialer) client(t testing.TB) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return d.Dial(ctx, address) },
		DisableCompression: true, MaxIdleConnsPerHost: 16, TLSClientConfig: identity().client.Clone(), Protocols: new(http.Protocols),
		// Small windows: a reader that does not read stops the writer after so much.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 1 << 20}}
	tr.Protocols.SetHTTP1(true)
	tr.Protocols.SetHTTP2(d.HTTP2)
	t.Cleanup(tr.CloseIdleConnections)
	if d.Tap != nil && d.TLS && !d.HTTP2 {
		tr.DialTLSContext = d.dialTLS
	}
	return &http.Client{Transport: presenting{d, tr}}
}

// opened reads the first message of a stream, which Recv then gives. A stream that
// begins with its end is an error of opening.
func opened(s Stream) (Stream, error) {
	first, err := s.Recv()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return &begun{Stream: s, first: first}, nil
}

type begun struct {
	Stream
	first *Message
}

func (b *begun) Recv() (*Message, error) {
	if m := b.first; m != nil {
		b.first = nil
		return m, nil
	}
	return b.Stream.Recv()
}

// ending makes the error of a `closed` message of the stream's end.
func ending(m *Message, err error) (*Message, error) {
	if err == nil && m.Kind == Closed {
		return nil, fromStatus(m.Status)
	}
	return m, err
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func init() {
	register(wrPeer{Info{Name: "wr-sse", About: "watchroute serve, Server-Sent Events over HTTP/1.1"}, dialWRSSE})
	register(wrPeer{Info{Name: "wr-ws", About: "watchroute serve, WebSocket on a watch URL, binary"}, dialWRSocket})
	register(wrPeer{Info{Name: "wr-grpcweb", About: "watchroute serve, gRPC-Web over HTTP/1.1, binary"}, dialWRWeb})
}

// wrHTTPConn is what connections over HTTP have in common: a watch has a TCP
// connection of its own.
type wrHTTPConn struct {
	*lifetime
	*wrPublisher
	addr   string
	dialer dialer
}

func dialWRHTTP(http, grpc string) *wrHTTPConn {
	return &wrHTTPConn{newLifetime(), &wrPublisher{addr: grpc}, http, new(net.Dialer)}
}

func (c *wrHTTPConn) Close() error {
	c.cancel()
	c.wrPublisher.close()
	return nil
}

// Server-Sent Events.

type wrSSEConn struct {
	*wrHTTPConn
	by func(path string) (*bufio.Reader, error) // nil: a TCP connection for each watch
}

func dialWRSSE(_ context.Context, http, grpc string) (Conn, error) {
	return wrSSEConn{wrHTTPConn: dialWRHTTP(http, grpc)}, nil
}

func (c wrSSEConn) open(path string) (*bufio.Reader, error) {
	if c.by != nil {
		return c.by(path)
	}
	return c.requestBy(c.dialer, c.addr, "GET "+path+" HTTP/1.1\r\nAccept: text/event-stream\r\n", nil)
}

// wrSSEWatch is a watch whose token is the last `id`.
type wrSSEWatch struct {
	wrWatch
	event, id []byte // of the event that is being read
}

// until reads events up to one of a kind.
func (w *wrSSEWatch) until(kind string, br *bufio.Reader) error {
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case bytes.HasPrefix(line, []byte("event: ")):
			w.event, w.id = append(w.event[:0], line[7:len(line)-1]...), w.id[:0]
		case bytes.HasPrefix(line, []byte("id: ")):
			w.id = append(w.id[:0], line[4:len(line)-1]...)
		case bytes.HasPrefix(line, []byte("data: ")):
			w.keep(w.id)
			switch string(w.event) {
			case "change":
				w.sink(line)
			case "started", "snapshot_end", "bookmark":
			default:
				return fmt.Errorf("the server says %s: %s", w.event, line)
			}
		case len(line) == 1 && string(w.event) == kind:
			return nil
		}
	}
}

func (c wrSSEConn) Watch(_ context.Context, key string, from Pos, sink Sink) (Watch, error) {
	br, err := c.open(wrPath(key, from))
	if err != nil {
		return nil, err
	}
	w := &wrSSEWatch{wrWatch: wrWatch{sink: sink}}
	if err := w.until("started", br); err != nil {
		return nil, err
	}
	go func() { c.fail(w.until("", br)) }()
	return w, nil
}

func (c wrSSEConn) Snapshot(_ context.Context, _ int, sink Sink) error {
	br, err := c.open(wrAllPath)
	if err != nil {
		return err
	}
	w := &wrSSEWatch{wrWatch: wrWatch{sink: sink}}
	return w.until("snapshot_end", br)
}

// WebSocket on a watch URL.

const wrSocketProtocol = "watchroute.v1.proto"

type wrSocketConn struct{ *wrHTTPConn }

func dialWRSocket(_ context.Context, http, grpc string) (Conn, error) {
	return wrSocketConn{dialWRHTTP(http, grpc)}, nil
}

func (c wrSocketConn) open(path string) (func() ([]byte, error), error) {
	ws, err := dialWS(c.addr, path, wrSocketProtocol)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(c.ctx, func() { ws.nc.Close() })
	return ws.read, nil
}

func (c wrSocketConn) Watch(_ context.Context, key string, from Pos, sink Sink) (Watch, error) {
	read, err := c.open(wrPath(key, from))
	if err != nil {
		return nil, err
	}
	w := &wrWatch{sink: sink}
	return w, w.follow(c.lifetime, read)
}

func (c wrSocketConn) Snapshot(_ context.Context, _ int, sink Sink) error {
	read, err := c.open(wrAllPath)
	if err != nil {
		return err
	}
	return (&wrWatch{sink: sink}).until(wrSnapshotEnd, read)
}

// gRPC-Web.

type wrWebConn struct{ *wrHTTPConn }

func dialWRWeb(_ context.Context, http, grpc string) (Conn, error) {
	return wrWebConn{dialWRHTTP(http, grpc)}, nil
}

// open sends the request and gives what reads the messages of the answer: each has
// a header of a flag and its length. The message with the trailers is an error.
func (c wrWebConn) open(r *watchroutev1.WatchRequest) (func() ([]byte, error), error) {
	const header, trailers = 5, 0x80
	body, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, header), r)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(body[1:], uint32(len(body)-header))
	br, err := c.requestBy(c.dialer, c.addr, "POST "+wrService+"Watch HTTP/1.1\r\nContent-Type: application/grpc-web+proto\r\n"+
		"X-Grpc-Web: 1\r\nWatchroute-Json: text\r\n", body)
	if err != nil {
		return nil, err
	}
	var buf []byte
	return func() ([]byte, error) {
		var head [header]byte
		if _, err := io.ReadFull(br, head[:]); err != nil {
			return nil, err
		}
		n := int(binary.BigEndian.Uint32(head[1:]))
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(br, buf); err != nil {
			return nil, err
		}
		if head[0]&trailers != 0 {
			return nil, fmt.Errorf("the stream ends: %q", buf)
		}
		return buf, nil
	}, nil
}

func (c wrWebConn) Watch(_ context.Context, key string, from Pos, sink Sink) (Watch, error) {
	read, err := c.open(wrRequest(key, from))
	if err != nil {
		return nil, err
	}
	w := &wrWatch{sink: sink}
	return w, w.follow(c.lifetime, read)
}

func (c wrWebConn) Snapshot(_ context.Context, _ int, sink Sink) error {
	read, err := c.open(wrAll)
	if err != nil {
		return err
	}
	return (&wrWatch{sink: sink}).until(wrSnapshotEnd, read)
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
)

// lifetime is what client connections have in common: a context for their
// streams, and the first error unless they were closed on purpose.
type lifetime struct {
	ctx    context.Context
	cancel context.CancelFunc
	err    atomic.Pointer[error]
}

func newLifetime() *lifetime {
	l := &lifetime{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

func (l *lifetime) fail(err error) {
	if err != nil && l.ctx.Err() == nil {
		l.err.CompareAndSwap(nil, &err)
	}
}

func (l *lifetime) Err() error {
	if e := l.err.Load(); e != nil {
		return *e
	}
	return nil
}

// request sends one HTTP/1.1 request by hand, on a TCP connection that ends with
// the lifetime, and reads the header of the answer: one 4 KiB buffer and no
// goroutine for what follows. head ends with the last header line.
func (l *lifetime) request(addr, head string, body []byte) (*bufio.Reader, error) {
	return l.requestBy(new(net.Dialer), addr, head, body)
}

// dialer makes connections: a *net.Dialer or a *tls.Dialer.
type dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// requestBy is request over a connection that dialer makes.
func (l *lifetime) requestBy(dialer dialer, addr, head string, body []byte) (*bufio.Reader, error) {
	nc, err := dialer.DialContext(l.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(l.ctx, func() { nc.Close() })
	head += "Host: " + addr + "\r\n"
	if body != nil {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	if _, err := nc.Write(append([]byte(head+"\r\n"), body...)); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return nil, fmt.Errorf("%s: %s", res.Status, text)
	}
	return bufio.NewReader(res.Body), nil
}

// meagre makes connections that hold less than those of loopback do, with its
// segments of 64 KiB: for readers that are to hold up the server, not its kernel.
var meagre = net.Dialer{Control: func(_, _ string, rc syscall.RawConn) error {
	return rc.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1460)
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10)
	})
}}

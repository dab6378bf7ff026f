package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
)

func init() {
	register(wrPeer{Info{Name: "wr-longpoll", About: "watchroute serve, long-polling: one GET after the other on a kept connection"}, dialWRPoll})
}

type wrPollConn struct{ *wrHTTPConn }

func dialWRPoll(_ context.Context, http, grpc string) (Conn, error) {
	return wrPollConn{dialWRHTTP(http, grpc)}, nil
}

// poller asks on one TCP connection.
type poller struct {
	nc   net.Conn
	br   *bufio.Reader
	buf  []byte
	head string // what follows the path in a request
	get  []byte // the request
}

func (c wrPollConn) poller() (*poller, error) {
	nc, err := net.Dial("tcp", c.addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(c.ctx, func() { nc.Close() })
	return &poller{nc: nc, br: bufio.NewReader(nc), buf: make([]byte, 0, 1<<10), head: " HTTP/1.1\r\nHost: " + c.addr + "\r\n\r\n"}, nil
}

// ask sends one request and hands the body of the answer to the watch, and the
// token at its end.
func (p *poller) ask(w *wrWatch, path string) error {
	p.get = append(append(append(p.get[:0], "GET "...), path...), p.head...)
	if _, err := p.nc.Write(p.get); err != nil {
		return err
	}
	status, size, chunked := "", 0, false
	for {
		line, err := p.br.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		switch {
		case status == "":
			status = string(bytes.TrimSpace(line))
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			if size, err = strconv.Atoi(string(bytes.TrimSpace(line[16:]))); err != nil {
				return err
			}
		case bytes.HasPrefix(line, []byte("Transfer-Encoding: chunked")):
			chunked = true
		}
	}
	body := io.LimitReader(p.br, int64(size))
	if chunked {
		body = httputil.NewChunkedReader(p.br)
	}
	tail, err := p.read(w, body)
	if err == nil && chunked {
		_, err = p.br.Discard(len("\r\n")) // there are no trailers
	}
	switch {
	case err != nil:
		return err
	case status != "HTTP/1.1 200 OK":
		return fmt.Errorf("%s: %s", status, tail)
	}
	return nil
}

// read hands a body to the sink in pieces that end with a quote, and returns the
// last of them.
func (p *poller) read(w *wrWatch, body io.Reader) (tail []byte, err error) {
	const resumeToken = `"resumeToken":"`
	p.buf = p.buf[:0]
	for err == nil {
		if len(p.buf) == cap(p.buf) {
			cut := bytes.LastIndexByte(p.buf, '"')
			if cut > 1<<15 {
				// The token at the end of the body must stay whole.
				if at := bytes.LastIndex(p.buf[:cut+1], []byte(`"resumeToken"`)); at > 0 {
					cut = at - 1
				}
				w.sink(p.buf[:cut+1])
				p.buf = append(p.buf[:0], p.buf[cut+1:]...)
			} else {
				p.buf = append(make([]byte, 0, 2*cap(p.buf)), p.buf...)
			}
		}
		var n int
		n, err = body.Read(p.buf[len(p.buf):cap(p.buf)])
		p.buf = p.buf[:len(p.buf)+n]
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if at := bytes.LastIndex(p.buf, []byte(resumeToken)); at >= 0 {
		token, _, _ := bytes.Cut(p.buf[at+len(resumeToken):], []byte{'"'})
		w.keep(token)
	}
	w.sink(p.buf)
	return p.buf, nil
}

func (c wrPollConn) Watch(_ context.Context, key string, from Pos, sink Sink) (Watch, error) {
	p, err := c.poller()
	if err != nil {
		return nil, err
	}
	w := &wrWatch{sink: sink}
	// The first poll does not wait: it is answered with where the watch stands.
	if err := p.ask(w, wrPath(key, from)+"&wait=0s"); err != nil {
		return nil, err
	}
	go func() {
		for {
			if err := p.ask(w, wrPath(key, w.Pos())+"&wait=30s"); err != nil {
				c.fail(err)
				return
			}
		}
	}()
	return w, nil
}

// Snapshot is one poll: without a token the answer is the complete state.
func (c wrPollConn) Snapshot(_ context.Context, _ int, sink Sink) error {
	p, err := c.poller()
	if err != nil {
		return err
	}
	return p.ask(&wrWatch{sink: sink}, wrAllPath+"?wait=0s")
}

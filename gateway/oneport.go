package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// peekTime is how long a new connection may take to say what it speaks.
const peekTime = 10 * time.Second

// OnePort serves gRPC and HTTP on one port. Without settings of TLS a connection that
// begins with HTTP/2's preface goes to gRPC, every other to HTTP/1. With them the
// handshake is made here, and a client that offers HTTP/2 and not HTTP/1.1 (ALPN) goes
// to gRPC, whose server needs Handshaken; every other to HTTP, where it gets HTTP/2 if
// it wants that. One that takes longer than 10 seconds is closed. Closing one of the
// two listeners turns its connections away; closing both closes l, and waits for what
// was started here.
func OnePort(l net.Listener, settings *tls.Config) (grpc, http net.Listener) {
	p := &onePort{Listener: l, done: make(chan struct{}), peeking: map[net.Conn]struct{}{}}
	if settings != nil {
		p.tls = noteOffers(settings)
	}
	p.grpc, p.http = newBranch(p), newBranch(p)
	p.running.Go(p.accept)
	return Newcomers(p.grpc), p.http
}

type onePort struct {
	net.Listener
	tls        *tls.Config // nil: plaintext
	grpc, http *branch
	running    sync.WaitGroup

	closing sync.Once
	done    chan struct{} // closed when both branches are

	mu      sync.Mutex // nothing is locked below it
	peeking map[net.Conn]struct{}
	shut    bool
}

// branch is one of the two listeners.
type branch struct {
	port   *onePort
	conns  chan net.Conn
	failed chan struct{} // closed when the port broke, with err
	err    error
	closed chan struct{}
	once   sync.Once
}

func newBranch(p *onePort) *branch {
	return &branch{port: p, conns: make(chan net.Conn), failed: make(chan struct{}), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (b *branch) Accept() (net.Conn, error) {
	select {
	case <-b.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.closed:
		return nil, net.ErrClosed
	case <-b.failed:
		return nil, b.err
	}
}

// Addr implements net.Listener.
func (b *branch) Addr() net.Addr { return b.port.Addr() }

// Close implements net.Listener. Closing twice is fine.
func (b *branch) Close() (err error) {
	b.once.Do(func() {
		close(b.closed)
		err = b.port.leave()
	})
	return err
}

// leave closes the port once both branches are closed.
func (p *onePort) leave() error {
	for _, b := range []*branch{p.grpc, p.http} {
		select {
		case <-b.closed:
		default:
			return nil
		}
	}
	var err error
	p.closing.Do(func() {
		close(p.done)
		err = p.Listener.Close()
		p.mu.Lock()
		p.shut = true
		for c := range p.peeking {
			_ = c.Close()
		}
		p.mu.Unlock()
	})
	p.running.Wait()
	return err
}

func (p *onePort) accept() {
	for delay := 5 * time.Millisecond; ; {
		c, err := p.Listener.Accept()
		if err == nil {
			delay = 5 * time.Millisecond
			p.running.Go(func() { p.sort(c) })
			continue
		}
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Temporary() { //nolint:staticcheck // too many open files is
			select {
			case <-time.After(delay):
			case <-p.done:
			}
			delay = min(2*delay, time.Second)
			continue
		}
		for _, b := range []*branch{p.grpc, p.http} {
			b.err = err
			close(b.failed)
		}
		return
	}
}

// sort gives a connection to the branch whose protocol it speaks.
func (p *onePort) sort(c net.Conn) {
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		_ = c.Close()
		return
	}
	p.peeking[c] = struct{}{}
	p.mu.Unlock()

	b, ready, err := p.meet(c)

	p.mu.Lock()
	delete(p.peeking, c)
	p.mu.Unlock()
	if err != nil {
		_ = c.Close()
		return
	}
	select {
	case b.conns <- ready:
	case <-b.closed:
		_ = c.Close()
	case <-b.failed:
		_ = c.Close()
	}
}

// meet finds out which protocol a connection speaks.
func (p *onePort) meet(c net.Conn) (b *branch, ready net.Conn, err error) {
	if p.tls != nil {
		return p.shake(c)
	}
	b, said, err := p.peek(c)
	return b, &peeked{Conn: c, said: said}, err
}

// peek reads until it is clear which protocol is spoken.
func (p *onePort) peek(c net.Conn) (b *branch, said []byte, err error) {
	const preface = "PRI"
	if err := c.SetReadDeadline(time.Now().Add(peekTime)); err != nil {
		return nil, nil, err
	}
	said = make([]byte, 0, len(preface))
	for b = p.grpc; b == p.grpc && len(said) < len(preface); {
		n, err := c.Read(said[len(said):cap(said)])
		if err != nil && n == 0 {
			return nil, nil, err
		}
		said = said[:len(said)+n]
		if string(said) != preface[:len(said)] {
			b = p.http
		}
	}
	return b, said, c.SetReadDeadline(time.Time{})
}

// peeked is a connection of which something was read.
type peeked struct {
	net.Conn
	said []byte
}

// Read implements net.Conn.
func (c *peeked) Read(b []byte) (int, error) {
	if len(c.said) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.said)
	if c.said = c.said[n:]; len(c.said) == 0 {
		c.said = nil
	}
	return n, nil
}

// CloseWrite lets half of the connection go, where it has halves.
func (c *peeked) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

package transporttest

import (
	"net"
	"sync"
	"testing"
)

// port is a TCP port of this machine that stays open while servers come and go on
// it: a client that connects in between waits for the next one.
type port struct {
	tcp         *net.TCPListener
	writeBuffer int // of the sockets, in bytes; 0: the system's
	conns       chan net.Conn
	done        chan struct{}
	accepting   sync.WaitGroup
}

func openPort(t testing.TB, writeBuffer int) *port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{tcp: l.(*net.TCPListener), writeBuffer: writeBuffer, conns: make(chan net.Conn), done: make(chan struct{})}
	p.accepting.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *port) address() string { return p.tcp.Addr().String() }

func (p *port) accept() {
	for {
		conn, err := p.tcp.AcceptTCP()
		if err != nil {
			return // it was closed
		}
		if p.writeBuffer > 0 {
			_ = conn.SetWriteBuffer(p.writeBuffer) // without it the test takes longer
		}
		select {
		case p.conns <- conn:
		case <-p.done:
			_ = conn.Close()
			return
		}
	}
}

func (p *port) close() {
	close(p.done)
	_ = p.tcp.Close()
	p.accepting.Wait()
}

// listener gives the port to one server, until the server closes it.
func (p *port) listener() net.Listener { return &lease{port: p, done: make(chan struct{})} }

type lease struct {
	port *port
	once sync.Once
	done chan struct{}
}

// Accept waits for the next connection.
func (l *lease) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case conn := <-l.port.conns:
		return conn, nil
	case <-l.done:
	case <-l.port.done:
	}
	return nil, net.ErrClosed
}

// Close gives the port back.
func (l *lease) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr gives the port's address.
func (l *lease) Addr() net.Addr { return l.port.tcp.Addr() }

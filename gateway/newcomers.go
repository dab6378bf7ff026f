package gateway

import (
	"net"
	"sync"
	"time"
)

// Newcomers gives a gRPC server a listener that it can stop on: its Close also closes
// the connections that have not begun to speak HTTP/2. The server waits for each of
// those before it stops, and tells nobody else meanwhile that it does. OnePort's
// listener for gRPC is one already.
func Newcomers(l net.Listener) net.Listener {
	return &newcomers{Listener: l, new: map[*newcomer]struct{}{}}
}

type newcomers struct {
	net.Listener

	mu   sync.Mutex
	new  map[*newcomer]struct{}
	shut bool
}

// Accept implements net.Listener.
func (l *newcomers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &newcomer{Conn: conn, among: l}
	c.reader.of(conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	l.new[c] = struct{}{}
	return c, nil
}

// Close implements net.Listener.
func (l *newcomers) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	for c := range l.new {
		_ = c.Conn.Close()
	}
	clear(l.new)
	return err
}

func (l *newcomers) forget(c *newcomer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.new, c)
}

// newcomer is a connection of which gRPC's server takes the deadline away when it
// speaks HTTP/2.
type newcomer struct {
	net.Conn
	among  *newcomers
	reader readyReader
}

// SetDeadline implements net.Conn.
func (c *newcomer) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.among.forget(c)
	}
	return c.Conn.SetDeadline(t)
}

// Close implements net.Conn.
func (c *newcomer) Close() error {
	c.among.forget(c)
	return c.Conn.Close()
}

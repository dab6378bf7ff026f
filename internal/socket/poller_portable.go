//go:build !linux || portable

package socket

import (
	"bytes"
	"net"
	"sync"
)

// Poller tells of what clients send, with a goroutine for each of its connections:
// the one that uses epoll is made for Linux.
type Poller struct {
	running sync.WaitGroup

	mu     sync.Mutex       // nothing is locked below it
	conns  map[uint64]*Conn // those not closed, by id; nil when the poller is closed
	lastID uint64
}

// NewPoller starts a poller, which must be closed.
func NewPoller() (*Poller, error) { return &Poller{conns: map[uint64]*Conn{}}, nil }

// Close closes all of the poller's connections, none of which hears more, and waits
// for the poller's goroutines. Twice is fine. A Handler must not call it.
func (p *Poller) Close() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	p.running.Wait()
}

// Adopt takes conn over, which must be a *net.TCPConn or offer its SyscallConn:
// otherwise it gives ErrUnsupported, and conn is as it was. The deadlines of conn are
// cleared. pending is what was read from conn already and is not consumed: it is
// copied, and told first. h may be called before Adopt has returned.
//
// After any error conn is still the caller's. A closed poller gives net.ErrClosed.
func (p *Poller) Adopt(conn net.Conn, h Handler, pending []byte) (*Conn, error) {
	c, err := newConn(p, conn, h)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return nil, net.ErrClosed
	}
	p.lastID++
	c.id = p.lastID
	p.conns[c.id] = c
	pending = bytes.Clone(pending)
	p.running.Go(func() { c.listen(pending) })
	return c, nil
}

// forget is told by Conn.Close, which ends the goroutine, too.
func (p *Poller) forget(c *Conn) {
	p.mu.Lock()
	delete(p.conns, c.id)
	p.mu.Unlock()
}

func (c *Conn) listen(pending []byte) {
	if len(pending) > 0 {
		c.received(pending)
	}
	buf := make([]byte, 512)
	for {
		n, err := c.conn.Read(buf)
		if n > 0 {
			c.received(buf[:n])
		}
		if err != nil {
			c.leave(err)
			return
		}
	}
}

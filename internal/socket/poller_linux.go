//go:build linux && !portable

package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Poller tells of what clients send, with one goroutine for all of its connections.
//
// It waits for an epoll, which the runtime waits for in turn as for any descriptor
// that can be polled: so no thread is blocked in the kernel, and closing the epoll,
// or a deadline on it, wakes the goroutine.
type Poller struct {
	epoll   *os.File
	raw     syscall.RawConn // of epoll
	running sync.WaitGroup

	mu     sync.Mutex       // nothing is locked below it
	conns  map[uint64]*Conn // those not closed, by id; nil when the poller is closed
	lastID uint64
	greets []greet

	// What follows is of the goroutine, and made once, so that a turn allocates nothing.
	wait   func(fd uintptr) bool // reads events
	events [64]unix.EpollEvent
	ready  int                   // how many events there are
	read   func(fd uintptr) bool // reads buf
	buf    [4 << 10]byte
	n      int
	err    error // of the last system call
}

// greet is what a connection had received before it was adopted.
type greet struct {
	conn *Conn
	data []byte
}

// NewPoller starts a poller, which must be closed.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// Only what does not block can be polled by the runtime. An epoll itself does not
	// care.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Poller{epoll: os.NewFile(uintptr(fd), "epoll"), conns: map[uint64]*Conn{}}
	if err := p.epoll.SetReadDeadline(time.Time{}); err != nil { // the runtime cannot
		_ = p.epoll.Close()
		return nil, err
	}
	if p.raw, err = p.epoll.SyscallConn(); err != nil {
		_ = p.epoll.Close()
		return nil, err
	}
	p.wait = func(fd uintptr) bool {
		for {
			if p.ready, p.err = unix.EpollWait(int(fd), p.events[:], 0); p.err != unix.EINTR {
				return p.ready != 0 // an error is -1
			}
		}
	}
	p.read = func(fd uintptr) bool {
		for {
			if p.n, p.err = unix.Read(int(fd), p.buf[:]); p.err != unix.EINTR {
				return true
			}
		}
	}
	p.running.Go(p.run)
	return p, nil
}

// Close closes all of the poller's connections, none of which hears more, and waits
// for the poller's goroutine. Twice is fine. A Handler must not call it.
func (p *Poller) Close() {
	p.mu.Lock()
	conns := p.conns
	p.conns, p.greets = nil, nil
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	_ = p.epoll.Close()
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
	limitUnsent(c.raw)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return nil, net.ErrClosed
	}
	p.lastID++
	c.id = p.lastID
	if err := p.control(c, unix.EPOLL_CTL_ADD); err != nil {
		return nil, err
	}
	// The goroutine looks here before it looks at an event, and not while mu is held.
	p.conns[c.id] = c
	if len(pending) > 0 {
		p.greets = append(p.greets, greet{c, bytes.Clone(pending)})
		_ = p.epoll.SetReadDeadline(time.Unix(1, 0)) // wakes the goroutine
	}
	return c, nil
}

// mostUnsent is how much the kernel takes of what a client is not ready for, in bytes.
// By default it takes megabytes, which then are old when they arrive: what is not
// written yet can still be folded with what comes later.
const mostUnsent = 128 << 10

// limitUnsent sets that; where it cannot be set, the default is only less good.
func limitUnsent(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, mostUnsent)
	})
}

// control changes what the epoll knows of c. Both descriptors are held meanwhile.
func (p *Poller) control(c *Conn, op int) error {
	var failed error
	err := c.raw.Control(func(fd uintptr) {
		failed = p.raw.Control(func(epfd uintptr) {
			failed = os.NewSyscallError("epoll_ctl", unix.EpollCtl(int(epfd), op, int(fd), &unix.EpollEvent{
				Events: unix.EPOLLIN | unix.EPOLLRDHUP,
				// The two words are the user's: 64 bits of id, not the descriptor, which
				// may soon be another connection's.
				Fd: int32(uint32(c.id)), Pad: int32(uint32(c.id >> 32)),
			}))
		})
	})
	return errors.Join(err, failed)
}

// forget is told by Conn.Close.
func (p *Poller) forget(c *Conn) {
	p.mu.Lock()
	delete(p.conns, c.id)
	p.mu.Unlock()
	// Closing does the same, but not while a child that is being started has a copy of
	// the descriptor.
	_ = p.control(c, unix.EPOLL_CTL_DEL)
}

func (p *Poller) run() {
	for {
		p.ready, p.err = 0, nil
		err := p.raw.Read(p.wait)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// There is something to greet with. Cleared first, then looked at: who sets
			// it again meanwhile is not missed.
			err = p.epoll.SetReadDeadline(time.Time{})
		} else if err == nil {
			err = os.NewSyscallError("epoll_wait", p.err)
		}
		if err != nil {
			p.fail(err)
			return
		}
		p.greet()
		for i := range p.events[:p.ready] {
			e := &p.events[i]
			p.mu.Lock()
			c := p.conns[uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32]
			p.mu.Unlock()
			if c != nil {
				p.turn(c, e.Events)
			}
		}
	}
}

// fail is the end of the goroutine. Unless the poller was closed, its connections
// hear why they will hear no more.
func (p *Poller) fail(err error) {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil // nothing more is adopted
	p.mu.Unlock()
	for _, c := range conns {
		c.leave(err)
	}
}

// greet tells what was pending at Adopt.
func (p *Poller) greet() {
	p.mu.Lock()
	greets := p.greets
	p.greets = nil
	p.mu.Unlock()
	for _, g := range greets {
		g.conn.received(g.data)
	}
}

// turn reads once: if there is more, the epoll will say so again, after the others'.
func (p *Poller) turn(c *Conn, events uint32) {
	err := c.raw.Read(p.read)
	if err == nil {
		err = p.err
	}
	switch {
	case err == unix.EAGAIN:
		if events&(unix.EPOLLHUP|unix.EPOLLERR) == 0 {
			return
		}
		err = unix.ECONNRESET // it is over, though reading does not say how
	case err == nil && p.n > 0:
		c.received(p.buf[:p.n])
		return
	case err == nil:
		err = io.EOF
	}
	// An end lasts, and the epoll would tell of it without end.
	_ = p.control(c, unix.EPOLL_CTL_DEL)
	if errno, ok := err.(unix.Errno); ok {
		err = os.NewSyscallError("read", errno)
	}
	c.leave(err)
}

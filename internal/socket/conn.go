package socket

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrUnsupported is what Adopt says of a connection that is not the system's own: one
// of TLS, or one wrapped in a type that hides SyscallConn.
var ErrUnsupported = fmt.Errorf("socket: not a connection of the system: %w", errors.ErrUnsupported)

// Handler is told what happens on one connection, never two calls at once, from the
// poller's goroutine. It must not block. It may close the connection.
type Handler interface {
	// Received gets what the client sent, which may be changed, and is valid during
	// the call only.
	Received(data []byte)
	// Left says that the client has closed its side (io.EOF), or that the connection
	// broke. It comes at most once and nothing follows. The connection is still to be
	// closed, and after io.EOF it may still be written to.
	Left(err error)
}

// Conn is a connection that a Poller listens to. All methods may be called at any
// time from any goroutine. There may be many: keep it small.
type Conn struct {
	conn    net.Conn
	raw     syscall.RawConn // of conn, which makes a new one each time
	handler Handler
	poller  *Poller
	id      uint64

	writing sync.Mutex // held while bytes are written; nothing is locked below it
	closed  atomic.Bool
	left    bool // of the poller's goroutine
}

// newConn makes a Conn of what can be one.
func newConn(p *Poller, conn net.Conn, h Handler) (*Conn, error) {
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return nil, ErrUnsupported
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return nil, err
	}
	// The times of the request are over.
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return &Conn{conn: conn, raw: raw, handler: h, poller: p}, nil
}

// Write writes all of bufs. It fails with os.ErrDeadlineExceeded when the client has
// not taken them after timeout, which must be above zero and begins when an earlier
// Write on the connection is over. After a failure nobody knows what the client got:
// the connection should be closed, and every later write fails. bufs stay as they are.
//
// Write allocates a little; try Writer.TryWrite first.
func (c *Conn) Write(bufs [][]byte, timeout time.Duration) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if err := c.writeAll(bufs); err != nil {
		return err // the deadline stays, and with it the failure
	}
	return c.conn.SetWriteDeadline(time.Time{})
}

// CloseWrite tells the client that nothing more will be sent, after what was written.
// What the client says is still received.
func (c *Conn) CloseWrite() error {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return ErrUnsupported
}

// Close closes the connection; twice is fine. Writes that are running fail with
// net.ErrClosed. Once Close has returned no call to the Handler is begun; one that
// was begun before may still be running, and Close does not wait for it.
//
// If the client has sent what was not read yet, the kernel answers with a reset,
// which may cost the client what is on its way to it: see CloseWrite.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.poller.forget(c)
	return c.conn.Close()
}

// RemoteAddr is the address of the client.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// received and leave call the handler, unless the connection was closed meanwhile.

func (c *Conn) received(data []byte) {
	if !c.closed.Load() {
		c.handler.Received(data)
	}
}

func (c *Conn) leave(err error) {
	if !c.left && !c.closed.Load() {
		c.left = true
		c.handler.Left(err)
	}
}

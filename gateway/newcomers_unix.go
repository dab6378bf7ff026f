//go:build unix

package gateway

import (
	"io"
	"net"
	"syscall"

	"google.golang.org/grpc/mem"
)

// readyReader lets gRPC's server wait for bytes without keeping a buffer of 32 KiB for
// them, as it does by itself with a plain TCP connection.
type readyReader struct {
	raw  syscall.RawConn
	size int
	pool mem.BufferPool
	buf  *[]byte
	n    int
	err  error
	read func(fd uintptr) bool
	turn turn
}

func (r *readyReader) of(conn net.Conn) {
	if c, ok := conn.(syscall.Conn); ok {
		r.raw, _ = c.SyscallConn() // nil: read as any connection is
	}
	r.read = func(fd uintptr) bool {
		r.buf = r.pool.Get(r.size)
		// Not x/sys/unix: the race detector takes that for another lock than net's.
		for r.err = syscall.EINTR; r.err == syscall.EINTR; {
			r.n, r.err = syscall.Read(int(fd), (*r.buf)[:min(r.turn.most, len(*r.buf))])
		}
		if r.err != nil {
			r.pool.Put(r.buf)
			r.buf, r.n = nil, 0
		}
		return r.err != syscall.EAGAIN
	}
}

// ReadOnReady is what gRPC's transport looks for: it waits until there is something to
// read, takes a buffer of a size from the pool, and reads into it.
func (c *newcomer) ReadOnReady(size int, pool mem.BufferPool) (buf *[]byte, n int, err error) {
	r := &c.reader
	if r.raw == nil {
		buf = pool.Get(size)
		if n, err = c.Conn.Read(*buf); n == 0 {
			pool.Put(buf)
			buf = nil
		}
		return buf, n, err
	}
	r.size, r.pool = size, pool
	r.turn.begin()
	err = r.raw.Read(r.read)
	r.turn.read(r.n)
	buf, n = r.buf, r.n
	if err == nil {
		err = r.err
	}
	r.buf, r.n, r.err, r.pool = nil, 0, nil, nil
	if err == nil && n == 0 {
		pool.Put(buf)
		return nil, 0, io.EOF
	}
	return buf, n, err
}

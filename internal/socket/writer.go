//go:build unix

package socket

import (
	"os"

	"golang.org/x/sys/unix"
)

// Writer is what one goroutine needs to write to any number of connections without
// an allocation. Its zero value is ready. It keeps nothing of what it has written.
type Writer struct {
	vector          // room for one system call
	rest   [][]byte // what is still to be written
	done   int      // how much of rest[0] is not
	n      int      // written so far
	wait   bool     // for the client, when it is full
	err    error    // of the last system call
	step   func(fd uintptr) bool
}

// TryWrite writes what the kernel takes at once, in one system call for every 1024
// buffers that are not empty, and does not wait. n less than the sum of bufs with no
// error says that the connection is full, or that another write to it is running.
// After an error the connection should be closed. bufs stay as they are.
func (w *Writer) TryWrite(c *Conn, bufs [][]byte) (n int, err error) {
	// The connection's own lock would wait for a Write that is waiting for the client.
	if !c.writing.TryLock() {
		return 0, nil
	}
	defer c.writing.Unlock()
	return w.write(c, bufs, false)
}

func (c *Conn) writeAll(bufs [][]byte) error {
	_, err := new(Writer).write(c, bufs, true)
	return err
}

func (w *Writer) write(c *Conn, bufs [][]byte, wait bool) (int, error) {
	if w.step == nil {
		w.step = w.send
	}
	w.rest, w.done, w.n, w.wait, w.err = bufs, 0, 0, wait, nil
	w.advance(0)
	err := c.raw.Write(w.step)
	if err == nil {
		err = w.err
	}
	w.rest = nil
	return w.n, err
}

// send writes until all is written or the kernel takes no more; false: wait for it.
func (w *Writer) send(fd uintptr) bool {
	for len(w.rest) > 0 {
		n, all, err := w.call(int(fd), w.rest, w.done)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return !w.wait
		default:
			w.err = os.NewSyscallError("write", err)
			return true
		}
		w.n += n
		w.advance(n)
		if n < all && !w.wait {
			return true // it is full, and need not be asked
		}
	}
	return true
}

// advance leaves n more bytes behind, and the empty buffers after them.
func (w *Writer) advance(n int) {
	w.done += n
	for len(w.rest) > 0 && w.done >= len(w.rest[0]) {
		w.done -= len(w.rest[0])
		w.rest = w.rest[1:]
	}
}

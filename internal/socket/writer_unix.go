//go:build unix && !linux

package socket

import "golang.org/x/sys/unix"

// vector is for Linux: here each buffer is a system call of its own.
type vector struct{}

func (*vector) call(fd int, bufs [][]byte, skip int) (n, all int, err error) {
	n, err = unix.Write(fd, bufs[0][skip:])
	return n, len(bufs[0]) - skip, err
}

package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxBuffers is how many buffers the kernel takes in one call (IOV_MAX).
const maxBuffers = 1024

// vector is kept between calls: unix.Writev allocates one each time.
type vector struct{ iov []unix.Iovec }

// call makes one system call. It says how many bytes were written, of how many it
// tried. The first skip bytes of bufs, less than the first buffer has, are left out.
func (v *vector) call(fd int, bufs [][]byte, skip int) (n, all int, err error) {
	if len(bufs) == 1 {
		n, err = unix.Write(fd, bufs[0][skip:])
		return n, len(bufs[0]) - skip, err
	}
	iov := v.iov[:0]
	for _, b := range bufs {
		b, skip = b[skip:], 0
		if len(b) == 0 {
			continue
		}
		if len(iov) == maxBuffers {
			break
		}
		all += len(b)
		iov = append(iov, unix.Iovec{Base: unsafe.SliceData(b)})
		iov[len(iov)-1].SetLen(len(b))
	}
	written, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)))
	clear(iov) // nobody's bytes are kept alive
	v.iov = iov[:0]
	if errno != 0 {
		return 0, all, errno
	}
	return int(written), all, nil
}

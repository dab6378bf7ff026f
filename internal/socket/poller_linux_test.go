//go:build linux && !portable

package socket

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const manyGoroutines = false

func TestPoller_ABrokenEpollIsToldToAll(t *testing.T) {
	p := newPoller(t)
	client, server := newPair(t)
	e := newEar(t)
	c := adopt(t, p, server, e, "")
	say(t, client, "x")
	e.hears("x")
	_ = p.epoll.Close()
	if err := e.leaves(); err == io.EOF {
		t.Errorf("left with %v", err)
	}
	_, other := newPair(t)
	if _, err := p.Adopt(other, newEar(t), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a broken poller adopts: %v", err)
	}
	_ = c.Close()
}

// An end lasts, and an epoll that knew of it would keep the poller busy for ever.
func TestPoller_IsQuietAfterAClientLeft(t *testing.T) {
	p := newPoller(t)
	client, server := newPair(t)
	e := newEar(t)
	c := adopt(t, p, server, e, "")
	_ = client.CloseWrite()
	if err := e.leaves(); err != io.EOF {
		t.Fatalf("left with %v", err)
	}
	if err := p.raw.Control(func(fd uintptr) {
		if n, err := unix.EpollWait(int(fd), make([]unix.EpollEvent, 1), 0); n != 0 || err != nil {
			t.Errorf("%d events, %v", n, err)
		}
	}); err != nil {
		t.Error(err)
	}
	_ = c.Close()
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// The clients are bare descriptors, which take nothing of Go's memory.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const count = 2000
	p := newPoller(t)
	at := newPort(t)
	clients := make([]int, 0, count)
	servers := make([]net.Conn, 0, count)
	conns := make([]*Conn, 0, count)
	defer func() {
		for _, fd := range clients {
			_ = unix.Close(fd)
		}
	}()
	addr := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: at.l.Addr().(*net.TCPAddr).Port}
	start := heap()
	for range count {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, fd)
		if err := unix.Connect(fd, addr); err != nil {
			t.Fatal(err)
		}
		s, err := at.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		servers = append(servers, s)
	}
	accepted := heap()
	for _, s := range servers {
		conns = append(conns, adopt(t, p, s, silent{}, ""))
	}
	adopted := heap()
	// One round of use must leave nothing behind.
	var w Writer
	for _, c := range conns {
		if _, err := w.TryWrite(c, [][]byte{{1}, {2}}); err != nil {
			t.Fatal(err)
		}
		if err := c.Write([][]byte{{1}, {2}}, patience); err != nil {
			t.Fatal(err)
		}
	}
	used := heap()
	runtime.KeepAlive(servers)
	runtime.KeepAlive(conns)
	per := func(from, to int64) int64 { return (to - from) / count }
	t.Logf("bytes of each connection: %d of package net, %d of this one (Conn: %d), %d after use", per(start, accepted), per(accepted, adopted), unsafe.Sizeof(Conn{}), per(start, used))
	if all := per(start, used); all > 800 {
		t.Errorf("an idle connection takes %d bytes", all)
	}
}

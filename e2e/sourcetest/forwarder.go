package sourcetest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// forwarder hands on connections to a broker, and can be away as a broker can.
type forwarder struct {
	t      testing.TB
	addr   string // where it listens, or nobody does
	target string
	work   sync.WaitGroup

	deaf atomic.Bool // what is said to the broker is lost

	mu       sync.Mutex
	listener net.Listener // nil: it is away
	open     map[net.Conn]struct{}
}

// newForwarder makes one that is away.
func newForwarder(t testing.TB, target string) *forwarder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{t: t, addr: l.Addr().String(), target: target, open: map[net.Conn]struct{}{}}
	_ = l.Close()
	t.Cleanup(f.stop)
	return f
}

// start lets it be there.
func (f *forwarder) start() {
	f.t.Helper()
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	f.listener = l
	f.mu.Unlock()
	f.work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			f.work.Go(func() { f.forward(in) })
		}
	})
}

// stop cuts all connections and lets nobody connect.
func (f *forwarder) stop() {
	f.mu.Lock()
	if f.listener != nil {
		_ = f.listener.Close()
		f.listener = nil
	}
	for c := range f.open {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.work.Wait()
}

func (f *forwarder) forward(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer out.Close()
	if !f.add(in, out) {
		return
	}
	defer f.remove(in, out)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(in, out) // one side has ended: both do
		_ = in.Close()
	})
	_, _ = io.Copy(&ear{f, out}, in)
	_ = out.Close()
	back.Wait()
}

// ear hears nothing while its forwarder is deaf.
type ear struct {
	f   *forwarder
	out net.Conn
}

// Write implements io.Writer.
func (e *ear) Write(p []byte) (int, error) {
	if e.f.deaf.Load() {
		return len(p), nil
	}
	return e.out.Write(p)
}

func (f *forwarder) add(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener == nil {
		return false
	}
	for _, c := range conns {
		f.open[c] = struct{}{}
	}
	return true
}

func (f *forwarder) remove(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.open, c)
	}
}

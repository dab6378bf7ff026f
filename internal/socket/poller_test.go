package socket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func newPoller(t testing.TB) *Poller {
	t.Helper()
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// port is where connections are made.
type port struct{ l net.Listener }

func newPort(t testing.TB) port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return port{l}
}

// pair makes a connection. Only one goroutine at a time can.
func (p port) pair() (client, server *net.TCPConn, err error) {
	c, err := net.Dial("tcp", p.l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	s, err := p.l.Accept()
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	return c.(*net.TCPConn), s.(*net.TCPConn), nil
}

func newPair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	client, server, err := newPort(t).pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// ear is a Handler that remembers.
type ear struct {
	t    testing.TB
	news chan struct{} // room for one

	mu      sync.Mutex
	data    []byte
	err     error // why the client left
	running atomic.Int32
}

func newEar(t testing.TB) *ear { return &ear{t: t, news: make(chan struct{}, 1)} }

func (e *ear) alone() func() {
	if e.running.Add(1) != 1 {
		e.t.Error("two calls at once")
	}
	return func() {
		e.running.Add(-1)
		select {
		case e.news <- struct{}{}:
		default:
		}
	}
}

func (e *ear) Received(data []byte) {
	defer e.alone()()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		e.t.Error("received after the client had left")
	}
	if len(data) == 0 {
		e.t.Error("received nothing")
	}
	e.data = append(e.data, data...)
	clear(data) // it may
}

func (e *ear) Left(err error) {
	defer e.alone()()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil || err == nil {
		e.t.Errorf("left with %v, after %v", err, e.err)
	}
	e.err = err
}

// until waits until what was heard is enough.
func (e *ear) until(enough func(data []byte, err error) bool) (string, error) {
	e.t.Helper()
	late := time.After(patience)
	for {
		e.mu.Lock()
		data, err := string(e.data), e.err
		e.mu.Unlock()
		if enough([]byte(data), err) {
			return data, err
		}
		select {
		case <-e.news:
		case <-late:
			e.t.Fatalf("heard only %d bytes and %v", len(data), err)
		}
	}
}

// hears waits for the whole of what the client said.
func (e *ear) hears(want string) {
	e.t.Helper()
	if got, _ := e.until(func(data []byte, _ error) bool { return len(data) >= len(want) }); got != want {
		e.t.Fatalf("heard %q, want %q", got, want)
	}
}

// leaves waits until the client has left.
func (e *ear) leaves() error {
	e.t.Helper()
	_, err := e.until(func(_ []byte, err error) bool { return err != nil })
	return err
}

func (e *ear) heard() (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.data), e.err
}

func adopt(t testing.TB, p *Poller, conn net.Conn, h Handler, pending string) *Conn {
	t.Helper()
	c, err := p.Adopt(conn, h, []byte(pending))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func within[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestPoller_TellsWhatAClientSaysUntilItLeaves(t *testing.T) {
	p := newPoller(t)
	client, server := newPair(t)
	e := newEar(t)
	c := adopt(t, p, server, e, "")
	if c.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("the client is at %v, not %v", client.LocalAddr(), c.RemoteAddr())
	}
	say(t, client, "one,")
	e.hears("one,")
	long := strings.Repeat("0123456789", 5000) // many turns
	say(t, client, long)
	e.hears("one," + long)
	_ = client.Close()
	if err := e.leaves(); err != io.EOF {
		t.Errorf("left with %v", err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
}

func TestPoller_TellsFirstWhatWasPending(t *testing.T) {
	p := newPoller(t)
	for range 50 {
		client, server := newPair(t)
		say(t, client, " is here")
		e := newEar(t)
		c := adopt(t, p, server, e, "what was read before")
		e.hears("what was read before is here")
		_ = c.Close()
	}
}

func TestPoller_AdoptsWhatHTTPHijacked(t *testing.T) {
	p := newPoller(t)
	e := newEar(t)
	conns := make(chan *Conn, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.SetDeadline(time.Unix(1, 0)) // as a server with time-outs would leave it
		pending, _ := rw.Reader.Peek(rw.Reader.Buffered())
		c, err := p.Adopt(conn, e, pending)
		if err != nil {
			t.Error(err)
		}
		conns <- c
	}))
	defer s.Close()
	client, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	say(t, client, "GET / HTTP/1.1\r\nHost: x\r\n\r\nat once,")
	c := within(t, conns)
	say(t, client, "later")
	e.hears("at once,later")
	if err := c.Write([][]byte{[]byte("an "), []byte("answer")}, patience); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); string(got) != "an answer" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	_ = c.Close()
}

func TestPoller_TellsOfAReset(t *testing.T) {
	p := newPoller(t)
	client, server := newPair(t)
	e := newEar(t)
	c := adopt(t, p, server, e, "")
	_ = client.SetLinger(0)
	_ = client.Close()
	if err := e.leaves(); !errors.Is(err, syscall.ECONNRESET) && runtime.GOOS != "windows" {
		t.Errorf("left with %v", err)
	}
	_ = c.Close()
}

func TestPoller_HalvesCloseApart(t *testing.T) {
	p := newPoller(t)
	t.Run("the client's first", func(t *testing.T) {
		client, server := newPair(t)
		e := newEar(t)
		c := adopt(t, p, server, e, "")
		say(t, client, "all said")
		_ = client.CloseWrite()
		if err := e.leaves(); err != io.EOF {
			t.Errorf("left with %v", err)
		}
		e.hears("all said")
		if err := c.Write([][]byte{[]byte("still told")}, patience); err != nil {
			t.Error(err)
		}
		_ = c.Close()
		if got, err := io.ReadAll(client); string(got) != "still told" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
	t.Run("the server's first", func(t *testing.T) {
		client, server := newPair(t)
		e := newEar(t)
		c := adopt(t, p, server, e, "")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(client); len(got) > 0 || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		say(t, client, "still heard")
		e.hears("still heard")
		_ = client.Close()
		if err := e.leaves(); err != io.EOF {
			t.Errorf("left with %v", err)
		}
		_ = c.Close()
	})
}

func TestPoller_RefusesWhatIsNotTheSystems(t *testing.T) {
	p := newPoller(t)
	client, server := newPair(t)
	for _, conn := range []net.Conn{tls.Server(server, &tls.Config{}), struct{ net.Conn }{server}} {
		if _, err := p.Adopt(conn, newEar(t), nil); err != ErrUnsupported || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%T: %v", conn, err)
		}
	}
	say(t, client, "x")
	if n, err := server.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the connection was touched: %v", err)
	}
	_ = server.Close()
	if _, err := p.Adopt(server, newEar(t), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed connection: %v", err)
	}
}

func TestPoller_CloseClosesAllAndTellsNobody(t *testing.T) {
	p := newPoller(t)
	var clients []net.Conn
	var ears []*ear
	for range 20 {
		client, server := newPair(t)
		e := newEar(t)
		adopt(t, p, server, e, "")
		clients, ears = append(clients, client), append(ears, e)
	}
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(p.Close)
	}
	closing.Wait()
	for i, client := range clients {
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a client reads %v", err)
		}
		if said, err := ears[i].heard(); said != "" || err != nil {
			t.Errorf("heard %q, %v", said, err)
		}
	}
	_, server := newPair(t)
	if _, err := p.Adopt(server, newEar(t), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed poller adopts: %v", err)
	}
}

// silent is a Handler of no size.
type silent struct{}

func (silent) Received([]byte) {}
func (silent) Left(error)      {}

func TestPoller_AChattyClientDoesNotStarveTheOthers(t *testing.T) {
	p := newPoller(t)
	chatty, server := newPair(t)
	c := adopt(t, p, server, silent{}, "")
	var chat sync.WaitGroup
	started := make(chan struct{})
	chat.Go(func() {
		noise := make([]byte, 64<<10)
		_, err := chatty.Write(noise)
		close(started)
		for err == nil {
			_, err = chatty.Write(noise)
		}
	})
	<-started
	for range 20 {
		client, server := newPair(t)
		e := newEar(t)
		quiet := adopt(t, p, server, e, "")
		say(t, client, "a word")
		e.hears("a word")
		_ = quiet.Close()
	}
	_ = c.Close()
	chat.Wait()
}

// handler is made of functions.
type handler struct {
	received func([]byte)
	left     func(error)
}

func (h handler) Received(data []byte) { h.received(data) }
func (h handler) Left(err error)       { h.left(err) }

// Two connections have something to say in the same turn, and whichever comes first
// closes both.
func TestConn_NothingIsToldAfterClose(t *testing.T) {
	p := newPoller(t)
	for range 100 {
		// While one handler keeps the poller, the events of the others gather.
		busy, server := newPair(t)
		held, release := make(chan struct{}), make(chan struct{})
		keeper := adopt(t, p, server, handler{
			received: func([]byte) { close(held); <-release },
			left:     func(error) {},
		}, "")
		say(t, busy, "x")
		within(t, held)

		var conns [2]*Conn
		var calls atomic.Int32
		done := make(chan struct{})
		for i := range conns {
			client, server := newPair(t)
			say(t, client, "hello")
			_ = client.CloseWrite()
			conns[i] = adopt(t, p, server, handler{
				received: func([]byte) {
					<-release // on Linux it is over
					if calls.Add(1) == 1 {
						_, _ = conns[1-i].Close(), conns[i].Close()
						close(done)
					}
				},
				left: func(err error) { t.Errorf("%d left with %v, though closed", i, err) },
			}, "")
		}
		close(release)
		within(t, done)
		// What comes later in the poller is later than what might have come.
		client, server := newPair(t)
		e := newEar(t)
		last := adopt(t, p, server, e, "")
		say(t, client, "x")
		e.hears("x")
		_, _ = last.Close(), keeper.Close()
		if n := calls.Load(); n > 1 && !manyGoroutines {
			t.Fatalf("%d were told", n)
		}
	}
}

func TestConn_WhatWasPendingIsNotToldAfterClose(t *testing.T) {
	if manyGoroutines {
		t.Skip("it may have been told at once")
	}
	p := newPoller(t)
	busy, server := newPair(t)
	held, release := make(chan struct{}), make(chan struct{})
	keeper := adopt(t, p, server, handler{received: func([]byte) { close(held); <-release }}, "")
	say(t, busy, "x")
	within(t, held)
	_, server = newPair(t)
	closed := newEar(t)
	c := adopt(t, p, server, closed, "pending")
	_, server = newPair(t)
	e := newEar(t)
	last := adopt(t, p, server, e, "pending")
	_ = c.Close()
	close(release)
	e.hears("pending")
	if said, err := closed.heard(); said != "" || err != nil {
		t.Errorf("heard %q, %v", said, err)
	}
	_, _ = last.Close(), keeper.Close()
}

func TestConn_ADescriptorUsedAgainMixesUpNobody(t *testing.T) {
	p := newPoller(t)
	at := newPort(t)
	var before *ear
	said := ""
	for i := range 500 {
		client, server, err := at.pair()
		if err != nil {
			t.Fatal(err)
		}
		mine := fmt.Sprintf("%d;", i)
		e := newEar(t)
		c := adopt(t, p, server, e, "")
		say(t, client, mine)
		if i%3 != 0 { // else the event is pending still, and the next gets the descriptor
			e.hears(mine)
		}
		_ = c.Close()
		_ = client.Close()
		if before != nil {
			if got, err := before.heard(); got != "" && got != said || err != nil {
				t.Fatalf("the handler of %q heard %q, %v", said, got, err)
			}
		}
		before, said = e, mine
	}
}

func TestConn_ThousandComeAndGoWhileWrittenTo(t *testing.T) {
	const workers, each = 20, 50
	p := newPoller(t)
	var running sync.WaitGroup
	for range workers {
		at := newPort(t)
		running.Go(func() {
			var w Writer
			for i := range each {
				client, server, err := at.pair()
				if err != nil {
					t.Error(err)
					return
				}
				e := newEar(t)
				c, err := p.Adopt(server, e, []byte("a"))
				if err != nil {
					t.Error(err)
					return
				}
				var writing sync.WaitGroup
				writing.Go(func() {
					var w Writer
					for range 10 {
						if _, err := w.TryWrite(c, [][]byte{{1}, {2, 3}}); err != nil {
							return
						}
					}
				})
				_, _ = client.Write([]byte("b"))
				_, _ = w.TryWrite(c, [][]byte{{1, 2, 3}})
				switch i % 3 {
				case 0:
					_ = client.Close()
					_, _ = e.until(func(_ []byte, err error) bool { return err != nil })
				case 1:
					_, _ = e.until(func(data []byte, _ error) bool { return len(data) == 2 })
				}
				_ = c.Close()
				writing.Wait()
				_ = client.Close()
				if got, _ := e.heard(); !strings.HasPrefix("ab", got) {
					t.Errorf("heard %q", got)
				}
			}
		})
	}
	running.Wait()
}

// fill writes until the connection is full, and gives what was taken.
func fill(t testing.TB, c *Conn) []byte {
	t.Helper()
	var w Writer
	var sent []byte
	bufs := [][]byte{nil, bytes.Repeat([]byte("abc"), 10000), {}, bytes.Repeat([]byte("de"), 10000), nil}
	for {
		n, err := w.TryWrite(c, bufs)
		if err != nil {
			t.Fatal(err)
		}
		whole := bytes.Join(bufs, nil)
		sent = append(sent, whole[:n]...)
		if n < len(whole) {
			return sent
		}
	}
}

func TestWriter_StopsWhenFullAndWriteGoesOn(t *testing.T) {
	p := newPoller(t)
	client, server := newPair(t)
	c := adopt(t, p, server, newEar(t), "")
	want := fill(t, c)
	if n, err := new(Writer).TryWrite(c, [][]byte{[]byte("no more")}); n != 0 || err != nil {
		t.Fatalf("a full connection took %d bytes, %v", n, err)
	}
	var rest [][]byte // more than one call may have
	for i := range 3000 {
		rest = append(rest, bytes.Repeat([]byte{byte(i)}, i%700))
	}
	want = append(want, bytes.Join(rest, nil)...)
	wrote := make(chan error, 1)
	go func() {
		wrote <- errors.Join(c.Write(rest, patience), c.CloseWrite())
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(want), err)
	}
	if err := within(t, wrote); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	if _, err := new(Writer).TryWrite(c, [][]byte{{1}}); !errors.Is(err, net.ErrClosed) && tries {
		t.Errorf("a closed connection is written to: %v", err)
	}
}

func TestWriter_TakesAnyNumberOfBuffers(t *testing.T) {
	if !tries {
		t.Skip("every connection is full here")
	}
	p := newPoller(t)
	client, server := newPair(t)
	c := adopt(t, p, server, newEar(t), "")
	var w Writer
	for _, count := range []int{0, 1, 2, 1023, 1024, 1025, 2500} {
		bufs := make([][]byte, count, count+1)
		for i := range bufs {
			bufs[i] = []byte{byte(i), byte(i >> 8)}
		}
		bufs = append(bufs, nil)
		if n, err := w.TryWrite(c, bufs); n != 2*count || err != nil {
			t.Fatalf("%d buffers: wrote %d bytes, %v", count, n, err)
		}
		got := make([]byte, 2*count)
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, bytes.Join(bufs, nil)) {
			t.Fatalf("%d buffers: read something else, %v", count, err)
		}
	}
	_ = c.Close()
}

func TestWriter_DoesNotWaitForAWriteThatWaits(t *testing.T) {
	p := newPoller(t)
	_, server := newPair(t)
	c := adopt(t, p, server, newEar(t), "")
	fill(t, c)
	wrote := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		wrote <- c.Write([][]byte{make([]byte, 10<<20)}, patience)
	}()
	<-started
	for range 100 {
		if n, err := new(Writer).TryWrite(c, [][]byte{{1}}); n != 0 || err != nil {
			t.Fatalf("a full connection took %d bytes, %v", n, err)
		}
		runtime.Gosched()
	}
	_ = c.Close()
	if err := within(t, wrote); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write on a connection that is closed: %v", err)
	}
}

func TestConn_WriteGivesUpAndStaysFailed(t *testing.T) {
	p := newPoller(t)
	_, server := newPair(t)
	c := adopt(t, p, server, newEar(t), "")
	fill(t, c)
	if err := c.Write([][]byte{make([]byte, 10<<20)}, time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if _, err := new(Writer).TryWrite(c, [][]byte{{1}}); !errors.Is(err, os.ErrDeadlineExceeded) && tries {
		t.Errorf("a torn stream goes on: %v", err)
	}
	_ = c.Close()
}

func TestWriter_ToldThatTheClientIsGone(t *testing.T) {
	if !tries {
		t.Skip("every connection is full here")
	}
	p := newPoller(t)
	client, server := newPair(t)
	e := newEar(t)
	c := adopt(t, p, server, e, "")
	_ = client.SetLinger(0)
	_ = client.Close()
	_ = e.leaves()
	if _, err := new(Writer).TryWrite(c, [][]byte{{1}}); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("wrote to nobody: %v", err)
	}
	_ = c.Close()
}

// tries tells whether TryWrite does.
var tries = runtime.GOOS != "windows" && runtime.GOOS != "js" && runtime.GOOS != "plan9"

func BenchmarkTryWrite(b *testing.B) {
	for _, count := range []int{1, 4, 64} {
		b.Run(fmt.Sprintf("buffers=%d", count), func(b *testing.B) {
			p := newPoller(b)
			client, server := newPair(b)
			c := adopt(b, p, server, newEar(b), "")
			read := make(chan error, 1)
			go func() {
				buf := make([]byte, 1<<20)
				for {
					if _, err := client.Read(buf); err != nil {
						read <- err
						return
					}
				}
			}()
			bufs, size := make([][]byte, count), 0
			for i := range bufs {
				bufs[i] = make([]byte, 100)
				size += 100
			}
			var w Writer
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				for n := 0; n == 0; { // when full, try again
					var err error
					if n, err = w.TryWrite(c, bufs); err != nil {
						b.Fatal(err)
					}
				}
			}
			_ = c.Close()
			<-read
		})
	}
}

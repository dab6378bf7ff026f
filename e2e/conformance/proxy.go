package conformance

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"testing"
)

// Proxy stands between a driver and a node and injects faults, all in the direction from
// the node to the client but where it says otherwise. Its methods may be called at once.
type Proxy struct {
	// Address is HOST:PORT.
	Address string

	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex
	to       string
	turned   sync.Cond
	closed   bool
	refusing bool
	frozen   bool
	muted    int   // from how many bytes on a new connection is mute; -1: never
	buffers  bool  // answers are held back until they are complete
	begins   int   // but for so many bytes of their bodies
	cuts     []int // of the connections to come, after how many bytes
	random   func() int
	links    map[*link]struct{}
	accepted int
	through  int // bytes of all connections
}

// link is one connection through the proxy.
type link struct {
	client, node net.Conn
	left         int  // bytes until it is cut; -1: it is not
	mute         int  // bytes until it is mute; -1: it is not
	dead         bool // nothing is forwarded any more
}

// NewProxy starts one that forwards to HOST:PORT. It ends with the test.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: l.Addr().String(), listener: l, to: to, muted: -1, links: map[*link]struct{}{}}
	p.turned.L = &p.mu
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close() // it is not used any more
		p.mu.Lock()
		p.closed = true
		p.turned.Broadcast()
		p.mu.Unlock()
		p.Cut()
		p.running.Wait()
	})
	return p
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	l := &link{client: client, left: -1}
	p.mu.Lock()
	p.accepted++
	refused, buffers, begins, to := p.refusing || p.closed, p.buffers, p.begins, p.to
	if l.mute = p.muted; p.frozen {
		l.dead = true
	}
	switch {
	case len(p.cuts) > 0:
		l.left, p.cuts = p.cuts[0], p.cuts[1:]
	case p.random != nil:
		l.left = p.random()
	}
	if !refused {
		p.links[l] = struct{}{}
	}
	p.mu.Unlock()
	if refused {
		reset(client)
		return
	}
	defer p.forget(l)
	node, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	// So that what a slow client does not read is felt by the node, and not lost in here.
	for _, c := range []net.Conn{client, node} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_, _ = tcp.SetReadBuffer(64<<10), tcp.SetWriteBuffer(64<<10)
		}
	}
	p.mu.Lock()
	if _, open := p.links[l]; open {
		l.node = node
	} else {
		_ = node.Close() // it was cut meanwhile
	}
	p.mu.Unlock()
	if buffers {
		p.whole(l, begins)
		return
	}
	up := make(chan struct{})
	go func() {
		defer close(up)
		p.pump(l, node, client, false)
	}()
	p.pump(l, client, node, true)
	p.forget(l)
	<-up
}

// pump forwards one direction until its end.
func (p *Proxy) pump(l *link, to, from net.Conn, down bool) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for (p.frozen || l.dead) && !p.closed && p.open(l) {
			if p.frozen {
				l.dead = true // what went through a half-open connection is lost
			}
			p.turned.Wait()
		}
		cut := false
		if down {
			if l.left >= 0 {
				cut = n >= l.left
				n = min(n, l.left)
				l.left -= n
			}
			if l.mute >= 0 {
				n = min(n, l.mute)
				l.mute -= n
			}
			p.through += n
		}
		p.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		switch {
		case cut:
			p.forget(l)
			return
		case err == io.EOF && !down:
			if half, ok := to.(*net.TCPConn); ok {
				_ = half.CloseWrite() // the other direction finds out
			}
			return
		case err != nil:
			if down {
				p.hold(l)
			}
			return
		}
	}
}

// hold waits while a mute or dead connection must not be seen to end.
func (p *Proxy) hold(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for (l.dead || l.mute == 0) && !p.closed && p.open(l) {
		p.turned.Wait()
	}
}

// whole forwards HTTP/1.1, each answer only when it is complete, but for the first bytes of
// its body. An upgraded connection has an answer that does not end.
func (p *Proxy) whole(l *link, begins int) {
	requests, answers := bufio.NewReader(l.client), bufio.NewReader(l.node)
	for {
		request, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		dump, err := httputil.DumpRequest(request, true)
		if err != nil {
			return
		}
		if _, err := l.node.Write(dump); err != nil {
			return
		}
		gone := make(chan struct{})
		go func() { // a client that gives up ends the answer
			defer close(gone)
			if _, err := requests.Peek(1); err != nil {
				_ = l.node.Close()
			}
		}()
		answer, err := http.ReadResponse(answers, request)
		if err != nil {
			_ = l.client.Close()
			<-gone
			return
		}
		if answer.StatusCode == http.StatusSwitchingProtocols {
			head := "HTTP/1.1 101 Switching Protocols\r\n"
			for name := range answer.Header {
				head += name + ": " + answer.Header.Get(name) + "\r\n"
			}
			_, _ = io.WriteString(l.client, head+"\r\n") // who has gone ends it below
			p.running.Go(func() {
				<-gone
				_, _ = io.Copy(l.node, requests)
				_ = l.node.Close()
			})
			_, _ = io.CopyN(l.client, answers, int64(begins))
			_, _ = io.Copy(io.Discard, answers) // until one of them goes
			_ = l.client.Close()
			return
		}
		if begins == 0 {
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				_ = l.client.Close()
				<-gone
				return
			}
			answer.Body, answer.ContentLength, answer.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		} else {
			answer.Body = io.NopCloser(io.MultiReader(io.LimitReader(answer.Body, int64(begins)), &complete{of: answer.Body}))
		}
		answer.Close = false
		answer.Header.Del("Connection")
		if err := answer.Write(l.client); err != nil {
			_ = l.client.Close()
			<-gone
			return
		}
		<-gone
	}
}

// complete reads nothing of what it has before it has all of it.
type complete struct {
	of   io.Reader
	read *bytes.Reader
}

// Read implements io.Reader.
func (c *complete) Read(to []byte) (int, error) {
	if c.read == nil {
		all, err := io.ReadAll(c.of)
		if err != nil {
			return 0, err
		}
		c.read = bytes.NewReader(all)
	}
	return c.read.Read(to)
}

func (p *Proxy) open(l *link) bool { _, ok := p.links[l]; return ok }

// forget ends a connection.
func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	delete(p.links, l)
	node := l.node
	p.turned.Broadcast()
	p.mu.Unlock()
	if node != nil {
		_ = node.Close()
	}
	_ = l.client.Close()
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.turned.Broadcast()
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	var open []*link
	for l := range p.links {
		open = append(open, l)
	}
	p.mu.Unlock()
	for _, l := range open {
		reset(l.client)
		p.forget(l)
	}
}

// CutAfter ends each of the next connections after so many bytes.
func (p *Proxy) CutAfter(bytes ...int) { p.set(func() { p.cuts = bytes }) }

// CutOpenAfter ends each of the connections that there are after so many bytes, and refuses
// new ones until Accept.
func (p *Proxy) CutOpenAfter(bytes int) {
	p.set(func() {
		p.refusing = true
		for l := range p.links {
			l.left = bytes
		}
	})
}

// CutAtRandom ends each new connection after as many bytes as f says; nil: no more.
func (p *Proxy) CutAtRandom(f func() int) { p.set(func() { p.random = f }) }

// Refuse resets all connections and new ones, until Accept.
func (p *Proxy) Refuse() {
	p.set(func() { p.refusing = true })
	p.Cut()
}

// Accept ends Refuse.
func (p *Proxy) Accept() { p.set(func() { p.refusing = false }) }

// Freeze forwards nothing in either direction, on the connections that there are and on new
// ones, and tells nobody. After Thaw new connections work; the frozen ones stay dead.
func (p *Proxy) Freeze() {
	p.set(func() {
		p.frozen = true
		for l := range p.links {
			l.dead = true
		}
	})
}

// Thaw ends Freeze.
func (p *Proxy) Thaw() { p.set(func() { p.frozen = false }) }

// Mute lets each new connection have its first bytes only, and those that there are no
// more; none of them is closed. A negative number ends it for new connections.
func (p *Proxy) Mute(bytes int) {
	p.set(func() {
		p.muted = bytes
		for l := range p.links {
			if l.mute < 0 && bytes >= 0 {
				l.mute = 0
			}
		}
	})
}

// Buffer holds each answer of new connections back until it is complete, as proxies for
// HTTP do that buffer.
func (p *Proxy) Buffer(on bool) { p.set(func() { p.buffers, p.begins = on, 0 }) }

// BufferBehind does so from so many bytes of an answer's body on: a stream begins, and is
// mute.
func (p *Proxy) BufferBehind(bytes int) { p.set(func() { p.buffers, p.begins = true, bytes }) }

// Lead leads new connections to another HOST:PORT.
func (p *Proxy) Lead(to string) { p.set(func() { p.to = to }) }

// Accepted is how many connections there were.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Through is how many bytes came from the node.
func (p *Proxy) Through() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.through
}

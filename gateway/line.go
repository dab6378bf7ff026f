package gateway

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/watchroute/watchroute/internal/clock"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/socket"
)

// lineSet is the connections that have left net/http: a watch on plaintext HTTP/1.1,
// as a stream or as a WebSocket. The hub's shards write to them, one poller hears
// them, and one clock pings them; none has a goroutine, a buffer or a timer of its own
// while nothing happens.
type lineSet struct {
	poller *socket.Poller
	clock  *clock.Clock
	pens   sync.Pool // of *pen
	done   chan struct{}
	// running are goroutines that the poller's calls have begun.
	running sync.WaitGroup

	mu    sync.Mutex // before line.mu
	open  map[*line]struct{}
	empty chan struct{} // closed when open is empty, and made anew with the next one
}

// pen is what a goroutine needs to write to any line.
type pen struct {
	writer socket.Writer
	bufs   [][]byte
}

func newLines() (*lineSet, error) {
	p, err := socket.NewPoller()
	if err != nil {
		return nil, err
	}
	return &lineSet{poller: p, clock: clock.New(), pens: sync.Pool{New: func() any { return new(pen) }},
		done: make(chan struct{}), open: map[*line]struct{}{}, empty: closed()}, nil
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// await says whether there came a moment without lines before ctx ended.
func (ls *lineSet) await(ctx context.Context) bool {
	ls.mu.Lock()
	empty := ls.empty
	ls.mu.Unlock()
	select {
	case <-empty:
		return true
	case <-ctx.Done():
		return false
	}
}

// close cuts every line, ends its watch and waits until it is over.
func (ls *lineSet) close() {
	ls.mu.Lock()
	select {
	case <-ls.done:
	default:
		close(ls.done)
	}
	all := make([]*line, 0, len(ls.open))
	for l := range ls.open {
		all = append(all, l)
	}
	empty := ls.empty
	ls.mu.Unlock()
	ls.poller.Close()
	for _, l := range all {
		l.Left(net.ErrClosed)
	}
	<-empty
	ls.running.Wait()
	ls.clock.Close()
}

// leaving gives what is closed when the client leaves, or the watch is to end, before
// the line has one.
func (l *line) leaving() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := make(chan struct{})
	if l.gone != nil || l.ends != nil {
		close(left)
	} else {
		l.left, l.opening = left, left
	}
	return left
}

// why gives the reason for which a line without a watch is over.
func (l *line) why(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends != nil {
		return l.ends
	}
	return err
}

// line is one such connection. The hub's goroutine for it writes messages; the
// poller's and the clock's may put a few bytes of WebSocket's own between them.
type line struct {
	lines   *lineSet
	timeout time.Duration
	talk    talk

	mu    sync.Mutex      // held for moments; nothing is locked below it
	conn  *socket.Conn    // set once
	watch *hub.Watch      // nil: not open yet
	gone  *resource.Error // the client has left
	ends  *resource.Error // what else ends the watch, before it was open
	busy  bool            // a rest is being written, or will be
	rest  []byte          // what was begun and must come before everything else
	side  []byte          // to be written before the next message
	left  chan struct{}
	// opening is what left was when the watch began to open.
	opening chan struct{}
}

// talk is what the two kinds of lines differ in.
type talk interface {
	// received is told what the client says.
	received(l *line, data []byte)
	// farewell gives the last bytes; nil err: a drain. w is nil where no watch opened.
	farewell(w *hub.Watch, err error) []byte
	// linger says how long to wait for the client to close after those.
	linger() time.Duration
	// over is called when nothing is written any more.
	over(l *line)
}

// mostSide bounds what a client can make a line say beside its messages while it does
// not read.
const mostSide = 4 << 10

// adopt makes a line of a connection that was hijacked. said is what the client has
// sent already, head what the server says first. On an error the connection is
// closed.
func (g *Gateway) adopt(conn net.Conn, said, head []byte, t talk) (*line, error) {
	if p, ok := conn.(*peeked); ok && len(p.said) == 0 {
		conn = p.Conn
	}
	ls := g.lines
	l := &line{lines: ls, timeout: g.cfg.WriteTimeout, talk: t, side: head}
	ls.mu.Lock()
	select {
	case <-ls.done:
		ls.mu.Unlock()
		_ = conn.Close()
		return nil, net.ErrClosed
	default:
	}
	if len(ls.open) == 0 {
		ls.empty = make(chan struct{})
	}
	ls.open[l] = struct{}{}
	ls.mu.Unlock()

	l.mu.Lock() // the poller's calls wait
	c, err := ls.poller.Adopt(conn, l, said)
	l.conn = c
	l.mu.Unlock()
	if err != nil {
		_ = conn.Close()
		l.forget()
		return nil, err
	}
	return l, nil
}

// hijackable says whether a request's connection can become a line.
func hijackable(w http.ResponseWriter, r *http.Request) bool {
	if r.ProtoMajor != 1 || r.TLS != nil {
		return false
	}
	for {
		switch t := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

// deliver hands the line's watch to the hub.
func (g *Gateway) deliver(l *line, w *hub.Watch) {
	l.mu.Lock()
	l.watch = w
	why := cmp.Or(l.gone, l.ends)
	l.mu.Unlock()
	if why != nil {
		w.End(why)
	}
	g.service.Deliver(w, l)
}

// TrySend implements hub.Outlet.
func (l *line) TrySend(frames []hub.Frame) (full bool, err error) {
	p := l.lines.pens.Get().(*pen)
	defer l.lines.pens.Put(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil { // and was told the last thing, maybe
		return false, &lostError{l.gone}
	}
	p.bufs = p.bufs[:0]
	if len(l.side) > 0 {
		p.bufs = append(p.bufs, l.side)
	}
	for i := range frames {
		p.bufs = append(p.bufs, frames[i].Bytes)
	}
	n, err := p.writer.TryWrite(l.conn, p.bufs)
	l.side = nil
	if err == nil {
		l.keep(p.bufs, n)
	}
	clear(p.bufs)
	if err != nil {
		return false, lost(err, l.timeout)
	}
	return l.busy, nil
}

// keep copies what was not written of some buffers: a client that reads nothing pins
// what it was to be sent, and not the chunks that it lay in. l.mu is held.
func (l *line) keep(bufs [][]byte, written int) {
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	if written == size {
		return
	}
	l.busy = true
	l.rest = make([]byte, 0, size-written)
	for _, b := range bufs {
		skip := min(written, len(b))
		written -= skip
		l.rest = append(l.rest, b[skip:]...)
	}
}

// Flush implements hub.Outlet.
func (l *line) Flush() error {
	for {
		l.mu.Lock()
		rest := append(l.rest, l.side...)
		l.rest, l.side = nil, nil
		if len(rest) == 0 {
			l.busy = false
			l.mu.Unlock()
			return nil
		}
		l.busy = true
		l.mu.Unlock()
		if err := l.conn.Write([][]byte{rest}, l.timeout); err != nil {
			return lost(err, l.timeout)
		}
	}
}

// Over implements hub.Outlet.
func (l *line) Over(w *hub.Watch, err error) {
	l.talk.over(l)
	if errors.Is(err, hub.ErrDrained) {
		err = nil
	}
	l.mu.Lock()
	gone, left := l.gone != nil, make(chan struct{})
	if !gone {
		l.left = left
		l.side = append(l.side, l.talk.farewell(w, err)...)
	}
	l.mu.Unlock()
	if linger := l.talk.linger(); !gone && !errors.As(err, new(*lostError)) && l.Flush() == nil && linger > 0 && l.conn.CloseWrite() == nil {
		timer := time.NewTimer(linger)
		defer timer.Stop()
		select {
		case <-left:
		case <-timer.C:
		case <-l.lines.done:
		}
	}
	_ = l.conn.Close()
	l.forget()
}

func (l *line) forget() {
	ls := l.lines
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.open, l)
	if len(ls.open) == 0 {
		close(ls.empty)
	}
}

// say puts a few bytes between the messages: now, or where the line is stuck, later.
func (l *line) say(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sayLocked(b)
}

// sayLast is say, for the answer to a client that leaves: nothing follows it.
func (l *line) sayLast(b []byte) {
	l.mu.Lock()
	l.sayLocked(b)
	l.goneLocked(resource.Errorf(resource.Cancelled, "the client left"))
	w := l.watch
	l.mu.Unlock()
	if w != nil {
		w.End(l.gone)
	}
}

func (l *line) goneLocked(why *resource.Error) {
	if l.gone == nil {
		l.gone = why
	}
}

func (l *line) sayLocked(b []byte) {
	if l.gone != nil {
		return
	}
	if l.busy || len(l.side) > 0 {
		if len(l.side)+len(b) <= mostSide {
			l.side = append(l.side, b...)
		}
		return
	}
	p := l.lines.pens.Get().(*pen)
	defer l.lines.pens.Put(p)
	p.bufs = append(p.bufs[:0], b)
	n, err := p.writer.TryWrite(l.conn, p.bufs)
	clear(p.bufs)
	if err == nil && n < len(b) {
		l.side = append(l.side, b[n:]...)
	}
}

// Received implements socket.Handler.
func (l *line) Received(data []byte) { l.talk.received(l, data) }

// Left implements socket.Handler.
func (l *line) Left(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.goneLocked(resource.Errorf(resource.Cancelled, "the client left").Because(err))
	if l.watch != nil {
		l.watch.End(l.gone)
	}
	if l.conn != nil {
		_ = l.conn.Close() // also under who writes to it
	}
	if l.left != nil {
		close(l.left)
		l.left = nil
	}
}

// end ends the watch, now or when it opens, and the client is told why.
func (l *line) end(why *resource.Error) {
	l.mu.Lock()
	w := l.watch
	l.ends = why
	if l.left != nil && l.left == l.opening {
		close(l.left)
		l.left = nil
	}
	l.mu.Unlock()
	if w != nil {
		w.End(why)
	}
}

// streamTalk is the talk of NDJSON and SSE.
type streamTalk struct{ rename func(error) error }

func (streamTalk) received(*line, []byte) {}
func (streamTalk) linger() time.Duration  { return 0 }
func (streamTalk) over(*line)             {}

func (t *streamTalk) farewell(w *hub.Watch, err error) []byte {
	if err == nil {
		return nil
	}
	return w.Closing(t.rename(err)).Bytes
}

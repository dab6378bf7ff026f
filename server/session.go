package server

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync"
	"unicode/utf8"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
)

// Limits of a session.
const (
	MaxWatchID = 64 // bytes, of a fence's id too
	MaxFences  = 100
)

// SessionConn is one session's connection.
type SessionConn interface {
	// Recv waits for the client's next message. io.EOF: the client will send no
	// more. It is called from one goroutine.
	Recv() (*watchroutev1.SessionRequest, error)
	// Send writes one encoded message, and may wait for the client to read. It is
	// called from one goroutine, and must not keep the message.
	Send(message []byte) error
}

// SessionForm is how a session's messages look.
type SessionForm struct {
	// Codec encodes what a watch says, and Wrap puts it into a SessionResponse.
	Codec hub.Codec
	Wrap  func(dst []byte, watchID string, response []byte) []byte
	// Control encodes a SessionResponse that holds no watch's message.
	Control func(*watchroutev1.SessionResponse) []byte
}

// session is many watches on one connection. One goroutine runs it; another one
// receives.
type session struct {
	service   *Service
	ctx       context.Context
	conn      SessionConn
	form      SessionForm
	transport string

	watches map[string]*member
	fences  []*fence
	frames  []hub.Frame
	message []byte

	// dirty lists the members that may have something, each once.
	dirtyMu sync.Mutex // nothing is locked below it
	dirty   []*member
	signal  chan struct{}
}

// member is one watch of a session.
type member struct {
	id     string
	watch  *hub.Watch
	credit int  // events that may still be sent; negative: any number
	listed bool // in dirty; guarded by dirtyMu
}

// fence waits until members have come to a revision each.
type fence struct {
	id      string
	targets map[*member]uint64
	cancels []func()
}

// RunSession serves a session until the client leaves, the context ends or, after
// a drain, no watch is left, which is no error. Errors are *resource.Error for
// what the client did wrong, and the connection's own.
//
// When it returns, Recv may still be running in a goroutine that ends with the
// connection: the caller ends it.
func (s *Service) RunSession(ctx context.Context, conn SessionConn, form SessionForm, transport string) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x := &session{service: s, ctx: ctx, conn: conn, form: form, transport: transport,
		watches: map[string]*member{}, signal: make(chan struct{}, 1)}
	defer func() {
		for _, m := range x.watches {
			x.close(m, err)
		}
	}()
	requests, ended := make(chan *watchroutev1.SessionRequest), make(chan error, 1)
	go receive(ctx, conn, requests, ended)
	draining := s.cfg.Hub.Draining()
	for {
		select {
		case r := <-requests:
			if err := x.request(r); err != nil {
				return err
			}
		case err := <-ended:
			if !errors.Is(err, io.EOF) {
				return err
			}
			if len(x.watches) == 0 {
				return nil
			}
			ended = nil // the client has said all, and goes on listening
		case <-x.signal:
		case <-draining:
			draining = nil
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := x.turn(); err != nil {
			return err
		}
		if len(x.watches) == 0 && (draining == nil || ended == nil) {
			return nil
		}
	}
}

func receive(ctx context.Context, conn SessionConn, requests chan<- *watchroutev1.SessionRequest, ended chan<- error) {
	for {
		r, err := conn.Recv()
		if err != nil {
			ended <- err
			return
		}
		select {
		case requests <- r:
		case <-ctx.Done():
			return
		}
	}
}

// request does what the client asks. An error ends the session.
func (x *session) request(r *watchroutev1.SessionRequest) error {
	switch body := r.GetBody().(type) {
	case *watchroutev1.SessionRequest_Open:
		return x.open(body.Open)
	case *watchroutev1.SessionRequest_Cancel:
		m := x.watches[body.Cancel.GetWatchId()]
		if m == nil { // it has ended meanwhile, and the client was or will be told so
			return nil
		}
		x.remove(m, nil)
		return x.send(&watchroutev1.SessionResponse{WatchId: m.id, Body: &watchroutev1.SessionResponse_Closed{Closed: wire.Status(nil).Proto()}})
	case *watchroutev1.SessionRequest_Credit:
		if m := x.watches[body.Credit.GetWatchId()]; m != nil && m.credit >= 0 {
			m.credit = min(m.credit+int(body.Credit.GetEvents()), math.MaxInt32)
			x.mark(m)
		}
		return nil
	case *watchroutev1.SessionRequest_Fence:
		return x.fence(body.Fence.GetFenceId())
	}
	return resource.Errorf(resource.InvalidField, "none of open, cancel, fence and credit is given").In("body")
}

func checkLocalID(field, id string) error {
	if id == "" || len(id) > MaxWatchID || !utf8.ValidString(id) {
		return resource.Errorf(resource.InvalidWatchID, "the id has %d bytes; 1 to %d of UTF-8 are allowed", len(id), MaxWatchID).In(field)
	}
	return nil
}

// open opens a watch. What is wrong with the watch closes the watch only.
func (x *session) open(r *watchroutev1.OpenWatch) error {
	id := r.GetWatchId()
	if err := checkLocalID("open.watch_id", id); err != nil {
		return err
	}
	if x.watches[id] != nil {
		return resource.Errorf(resource.InvalidWatchID, "the watch %q is open", id).In("open.watch_id")
	}
	m := &member{id: id, credit: -1}
	if r.Credit != nil {
		m.credit = int(min(r.GetCredit(), math.MaxInt32))
	}
	var err error
	if most := x.service.cfg.MaxSessionWatches; len(x.watches) >= most {
		err = resource.Errorf(resource.LimitReached, "the session has %d watches, more are not allowed", most).With("limit", "session_watches")
	} else {
		m.watch, err = x.service.OpenWatch(x.ctx, r.GetWatch(), x.form.Codec, x.transport, func() { x.mark(m) })
	}
	if err != nil {
		return x.closed(m, err)
	}
	x.watches[id] = m
	x.mark(m)
	return nil
}

// closed tells the client why a watch has ended.
func (x *session) closed(m *member, err error) error {
	return x.send(&watchroutev1.SessionResponse{WatchId: m.id, Body: &watchroutev1.SessionResponse_Closed{Closed: wire.Status(err).Proto()}})
}

func (x *session) send(m *watchroutev1.SessionResponse) error {
	return x.conn.Send(x.form.Control(m))
}

// mark puts a member on the list of those that may have something.
func (x *session) mark(m *member) {
	x.dirtyMu.Lock()
	if !m.listed {
		m.listed = true
		x.dirty = append(x.dirty, m)
	}
	x.dirtyMu.Unlock()
	select {
	case x.signal <- struct{}{}:
	default:
	}
}

// turn lets each marked member send a little; who has more is marked again.
func (x *session) turn() error {
	x.dirtyMu.Lock()
	turn := x.dirty
	x.dirty = nil
	for _, m := range turn {
		m.listed = false
	}
	x.dirtyMu.Unlock()
	for _, m := range turn {
		if x.watches[m.id] != m || m.watch == nil {
			continue
		}
		if err := x.advance(m); err != nil {
			return err
		}
	}
	return x.passFences()
}

func (x *session) advance(m *member) error {
	frames, next := m.watch.Next(x.frames[:0], hub.Budget{Bytes: 64 << 10, Events: m.credit})
	x.frames = frames
	for i := range frames {
		if m.credit >= 0 {
			m.credit = max(0, m.credit-frames[i].Events)
		}
		x.message = x.form.Wrap(x.message[:0], m.id, frames[i].Bytes)
		if err := x.conn.Send(x.message); err != nil {
			return err
		}
	}
	if cap(x.message) > 1<<20 {
		x.message = nil
	}
	more := len(frames) > 0
	clear(frames)
	switch {
	case errors.Is(next, hub.ErrDrained):
		x.remove(m, next)
	case next != nil:
		x.remove(m, next)
		if x.ctx.Err() != nil {
			return x.ctx.Err()
		}
		return x.closed(m, next)
	case more:
		x.mark(m)
	}
	return nil
}

// remove takes a watch out of the session.
func (x *session) remove(m *member, err error) {
	delete(x.watches, m.id)
	for _, f := range x.fences {
		delete(f.targets, m)
	}
	x.close(m, err)
}

func (x *session) close(m *member, err error) { m.watch.Close(err) }

// fence notes how far each watch has to come.
func (x *session) fence(id string) error {
	if err := checkLocalID("fence.fence_id", id); err != nil {
		return err
	}
	if len(x.fences) >= MaxFences {
		return resource.Errorf(resource.LimitReached, "%d fences are not reached yet, more are not allowed", MaxFences).With("limit", "session_fences")
	}
	f := &fence{id: id, targets: map[*member]uint64{}}
	for _, m := range x.watches {
		head := m.watch.Head()
		f.targets[m] = head
		f.cancels = append(f.cancels, m.watch.NotifyAt(head))
		x.mark(m)
	}
	x.fences = append(x.fences, f)
	return x.passFences()
}

// passFences answers the fences that are reached, in their order.
func (x *session) passFences() error {
	for len(x.fences) > 0 && x.fences[0].passed() {
		f := x.fences[0]
		x.fences = slices.Delete(x.fences, 0, 1)
		for _, cancel := range f.cancels {
			cancel()
		}
		if err := x.send(&watchroutev1.SessionResponse{Body: &watchroutev1.SessionResponse_Fence{Fence: &watchroutev1.Fence{FenceId: f.id}}}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fence) passed() bool {
	for m, revision := range f.targets {
		if m.credit != 0 && !m.watch.Reached(revision) {
			return false
		}
	}
	return true
}

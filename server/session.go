package server

import (
	"context"
	"errors"
	"io"
	"math"
	"runtime/pprof"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
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
	// Codec encodes what a watch says, and Wrap puts that into a SessionResponse of
	// the watches that it is said to.
	Codec hub.Codec
	Wrap  func(dst []byte, watchIDs []string, response []byte) []byte
	// Control encodes a SessionResponse that holds no watch's message.
	Control func(*watchroutev1.SessionResponse) []byte
	// More appends one SessionResponse to the `more` of another one, which dst is.
	More func(dst, response []byte) []byte
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

	reader *hub.Reader
	signal chan struct{} // of reader
	marked []*member     // by the session itself: they may have more
	spare  []*member     // for the next ones
	woken  []*hub.Watch
	passed int // how many the last turn took
	frames []hub.Frame
	// events and bytes are what the frames hold together.
	events, bytes int
	// The frames are what other watches may be told too: events, all there are.
	repeatable bool

	// What goes out in one message: frames of watches first gather in said, for
	// others to join them, then all is in message.
	said     []saying
	message  []byte
	response []byte
}

// saying is a frame, and the watches to which it is said.
type saying struct {
	ids   []string
	frame []byte
}

// packBytes is how large a message grows that more is packed into.
const packBytes = 64 << 10

// member is one watch of a session.
type member struct {
	id     string
	watch  *hub.Watch
	credit int  // events that may still be sent; negative: any number
	marked bool // in session.marked
	open   bool // in session.watches
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
	pprof.SetGoroutineLabels(sessionLabels)
	x := &session{service: s, ctx: ctx, conn: conn, form: form, transport: transport,
		watches: map[string]*member{}, signal: make(chan struct{}, 1)}
	x.reader = hub.NewReader(x.wake)
	defer func() {
		for _, m := range x.watches {
			x.close(m, err)
		}
	}()
	requests, ended := make(chan *watchroutev1.SessionRequest), make(chan error, 1)
	go receive(ctx, conn, requests, ended)
	draining := s.cfg.Hub.Draining()
	rest := time.NewTimer(time.Hour)
	defer rest.Stop()
	signal := x.signal // nil while the session rests
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
		case <-signal:
		case <-rest.C:
			signal = x.signal
			continue
		case <-draining:
			draining = nil
		case <-ctx.Done():
			return ctx.Err()
		}
		pass := hub.BeginPass()
		if err := x.turn(); err != nil {
			return err
		}
		if more := pass.Rest(x.passed); more > 0 {
			signal = nil
			rest.Reset(more)
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
	case *watchroutev1.SessionRequest_Authenticate:
		return x.authenticate(body.Authenticate.GetCredential())
	}
	return resource.Errorf(resource.InvalidField, "none of open, cancel, fence, credit and authenticate is given").In("body")
}

// authenticate lets the session go on under another credential.
func (x *session) authenticate(secret string) error {
	done := &watchroutev1.Authenticated{}
	if caller := access.From(x.ctx); caller != nil {
		expires, err := x.service.cfg.Access.Renew(x.ctx, caller, secret)
		if err != nil {
			return err
		}
		if !expires.IsZero() {
			done.ExpireTime = timestamppb.New(expires)
		}
		for _, m := range x.watches {
			m.watch.Reconsider()
		}
	}
	return x.send(&watchroutev1.SessionResponse{Body: &watchroutev1.SessionResponse_Authenticated{Authenticated: done}})
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
		m.watch, err = x.service.OpenWatch(x.ctx, hub.Request{Watch: r.GetWatch(), Codec: x.form.Codec, Transport: x.transport, Reader: x.reader, Owner: m})
	}
	if err != nil {
		return x.closed(m, err)
	}
	x.watches[id], m.open = m, true
	x.mark(m)
	return nil
}

// closed tells the client why a watch has ended.
func (x *session) closed(m *member, err error) error {
	return x.send(&watchroutev1.SessionResponse{WatchId: m.id, Body: &watchroutev1.SessionResponse_Closed{Closed: wire.Status(err).Proto()}})
}

func (x *session) send(m *watchroutev1.SessionResponse) error {
	if err := x.put(); err != nil {
		return err
	}
	return x.pack(x.form.Control(m))
}

// say lets a watch say a frame. Watches of one view that have come as far have the
// same one.
func (x *session) say(m *member, frame []byte) error {
	for i := len(x.said) - 1; i >= 0; i-- {
		s := &x.said[i]
		if len(s.frame) == len(frame) && &s.frame[0] == &frame[0] {
			s.ids = append(s.ids, m.id)
			return nil
		}
		if slices.Contains(s.ids, m.id) {
			break // what was said before stays before
		}
	}
	if n := len(x.said); n < cap(x.said) {
		x.said = x.said[:n+1]
		s := &x.said[n]
		s.ids, s.frame = append(s.ids[:0], m.id), frame
	} else {
		x.said = append(x.said, saying{[]string{m.id}, frame})
	}
	if len(x.said) < mostSaid {
		return nil
	}
	return x.put()
}

// mostSaid is how many frames wait for others to join them.
const mostSaid = 16

// put packs what was said.
func (x *session) put() error {
	for i := range x.said {
		s := &x.said[i]
		x.response = x.form.Wrap(x.response[:0], s.ids, s.frame)
		s.frame = nil
		if err := x.pack(x.response); err != nil {
			return err
		}
	}
	x.said = x.said[:0]
	if cap(x.response) > packBytes {
		x.response = nil
	}
	return nil
}

// pack puts a response into the message, and sends what is full.
func (x *session) pack(response []byte) error {
	if len(x.message) > 0 && len(x.message)+len(response) > packBytes {
		if err := x.sendMessage(); err != nil {
			return err
		}
	}
	if len(x.message) == 0 {
		x.message = append(x.message, response...)
	} else {
		x.message = x.form.More(x.message, response)
	}
	return nil
}

// flush sends all that there is to say.
func (x *session) flush() error {
	if err := x.put(); err != nil {
		return err
	}
	if len(x.message) == 0 {
		return nil
	}
	return x.sendMessage()
}

func (x *session) sendMessage() error {
	err := x.conn.Send(x.message)
	x.message = x.message[:0]
	if cap(x.message) > packBytes/4 {
		x.message = nil
	}
	return err
}

func (x *session) wake() {
	select {
	case x.signal <- struct{}{}:
	default:
	}
}

// mark lets a member have another turn.
func (x *session) mark(m *member) {
	if !m.marked {
		m.marked = true
		x.marked = append(x.marked, m)
		x.wake()
	}
}

// turn lets each member that may have something say a little; who has more is marked
// again.
func (x *session) turn() error {
	marked := x.marked
	x.marked = x.spare
	for i, m := range marked {
		m.marked, marked[i] = false, nil
		if err := x.advance(m); err != nil {
			return err
		}
	}
	x.spare = marked[:0]
	x.woken = x.reader.Take(x.woken[:0])
	x.passed = len(x.woken)
	var first *member // the last one that was asked
	var before uint64 // where it was
	repeats := 0      // how many have followed it
	for _, w := range x.woken {
		m := w.Owner().(*member)
		if first != nil && m.credit < 0 && m.open && w.Follow(first.watch, before) {
			if err := x.repeat(m); err != nil {
				return err
			}
			repeats++
			continue
		}
		x.sent(first, repeats)
		repeats = 0
		before = w.Cursor()
		if err := x.advance(m); err != nil {
			return err
		}
		if first = m; m.credit >= 0 || !x.repeatable {
			first = nil
		}
	}
	x.sent(first, repeats)
	clear(x.woken)
	if err := x.passFences(); err != nil {
		return err
	}
	return x.flush()
}

func (x *session) advance(m *member) error {
	if !m.open {
		return nil
	}
	clear(x.frames)
	frames, next := m.watch.Next(x.frames[:0], hub.Budget{Bytes: packBytes, Events: m.credit})
	x.frames = frames
	x.repeatable = next == nil && len(frames) > 0
	x.events, x.bytes = 0, 0
	for i := range frames {
		x.events += frames[i].Events
		x.bytes += len(frames[i].Bytes)
		x.repeatable = x.repeatable && frames[i].Kind == hub.Events
		if m.credit >= 0 {
			m.credit = max(0, m.credit-frames[i].Events)
		}
		if err := x.say(m, frames[i].Bytes); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(next, hub.ErrDrained):
		x.remove(m, next)
	case next != nil:
		x.remove(m, next)
		if x.ctx.Err() != nil {
			return x.ctx.Err()
		}
		return x.closed(m, next)
	case m.watch.More():
		x.mark(m)
	}
	return nil
}

// repeat says to a watch what the last one that was asked has said.
func (x *session) repeat(m *member) error {
	for i := range x.frames {
		if err := x.say(m, x.frames[i].Bytes); err != nil {
			return err
		}
	}
	m.watch.Repeated(x.events, x.bytes)
	if m.watch.More() {
		x.mark(m)
	}
	return nil
}

// sent counts what so many watches have repeated of one.
func (x *session) sent(of *member, repeats int) {
	if repeats == 0 {
		return
	}
	of.watch.Meter().Sent(repeats*x.events, repeats*x.bytes)
}

// remove takes a watch out of the session.
func (x *session) remove(m *member, err error) {
	delete(x.watches, m.id)
	m.open = false
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

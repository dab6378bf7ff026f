package watchroute

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

const (
	// sessionWatches is how many watches a server takes in one session.
	sessionWatches = 1000
	// sessionCredit is how many events of a watch may wait for the program.
	sessionCredit = 256
)

// sessions is the transport on which the watches of a client share streams: one, but that
// a stream which is full, drained or silent for one of them gets a successor.
type sessions struct {
	client  *Client
	wallet  *wallet
	running sync.WaitGroup

	deciding sync.Mutex // held while retry is used; before mu
	retry    retry

	mu      sync.Mutex // before session.mu
	current *session   // nil: there is none that takes watches
	broken  *planned   // why there is none; until it is time
	closed  bool
}

func newSessions(c *Client) *sessions {
	w := &wallet{ask: c.config.credential}
	return &sessions{client: c, wallet: w, retry: retry{first: c.config.first, most: c.config.most, wallet: w}}
}

// wait waits for the goroutines of a client that has ended.
func (s *sessions) wait() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
}

// open implements transport.
func (s *sessions) open(ctx context.Context, r *watchroutev1.WatchRequest) (stream, error) {
	m, err := s.join(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case <-m.session.ready:
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), errSilent) {
			s.retire(m.session, nil)
		}
		return nil, ctx.Err()
	}
	// What fails here is told by Recv, once it is known why.
	_ = m.session.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Open{
		Open: &watchroutev1.OpenWatch{WatchId: m.id, Watch: r, Credit: proto.Uint32(sessionCredit)}}})
	return m, nil
}

// join makes a member of a session, which leaves it with ctx.
func (s *sessions) join(ctx context.Context) (*member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.current == nil && s.broken != nil && time.Until(s.broken.until) > 0 {
		return nil, s.broken
	}
	m := &member{ctx: ctx, wake: make(chan struct{}, 1)}
	if s.current == nil || !s.current.add(m) {
		s.start()
		s.current.add(m)
	}
	return m, nil
}

// start starts a session. It is called with mu held.
func (s *sessions) start() {
	x := &session{owner: s, ready: make(chan struct{}), members: map[string]*member{}}
	x.ctx, x.cancel = context.WithCancelCause(s.client.done)
	s.current, s.broken = x, nil
	s.running.Go(x.run)
}

// retire lets a session take no further watches.
func (s *sessions) retire(x *session, why *planned) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == x {
		s.current, s.broken = nil, why
	}
}

// session is one stream. One goroutine receives; who sends does so under sending.
type session struct {
	owner  *sessions
	ctx    context.Context
	cancel context.CancelCauseFunc
	ready  chan struct{} // closed when line and stream are set, or err
	line   *line

	sending sync.Mutex
	stream  grpc.BidiStreamingClient[watchroutev1.SessionRequest, watchroutev1.SessionResponse]

	mu      sync.Mutex // before member.mu
	ids     uint64
	members map[string]*member
	rests   bool  // its last watch has left
	err     error // it has ended
}

// add takes a watch in, where there is room for it.
func (x *session) add(m *member) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil || x.rests || len(x.members) >= sessionWatches {
		return false
	}
	x.ids++
	m.session, m.id = x, strconv.FormatUint(x.ids, 10)
	x.members[m.id] = m
	context.AfterFunc(m.ctx, m.leave)
	return true
}

// run receives until the session ends.
func (x *session) run() {
	renewal := &renewal{session: x}
	err := x.receive(renewal)
	renewal.stop()
	s := x.owner
	x.mu.Lock()
	rests := x.rests
	x.mu.Unlock()
	if rests {
		s.retire(x, nil)
		return
	}
	s.deciding.Lock()
	wait, final := s.retry.decide(s.client.done, err) // the session's own context may be over
	s.deciding.Unlock()
	why := &planned{error: causeOf(err), until: time.Now().Add(wait)}
	if final != nil {
		why.error, why.final = final, true
	}
	s.retire(x, why)
	x.mu.Lock()
	x.err = why
	for _, m := range x.members {
		m.end(why)
	}
	x.mu.Unlock()
	x.cancel(nil)
}

func (x *session) receive(renewal *renewal) error {
	err := x.connect(renewal)
	close(x.ready)
	if err != nil {
		return err
	}
	for {
		m, err := x.stream.Recv()
		if err != nil {
			return err
		}
		if err := x.dispatch(m, renewal); err != nil {
			return err
		}
		for _, more := range m.GetMore() {
			if err := x.dispatch(more, renewal); err != nil {
				return err
			}
		}
	}
}

func (x *session) connect(renewal *renewal) error {
	credential, err := x.owner.wallet.take(x.ctx)
	if err != nil {
		return err
	}
	c := x.owner.client
	x.line = c.lines.takeFor(x.ctx)
	stream, err := x.line.Session(c.header(x.ctx, credential), grpc.WaitForReady(false), tally{c.counters}.weighing())
	if err != nil {
		return err
	}
	x.stream = stream
	if credential != "" {
		// The answer says when it expires.
		renewal.present(credential)
	}
	return nil
}

// send sends a message, if the session has a stream.
func (x *session) send(r *watchroutev1.SessionRequest) error {
	x.sending.Lock()
	defer x.sending.Unlock()
	if x.stream == nil {
		return errEnded
	}
	return x.stream.Send(r)
}

// dispatch hands a response to those whom it is for. An error ends the session.
func (x *session) dispatch(r *watchroutev1.SessionResponse, renewal *renewal) error {
	switch body := r.GetBody().(type) {
	case *watchroutev1.SessionResponse_Watch:
		x.received(body.Watch)
		x.mu.Lock()
		defer x.mu.Unlock()
		x.members[r.GetWatchId()].put(body.Watch)
		for _, id := range r.GetAlsoWatchIds() {
			x.members[id].put(body.Watch)
		}
	case *watchroutev1.SessionResponse_Closed:
		status := statusOf(body.Closed)
		if status.Code() == codes.Unauthenticated {
			return status.Err() // of the whole connection
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.members[r.GetWatchId()].end(fromStatus(status, nil))
		delete(x.members, r.GetWatchId())
		x.restLocked()
	case *watchroutev1.SessionResponse_Authenticated:
		renewal.plan(body.Authenticated.GetExpireTime())
	case *watchroutev1.SessionResponse_Fence:
	default:
		return failure(codes.Unimplemented, ReasonUnknownMessage, "the server sent a message of a session that this client does not know")
	}
	return nil
}

func (x *session) received(m *watchroutev1.WatchResponse) {
	x.owner.deciding.Lock()
	x.owner.retry.received(m.GetStarted() == nil)
	x.owner.deciding.Unlock()
	if m.GetDrain() != nil {
		x.owner.retire(x, nil)
	}
}

// restLocked ends a session that has no watch.
func (x *session) restLocked() {
	if len(x.members) == 0 {
		x.rests = true
		x.cancel(nil)
	}
}

// member is a watch of a session. It implements stream.
type member struct {
	session *session
	id      string
	ctx     context.Context
	wake    chan struct{}

	mu    sync.Mutex
	queue []*watchroutev1.WatchResponse // at most what it has credit for, and what is free
	err   error                         // after the queue
	used  int                           // of the credit, and not granted anew
}

// put queues a message. A nil member has left.
func (m *member) put(r *watchroutev1.WatchResponse) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.queue)
	switch {
	case r.GetBookmark() != nil && n > 0 && m.queue[n-1].GetBookmark() != nil:
		m.queue[n-1] = r
	case r.GetReset_() != nil:
		// What was not told yet need not be told.
		kept := m.queue[:0]
		for _, q := range m.queue {
			if q.GetStarted() != nil {
				kept = append(kept, q)
			}
			m.used += len(q.GetEvents().GetEvents())
		}
		clear(m.queue[len(kept):])
		m.queue = append(kept, r)
	default:
		m.queue = append(m.queue, r)
	}
	m.signal()
}

func (m *member) end(err error) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
	m.signal()
}

func (m *member) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Recv implements stream.
func (m *member) Recv() (*watchroutev1.WatchResponse, error) {
	for {
		r, grant, err := m.take()
		if grant > 0 {
			_ = m.session.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Credit{
				Credit: &watchroutev1.Credit{WatchId: m.id, Events: uint32(grant)}}})
		}
		if r != nil || err != nil {
			return r, err
		}
		select {
		case <-m.wake:
		case <-m.ctx.Done():
			return nil, m.ctx.Err()
		}
	}
}

// take gives the next message, and how much credit to grant.
func (m *member) take() (r *watchroutev1.WatchResponse, grant int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return nil, 0, m.err
	}
	r = m.queue[0]
	m.queue[0] = nil
	if m.queue = m.queue[1:]; len(m.queue) == 0 {
		m.queue = nil
	}
	m.used += len(r.GetEvents().GetEvents())
	if m.used >= sessionCredit/2 && m.err == nil {
		grant, m.used = m.used, 0
	}
	return r, grant, nil
}

// silent lets nobody join the session any more: its connection may be broken. The others
// stay as long as they hear something.
func (m *member) silent() {
	m.session.owner.retire(m.session, nil)
	if line := m.session.line; line != nil {
		line.leave()
	}
}

// leave takes the member out of its session.
func (m *member) leave() {
	x := m.session
	x.mu.Lock()
	_, open := x.members[m.id]
	delete(x.members, m.id)
	x.restLocked()
	last := len(x.members) == 0
	x.mu.Unlock()
	if !open || last {
		return
	}
	select {
	case <-x.ready:
		_ = x.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Cancel{Cancel: &watchroutev1.CancelWatch{WatchId: m.id}}})
	case <-x.ctx.Done():
	}
}

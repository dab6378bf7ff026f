package hub

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/clock"
	"github.com/watchroute/watchroute/internal/resource"
)

// Request asks for a watch.
type Request struct {
	// Watch is the request as the contract documents it. Open checks all of it, and
	// keeps nothing of it.
	Watch *watchroutev1.WatchRequest
	// Tenant is whose collection it is.
	Tenant string
	// Codec makes the frames.
	Codec Codec
	// Transport is a label for metrics, such as sse.
	Transport string
	// Reader is told when Next may have something. Default: Wait returns then.
	Reader *Reader
	// Owner is what the Reader knows the watch by; Watch.Owner gives it back.
	Owner any
	// Served says that the watch will be given to Hub.Serve, or closed. It must have
	// no Reader.
	Served bool
}

// Budget bounds what one Next hands out.
type Budget struct {
	// Bytes is where Next stops: the frames that reach it are the last ones.
	// Default: 256 KiB.
	Bytes int
	// Events is the most events to hand out, but that a batch is never cut;
	// negative: no bound. With 0 there are only messages without events.
	Events int
}

// Unlimited is the budget of a transport that counts no events.
var Unlimited = Budget{Events: -1}

// ErrDrained is what Next returns after the `drain` frame: the watch is over and
// the client will come back.
var ErrDrained = errors.New("hub: drained")

// moment is a time since the hub began.
type moment time.Duration

// route is what the watches of a collection in one codec over one transport have in
// common.
type route struct {
	codec     Codec
	transport string
	meter     Meter
}

// Watch is a cursor. It belongs to one goroutine, but for End, Cursor and what its
// Reader is told.
type Watch struct {
	*route
	hub   *Hub
	col   *collection
	view  *view
	grant Grant
	owner any

	reader *Reader
	group  *group
	place  int32  // in group; this and what follows is guarded by reader.mu
	taken  uint32 // by Take
	woken  bool   // in reader.single

	// Without a Reader of its own: the shard, and what it wakes.
	shard  *shard
	turn   atomic.Uint32
	served bool
	given  bool          // to Serve, in time; written with hub.mu held for reading
	out    Outlet        // once it is given
	ready  chan struct{} // otherwise

	drain  atomic.Bool
	doubt  atomic.Bool // the grant is to be asked again
	ended  atomic.Pointer[resource.Error]
	err    error // what Next will return from now on
	closed bool

	alarm                  clock.Alarm
	rings                  moment // when the alarm is set to
	expires                moment // when the grant is to be asked again; 0: never
	retires                moment // when the watch is old enough to be drained; 0: never
	paid                   moment // until when what was handed out is paid for; see pay
	events, bytes          uint64 // handed out
	heartbeat, minInterval time.Duration
	minRevision            uint64
	failExpired            bool

	begun  bool                      // `started` was handed out
	reset  watchroutev1.Reset_Reason // to be said before the snapshot
	mode   watchroutev1.Started_Mode
	sent   moment // of the last frame
	due    moment // no events before, for min_interval
	burst  bool   // in the middle of what was due
	lively bool   // what Next handed out last was all from memory
	held   bool   // Next held events back: for min_interval, or for want of credit

	// cursor: everything at or below it was handed out. In a snapshot it is 0.
	cursor atomic.Uint64
	token  bool   // cursor may be cut at: a token may name it
	stands uint64 // the revision of the last frame
	// In a snapshot; and where in it, or in a catch-up, the log is being read.
	snapshot bool
	reading  *reading
}

// Open opens a watch. The errors' reasons are those of bad requests, and Draining;
// ctx bounds the opening only.
func (h *Hub) Open(ctx context.Context, req Request) (*Watch, error) {
	s, err := h.selection(req.Tenant, req.Watch)
	if err != nil {
		return nil, err
	}
	grant, err := h.cfg.Access.Grant(ctx, Call{Collection: s.collection, Verb: Watching, Transport: req.Transport, Projection: req.Watch.GetProjection()})
	if err != nil {
		return nil, err
	}
	w := &Watch{hub: h, grant: grant, owner: req.Owner, reader: req.Reader, served: req.Served, minRevision: req.Watch.GetMinRevision()}
	if err := w.pace(req.Watch); err != nil {
		return nil, err
	}
	if err := h.AwaitRevision(ctx, s.collection, w.minRevision); err != nil {
		return nil, err
	}
	if w.col, err = h.collection(s.collection); err != nil {
		return nil, err
	}
	doubts := h.doubts.Load()
	if s.scope, err = grant.Scope(); err != nil {
		return nil, err
	}
	w.until(s.scope)
	if s.filter, err = h.Filter(ctx, grant, h.cfg.Schemas.Schema(s.collection), req.Watch.GetFilter()); err != nil {
		return nil, err
	}
	w.route = w.col.route(req.Codec, req.Transport)
	if err := w.begin(&s, req.Watch); err != nil {
		return nil, err
	}
	if w.reader == nil {
		w.shard = h.shard(w.served)
		w.reader = w.shard.Reader
		if !w.served {
			w.ready = make(chan struct{}, 1)
		}
	}

	if age := h.cfg.MaxAge; age > 0 {
		w.retires = moment(time.Since(h.began) + age - age/10 + rand.N(age/5+1))
	}
	h.mu.Lock()
	if h.isDraining() {
		wait := h.spread
		h.mu.Unlock()
		return nil, resource.Errorf(resource.Draining, "the server is shutting down").After(max(wait, time.Second))
	}
	if err := grant.Open(); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	h.watches[w] = struct{}{}
	w.doubt.Store(h.doubts.Load() != doubts) // Reconsider may not have known of it yet
	h.mu.Unlock()

	w.col.join(w, s, w.cursor.Load())
	if w.mode == watchroutev1.Started_NOW {
		w.cursor.Store(w.Head())
		w.token = true
	}
	h.cfg.Observer.WatchOpened(w.col.name, req.Transport)
	w.wake()
	return w, nil
}

// begin decides where the watch begins.
func (w *Watch) begin(s *selection, r *watchroutev1.WatchRequest) error {
	w.mode, w.snapshot = watchroutev1.Started_SNAPSHOT, true
	var revision uint64
	switch start := r.GetStart().(type) {
	case *watchroutev1.WatchRequest_ResumeToken:
		t, err := resource.ParseToken("resume_token", start.ResumeToken)
		if err != nil {
			return err
		}
		_, scope := s.key()
		head := w.col.pumped.Load()
		if h := w.hub.cfg.Log.Bounds(s.collection).Head; h > head {
			head = h
		}
		switch {
		case t.Epoch != w.hub.epoch || t.Collection == s.collection && t.Scope == scope && t.Revision > head:
			return w.expire(watchroutev1.Reset_EPOCH)
		case t.Collection != s.collection || t.Scope != scope:
			return w.expire(watchroutev1.Reset_SCOPE)
		}
		revision = t.Revision
	case *watchroutev1.WatchRequest_AfterRevision:
		revision = start.AfterRevision
		if head := w.hub.cfg.Log.Bounds(s.collection).Head; revision > head {
			return resource.Errorf(resource.FutureRevision, "%s is at revision %d, before %d", resource.Shared(s.collection), head, revision).In("after_revision")
		}
	case *watchroutev1.WatchRequest_From:
		if start.From == watchroutev1.Start_NOW {
			w.mode, w.snapshot = watchroutev1.Started_NOW, false
		}
		return nil
	default:
		return nil
	}
	if !w.resumable(s, revision) {
		return w.expire(watchroutev1.Reset_COMPACTED)
	}
	w.mode, w.snapshot, w.token = watchroutev1.Started_RESUMED, false, true
	w.cursor.Store(revision)
	return nil
}

// resumable says whether the log still has what a watch needs that has seen
// everything up to a revision.
func (w *Watch) resumable(s *selection, revision uint64) bool {
	b := w.hub.cfg.Log.Bounds(s.collection)
	if s.every || !s.exact() {
		return revision >= b.History
	}
	return revision >= b.Tombstones
}

// expire turns the watch back to a snapshot, or refuses, as the client chose.
func (w *Watch) expire(reason watchroutev1.Reset_Reason) error {
	if w.failExpired {
		return expired(reason)
	}
	w.hub.cfg.Observer.WatchReset(w.col.name, w.transport, reason)
	w.reset, w.snapshot, w.token, w.stands, w.reading = reason, true, false, 0, nil
	w.cursor.Store(0)
	return nil
}

func expired(reason watchroutev1.Reset_Reason) error {
	switch reason {
	case watchroutev1.Reset_EPOCH:
		return resource.Errorf(resource.EpochChanged, "the position is from another life of the log").In("start")
	case watchroutev1.Reset_ACCESS:
		return resource.Errorf(resource.ScopeChanged, "what the caller may see has changed").In("start")
	case watchroutev1.Reset_SCOPE:
		return resource.Errorf(resource.ScopeChanged, "the token was issued for another parent, names, filter, read_mask, projection, delivery or access").In("start")
	}
	return resource.Errorf(resource.Compacted, "the changes since the position are no longer all retained").In("start")
}

// Collection gives the watched collection.
func (w *Watch) Collection() string { return w.col.name }

// Cursor gives the revision up to which everything was handed out; 0 in a
// snapshot. Any goroutine may ask.
func (w *Watch) Cursor() uint64 { return w.cursor.Load() }

// Reached says whether everything up to a revision was handed out.
func (w *Watch) Reached(revision uint64) bool { return !w.snapshot && w.Cursor() >= revision }

// NotifyAt calls the watch's Wake once Next can reach a revision.
func (w *Watch) NotifyAt(revision uint64) (cancel func()) {
	return w.col.notifyAt(revision, w.wake)
}

// Head gives the newest revision of the collection that is committed.
func (w *Watch) Head() uint64 { return w.hub.cfg.Log.Bounds(w.col.name).Head }

// End makes Next fail with an error, soon. Any goroutine may call it, also twice.
func (w *Watch) End(err *resource.Error) {
	w.ended.CompareAndSwap(nil, err)
	w.wake()
}

// Owner gives what the request named.
func (w *Watch) Owner() any { return w.owner }

func (w *Watch) wake() { w.reader.wakeWatch(w) }

// Ring implements clock.Target.
func (w *Watch) Ring() { w.wake() }

// Wait returns when Next may have something, nil then, or with the context's
// error. It is for watches that were opened without a Reader.
func (w *Watch) Wait(ctx context.Context) error {
	w.settle(waiting)
	defer w.turn.CompareAndSwap(waiting, running)
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Next appends to dst what is to be sent now. When it adds nothing, there is
// nothing until the next wake-up. An error is final, and may come with frames
// that are to be sent first: ErrDrained, a *resource.Error, or the context's.
func (w *Watch) Next(dst []Frame, b Budget) ([]Frame, error) {
	if w.err != nil {
		return dst, w.err
	}
	if b.Bytes == 0 {
		b.Bytes = 256 << 10
	}
	had, clock := len(dst), time.Now()
	now := moment(clock.Sub(w.hub.began))
	dst, err := w.next(dst, b, clock, now)
	w.err = err
	if len(dst) == had && err == nil && now >= w.sent+moment(w.heartbeat) {
		dst = append(dst, w.frame(Message{Kind: Bookmark}))
	}
	if len(dst) > had {
		w.sent, w.stands = now, dst[len(dst)-1].Revision
		events, bytes := 0, 0
		for i := had; i < len(dst); i++ {
			events += dst[i].Events
			bytes += len(dst[i].Bytes)
		}
		w.meter.Sent(events, bytes)
		w.pay(now, events, bytes)
	}
	if err == nil {
		w.setAlarm(now)
	}
	return dst, err
}

// pay counts what the watch was handed. Where that is more than it may be handed in the
// time, it gets no events until the time has come.
func (w *Watch) pay(now moment, events, bytes int) {
	w.events += uint64(events)
	w.bytes += uint64(bytes)
	c := &w.hub.cfg
	price := 0.0 // in seconds
	if c.EventsPerSecond > 0 {
		price = float64(events) / c.EventsPerSecond
	}
	if c.BytesPerSecond > 0 {
		price = max(price, float64(bytes)/c.BytesPerSecond)
	}
	if price > 0 {
		w.paid = max(w.paid, now-moment(time.Second)) + moment(price*float64(time.Second))
	}
}

// Repeated counts what the watch was handed as a repetition of what another one was, see
// Follow, for itself alone.
func (w *Watch) Repeated(events, bytes int) { w.pay(w.sent, events, bytes) }

// More says whether Next, asked at once, may have more: it need not be asked again
// before the next wake-up, otherwise.
func (w *Watch) More() bool {
	return w.err == nil && !w.held && (!w.begun || w.snapshot || w.reading != nil || w.cursor.Load() < w.col.pumped.Load())
}

// Follow lets a watch that is where another one was before its last Next, which had
// all events that the budget allows, move on to where that is now, as if it had been
// handed the same frames: they are what its own Next would give. It says whether that
// is so. Frames and meters are the caller's business.
func (w *Watch) Follow(first *Watch, before uint64) bool {
	if w.view != first.view || w.route != first.route || w.cursor.Load() != before || !w.begun || w.snapshot || w.reading != nil ||
		w.err != nil || w.reset != 0 || w.minInterval > 0 || w.drain.Load() || w.doubt.Load() || w.expires > 0 && first.sent >= w.expires || w.retires > 0 && first.sent >= w.retires || first.sent < w.paid || w.ended.Load() != nil || !first.lively {
		return false
	}
	w.moveTo(first.cursor.Load())
	w.sent, w.stands = first.sent, first.stands
	w.setAlarm(w.sent) // it may be the alarm that has woken it
	return true
}

// Meter counts for all watches of the collection on this transport.
func (w *Watch) Meter() Meter { return w.meter }

// setAlarm lets Next be called at the latest when there is something to be sent for
// the time that has passed. An alarm that is set to an earlier time is left: when it
// rings there is nothing to send, and it is set again.
func (w *Watch) setAlarm(now moment) {
	at := w.sent + moment(w.heartbeat)
	if due := max(w.due, w.paid); due > now {
		at = min(at, due)
	}
	if w.expires > 0 {
		at = min(at, w.expires)
	}
	if w.retires > 0 {
		at = min(at, w.retires)
	}
	if w.rings > now && w.rings <= at {
		return
	}
	w.rings = at
	w.hub.clock.Set(&w.alarm, w, w.hub.began.Add(time.Duration(at)))
}

func (w *Watch) next(dst []Frame, b Budget, clock time.Time, now moment) ([]Frame, error) {
	if err := w.ended.Load(); err != nil {
		return dst, err
	}
	if !w.begun {
		w.begun = true
		dst = append(dst, w.frame(Message{Kind: Started, Mode: w.mode, SilenceLimit: 2 * w.heartbeat}))
	}
	if w.expires > 0 && now >= w.expires || w.doubt.Load() {
		w.doubt.Store(false)
		if err := w.rescope(); err != nil {
			return dst, err
		}
		if w.reset != 0 { // what follows is read from the log
			return append(dst, w.sayReset()), nil
		}
	}
	if (w.drain.Load() || w.retires > 0 && now >= w.retires) && (b.Events == 0 || !w.halfTold()) {
		return append(dst, w.frame(Message{Kind: Drain, ReconnectAfter: w.hub.reconnectAfter()})), ErrDrained
	}
	if w.reset != 0 {
		dst = append(dst, w.sayReset())
	}
	if w.held = b.Events == 0 || !w.burst && now < w.due || now < w.paid; w.held {
		return dst, nil
	}
	var err error
	had := len(dst)
	w.lively = false
	if w.snapshot {
		dst, err = w.readSnapshot(dst, b)
	} else {
		dst, err = w.follow(dst, b, clock)
		if w.minInterval > 0 && (w.burst || len(dst) > had) {
			// The interval begins when all that was due is handed out.
			if w.burst = w.reading != nil || w.cursor.Load() < w.col.pumped.Load(); !w.burst {
				w.due = now + moment(w.minInterval)
			}
		}
	}
	if resource.HasReason(err, resource.Compacted) {
		if err = w.expire(watchroutev1.Reset_COMPACTED); err == nil {
			return w.next(dst, b, clock, now)
		}
	}
	return dst, err
}

func (w *Watch) sayReset() Frame {
	f := w.frame(Message{Kind: Reset, Reason: w.reset})
	w.reset = 0
	return f
}

// halfTold says whether the watch is in the middle of a fold, between two tokens: it
// goes on to the next one before it drains.
func (w *Watch) halfTold() bool {
	return w.reading != nil && w.reading.fold && w.reading.pos.Revision != w.cursor.Load()
}

// frame encodes a message of this watch alone, which says where the watch stands.
func (w *Watch) frame(m Message) Frame {
	cursor := w.cursor.Load()
	m.Revision = max(cursor, w.stands)
	if w.token && w.stands <= cursor { // not in the middle of a catch-up
		m.Token = w.view.token(cursor)
	}
	return frame(w.codec, &m)
}

// Closing gives the `closed` message for an error, for transports that have no
// status of their own.
func (w *Watch) Closing(err error) Frame {
	return w.frame(Message{Kind: Closed, Err: resource.AsError(err)})
}

// Close lets the watch go. err is why: nil if the client left in order. Closing
// twice is fine.
func (w *Watch) Close(err error) {
	if w.closed {
		return
	}
	w.closed = true
	if w.shard != nil && !w.served {
		w.settle(running)
	}
	w.hub.clock.Stop(&w.alarm)
	w.col.leave(w)
	w.hub.mu.Lock()
	delete(w.hub.watches, w)
	w.hub.mu.Unlock()
	w.reading = nil
	w.err = context.Canceled
	reason := "OK"
	switch {
	case err == nil:
	case errors.Is(err, ErrDrained):
		reason = "DRAINED"
	case errors.Is(err, context.Canceled):
		reason = resource.Cancelled.String()
	case errors.Is(err, context.DeadlineExceeded):
		reason = resource.DeadlineExceeded.String()
	default:
		reason = resource.AsError(err).Reason.String()
	}
	w.hub.cfg.Observer.WatchClosed(w.col.name, w.transport, reason)
	w.grant.Ended(End{Reason: reason, Events: w.events, Bytes: w.bytes})
}

package watchroute

import (
	"context"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// change is one step of what a program is told. With kind 0 it says that a message is
// over.
type change struct {
	kind     Kind
	revision uint64
	reason   string
	event    *watchroutev1.Event // of Present and Absent
	value    any                 // of Present; the form's
	// at is whether the message that is over carried a token: the state is consistent.
	at bool
	// again: a stream was resumed, and tells again what was told since the token.
	again bool
}

// held is what a name was at a revision.
type held struct {
	revision uint64
	value    any // nil: absent
}

// fold makes of the messages of a watch what a program is told: each change once, whole
// values, one Reset where what was told is void.
type fold struct {
	follower *follower
	form     form
	delta    bool
	// marks: tell also where each message is over. Who is told that takes changes over at
	// tokens only, and has not taken over what comes again: nothing is left out.
	marks bool

	events  []*watchroutev1.Event // of the present message, that were not looked at
	message *watchroutev1.WatchResponse
	over    bool // the present message was looked at wholly

	snapshot bool   // the state is coming
	void     bool   // a Reset is to be told, once its reason is known
	also     change // to be told next

	told map[string]uint64 // the revision of each name that was told since the token
	held map[string]held   // with deltas
	undo map[string]held   // what names were at the token that changed since
}

// next gives the next change. An error is final, and was noted by the follower.
func (f *fold) next(ctx context.Context) (change, error) {
	for {
		if f.also.kind == 0 && ctx.Err() != nil {
			if len(f.events) == 0 {
				f.follower.finish()
			}
			return change{}, f.fail(ended(ctx))
		}
		if c, tell, err := f.here(); tell || err != nil {
			return c, err
		}
		if f.message != nil && !f.over {
			f.over = true
			f.finish()
			if f.marks {
				start := f.message.GetStarted()
				return change{revision: f.message.GetRevision(), at: start == nil && f.message.GetResumeToken() != "",
					again: start.GetMode() == watchroutev1.Started_RESUMED}, nil
			}
		}
		m, err := f.follower.next(ctx)
		if err != nil {
			return change{}, err
		}
		f.message, f.over = m, false
		if c, tell := f.take(m); tell {
			f.follower.counters.event()
			return c, nil
		}
	}
}

// here gives the next change of the message that is here already, if there is one.
func (f *fold) here() (c change, tell bool, err error) {
	if c := f.also; c.kind != 0 {
		f.also = change{}
		f.follower.counters.event()
		return c, true, nil
	}
	for len(f.events) > 0 {
		e := f.events[0]
		f.events = f.events[1:]
		if c, tell, err = f.event(e); err != nil {
			return change{}, false, f.fail(err)
		}
		if tell {
			f.follower.counters.event()
			return c, true, nil
		}
	}
	return change{}, false, nil
}

// fail ends the watch with an error of the client's own.
func (f *fold) fail(err error) error {
	f.follower.drop()
	f.follower.enter(Closed, err, 0)
	return err
}

// take looks at a message, but for its events.
func (f *fold) take(m *watchroutev1.WatchResponse) (c change, tell bool) {
	if reset, ok := m.GetBody().(*watchroutev1.WatchResponse_Reset_); ok {
		f.void = false
		return f.reset(reset.Reset_.GetReason().String(), m.GetRevision()), true
	}
	// A state that comes anew, on a stream that said why: that comes next.
	if f.void {
		f.void = false
		c, tell = f.reset(ResetInterrupted, m.GetRevision()), true
	}
	switch body := m.GetBody().(type) {
	case *watchroutev1.WatchResponse_Started:
		switch body.Started.GetMode() {
		case watchroutev1.Started_SNAPSHOT:
			f.snapshot = true
			if f.follower.positioned {
				f.void = true
			} else if f.follower.told {
				return f.reset(ResetInterrupted, m.GetRevision()), true
			}
		case watchroutev1.Started_RESUMED:
			f.snapshot = false
			f.rewind()
		}
	case *watchroutev1.WatchResponse_Events:
		f.events = body.Events.GetEvents()
		f.follower.told = true
	case *watchroutev1.WatchResponse_SnapshotEnd:
		f.snapshot = false
		synced := change{kind: Synced, revision: m.GetRevision()}
		if !tell {
			return synced, true
		}
		f.also = synced
	}
	return c, tell
}

// reset forgets all.
func (f *fold) reset(reason string, revision uint64) change {
	f.snapshot = true
	f.follower.told = false
	clear(f.told)
	clear(f.held)
	clear(f.undo)
	f.follower.counters.reset()
	return change{kind: Reset, reason: reason, revision: revision}
}

// event looks at one event, and says whether it is to be told.
func (f *fold) event(e *watchroutev1.Event) (c change, tell bool, err error) {
	name, revision := e.GetResource().GetName(), e.GetResource().GetRevision()
	duplicate := len(f.told) > 0 && f.told[name] >= revision && !f.snapshot
	if duplicate && !f.delta {
		f.follower.counters.duplicate()
		return c, false, nil
	}
	c = change{revision: revision, event: e}
	switch e.GetState() {
	case watchroutev1.State_PRESENT:
		c.kind = Present
		if c.value, err = f.value(e, name); err != nil {
			return c, false, err
		}
		if c.value == nil {
			return c, false, nil // a delta to nothing: the watch begins anew
		}
	case watchroutev1.State_ABSENT:
		c.kind = Absent
		if f.delta {
			f.hold(name, held{revision: revision})
		}
	default:
		return c, false, failure(codes.Unimplemented, ReasonUnknownMessage, "%s is in a state that this client does not know", name)
	}
	if duplicate {
		f.follower.counters.duplicate()
		return c, false, nil
	}
	return c, true, nil
}

// value gives the whole value of an event; nil where it changes what is not held.
func (f *fold) value(e *watchroutev1.Event, name string) (value any, err error) {
	data := e.GetResource().GetData()
	if paths := e.GetUpdatedFields().GetPaths(); len(paths) > 0 {
		old, ok := f.held[name]
		if !ok || old.value == nil {
			f.events = nil
			f.over = true // its token does not count
			f.follower.lost()
			return nil, nil
		}
		value, err = f.form.merge(old.value, data, paths)
	} else {
		value, err = f.form.decode(data)
	}
	if err == nil && f.delta {
		f.hold(name, held{e.GetResource().GetRevision(), value})
	}
	return value, err
}

// hold keeps what a name is now, and what it was at the token.
func (f *fold) hold(name string, now held) {
	if f.held == nil {
		f.held, f.undo = map[string]held{}, map[string]held{}
	}
	if !f.snapshot {
		if _, ok := f.undo[name]; !ok {
			f.undo[name] = f.held[name]
		}
	}
	if now.value == nil {
		delete(f.held, name)
	} else {
		f.held[name] = now
	}
}

// rewind goes back to what was held at the token.
func (f *fold) rewind() {
	for name, was := range f.undo {
		if was.value == nil {
			delete(f.held, name)
		} else {
			f.held[name] = was
		}
	}
	clear(f.undo)
}

// finish notes that all of the present message was told.
func (f *fold) finish() {
	if f.message.GetResumeToken() != "" {
		clear(f.undo)
		for name, revision := range f.told {
			if revision <= f.message.GetRevision() {
				delete(f.told, name)
			}
		}
		return
	}
	if f.snapshot || f.marks {
		return
	}
	for _, e := range f.message.GetEvents().GetEvents() {
		if f.told == nil {
			f.told = map[string]uint64{}
		}
		name := e.GetResource().GetName()
		f.told[name] = max(f.told[name], e.GetResource().GetRevision())
	}
}

func statusOf(s *spb.Status) *status.Status {
	if s.GetCode() == int32(codes.OK) {
		return status.New(codes.Unavailable, "the server closed the watch")
	}
	return status.FromProto(s)
}

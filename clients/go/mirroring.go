package watchroute

import (
	"context"
	"maps"
	"slices"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// step is a change that the mirror is about to show.
type step struct {
	name      string
	after     *entry // nil: absent
	before    *entry // set when it is shown
	cause     watchroutev1.Cause
	coalesced uint32
	revision  uint64
	silent    bool // callbacks are not told
}

// run follows the watch. Changes gather until a message carries a token, a state until it
// is complete; then all of it is shown at once.
func (m *Mirror[T]) run(ctx context.Context, f *fold) {
	defer close(m.done)
	defer m.cancel()
	defer f.follower.end()
	err := m.follow(ctx, f)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *Mirror[T]) follow(ctx context.Context, f *fold) error {
	var gathered []step
	state := map[string]*entry{} // nil: the state is complete
	for {
		c, err := f.next(ctx)
		if err != nil {
			return err
		}
		switch c.kind {
		case Reset:
			gathered, state = nil, map[string]*entry{}
		case Synced:
			m.show(m.differences(state, c.revision), c.revision, f.follower.state == Live)
			state = nil
		case Present, Absent:
			s := step{name: c.event.GetResource().GetName(), cause: c.event.GetCause(), coalesced: c.event.GetCoalesced(), revision: c.revision}
			if c.kind == Present {
				if s.after, err = m.entryOf(c); err != nil {
					return f.fail(err)
				}
			}
			switch {
			case state == nil:
				gathered = append(gathered, s)
			case s.after != nil:
				state[s.name] = s.after
			default:
				delete(state, s.name)
			}
		default:
			if c.again {
				gathered = nil
			}
			if c.at && state == nil {
				m.show(gathered, c.revision, f.follower.state == Live)
				gathered = nil
			} else if f.follower.state == Live {
				m.touch()
			}
		}
	}
}

// entryOf makes an entry, and sees to it that its value can be given.
func (m *Mirror[T]) entryOf(c change) (*entry, error) {
	value, err := m.shape.give(c.value, len(m.indexes) > 0)
	if err != nil {
		return nil, err
	}
	r := c.event.GetResource()
	e := &entry{value: c.value, resource: &watchroutev1.Resource{Name: r.GetName(), Uid: r.GetUid(), Revision: r.GetRevision(),
		CreateRevision: r.GetCreateRevision(), Etag: r.GetEtag(), Labels: r.GetLabels(), CreateTime: r.GetCreateTime(), UpdateTime: r.GetUpdateTime()}}
	if len(m.indexes) > 0 {
		e.keys = map[string][]string{}
		resource := resourceOf(r, value)
		for name, index := range m.indexes {
			e.keys[name] = slices.Clone(index.keys(resource))
		}
	}
	return e, nil
}

// differences gives what leads from what the mirror shows to a new state, in the order of
// the names.
func (m *Mirror[T]) differences(state map[string]*entry, revision uint64) []step {
	var steps []step
	for name, now := range state {
		was := m.entries[name]
		s := step{name: name, after: now, revision: now.resource.GetRevision(), cause: watchroutev1.Cause_ENTERED}
		if was != nil {
			s.cause, s.silent = watchroutev1.Cause_UPDATED, m.same(was, now)
		}
		steps = append(steps, s)
	}
	for name := range m.entries {
		if state[name] == nil {
			steps = append(steps, step{name: name, revision: revision, cause: watchroutev1.Cause_LEFT})
		}
	}
	slices.SortFunc(steps, func(a, b step) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return steps
}

// same says whether two resources are the same to a program: in another life of the log
// they have other revisions.
func (m *Mirror[T]) same(a, b *entry) bool {
	return maps.Equal(a.resource.GetLabels(), b.resource.GetLabels()) && m.shape.equal(a.value, b.value)
}

func (m *Mirror[T]) touch() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = time.Now()
}

// show takes over changes, and tells them.
func (m *Mirror[T]) show(steps []step, revision uint64, live bool) {
	m.mu.Lock()
	for i := range steps {
		s := &steps[i]
		s.before = m.entries[s.name]
		m.replaceLocked(s.name, s.before, s.after)
	}
	m.revision = revision
	if live {
		m.live = time.Now()
	}
	select {
	case <-m.synced:
	default:
		close(m.synced)
	}
	m.waiters = slices.DeleteFunc(m.waiters, func(w waiter) bool {
		if w.revision <= revision {
			close(w.reached)
		}
		return w.revision <= revision
	})
	listeners := m.listeners // those of later hear of later changes
	m.mu.Unlock()
	for _, s := range steps {
		if s.silent || s.before == nil && s.after == nil { // the latter was not in the mirror
			continue
		}
		for _, l := range listeners {
			if !l.stopped.Load() {
				l.f(m.changeOf(s))
			}
		}
	}
}

// changeOf makes what a callback is told.
func (m *Mirror[T]) changeOf(s step) Change[T] {
	change := Change[T]{Cause: s.cause, Coalesced: s.coalesced, Revision: s.revision}
	if s.before != nil {
		before := m.give(s.before)
		change.Before = &before
	}
	if s.after != nil {
		after := m.give(s.after)
		change.After = &after
	}
	return change
}

// replaceLocked puts an entry in the place of another; nil: none.
func (m *Mirror[T]) replaceLocked(name string, was, now *entry) {
	if (was == nil) != (now == nil) {
		m.order = nil
	}
	if now == nil {
		delete(m.entries, name)
	} else {
		m.entries[name] = now
	}
	for index, of := range m.indexes {
		if was != nil {
			for _, key := range was.keys[index] {
				delete(of.of[key], name)
				if len(of.of[key]) == 0 {
					delete(of.of, key)
				}
			}
		}
		if now == nil {
			continue
		}
		for _, key := range now.keys[index] {
			if of.of[key] == nil {
				of.of[key] = map[string]*entry{}
			}
			of.of[key][name] = now
		}
	}
}

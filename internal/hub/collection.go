package hub

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// collection is the hub's side of one collection that is or was watched: the
// ring of its latest batches and the views on it.
type collection struct {
	name   string
	schema *schema.Schema
	hub    *Hub

	// pumped is how far the views have come: all of their events up to it are in
	// their entries.
	pumped atomic.Uint64
	// bytes is what ring, entries and frames take, roughly.
	bytes atomic.Int64

	ringMu  sync.Mutex // nothing is locked below it
	ring    []*slot    // by revision, pumped or not
	head    uint64     // newest revision in the ring or before it
	start   uint64     // the ring has every batch after it
	signal  chan struct{}
	waiters map[*waiter]struct{} // for pumped

	mu    sync.Mutex // before ringMu and view.mu; held while one batch is pumped
	views map[string]*view
	byID  map[string][]*view // views with ids
	whole []*view            // the others
}

// slot is one batch in the ring.
type slot struct {
	revision uint64
	time     time.Time
	changes  []change
	size     int64
	views    []*view // those with an entry of it; guarded by collection.mu
}

// change is a changelog.Change whose values are decoded at most once, whoever
// needs them.
type change struct {
	record   *changelog.Record
	old, new *schema.Value
}

// waiter wants to be told when pumped has reached a revision.
type waiter struct {
	revision uint64
	wake     func()
}

func newCollection(h *Hub, name string, head uint64) *collection {
	c := &collection{name: name, schema: h.cfg.Schemas.Schema(name), hub: h, head: head, start: head,
		signal: make(chan struct{}, 1), waiters: map[*waiter]struct{}{}, views: map[string]*view{}, byID: map[string][]*view{}}
	c.pumped.Store(head)
	return c
}

// publish appends a batch to the ring. The log's sequencer calls it.
func (c *collection) publish(b *changelog.Batch) {
	sl := &slot{revision: b.Revision, time: b.Time, changes: make([]change, len(b.Changes))}
	for i, ch := range b.Changes {
		sl.changes[i] = c.change(ch)
		sl.size += int64(ch.New.Size())
		if ch.Old != nil {
			sl.size += int64(ch.Old.Size())
		}
	}
	c.ringMu.Lock()
	if b.Revision > c.head { // else it was in the head that the collection began with
		c.head = b.Revision
		c.ring = append(c.ring, sl)
		c.bytes.Add(sl.size)
	}
	c.ringMu.Unlock()
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// change decodes lazily: a record that nobody filters is never decoded.
func (c *collection) change(ch changelog.Change) change {
	out := change{record: ch.New}
	if !ch.New.Absent {
		out.new = c.schema.Value(ch.New)
	}
	if ch.Old != nil {
		out.old = c.schema.Value(ch.Old)
	}
	return out
}

// pump takes batches from the ring to the views until the hub closes.
func (c *collection) pump() {
	for {
		select {
		case <-c.hub.done:
			return
		case <-c.signal:
		}
		for c.pumpOne() {
		}
		c.trim()
	}
}

func (c *collection) pumpOne() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	sl := c.next()
	if sl == nil {
		return false
	}
	for _, v := range c.concerned(sl) {
		if v.append(sl) {
			sl.views = append(sl.views, v)
		}
	}
	// Watches read up to pumped: first everything is in its place, then they wake.
	c.pumped.Store(sl.revision)
	for _, v := range sl.views {
		for w := range v.watches {
			w.wake()
		}
	}
	for _, wake := range c.reached(sl.revision) {
		wake()
	}
	return true
}

// next is the oldest batch that is not pumped.
func (c *collection) next() *slot {
	c.ringMu.Lock()
	defer c.ringMu.Unlock()
	i, _ := slices.BinarySearchFunc(c.ring, c.pumped.Load()+1, func(s *slot, r uint64) int {
		return cmp.Compare(s.revision, r)
	})
	if i == len(c.ring) {
		return nil
	}
	return c.ring[i]
}

// concerned lists the views that a batch may have events for, none twice: those
// of its names and those of the whole collection. c.mu is held.
func (c *collection) concerned(sl *slot) []*view {
	views := slices.Clone(c.whole)
	for i := range sl.changes {
		for _, v := range c.byID[sl.changes[i].record.ID] {
			if len(sl.changes) == 1 || len(v.ids) == 1 || !slices.Contains(views[len(c.whole):], v) {
				views = append(views, v)
			}
		}
	}
	return views
}

// trim drops the oldest batches while ring and frames take more than allowed.
func (c *collection) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.bytes.Load() > c.hub.cfg.RingBytes {
		c.ringMu.Lock()
		if len(c.ring) < 2 || c.ring[0].revision >= c.pumped.Load() {
			c.ringMu.Unlock()
			return
		}
		sl := c.ring[0]
		c.ring, c.start = slices.Delete(c.ring, 0, 1), sl.revision
		c.ringMu.Unlock()
		c.bytes.Add(-sl.size)
		for _, v := range sl.views {
			v.forget(sl.revision)
		}
	}
}

// join gives the view of a selection to a watch, and where the view stands. from
// is the revision that the watch has, if it resumes; 0 if not.
func (c *collection) join(w *Watch, s selection, from uint64) {
	key, scope := s.key()
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.views[key]
	if v == nil {
		v = &view{selection: s, key: key, scope: scope, col: c, watches: map[*Watch]struct{}{}, base: c.pumped.Load()}
		c.views[key] = v
		if s.ids == nil {
			c.whole = append(c.whole, v)
		}
		for _, id := range s.ids {
			c.byID[id] = append(c.byID[id], v)
		}
	}
	if from > 0 {
		c.ringMu.Lock()
		slots, start := slices.Clone(c.ring), c.start
		c.ringMu.Unlock()
		if from >= start {
			v.backfill(from, slots)
		}
	}
	v.watches[w] = struct{}{}
	w.view = v
}

// leave takes a watch from its view; the last one takes the view along.
func (c *collection) leave(w *Watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := w.view
	delete(v.watches, w)
	if len(v.watches) > 0 {
		return
	}
	delete(c.views, v.key)
	c.whole = without(c.whole, v)
	for _, id := range v.ids {
		if rest := without(c.byID[id], v); len(rest) > 0 {
			c.byID[id] = rest
		} else {
			delete(c.byID, id)
		}
	}
	v.drop()
}

func without(views []*view, v *view) []*view {
	if i := slices.Index(views, v); i >= 0 {
		return slices.Delete(views, i, i+1)
	}
	return views
}

// notifyAt calls wake once pumped has reached a revision, at once if it has,
// unless cancel is called before.
func (c *collection) notifyAt(revision uint64, wake func()) (cancel func()) {
	c.ringMu.Lock()
	if c.pumped.Load() >= revision {
		c.ringMu.Unlock()
		wake()
		return func() {}
	}
	w := &waiter{revision, wake}
	c.waiters[w] = struct{}{}
	c.ringMu.Unlock()
	return func() {
		c.ringMu.Lock()
		delete(c.waiters, w)
		c.ringMu.Unlock()
	}
}

// reached takes the waiters whose revision has come.
func (c *collection) reached(revision uint64) (wakes []func()) {
	c.ringMu.Lock()
	defer c.ringMu.Unlock()
	for w := range c.waiters {
		if w.revision <= revision {
			wakes = append(wakes, w.wake)
			delete(c.waiters, w)
		}
	}
	return wakes
}

func (v *view) token(revision uint64) string {
	return resource.Token{Epoch: v.col.hub.cfg.Log.Epoch(), Scope: v.scope, Revision: revision, Collection: v.collection}.String()
}

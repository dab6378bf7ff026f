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
	// trimmed counts batches that left memory for the bound on it.
	trimmed atomic.Uint64
	// bytes is what ring, entries and frames take, roughly; see grow.
	bytes atomic.Int64

	ringMu  sync.Mutex // nothing is locked below it
	ring    []*slot    // by revision, pumped or not
	head    uint64     // newest revision in the ring or before it
	start   uint64     // the ring has every batch after it
	signal  chan struct{}
	waiters map[*waiter]struct{} // for pumped

	mu     sync.Mutex // before ringMu and view.mu; held while one batch is pumped
	views  map[viewKey]*view
	byID   map[string][]*view                     // views with ids
	byTerm map[schema.Path]map[schema.Key][]*view // those that cannot do without a term
	whole  []*view                                // the others
	asked  uint64                                 // counts batches
	found  []*view                                // by concerned
	// suspect: for so many batches more the time of each view is taken.
	suspect int
	routes  []*route // few: by codec and transport
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
		signal: make(chan struct{}, 1), waiters: map[*waiter]struct{}{}, views: map[viewKey]*view{}, byID: map[string][]*view{},
		byTerm: map[schema.Path]map[schema.Key][]*view{}}
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
		c.grow(sl.size)
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
		case <-c.hub.ctx.Done():
			return
		case <-c.signal:
		}
		for c.pumpOne() {
		}
		c.trim()
		c.hub.trim()
	}
}

func (c *collection) pumpOne() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	sl := c.next()
	if sl == nil {
		return false
	}
	c.suspect = max(0, c.suspect-1)
	began := time.Now()
	for i, v := range c.concerned(sl) {
		if c.suspect > 0 && !v.afford(0, sl.size) {
			continue
		}
		from := began
		if c.suspect > 0 {
			from = time.Now()
		}
		if v.append(sl) {
			sl.views = append(sl.views, v)
		}
		switch {
		case c.suspect > 0:
			v.afford(time.Since(from), sl.size)
		case i%16 == 15 || v.filter != nil:
			if time.Since(began) > slowBatch {
				c.suspect = lookedAt
			}
		}
	}
	// Watches read up to pumped: first everything is in its place, then they wake.
	c.pumped.Store(sl.revision)
	for _, v := range sl.views {
		for _, g := range v.groups {
			g.reader.wakeGroup(g)
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

// concerned lists the views that a batch may have events for, each once: those of its
// names, those whose term one of its values meets, and those of the whole
// collection, of which nothing is known. c.mu is held.
func (c *collection) concerned(sl *slot) []*view {
	c.asked++
	c.found = append(c.found[:0], c.whole...)
	meet := func(views []*view) {
		for _, v := range views {
			if v.asked != c.asked {
				v.asked = c.asked
				c.found = append(c.found, v)
			}
		}
	}
	for i := range sl.changes {
		ch := &sl.changes[i]
		meet(c.byID[ch.record.ID])
		for path, views := range c.byTerm {
			for _, v := range []*schema.Value{ch.old, ch.new} {
				if v == nil {
					continue
				}
				if key, ok := v.Key(path); ok {
					meet(views[key])
				}
			}
		}
	}
	return c.found
}

// index makes a view be found by concerned, unindex ends that. c.mu is held.
func (c *collection) index(v *view) {
	if v.ids != nil {
		for _, id := range v.ids {
			c.byID[id] = append(c.byID[id], v)
		}
		return
	}
	t, ok := v.term()
	if !ok {
		c.whole = append(c.whole, v)
		return
	}
	if c.byTerm[t.Path] == nil {
		c.byTerm[t.Path] = map[schema.Key][]*view{}
	}
	c.byTerm[t.Path][t.Key] = append(c.byTerm[t.Path][t.Key], v)
}

func (c *collection) unindex(v *view) {
	if v.ids != nil {
		for _, id := range v.ids {
			without(c.byID, id, v)
		}
		return
	}
	t, ok := v.term()
	if !ok {
		c.whole = slices.DeleteFunc(c.whole, func(w *view) bool { return w == v })
		return
	}
	without(c.byTerm[t.Path], t.Key, v)
	if len(c.byTerm[t.Path]) == 0 {
		delete(c.byTerm, t.Path)
	}
}

// without takes a view out of a list, and the list out of the map when it is empty.
func without[K comparable](lists map[K][]*view, key K, v *view) {
	rest := slices.DeleteFunc(lists[key], func(w *view) bool { return w == v })
	if len(rest) == 0 {
		delete(lists, key)
		return
	}
	lists[key] = rest
}

// grow counts what memory the collection takes, or with less than 0 gives back.
func (c *collection) grow(bytes int64) {
	c.bytes.Add(bytes)
	c.hub.bytes.Add(bytes)
}

// trim drops the oldest batches while ring and frames take more than allowed.
func (c *collection) trim() { c.trimTo(c.hub.cfg.RingBytes) }

func (c *collection) trimTo(most int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.bytes.Load() > most {
		c.ringMu.Lock()
		if len(c.ring) < 2 || c.ring[0].revision >= c.pumped.Load() {
			c.ringMu.Unlock()
			return
		}
		sl := c.ring[0]
		c.ring[0] = nil
		c.ring, c.start = c.ring[1:], sl.revision
		c.ringMu.Unlock()
		c.grow(-sl.size)
		for _, v := range sl.views {
			v.forget(sl.revision)
		}
		c.trimmed.Add(1)
	}
}

// join gives the view of a selection to a watch. from is the revision that the watch
// has, if it resumes; 0 if not.
func (c *collection) join(w *Watch, s selection, from uint64) {
	key, tokens := s.key()
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.views[key]
	if v == nil {
		v = &view{selection: s, key: key, tokens: tokens, col: c}
		v.base.Store(c.pumped.Load())
		c.views[key] = v
		c.index(v)
	}
	if from > 0 {
		c.backfill(v, from)
	}
	w.view = v
	for _, g := range v.groups {
		if g.reader == w.reader {
			g.add(w)
			return
		}
	}
	g := &group{reader: w.reader}
	g.add(w)
	v.groups = append(v.groups, g)
}

// backfill makes a view reach down to a revision, if the ring does. c.mu is held:
// nothing is pumped meanwhile.
func (c *collection) backfill(v *view, from uint64) {
	if !v.lacks(from) {
		return
	}
	c.ringMu.Lock()
	i, _ := slices.BinarySearchFunc(c.ring, from+1, func(s *slot, r uint64) int { return cmp.Compare(s.revision, r) })
	slots, start := slices.Clone(c.ring[i:]), c.start
	c.ringMu.Unlock()
	if from >= start {
		v.backfill(from, slots)
	}
}

// leave takes a watch from its view; the last one takes the view along.
func (c *collection) leave(w *Watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := w.view
	if !w.group.remove(w) {
		return
	}
	v.groups = slices.DeleteFunc(v.groups, func(g *group) bool { return g == w.group })
	if len(v.groups) > 0 {
		return
	}
	delete(c.views, v.key)
	c.unindex(v)
	v.drop()
}

// route gives what the watches over a transport share.
func (c *collection) route(codec Codec, transport string) *route {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.routes {
		if r.transport == transport && r.codec.Name() == codec.Name() {
			return r
		}
	}
	r := &route{codec, transport, c.hub.cfg.Observer.Meter(c.name, transport)}
	c.routes = append(c.routes, r)
	return r
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
	return resource.Token{Epoch: v.col.hub.epoch, Scope: v.tokens, Revision: revision, Collection: v.collection}.String()
}

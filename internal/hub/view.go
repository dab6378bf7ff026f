package hub

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/schema"
)

// view is a selection that one or more watches share, with the events that it
// lately had.
type view struct {
	selection
	key    viewKey
	tokens uint64 // the scope that its tokens name
	col    *collection

	// groups and asked are guarded by col.mu; no group is empty.
	groups []*group
	asked  uint64 // the last batch that it was asked about
	cheap  int64  // for a batch of so many bytes its filter took next to nothing, see afford

	mu sync.Mutex // after col.mu, before snapshots.mu
	// base: entries has every event of the view after this revision, up to
	// col.pumped.
	base    atomic.Uint64 // written with mu held
	entries []*entry      // by revision
	encoded *encoded      // nil: nothing was asked for yet
}

// encoded is what of a view is encoded, one of each for each codec that was asked for.
type encoded struct {
	tapes     []*tape
	pieces    []piece // the last one
	snapshots []*snapshot
	links     links
}

// encodedLocked gives it to who wants to add to it.
func (v *view) encodedLocked() *encoded {
	if v.encoded == nil {
		v.encoded = &encoded{}
	}
	return v.encoded
}

// entry is what one batch means to a view.
type entry struct {
	revision uint64
	// again is the newest revision before this one at which one of its names changed.
	again uint64
	time  time.Time
	steps []step
	size  int // in bytes, roughly
}

func byRevision(e *entry, revision uint64) int { return cmp.Compare(e.revision, revision) }

// step is what one change, or several of one name, mean to a view: the name was
// in the selection before or not (old), and is after or not (new).
type step struct {
	record    *changelog.Record // after
	old, new  *schema.Value     // masked; nil: not in the selection
	existed   bool              // before, in the selection or not
	coalesced uint32
	// The steps of the same name in the view before and after; see links.
	prev, next *step
}

// step says what a change means to the view, and whether it is an event.
func (s *selection) step(old, new *schema.Value, record *changelog.Record) (step, bool) {
	st := step{record: record, existed: old != nil}
	st.old, st.new = s.of(old), s.of(new)
	return st, (st.old != nil || st.new != nil) && !st.unseen(s)
}

// unseen: what changed is not shown.
func (st *step) unseen(s *selection) bool {
	return s.partial() && st.old != nil && st.new != nil && st.old.Equal(st.new)
}

// event gives a step as it is told to a watch.
func (st *step) event(s *selection) Event {
	e := Event{Name: s.name(st.record.ID), Revision: st.record.Revision, Value: st.new, Coalesced: st.coalesced}
	switch {
	case st.new == nil && st.record.Absent:
		e.Cause = watchroutev1.Cause_DELETED
	case st.new == nil:
		e.Cause = watchroutev1.Cause_LEFT
	case st.old != nil:
		e.Cause = watchroutev1.Cause_UPDATED
		if s.delta && st.old.Record().UID == st.record.UID {
			if paths, changed := schema.Delta(st.old, st.new); len(paths) > 0 {
				e.Value, e.Updated, e.Base = changed, paths, st.old.Record().Revision
			}
		}
	case st.existed:
		e.Cause = watchroutev1.Cause_ENTERED
	default:
		e.Cause = watchroutev1.Cause_CREATED
	}
	return e
}

// then folds a later step of the same name into st.
func (st step) then(next step) step {
	next.coalesced += st.coalesced + 1
	next.old, next.existed = st.old, st.existed
	return next
}

// events gives the steps as they are told.
func (s *selection) events(steps []step) []Event {
	events := make([]Event, len(steps))
	for i := range steps {
		events[i] = steps[i].event(s)
	}
	return events
}

// tapeLocked gives the tape of a codec.
func (v *view) tapeLocked(codec Codec) *tape {
	all := v.encodedLocked()
	for _, t := range all.tapes {
		if t.codec.Name() == codec.Name() {
			return t
		}
	}
	t := &tape{codec: codec}
	all.tapes = append(all.tapes, t)
	return t
}

// append adds what a batch means to the view. It says whether that is anything.
// The entry's frames are not made yet.
func (v *view) append(sl *slot) bool {
	e := v.entryOf(sl)
	if e == nil {
		return false
	}
	v.mu.Lock()
	v.entries = append(v.entries, e)
	v.mu.Unlock()
	v.col.grow(int64(e.size))
	return true
}

func (v *view) entryOf(sl *slot) *entry {
	var e *entry
	for i := range sl.changes {
		c := &sl.changes[i]
		if !v.has(c.record.ID) {
			continue
		}
		st, ok := v.step(c.old, c.new, c.record)
		if !ok {
			continue
		}
		if e == nil {
			e = &entry{revision: sl.revision, time: sl.time, size: 112}
		}
		e.again = max(e.again, c.record.Prev)
		e.steps = append(e.steps, st)
		e.size += int(unsafe.Sizeof(st))
	}
	return e
}

// lacks says whether the view does not reach down to a revision.
func (v *view) lacks(revision uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return revision < v.base.Load()
}

// backfill makes the view reach down to a revision, with the slots after it, by
// revision, or as far as its filter gets in a moment. col.mu is held.
func (v *view) backfill(from uint64, slots []*slot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	base := v.base.Load()
	if from >= base {
		return
	}
	var older []*entry
	began := time.Now()
	for _, sl := range slices.Backward(slots) {
		if sl.revision <= from || sl.revision > base {
			continue
		}
		if v.filter != nil && time.Since(began) > slowBatch { // the log has the rest of it
			from = sl.revision
			break
		}
		if e := v.entryOf(sl); e != nil {
			older = append(older, e)
			sl.views = append(sl.views, v)
			v.col.grow(int64(e.size))
		}
	}
	slices.Reverse(older)
	v.entries = append(older, v.entries...)
	v.base.Store(from)
	if v.encoded != nil && len(older) > 0 {
		v.col.grow(-int64(v.encoded.links.drop()))
	}
}

// forget drops the entries up to a revision: their slot leaves the ring.
func (v *view) forget(revision uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, freed := 0, 0
	for n < len(v.entries) && v.entries[n].revision <= revision {
		freed += v.entries[n].size
		n++
	}
	if n == 0 {
		return
	}
	base := max(v.base.Load(), v.entries[n-1].revision)
	v.base.Store(base)
	if v.encoded != nil {
		freed += v.encoded.links.forget(v.entries[:n])
		for _, t := range v.encoded.tapes {
			before := t.size
			t.forget(base)
			freed += before - t.size
		}
		for i := range v.encoded.pieces { // nobody can be where they begin any longer
			if p := &v.encoded.pieces[i]; p.from < base {
				freed += p.size
				*p = piece{codec: p.codec}
			}
		}
	}
	v.entries = slices.Delete(v.entries, 0, n)
	v.col.grow(-int64(freed))
}

// drop gives back what the view takes: its last watch has left.
func (v *view) drop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	freed := 0
	for _, e := range v.entries {
		freed += e.size
	}
	if v.encoded != nil {
		for _, t := range v.encoded.tapes {
			freed += t.size
		}
		for i := range v.encoded.pieces {
			freed += v.encoded.pieces[i].size
		}
		freed += v.encoded.links.drop()
		v.col.hub.snapshots.drop(v.encoded.snapshots...)
	}
	v.col.grow(-int64(freed))
	v.entries, v.encoded = nil, nil
}

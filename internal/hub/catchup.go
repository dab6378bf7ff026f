package hub

import (
	"cmp"
	"iter"
	"math"
	"slices"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// reading is where a watch is in reading the log: from what it has seen to a
// revision that was the head when it began.
type reading struct {
	from, at uint64
	pos      changelog.Position
	open     bool // the last frame handed out carries no token
	// The view's entries are being folded, not the log: what they amount to is handed
	// out by revision, up to pos so far.
	fold bool
	half int // see place

	// A snapshot that is shared, and the next segment of it. Then pos is where the
	// one before it ended.
	shared *snapshot
	next   int
}

// portion collects events until the budget is full.
type portion struct {
	budget Budget
	events []Event
	bytes  int
	look   *Look
}

// mostLooked is how many records a watch looks at in one piece: one whose filter
// takes nothing lets others have their turn too.
const mostLooked = 10_000

func (p *portion) add(e Event) {
	p.events = append(p.events, e)
	p.bytes += 128
	if e.Value != nil {
		p.bytes += len(e.Value.Record().Data)
	}
}

func (p *portion) full() bool {
	return p.bytes >= p.budget.Bytes || p.budget.Events >= 0 && len(p.events) >= p.budget.Events || p.look.looked >= mostLooked || p.look.Over()
}

// ends says whether the piece ends before a record. A revision is never cut: until
// the next piece a bookmark may stand at the last one, and nothing at or below it
// may still be to come.
func (p *portion) ends(at changelog.Position, next *changelog.Record) bool {
	p.look.looked++
	return p.full() && next.Revision != at.Revision
}

// readSnapshot hands out a piece of the state, and `snapshot_end` at its end.
func (w *Watch) readSnapshot(dst []Frame, b Budget) ([]Frame, error) {
	if w.reading == nil {
		// What was acknowledged before the watch opened is in it, pumped or not.
		r := &reading{at: w.Head()}
		if w.view.ids == nil && b.Events < 0 && r.at > 0 {
			r.shared, r.at = w.snapshotFor(r.at)
		}
		w.reading = r
	}
	r := w.reading
	if r.shared != nil {
		g, found, err := w.segment(r.shared, r.next)
		switch {
		case err != nil:
			return dst, err
		case found == ready:
			r.pos = g.pos
			r.next++
			return append(dst, g.frames...), nil
		case found == ended:
			return w.endSnapshot(dst), nil
		case found == none:
			w.goOn(false)
			return dst, nil
		}
		r.shared = nil
	}
	look, err := w.look()
	if look == nil || err != nil {
		return dst, err
	}
	defer look.End()
	p := portion{budget: b, look: look}
	whole, err := w.state(&p, r)
	if err != nil {
		return dst, err
	}
	if len(p.events) > 0 {
		dst = encode(w.codec, dst, p.events, p.events[len(p.events)-1].Revision, "")
	}
	if whole {
		return w.endSnapshot(dst), nil
	}
	w.goOn(len(p.events) > 0)
	return dst, nil
}

func (w *Watch) endSnapshot(dst []Frame) []Frame {
	at := w.reading.at
	w.snapshot, w.reading = false, nil
	w.moveTo(at)
	return append(dst, w.frame(Message{Kind: SnapshotEnd}))
}

// goOn lets a watch have another turn that has handed out nothing in this one, though
// there is more to look at.
func (w *Watch) goOn(handedOut bool) {
	if !handedOut {
		w.wake()
	}
}

// state collects a piece of the state at a revision, and says whether it is the last.
func (w *Watch) state(p *portion, r *reading) (whole bool, err error) {
	if r.at == 0 {
		return true, nil
	}
	for rec, err := range w.latest(r) {
		if err != nil {
			return false, err
		}
		if p.ends(r.pos, rec) {
			return false, nil
		}
		r.pos = changelog.Position{Revision: rec.Revision, ID: rec.ID}
		if v := w.view.of(w.value(rec)); v != nil {
			p.add(Event{Name: w.view.name(rec.ID), Revision: rec.Revision, Cause: watchroutev1.Cause_ENTERED, Value: v})
		}
	}
	return true, nil
}

// catchUp hands out a piece of what the log has between the cursor and where the
// view begins.
func (w *Watch) catchUp(dst []Frame, b Budget) ([]Frame, error) {
	look, err := w.look()
	if look == nil || err != nil {
		return dst, err
	}
	defer look.End()
	if !w.resumable(&w.view.selection, w.reading.from) {
		return dst, expired(watchroutev1.Reset_COMPACTED)
	}
	retained := w.reading.from >= w.hub.cfg.Log.Bounds(w.col.name).History
	switch {
	case w.view.every:
		return w.everyChange(dst, b, look)
	case retained && w.view.ids == nil && !w.reading.open:
		dst, err = w.foldHistory(dst, b, look)
		if !w.view.exact() || !resource.HasReason(err, resource.Compacted) {
			return dst, err
		}
		// It was dropped meanwhile. The last change of each name is enough.
	}
	return w.latestChanges(dst, b, look)
}

// mostFolded bounds the changes that are read at a time to be folded, and the bytes of
// their values.
const (
	mostFolded      = 4096
	mostFoldedBytes = 4 << 20
)

// foldHistory reads changes and hands out what they amount to, as live does with those
// in memory. Every piece ends with a whole batch, and with a token.
func (w *Watch) foldHistory(dst []Frame, b Budget, look *Look) ([]Frame, error) {
	r := w.reading
	var entries []*entry
	done, bytes, whole := r.pos.Revision, 0, true
	for ch, err := range w.hub.cfg.Log.History(w.hub.ctx, w.col.name, r.pos, r.at) {
		if err != nil {
			return dst, err
		}
		if ch.New.Revision != done && (look.looked >= mostFolded || bytes >= mostFoldedBytes || look.Over()) {
			whole = false
			break
		}
		done = ch.New.Revision
		look.looked++
		bytes += len(ch.New.Data)
		st, ok := w.view.step(w.value(ch.Old), w.value(ch.New), ch.New)
		if !ok {
			continue
		}
		if n := len(entries); n == 0 || entries[n-1].revision != done {
			entries = append(entries, &entry{revision: done})
		}
		last := entries[len(entries)-1]
		last.steps = append(last.steps, st)
	}
	var steps []folded
	if len(entries) > 0 {
		var to uint64
		within := b
		within.Events = -1 // what is more than those is told one after the other
		if steps, to = amount(&w.view.selection, entries, within); to < entries[len(entries)-1].revision {
			whole, done = false, to
		}
	}
	if n := cut(steps, Budget{Bytes: math.MaxInt, Events: b.Events}); n < len(steps) {
		to := steps[n-1].record.Revision
		if !steps[n-1].clean { // latestChanges tells the rest of them
			if !whole {
				r.at = done
			}
			r.open, r.pos = true, changelog.Position{Revision: to}
			return encode(w.codec, dst, events(&w.view.selection, steps[:n]), to, ""), nil
		}
		steps, whole, done = steps[:n], false, to
	}
	if whole {
		done, w.reading = r.at, nil
	}
	r.pos, r.from = changelog.Position{Revision: done}, done
	w.moveTo(done)
	if len(steps) > 0 {
		dst = encode(w.codec, dst, events(&w.view.selection, steps), done, w.view.token(done))
	}
	w.goOn(whole || len(steps) > 0)
	return dst, nil
}

// everyChange reads each change. Every piece ends with a whole batch, and with a
// token.
func (w *Watch) everyChange(dst []Frame, b Budget, look *Look) ([]Frame, error) {
	r, p := w.reading, portion{budget: b, look: look}
	done := r.pos.Revision
	whole := true
	for ch, err := range w.hub.cfg.Log.History(w.hub.ctx, w.col.name, r.pos, r.at) {
		if err != nil {
			return dst, err
		}
		if look.looked++; ch.New.Revision != done && p.full() {
			whole = false
			break
		}
		done = ch.New.Revision
		if !w.view.has(ch.New.ID) {
			continue
		}
		if st, ok := w.view.step(w.value(ch.Old), w.value(ch.New), ch.New); ok {
			p.add(st.event(&w.view.selection))
		}
	}
	if whole {
		done, w.reading = r.at, nil
	}
	r.pos, r.from = changelog.Position{Revision: done}, done
	w.moveTo(done)
	if len(p.events) > 0 {
		dst = encode(w.codec, dst, p.events, done, w.view.token(done))
	}
	w.goOn(whole || len(p.events) > 0)
	return dst, nil
}

// latestChanges reads the last change of every name: for a watch by names, and where
// the changes before are no longer retained. Batches that were partly superseded are
// whole again only at the end, so only the last piece has a token.
func (w *Watch) latestChanges(dst []Frame, b Budget, look *Look) ([]Frame, error) {
	r, p := w.reading, portion{budget: b, look: look}
	bounds := w.hub.cfg.Log.Bounds(w.col.name)
	retained := r.from >= bounds.History
	if !retained && !w.view.exact() { // dropped since catchUp looked
		return dst, expired(watchroutev1.Reset_COMPACTED)
	}
	compare := retained && (!w.view.exact() || w.view.partial() || w.view.delta)
	whole := true
	for rec, err := range w.latest(r) {
		if err != nil {
			return dst, err
		}
		if p.ends(r.pos, rec) {
			whole = false
			break
		}
		r.pos = changelog.Position{Revision: rec.Revision, ID: rec.ID}
		if compare {
			st, ok, err := w.since(rec, r.from)
			if err != nil {
				return dst, err
			}
			if ok {
				p.add(st.event(&w.view.selection))
			}
		} else {
			e, err := w.newest(rec, r.from, retained)
			if err != nil {
				return dst, err
			}
			p.add(e)
		}
	}
	if !whole {
		w.goOn(len(p.events) > 0)
		if len(p.events) == 0 {
			return dst, nil
		}
		r.open = true
		return encode(w.codec, dst, p.events, p.events[len(p.events)-1].Revision, ""), nil
	}
	w.reading = nil
	w.moveTo(r.at)
	switch {
	case len(p.events) > 0:
		dst = encode(w.codec, dst, p.events, r.at, w.view.token(r.at))
	case r.open:
		dst = append(dst, w.frame(Message{Kind: Bookmark}))
	}
	return dst, nil
}

// latest reads on where a reading stands. A watch by names reads its names only.
func (w *Watch) latest(r *reading) iter.Seq2[*changelog.Record, error] {
	if w.view.ids != nil {
		return func(yield func(*changelog.Record, error) bool) { w.latestOfNames(r, yield) }
	}
	return w.hub.cfg.Log.Latest(w.hub.ctx, w.col.name, r.pos, r.at)
}

func (w *Watch) latestOfNames(r *reading, yield func(*changelog.Record, error) bool) {
	var records []*changelog.Record
	for _, id := range w.view.ids {
		rec, err := w.hub.cfg.Log.Get(w.hub.ctx, w.col.name, id, r.at)
		if err != nil {
			yield(nil, err)
			return
		}
		if rec != nil && r.pos.Before(rec) {
			records = append(records, rec)
		}
	}
	slices.SortFunc(records, func(a, b *changelog.Record) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.ID, b.ID))
	})
	for _, rec := range records {
		if !yield(rec, nil) {
			return
		}
	}
}

// since folds the changes of a name after a revision into one step. It is an
// event if the name was in the selection at any moment of it.
func (w *Watch) since(rec *changelog.Record, from uint64) (step, bool, error) {
	seen := w.view.in(w.value(rec))
	before, folded, err := w.before(rec, from, func(r *changelog.Record) { seen = seen || w.view.in(w.value(r)) })
	if err != nil {
		return step{}, false, err
	}
	var old *changelog.Record
	if before > 0 {
		log := w.hub.cfg.Log
		if old, err = log.Exactly(w.hub.ctx, w.col.name, rec.ID, before); err != nil {
			return step{}, false, err
		}
		if old == nil && log.Bounds(w.col.name).History > from {
			return step{}, false, expired(watchroutev1.Reset_COMPACTED)
		}
	}
	st, ok := w.view.step(w.value(old), w.value(rec), rec)
	st.coalesced = folded
	return st, ok || seen && !st.unseen(&w.view.selection), nil
}

// newest is the event of a record in a watch for which the record alone tells what
// to send. The changes that it stands for are counted where they are retained.
func (w *Watch) newest(rec *changelog.Record, from uint64, retained bool) (Event, error) {
	st := step{record: rec, new: w.view.of(w.value(rec))}
	if retained {
		var err error
		if _, st.coalesced, err = w.before(rec, from, func(*changelog.Record) {}); err != nil {
			return Event{}, err
		}
	}
	e := st.event(&w.view.selection)
	if e.Value != nil && rec.CreateRevision <= from {
		e.Cause = watchroutev1.Cause_UPDATED
	}
	return e, nil
}

// before visits the changes of a record's name between a revision and the record,
// and gives how many they are and the revision of the change before them, 0 if
// there is none.
func (w *Watch) before(rec *changelog.Record, from uint64, visit func(*changelog.Record)) (revision uint64, n uint32, err error) {
	for prev := rec.Prev; ; n++ {
		if prev <= from {
			return prev, n, nil
		}
		r, err := w.hub.cfg.Log.Exactly(w.hub.ctx, w.col.name, rec.ID, prev)
		if err != nil {
			return 0, 0, err
		}
		if r == nil {
			return 0, 0, expired(watchroutev1.Reset_COMPACTED)
		}
		visit(r)
		prev = r.Prev
	}
}

// value gives the value of a record; nil for a tombstone and for no record.
func (w *Watch) value(r *changelog.Record) *schema.Value {
	if r == nil || r.Absent {
		return nil
	}
	return w.col.schema.Value(r)
}

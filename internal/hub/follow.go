package hub

import (
	"cmp"
	"math"
	"slices"
	"time"
	"unsafe"

	"github.com/watchroute/watchroute/internal/changelog"
)

// follow hands out what the view has after the cursor; where the view does not
// reach down to the cursor, what the log has. When it adds nothing the watch is
// caught up.
func (w *Watch) follow(dst []Frame, b Budget, now time.Time) ([]Frame, error) {
	for had := len(dst); ; {
		if w.reading == nil || w.reading.fold {
			whole := w.reading == nil
			if dst, ok := w.live(dst, b, now); ok {
				w.lively = whole && w.reading == nil
				return dst, nil
			}
			if r := w.reading; r != nil { // the log has the rest of it
				r.fold, r.open = false, true
			} else {
				from := w.cursor.Load()
				w.reading = &reading{from: from, at: w.col.pumped.Load(), pos: changelog.Position{Revision: from}}
			}
		}
		var err error
		if dst, err = w.catchUp(dst, b); err != nil || w.reading != nil {
			return dst, err
		}
		if len(dst) > had {
			return dst, nil
		}
	}
}

// remembered says whether the view has all that comes after the cursor, or after where
// the fold began that is being handed out.
func (w *Watch) remembered() bool {
	from := w.cursor.Load()
	if w.reading != nil {
		from = w.reading.from
	}
	return from >= w.view.base.Load()
}

// live hands out the view's entries after the cursor, or goes on with the fold of
// them that is being handed out, unless the view does not reach down to there.
func (w *Watch) live(dst []Frame, b Budget, now time.Time) (_ []Frame, ok bool) {
	if !w.remembered() && !w.halfTold() {
		w.reading = nil // what the fold has left comes after the cursor
	}
	v, from, head := w.view, w.cursor.Load(), w.col.pumped.Load()
	if w.reading != nil {
		from, head = w.reading.from, w.reading.at
	}
	if from >= head {
		return dst, w.remembered()
	}
	v.mu.Lock()
	if !w.remembered() {
		v.mu.Unlock()
		return dst, false
	}
	pending := v.between(from, head)
	if len(pending) == 0 {
		v.mu.Unlock()
		w.moveTo(head)
		return dst, true
	}
	last := pending[len(pending)-1]
	if w.reading != nil || !v.every && repeated(pending, from) {
		dst = w.foldLocked(dst, pending, from, head, b)
	} else {
		dst = w.tapeLocked(dst, pending, from, head, b)
	}
	v.mu.Unlock()
	w.meter.Delivered(now.Sub(last.time))
	return dst, true
}

// tapeLocked hands out the entries one by one, as far as the budget goes.
func (w *Watch) tapeLocked(dst []Frame, pending []*entry, from, head uint64, b Budget) []Frame {
	v := w.view
	t := v.tapeLocked(w.codec)
	before := t.size
	var at uint64
	if t.reach(v, from, head, b.Bytes) {
		dst, at = t.read(dst, from, b)
	} else {
		alone := tape{codec: w.codec, after: from, until: from}
		alone.encode(v, pending, b.Bytes)
		dst, at = alone.read(dst, from, b)
	}
	v.col.grow(int64(t.size - before))
	if at == pending[len(pending)-1].revision {
		at = head
	}
	w.moveTo(at)
	return dst
}

// foldLocked hands out what the entries amount to, of that what was not told yet. Where
// that is more than the budget, the rest of it is next, whatever comes meanwhile: so the
// watch gets each name once for all that it missed, however slow it is.
func (w *Watch) foldLocked(dst []Frame, pending []*entry, from, head uint64, b Budget) []Frame {
	told := from
	if w.reading != nil {
		told = w.reading.pos.Revision
	}
	f := w.view.foldLocked(w.codec, pending, from, told, b)
	w.reading = &reading{from: from, at: head, fold: true, pos: changelog.Position{Revision: f.to}}
	switch {
	case f.whole:
		w.reading = nil
		w.moveTo(head)
	case f.clean:
		w.moveTo(f.to)
	}
	return append(dst, f.frames...)
}

// moveTo: everything up to a revision was handed out.
func (w *Watch) moveTo(revision uint64) {
	w.cursor.Store(revision)
	w.token = true
}

// between gives the entries after one revision and up to another. v.mu is held.
func (v *view) between(after, until uint64) []*entry {
	i, _ := slices.BinarySearchFunc(v.entries, after+1, byRevision)
	j, _ := slices.BinarySearchFunc(v.entries, until+1, byRevision)
	return v.entries[i:max(i, j)]
}

// repeated says whether a name may come more than once among the entries after a
// revision.
func repeated(entries []*entry, after uint64) bool {
	for _, e := range entries {
		if e.again > after {
			return true
		}
	}
	return false
}

// foldLocked gives what the entries amount to, by revision: of that what was not told
// yet, as far as the budget goes. A revision is not cut.
func (v *view) foldLocked(codec Codec, entries []*entry, after, told uint64, b Budget) *fold {
	until := entries[len(entries)-1].revision
	all := v.encodedLocked()
	var f *fold
	for i := range all.folds {
		if all.folds[i].codec == codec.Name() {
			f = &all.folds[i]
		}
	}
	if f == nil {
		all.folds = append(all.folds, fold{codec: codec.Name()})
		f = &all.folds[len(all.folds)-1]
	}
	if f.from == after && f.until == until && f.told == told && f.budget == b {
		return f
	}
	before := f.size
	steps := f.steps
	if f.from != after || f.until != until {
		steps, _ = amount(&v.selection, entries, Budget{Bytes: math.MaxInt, Events: -1})
	}
	*f = fold{codec: codec.Name(), from: after, until: until, told: told, budget: b, steps: steps, size: len(steps) * int(unsafe.Sizeof(folded{}))}
	i, _ := slices.BinarySearchFunc(steps, told+1, func(st folded, r uint64) int { return cmp.Compare(st.record.Revision, r) })
	j := i + cut(steps[i:], b)
	f.to, f.clean, f.whole = until, true, j == len(steps)
	if !f.whole {
		f.to, f.clean = steps[j-1].record.Revision, steps[j-1].clean
	}
	if j > i {
		token := ""
		if f.clean {
			token = v.token(f.to)
		}
		f.frames = encode(codec, nil, events(&v.selection, steps[i:j]), f.to, token)
		for i := range f.frames {
			f.size += cap(f.frames[i].Bytes)
		}
	}
	v.col.grow(int64(f.size - before))
	return f
}

// cut says how many of the steps, which are sorted by revision, the budget allows. A
// revision is not cut.
func cut(steps []folded, b Budget) int {
	bytes := 0
	for n := range steps {
		if n > 0 && steps[n].record.Revision != steps[n-1].record.Revision && (bytes >= b.Bytes || b.Events >= 0 && n >= b.Events) {
			return n
		}
		bytes += steps[n].bytes()
	}
	return len(steps)
}

// folded is what the changes of one name in some entries amount to.
type folded struct {
	step
	first uint64 // the revision of the first of them
	// clean: no name that is told later has changed up to this one's revision. A
	// token may name it: nothing is half told there.
	clean bool
}

// events gives the steps as they are told.
func events(s *selection, steps []folded) []Event {
	events := make([]Event, len(steps))
	for i := range steps {
		events[i] = steps[i].event(s)
	}
	return events
}

// amount gives for each name in the entries the one step that they amount to, by
// revision, and the revision of the last entry that went in: the first entry, and those
// behind it for as long as what comes out is within the budget or they add no name to
// it. A name that came in and left again is still told as ABSENT: whoever reads less
// than all of it may hold it.
func amount(s *selection, entries []*entry, b Budget) (steps []folded, to uint64) {
	at := map[string]int{}
	bytes := 0
	full := func() bool { return bytes >= b.Bytes || b.Events >= 0 && len(steps) >= b.Events }
	for n, e := range entries {
		if n > 0 && full() && slices.ContainsFunc(e.steps, func(st step) bool { _, again := at[st.record.ID]; return !again }) {
			break
		}
		to = e.revision
		for _, st := range e.steps {
			if i, again := at[st.record.ID]; again {
				bytes -= steps[i].bytes()
				steps[i].step = steps[i].then(st)
			} else {
				at[st.record.ID] = len(steps)
				steps = append(steps, folded{step: st, first: e.revision})
			}
			bytes += st.bytes()
		}
	}
	slices.SortStableFunc(steps, func(a, b folded) int { return cmp.Compare(a.record.Revision, b.record.Revision) })
	first := uint64(math.MaxUint64) // of all that are told later
	for i := len(steps) - 1; i >= 0; i-- {
		steps[i].clean = steps[i].record.Revision < first
		first = min(first, steps[i].first)
	}
	return slices.DeleteFunc(steps, func(st folded) bool { return st.unseen(s) }), to
}

// bytes is about what a step takes when it is sent.
func (st *step) bytes() int {
	if st.new == nil {
		return 64
	}
	return 64 + len(st.new.Record().Data)
}

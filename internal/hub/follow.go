package hub

import (
	"cmp"
	"slices"
	"time"
)

// follow hands out what the view has after the cursor; where the view does not
// reach down to the cursor, what the log has. When it adds nothing the watch is
// caught up.
func (w *Watch) follow(dst []Frame, b Budget, now time.Time) ([]Frame, error) {
	for had := len(dst); ; {
		if w.reading == nil {
			if dst, ok := w.live(dst, b, now); ok {
				w.lively = true
				return dst, nil
			}
			w.reading = &reading{from: w.cursor.Load(), at: w.col.pumped.Load()}
			w.reading.pos.Revision = w.reading.from
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

// remembered says whether the view has all that comes after the cursor.
func (w *Watch) remembered() bool { return w.cursor.Load() >= w.view.base.Load() }

// live hands out the view's entries after the cursor, unless the view does not reach
// down to it.
func (w *Watch) live(dst []Frame, b Budget, now time.Time) (_ []Frame, ok bool) {
	v, cursor, head := w.view, w.cursor.Load(), w.col.pumped.Load()
	if cursor >= head {
		return dst, w.remembered()
	}
	v.mu.Lock()
	if !w.remembered() {
		v.mu.Unlock()
		return dst, false
	}
	pending := v.between(cursor, head)
	if len(pending) == 0 {
		v.mu.Unlock()
		w.moveTo(head)
		return dst, true
	}
	last := pending[len(pending)-1]
	var at uint64
	if !v.every && repeated(pending, cursor) {
		dst, at = v.foldLocked(dst, w.codec, pending, cursor, b)
	} else {
		t := v.tapeLocked(w.codec)
		before := t.size
		if t.reach(v, cursor, head, b.Bytes) {
			dst, at = t.read(dst, cursor, b)
		} else {
			alone := tape{codec: w.codec, after: cursor, until: cursor}
			alone.encode(v, pending, b.Bytes)
			dst, at = alone.read(dst, cursor, b)
		}
		v.col.grow(int64(t.size - before))
	}
	v.mu.Unlock()
	if at == last.revision {
		at = head
	}
	w.moveTo(at)
	w.meter.Delivered(now.Sub(last.time))
	return dst, true
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

// foldLocked hands out what the entries amount to, as far as the budget goes, and
// says at which revision that is.
func (v *view) foldLocked(dst []Frame, codec Codec, entries []*entry, after uint64, b Budget) ([]Frame, uint64) {
	until := entries[len(entries)-1].revision
	var kept *fold
	all := v.encodedLocked()
	for i := range all.folds {
		if f := &all.folds[i]; f.codec == codec.Name() {
			if f.from == after && f.until == until && f.budget == b {
				return append(dst, f.frames...), f.to
			}
			kept = f
		}
	}
	if kept == nil {
		all.folds = append(all.folds, fold{codec: codec.Name()})
		kept = &all.folds[len(all.folds)-1]
	}
	before := kept.size
	*kept = fold{codec: codec.Name(), from: after, until: until, budget: b}
	steps, to := amount(&v.selection, entries, b)
	if kept.to = to; len(steps) > 0 {
		kept.frames = encode(codec, nil, v.events(steps), to, v.token(to))
		for i := range kept.frames {
			kept.size += cap(kept.frames[i].Bytes)
		}
	}
	v.col.grow(int64(kept.size - before))
	return append(dst, kept.frames...), to
}

// amount gives for each name in the entries the one step that they amount to, by
// revision, and the revision of the last entry that went in: the first entry, and those
// behind it for as long as what comes out is within the budget or they add no name to
// it. A name that came in and left again is still told as ABSENT: whoever reads less
// than all of it may hold it.
func amount(s *selection, entries []*entry, b Budget) (steps []step, to uint64) {
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
				steps[i] = steps[i].then(st)
			} else {
				at[st.record.ID] = len(steps)
				steps = append(steps, st)
			}
			bytes += st.bytes()
		}
	}
	steps = slices.DeleteFunc(steps, func(st step) bool { return st.unseen(s) })
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.record.Revision, b.record.Revision) })
	return steps, to
}

// bytes is about what a step takes when it is sent.
func (st *step) bytes() int {
	if st.new == nil {
		return 64
	}
	return 64 + len(st.new.Record().Data)
}

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
		v.col.grow(int64(t.extend(v, cursor, head)))
		dst, at = t.read(dst, cursor, b)
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
	entries = affordable(entries, b)
	to := entries[len(entries)-1].revision
	var kept *fold
	all := v.encodedLocked()
	for i := range all.folds {
		if f := &all.folds[i]; f.codec == codec.Name() {
			if f.from == after && f.to == to {
				return append(dst, f.frames...), to
			}
			kept = f
		}
	}
	if kept == nil {
		all.folds = append(all.folds, fold{codec: codec.Name()})
		kept = &all.folds[len(all.folds)-1]
	}
	before := kept.size
	kept.from, kept.to, kept.frames, kept.size = after, to, nil, 0
	if steps := amount(&v.selection, entries); len(steps) > 0 {
		kept.frames = encode(codec, nil, v.events(steps), to, v.token(to))
		for i := range kept.frames {
			kept.size += cap(kept.frames[i].Bytes)
		}
	}
	v.col.grow(int64(kept.size - before))
	return append(dst, kept.frames...), to
}

// affordable gives as many of the entries as the budget allows, at least one.
func affordable(entries []*entry, b Budget) []*entry {
	events, bytes, n := 0, 0, 0
	for n < len(entries) && (n == 0 || bytes < b.Bytes && (b.Events < 0 || events < b.Events)) {
		e := entries[n]
		n++
		events += len(e.steps)
		for i := range e.steps {
			if st := &e.steps[i]; st.new != nil {
				bytes += len(st.new.Record().Data)
			}
			bytes += 64
		}
	}
	return entries[:n]
}

// amount gives for each name in the entries the one step that they amount to, by
// revision. A name that came in and left again is still told as ABSENT: whoever
// reads less than all of it may hold it.
func amount(s *selection, entries []*entry) []step {
	at := map[string]int{}
	var steps []step
	for _, e := range entries {
		for _, st := range e.steps {
			if i, again := at[st.record.ID]; again {
				steps[i] = steps[i].then(st)
			} else {
				at[st.record.ID] = len(steps)
				steps = append(steps, st)
			}
		}
	}
	steps = slices.DeleteFunc(steps, func(st step) bool { return st.unseen(s) })
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.record.Revision, b.record.Revision) })
	return steps
}

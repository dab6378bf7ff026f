package hub

import (
	"cmp"
	"slices"
	"time"
)

// follow hands out what the view has after the cursor; where the view does not
// reach down to the cursor, what the log has. When it adds nothing the watch is
// caught up.
func (w *Watch) follow(dst []Frame, b Budget) ([]Frame, error) {
	for had := len(dst); ; {
		if w.reading == nil && !w.remembered() {
			w.reading = &reading{from: w.cursor.Load(), at: w.col.pumped.Load()}
			w.reading.pos.Revision = w.reading.from
		}
		if w.reading == nil {
			return w.live(dst, b), nil
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
func (w *Watch) remembered() bool {
	w.view.mu.Lock()
	defer w.view.mu.Unlock()
	return w.cursor.Load() >= w.view.base
}

// live hands out the view's entries after the cursor.
func (w *Watch) live(dst []Frame, b Budget) []Frame {
	v, cursor, head := w.view, w.cursor.Load(), w.col.pumped.Load()
	if cursor >= head {
		return dst
	}
	v.mu.Lock()
	if cursor < v.base { // trimmed since remembered; next time
		v.mu.Unlock()
		w.wake()
		return dst
	}
	pending := v.between(cursor, head)
	if len(pending) == 0 {
		v.mu.Unlock()
		w.moveTo(head)
		return dst
	}
	taken, repeated := v.take(pending, b)
	last := taken[len(taken)-1]
	if !repeated {
		for _, e := range taken {
			dst = append(dst, v.framesLocked(e, w.req.Codec)...)
		}
	}
	v.mu.Unlock()

	at := last.revision
	if len(taken) == len(pending) {
		at = head
	}
	if repeated {
		if steps := fold(&v.selection, taken); len(steps) > 0 {
			dst = encode(w.req.Codec, dst, v.events(steps), at, v.token(at))
		}
	}
	w.moveTo(at)
	w.hub.cfg.Observer.Delivered(w.col.name, w.req.Transport, time.Since(last.time))
	return dst
}

// moveTo: everything up to a revision was handed out.
func (w *Watch) moveTo(revision uint64) {
	w.cursor.Store(revision)
	w.token = true
}

// between gives the entries after one revision and up to another. v.mu is held.
func (v *view) between(after, until uint64) []*entry {
	find := func(r uint64) int {
		i, _ := slices.BinarySearchFunc(v.entries, r+1, func(e *entry, r uint64) int { return cmp.Compare(e.revision, r) })
		return i
	}
	return v.entries[find(after):find(until)]
}

// take gives as many of the pending entries as the budget allows, at least one,
// and says whether they are to be folded. v.mu is held.
func (v *view) take(pending []*entry, b Budget) (taken []*entry, repeated bool) {
	seen := map[string]struct{}{}
	events, bytes, n := 0, 0, 0
	for n < len(pending) && (n == 0 || bytes < b.Bytes && (b.Events < 0 || events < b.Events)) {
		e := pending[n]
		n++
		events += len(e.steps)
		for i := range e.steps {
			if st := &e.steps[i]; st.new != nil {
				bytes += len(st.new.Record().Data)
			}
			bytes += 64
		}
		if v.every || len(pending) == 1 {
			continue
		}
		for i := range e.steps {
			id := e.steps[i].record.ID
			if _, again := seen[id]; again {
				repeated = true
			}
			seen[id] = struct{}{}
		}
	}
	return slices.Clone(pending[:n]), repeated
}

// fold gives for each name in the entries the one step that they amount to, by
// revision. A name that came in and left again is still told as ABSENT: whoever
// reads less than all of it may hold it.
func fold(s *selection, entries []*entry) []step {
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

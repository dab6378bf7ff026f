package hub

import (
	"slices"
	"time"

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
	if w.reading != nil || !v.every && (len(pending) > mostOlder || repeated(pending, from)) {
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

// moveTo: everything up to a revision was handed out.
func (w *Watch) moveTo(revision uint64) {
	w.cursor.Store(revision)
	w.token = true
}

// between gives the entries after one revision and up to another. v.mu is held.
func (v *view) between(from, until uint64) []*entry {
	entries := after(v.entries, from)
	n, _ := slices.BinarySearchFunc(entries, until+1, byRevision)
	return entries[:n]
}

// after gives the entries after a revision.
func after(entries []*entry, revision uint64) []*entry {
	i, _ := slices.BinarySearchFunc(entries, revision+1, byRevision)
	return entries[i:]
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

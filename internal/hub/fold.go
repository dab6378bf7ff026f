package hub

import (
	"github.com/watchroute/watchroute/internal/changelog"
)

// A fold is what the entries between two revisions amount to: of each name the last
// step, which stands for all of them. It is handed out by revision, in pieces, and never
// made as a whole: each step knows the one before it and the one behind it of its name,
// so a walk over the entries meets each name once, at its last step. What a reader is
// told costs it a walk over what it missed, however many pieces that takes and wherever
// others are.

// links are how the steps of a view find each other: set up when a fold is asked for the
// first time, and kept from then on.
type links struct {
	last   map[string]*step // of each name
	linked int              // entries that are linked
}

// linkBytes is about what a name takes in links.
const linkBytes = 96

// linkLocked links the entries that are not linked yet.
func (v *view) linkLocked() {
	l := &v.encodedLocked().links
	if l.last == nil {
		l.last = map[string]*step{}
	}
	had := len(l.last)
	for _, e := range v.entries[l.linked:] {
		for i := range e.steps {
			st := &e.steps[i]
			st.prev, st.next = l.last[st.record.ID], nil
			if st.prev != nil {
				st.prev.next = st
			}
			l.last[st.record.ID] = st
		}
	}
	l.linked = len(v.entries)
	v.col.grow(int64((len(l.last) - had) * linkBytes))
}

// forget unlinks the first entries, and says what that frees.
func (l *links) forget(entries []*entry) (freed int) {
	had := len(l.last)
	for _, e := range entries[:min(l.linked, len(entries))] {
		for i := range e.steps {
			switch st := &e.steps[i]; st.next {
			case nil:
				delete(l.last, st.record.ID)
			default:
				st.next.prev = nil
			}
		}
	}
	l.linked = max(0, l.linked-len(entries))
	return (had - len(l.last)) * linkBytes
}

// drop lets all links go, and says what that frees.
func (l *links) drop() (freed int) {
	freed = len(l.last) * linkBytes
	*l = links{}
	return freed
}

// piece is a part of a fold, encoded: many watches that are behind are at the same place.
type piece struct {
	codec string
	place
	until  uint64 // the last entry of the fold
	budget Budget
	frames []Frame
	to     place
	whole  bool // nothing is behind it
	size   int
}

// place is how far a fold was told.
type place struct {
	from uint64 // where the fold begins
	told uint64
	// half counts the names that are half told: they have changed up to there, and their
	// last step is still to come. Without any a token may name the place.
	half int
}

// foldLocked hands out what the entries amount to, of that what was not told yet. Where
// that is more than the budget, the rest of it is next, whatever comes meanwhile: so the
// watch gets each name once for all that it missed, however slow it is.
func (w *Watch) foldLocked(dst []Frame, pending []*entry, from, head uint64, b Budget) []Frame {
	at := place{from: from, told: from}
	if r := w.reading; r != nil {
		at.told, at.half = r.pos.Revision, r.half
	}
	p := w.view.pieceLocked(w.codec, pending, at, b)
	w.reading = &reading{from: from, at: head, fold: true, half: p.to.half, pos: changelog.Position{Revision: p.to.told}}
	switch {
	case p.whole:
		w.reading = nil
		w.moveTo(head)
	case p.to.half == 0:
		w.moveTo(p.to.told)
	}
	return append(dst, p.frames...)
}

// pieceLocked gives what comes next in the fold of some entries.
func (v *view) pieceLocked(codec Codec, entries []*entry, at place, b Budget) *piece {
	v.linkLocked()
	until := entries[len(entries)-1].revision
	all := v.encodedLocked()
	var p *piece
	for i := range all.pieces {
		if all.pieces[i].codec == codec.Name() {
			p = &all.pieces[i]
		}
	}
	if p == nil {
		all.pieces = append(all.pieces, piece{codec: codec.Name()})
		p = &all.pieces[len(all.pieces)-1]
	}
	if p.place == at && p.until == until && p.budget == b {
		return p
	}
	before := p.size
	*p = piece{codec: codec.Name(), place: at, until: until, budget: b}
	var steps []step
	steps, p.to, p.whole = v.walk(entries, at, b)
	if len(steps) > 0 {
		token := ""
		if p.to.half == 0 {
			token = v.token(p.to.told)
		}
		p.frames = encode(codec, nil, v.events(steps), p.to.told, token)
		for i := range p.frames {
			p.size += cap(p.frames[i].Bytes)
		}
	}
	v.col.grow(int64(p.size - before))
	return p
}

// walk collects the steps of a fold of some entries behind a place, as far as the budget
// goes. A revision is not cut.
func (v *view) walk(entries []*entry, at place, b Budget) (steps []step, to place, whole bool) {
	until := entries[len(entries)-1].revision
	bytes := 0
	for _, e := range after(entries, at.told) {
		had, half := len(steps), at.half
		for i := range e.steps {
			st := &e.steps[i]
			begun := st.prev != nil && st.prev.record.Revision > at.from
			if st.next != nil && st.next.record.Revision <= until {
				if !begun {
					half++
				}
				continue
			}
			if begun {
				half--
			}
			if told := st.since(at.from); !told.unseen(&v.selection) {
				steps = append(steps, told)
			}
		}
		if len(steps) > had && had > 0 && (bytes >= b.Bytes || b.Events >= 0 && had >= b.Events) {
			return steps[:had], at, false
		}
		for i := range steps[had:] {
			bytes += steps[had+i].bytes()
		}
		at.told, at.half = e.revision, half
	}
	return steps, at, true
}

// since gives what the steps of a name after a revision amount to, of which st is the
// last. A name that came in and left again is still told as ABSENT: whoever reads less
// than all of it may hold it.
func (st *step) since(revision uint64) step {
	told := *st
	for p := st.prev; p != nil && p.record.Revision > revision; p = p.prev {
		told.old, told.existed = p.old, p.existed
		told.coalesced += p.coalesced + 1
	}
	return told
}

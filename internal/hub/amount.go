package hub

import (
	"cmp"
	"math"
	"slices"
)

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

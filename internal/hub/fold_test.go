package hub

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/schema"
)

// TestFold_TellsEachNameOnceInPieces folds random entries from random places with random
// budgets, while entries come behind, leave before and are filled in before: the pieces
// together must say what amount says, and a place is fit for a token exactly where no
// name is half told.
func TestFold_TellsEachNameOnceInPieces(t *testing.T) {
	schemas, err := schema.NewRegistry(nil)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		col := &collection{name: "things", hub: &Hub{}, schema: schemas.Schema("things")}
		v := &view{selection: selection{collection: "things", scope: Everything{}}, col: col}
		names, revision := 1+r.IntN(20), uint64(0)
		last := map[string]*schema.Value{}
		commit := func() *slot {
			revision += 1 + r.Uint64N(2)
			sl := &slot{revision: revision}
			for _, n := range r.Perm(names)[:min(names, 1+r.IntN(3))] {
				id := fmt.Sprint(n)
				rec := &changelog.Record{ID: id, Revision: revision, Data: fmt.Appendf(nil, `{"n":%d}`, revision), Absent: last[id] != nil && r.IntN(4) == 0}
				ch := change{record: rec, old: last[id]}
				if ch.old != nil {
					rec.Prev = ch.old.Record().Revision
				}
				if !rec.Absent {
					ch.new = col.schema.Value(rec)
				}
				last[id] = ch.new
				sl.changes = append(sl.changes, ch)
			}
			return sl
		}
		var earlier []*slot
		for range r.IntN(10) {
			earlier = append(earlier, commit())
		}
		v.base.Store(revision)
		grow := func(n int) {
			for range n {
				v.append(commit())
			}
		}
		grow(1 + r.IntN(60))
		for range 10 {
			if n := len(v.entries); n > 1 && r.IntN(3) == 0 {
				v.forget(v.entries[r.IntN(n-1)].revision)
			}
			if r.IntN(3) == 0 && v.base.Load() > 0 && len(earlier) > 0 {
				if from := r.Uint64N(earlier[len(earlier)-1].revision); v.entries[0].revision > earlier[len(earlier)-1].revision && v.base.Load() == earlier[len(earlier)-1].revision {
					v.backfill(from, earlier)
				}
			}
			grow(r.IntN(5))
			from := v.base.Load() + r.Uint64N(revision-v.base.Load()+1)
			pending := v.between(from, revision)
			if len(pending) == 0 {
				continue
			}
			want, _ := amount(&v.selection, pending, Budget{Bytes: math.MaxInt, Events: -1})
			v.linkLocked()
			known := map[string]bool{}
			for _, e := range v.entries {
				for _, st := range e.steps {
					if !known[st.record.ID] && st.prev != nil {
						t.Fatalf("seed %d: a step that has left is still held", seed)
					}
					known[st.record.ID] = true
				}
			}
			if len(v.encoded.links.last) != len(known) {
				t.Fatalf("seed %d: %d names are linked, the entries have %d", seed, len(v.encoded.links.last), len(known))
			}
			var got []step
			b := Budget{Bytes: 1 + r.IntN(1000), Events: -1}
			if r.IntN(2) == 0 {
				b.Events = 1 + r.IntN(5)
			}
			for at, whole := (place{from: from, told: from}), false; !whole; {
				var steps []step
				if r.IntN(3) == 0 { // others come in between
					other := v.base.Load()
					v.walk(v.between(other, revision), place{from: other, told: other}, b)
				}
				before := at
				steps, at, whole = v.walk(pending, at, b)
				got = append(got, steps...)
				if !whole && at.told <= before.told {
					t.Fatalf("seed %d: no step from %d", seed, before.told)
				}
				half := 0
				for _, st := range want {
					if st.first <= at.told && st.record.Revision > at.told {
						half++
					}
				}
				if half != at.half {
					t.Fatalf("seed %d: after %d, up to %d: %d names are half told, it says %d", seed, from, at.told, half, at.half)
				}
				if told := len(steps); b.Events >= 0 && told > b.Events+2 {
					t.Fatalf("seed %d: %d steps, the budget is %d", seed, told, b.Events)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("seed %d: %d steps, expected %d", seed, len(got), len(want))
			}
			inBatch := func(a, b *changelog.Record) int {
				return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.ID, b.ID))
			}
			if !slices.IsSortedFunc(got, func(a, b step) int { return cmp.Compare(a.record.Revision, b.record.Revision) }) {
				t.Fatalf("seed %d: not by revision", seed)
			}
			slices.SortFunc(got, func(a, b step) int { return inBatch(a.record, b.record) })
			slices.SortFunc(want, func(a, b folded) int { return inBatch(a.record, b.record) })
			for i, g := range got {
				w := want[i].step
				g.prev, g.next, w.prev, w.next = nil, nil, nil, nil
				if g != w {
					t.Fatalf("seed %d: step %d is %+v, expected %+v", seed, i, g, w)
				}
			}
		}
		v.drop()
		if n := col.bytes.Load(); n != 0 {
			t.Fatalf("seed %d: %d bytes are counted of what is gone", seed, n)
		}
	}
}

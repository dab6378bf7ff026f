package hub

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/schema"
)

// TestView_BackfillStopsWhereAFilterIsDear: nothing is pumped meanwhile, so the log has
// to have what is older.
func TestView_BackfillStopsWhereAFilterIsDear(t *testing.T) {
	schemas, err := schema.NewRegistry(nil)
	if err != nil {
		t.Fatal(err)
	}
	things := schemas.Schema("things")
	const last = 400
	var slots []*slot
	for n := range last {
		rec := &changelog.Record{ID: "a", Revision: uint64(n + 1), Data: []byte(`{"n":` + strconv.Itoa(n) + `,"l":[` + strings.Repeat("1,", 60) + `2]}`)}
		slots = append(slots, &slot{revision: rec.Revision, changes: []change{{record: rec, new: things.Value(rec)}}})
	}
	for filter, stops := range map[string]bool{`data.l.exists(x, data.l.exists(y, x + y == 7)) || data.n >= 0`: true, "": false} {
		f, err := (&Hub{slots: make(chan struct{}, 1), ctx: context.Background()}).Filter(t.Context(), Everything{}, things, filter)
		if err != nil {
			t.Fatal(err)
		}
		v := &view{selection: selection{collection: "things", filter: f, scope: Everything{}, every: true}, col: &collection{hub: &Hub{}}}
		v.base.Store(last)
		v.backfill(1, slots)
		base := v.base.Load()
		if stopped := base > 1; stopped != stops {
			t.Errorf("%q: it reaches down to %d", filter, base)
		}
		if uint64(len(v.entries)) != last-base {
			t.Errorf("%q: %d entries after %d", filter, len(v.entries), base)
		}
		for i, e := range v.entries {
			if e.revision != base+uint64(i)+1 {
				t.Fatalf("%q: entry %d is of %d", filter, i, e.revision)
			}
		}
	}
}

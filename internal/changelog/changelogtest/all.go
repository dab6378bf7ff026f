package changelogtest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

var allScenarios = []scenario{
	{"UnitsAreAppliedInTheirOrder", allInOrder},
	{"ARefusedUnitChangesNothing", allRefused},
	{"WhatStandsInPlaceOfARefusedUnit", allElse},
	{"ReplaysWithinUnits", allReplay},
	{"MarksAreKeptAndRemoved", allMarks},
	{"CollectionsOfAUnitAreDistinct", allTwice},
	{"P11_MarksAndWhatTheyMarkAreOne", allCrash},
}

func writes(w ...changelog.Write) changelog.Unit { return changelog.Unit{Writes: w} }

func in(collection string, ops ...changelog.Op) changelog.Write {
	return changelog.Write{Collection: collection, Ops: ops}
}

func (f *fixture) all(marks map[string]string, units ...changelog.Unit) []changelog.Outcome {
	f.Helper()
	out, err := f.WriteAll(f.ctx, units, marks)
	if err != nil {
		f.Fatalf("WriteAll: %v", err)
	}
	if len(out) != len(units) {
		f.Fatalf("%d outcomes of %d units", len(out), len(units))
	}
	return out
}

func (f *fixture) marks(prefix string, want map[string]string) {
	f.Helper()
	got, err := f.Marks(prefix)
	if err != nil {
		f.Fatalf("Marks: %v", err)
	}
	if !maps.Equal(got, want) {
		f.Errorf("the marks of %q are %v, want %v", prefix, got, want)
	}
}

func allInOrder(t *testing.T, e Engine) {
	f := start(t, e, retention)
	var seen []string
	defer f.Subscribe(func(b *changelog.Batch) { seen = append(seen, b.Collection+strconv.FormatUint(b.Revision, 10)) })()
	add := func(op *changelog.Op, old *changelog.Record) error {
		if old != nil {
			op.Data = append(append([]byte(nil), old.Data...), op.Data...)
		}
		return nil
	}
	out := f.all(nil,
		writes(in(orders, put("a", "1")), in("bills", put("a", "2"))),
		writes(in(orders, put("a", "1"))),
		writes(changelog.Write{Collection: orders, Ops: []changelog.Op{put("a", "3")}, Guard: add}),
		writes(changelog.Write{Collection: orders, Ops: []changelog.Op{put("a", "4"), put("b", "1")}, Guard: add}))
	f.equal("value", f.value("a", 0), "134")
	f.equal("batches", fmt.Sprint(seen), "[orders1 bills1 orders2 orders3]")
	if r := out[0].Results; len(r) != 2 || !r[0].Changed || r[1].Revision != 1 || r[1].Records[0].ID != "a" {
		f.Errorf("the first unit: %+v", r)
	}
	if r := out[1].Results[0]; r.Changed || r.Revision != 1 {
		f.Errorf("the one that changes nothing: %+v", r)
	}
}

var errGuard = resource.Errorf(resource.InvalidValue, "not so")

func guarded(w changelog.Write) changelog.Write {
	w.Guard = func(*changelog.Op, *changelog.Record) error { return errGuard }
	return w
}

func allRefused(t *testing.T, e Engine) {
	f := start(t, e, retention)
	out := f.all(map[string]string{"m": "1"}, writes(in(orders, put("a", "1"))),
		writes(in("bills", put("a", "1")), guarded(in(orders, put("a", "2")))), writes(in(orders, put("b", "3"))))
	f.equal("a", f.value("a", 0), "1")
	f.equal("b", f.value("b", 0), "3")
	if head := f.Bounds("bills").Head; head != 0 {
		f.Errorf("bills is at %d", head)
	}
	if !resource.HasReason(out[1].Refused, resource.InvalidValue) || len(out[1].Results) != 0 || out[0].Refused != nil || out[2].Refused != nil {
		f.Errorf("%+v", out)
	}
	f.marks("m", map[string]string{"m": "1"})
}

func allElse(t *testing.T, e Engine) {
	f := start(t, e, retention)
	u := writes(guarded(in(orders, put("a", "2"))))
	u.Else = func(err error) changelog.Write { return in("dead", put("a", resource.AsError(err).Message)) }
	out := f.all(nil, u)
	r, err := f.Get(f.ctx, "dead", "a", 0)
	if err != nil || r == nil || string(r.Data) != "not so" || out[0].Refused == nil || len(out[0].Results) != 1 || out[0].Results[0].Revision != 1 {
		f.Errorf("%+v, %v, %+v", r, err, out)
	}
	if head := f.Bounds(orders).Head; head != 0 {
		f.Errorf("orders is at %d", head)
	}
}

func allReplay(t *testing.T, e Engine) {
	f := start(t, e, retention)
	first := f.all(nil, writes(request("r", 1, put("a", "1"))), writes(in(orders, put("a", "2"))), writes(request("r", 1, put("a", "1"))))
	if !first[2].Results[0].Replayed || first[0].Results[0].Replayed {
		f.Errorf("%+v", first)
	}
	f.reopen()
	if again := f.all(nil, writes(request("r", 1, put("a", "1")))); !again[0].Results[0].Replayed {
		f.Errorf("%+v", again)
	}
	f.equal("value", f.value("a", 0), "2")
	afresh := request("r", 1, put("a", "3"))
	afresh.Afresh = true
	f.all(nil, writes(afresh))
	f.equal("value", f.value("a", 0), "3")
	again := f.all(nil, writes(request("r", 1, put("a", "3"))))
	if r := again[0].Results[0]; !r.Replayed || r.Revision != 3 {
		f.Errorf("after one that was applied afresh: %+v", r)
	}
}

func allMarks(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.all(map[string]string{"a/1": "x", "a/2": "y", "b": "z"})
	f.all(map[string]string{"a/1": "", "a/2": "w", "\xff\xff": "last"})
	for range 2 {
		f.marks("a/", map[string]string{"a/2": "w"})
		f.marks("\xff", map[string]string{"\xff\xff": "last"})
		f.marks("", map[string]string{"a/2": "w", "b": "z", "\xff\xff": "last"})
		f.reopen()
	}
	if names := f.Collections(); len(names) > 0 {
		f.Errorf("marks made %v", names)
	}
}

func allTwice(t *testing.T, e Engine) {
	f := start(t, e, retention)
	for _, u := range []changelog.Unit{writes(in(orders, put("a", "1")), in(orders, put("b", "1"))), writes(in(orders, put("a", "1"), put("a", "2")))} {
		if _, err := f.WriteAll(f.ctx, []changelog.Unit{writes(in(orders, put("c", "1"))), u}, nil); !resource.HasReason(err, resource.InvalidField) {
			f.Errorf("%v", err)
		}
	}
	f.bounds(changelog.Bounds{})
}

// allCrash writes units whose mark counts them, takes what a power loss at a random moment
// leaves, and goes on there.
func allCrash(t *testing.T, e Engine) {
	random := rand.New(rand.NewPCG(7, 7))
	fs := vfs.NewCrashableMem()
	var sure int64
	for round := range 6 {
		l, err := e.Open(t.Context(), Options{FS: fs, Dir: "data", Retention: retention, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		marks, err := l.Marks("count")
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.ParseInt(marks["count"], 10, 64)
		a, b := int64(l.Bounds("a").Head), int64(l.Bounds("b").Head)
		if n < sure || a != n || b != n {
			t.Fatalf("round %d: the mark is %d, the collections are at %d and %d, %d were acknowledged", round, n, a, b, sure)
		}
		ctx, stop := context.WithCancel(t.Context())
		var acked atomic.Int64
		acked.Store(n)
		enough := make(chan struct{})
		left := random.IntN(60)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				if i == left {
					close(enough)
				}
				var units []changelog.Unit
				for range 1 + i%5 {
					n++
					value := strconv.FormatInt(n, 10)
					units = append(units, writes(in("a", put("x", value)), in("b", put("x", value))))
				}
				if _, err := l.WriteAll(ctx, units, map[string]string{"count": strconv.FormatInt(n, 10)}); err != nil {
					return
				}
				acked.Store(n)
			}
		}()
		<-enough
		sure = acked.Load()
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100 * (round % 2), RNG: rand.New(rand.NewPCG(uint64(round), 1))})
		stop()
		<-done
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		fs = after
	}
}

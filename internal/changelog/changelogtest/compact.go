package changelogtest

import (
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

var compactScenarios = []scenario{
	{"P8_ByAge", compactAge},
	{"P8_BySize", compactSize},
	{"P8_Tombstones", compactTombstones},
	{"P8_NotBelowTheLeastAge", compactMinAge},
	{"P8_WithinARevision", compactWithinRevision},
	{"ANameThatCameBackOverATombstone", compactRecreated},
	{"WhatWasNeverOverwrittenStaysReadable", compactNothing},
	{"BatchesAreLookedAtAsAWhole", compactBatches},
	{"P8_ReadsThatACompactionOvertakes", compactWhileReading},
	{"GetOfTheNewestIsNeverCompacted", compactGet},
	{"ManySteps", compactMany},
	{"P7_AfterCompactionTheStateIsTheSame", compactState},
	{"P7_ASnapshotInPiecesBelowTheTombstones", compactPieces},
}

func (f *fixture) compactedAt(at uint64) {
	f.Helper()
	f.equal(fmt.Sprintf("List at %d", at), f.list(at), "COMPACTED")
	f.equal(fmt.Sprintf("Latest at %d", at), f.latest(0, at), "COMPACTED")
	f.equal(fmt.Sprintf("History after %d", at), f.history(at, 1000), "COMPACTED")
}

func (f *fixture) getCompacted(id string, at uint64) {
	f.Helper()
	r, err := f.Get(f.ctx, orders, id, at)
	if !resource.HasReason(err, resource.Compacted) {
		f.Fatalf("Get(%s, %d) gave %v, %v", id, at, r, err)
	}
}

func (f *fixture) kept(id string, revisions ...uint64) {
	f.Helper()
	var got []uint64
	for at := uint64(1); at <= f.Bounds(orders).Head; at++ {
		r, err := f.Exactly(f.ctx, orders, id, at)
		if err != nil {
			f.Fatalf("Exactly: %v", err)
		}
		if r != nil {
			got = append(got, at)
		}
	}
	f.equal("kept of "+id, fmt.Sprint(got), fmt.Sprint(revisions))
}

func compactAge(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.write(put("a", "1"))
	f.write(put("a", "2"))
	f.write(put("a", "3"))
	f.write(put("b", "4"))
	f.clock.Add(retention.Age - time.Second)
	f.compact()
	f.bounds(changelog.Bounds{Head: 4}) // not old enough
	f.clock.Add(time.Second)
	f.write(put("a", "5"))
	f.compact()
	for range 2 {
		f.bounds(changelog.Bounds{Head: 5, History: 3})
		f.kept("a", 3, 5)
		f.kept("b", 4)
		f.compactedAt(1)
		f.compactedAt(2)
		f.getCompacted("a", 1)
		f.getCompacted("a", 2)
		f.equal("a at 3", f.value("a", 3), "3")
		f.equal("a at 4", f.value("a", 4), "3")
		f.equal("a", f.value("a", 0), "5")
		f.equal("b at 4", f.value("b", 4), "4")
		f.equal("list at 3", f.list(3), "a=3@3")
		f.equal("list at 5", f.list(5), "a=5@5 b=4@4")
		f.equal("latest at 4", f.latest(0, 4), "a=3@3 b=4@4")
		f.equal("latest after 1", f.latest(1, 5), "b=4@4 a=5@5")
		f.equal("history after 3", f.history(3, 5), "b=4@4<- a=5@5<3")
		f.compact()
		f.reopen()
	}
	f.clock.Add(2 * retention.Age)
	f.compact()
	f.bounds(changelog.Bounds{Head: 5, History: 5})
	f.equal("list at 5", f.list(5), "a=5@5 b=4@4")
	f.equal("history after 5", f.history(5, 5), "")
	f.equal("latest after 1", f.latest(1, 5), "b=4@4 a=5@5") // still: nothing was deleted
}

func compactSize(t *testing.T, e Engine) {
	keep := retention
	keep.Bytes = 50_000
	f := start(t, e, keep)
	value := strings.Repeat("x", 1000)
	const writes = 200
	for i := range writes {
		f.write(put("a", fmt.Sprintf("%d%s", i, value)))
	}
	f.compact()
	f.bounds(changelog.Bounds{Head: writes}) // all too young, whatever their size
	f.clock.Add(keep.MinAge)
	f.write(put("a", "last"))
	b := f.compact()
	kept := int64(b.Head-b.History) * 1000
	if kept < keep.Bytes/2 || kept > keep.Bytes {
		t.Errorf("about %d bytes are kept, %d were asked for: %+v", kept, keep.Bytes, b)
	}
	f.reopen()
	if again := f.compact(); again != b {
		t.Errorf("after a restart the bounds went from %+v to %+v", b, again)
	}
	f.compactedAt(b.History - 1)
	f.equal("history", f.history(b.Head-1, b.Head)[:len("a=last@201<199")], "a=last@201<199")
	f.write(put("a", value))
	f.write(put("a", "end"))
	f.clock.Add(keep.MinAge)
	if again := f.compact(); again.History <= b.History {
		t.Errorf("the floor stays at %+v", again)
	}
}

func compactTombstones(t *testing.T, e Engine) {
	f := start(t, e, retention)
	uid := f.write(put("a", "1")).Records[0].UID
	f.write(del("a"))
	f.write(put("b", "3"))
	f.clock.Add(retention.Age)
	f.compact()
	f.bounds(changelog.Bounds{Head: 3, History: 2})
	f.kept("a", 2)
	f.equal("latest", f.latest(0, 3), "a=-@2 b=3@3")
	f.equal("latest after 1", f.latest(1, 3), "a=-@2 b=3@3")
	f.clock.Add(retention.Tombstones - retention.Age - time.Second)
	f.compact()
	f.bounds(changelog.Bounds{Head: 3, History: 2})
	f.clock.Add(time.Second)
	f.compact()
	for range 2 {
		f.bounds(changelog.Bounds{Head: 3, History: 2, Tombstones: 2})
		f.kept("a")
		if r := f.get("a", 0); r != nil {
			t.Errorf("the tombstone is still there: %v", r)
		}
		f.getCompacted("a", 1)
		f.equal("latest", f.latest(0, 3), "b=3@3")
		f.equal("latest after 1", f.latest(1, 3), "COMPACTED")
		f.equal("latest after 2", f.latest(2, 3), "b=3@3")
		f.equal("history after 2", f.history(2, 3), "b=3@3<-")
		f.equal("list", f.list(3), "b=3@3")
		f.reopen()
	}
	r := f.write(put("a", "4")).Records[0]
	if r.Prev != 0 || r.UID == uid || r.CreateRevision != 4 {
		t.Errorf("created again: %+v", r)
	}
	f.equal("history", f.history(2, 4), "b=3@3<- a=4@4<-")
	f.equal("a at 3", f.value("a", 3), "-")
}

func compactRecreated(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.write(put("a", "1"))
	f.write(del("a"))
	f.write(put("a", "3"))
	f.equal("history", f.history(0, 3), "a=1@1<- a=-@2<1 a=3@3<-")
	f.clock.Add(retention.Age)
	f.compact()
	f.bounds(changelog.Bounds{Head: 3, History: 3})
	f.kept("a", 3)
	f.clock.Add(retention.Tombstones)
	f.compact()
	f.bounds(changelog.Bounds{Head: 3, History: 3})
	f.equal("a", f.value("a", 0), "3")
	f.write(del("a"))
	f.write(put("a", "5"))
	f.write(del("a"))
	f.clock.Add(retention.Tombstones)
	f.compact()
	f.bounds(changelog.Bounds{Head: 6, History: 6, Tombstones: 6})
	f.kept("a")
	f.equal("latest", f.latest(0, 6), "")
}

func compactNothing(t *testing.T, e Engine) {
	f := start(t, e, retention)
	for i := range 10 {
		f.write(put(fmt.Sprint(i), "1"))
	}
	f.clock.Add(10 * retention.Tombstones)
	f.compact()
	f.bounds(changelog.Bounds{Head: 10})
	f.write(put("9", "2"))
	f.clock.Add(10 * retention.Tombstones)
	f.compact()
	f.bounds(changelog.Bounds{Head: 11, History: 11})
	if _, err := f.Write(f.ctx, changelog.Write{Collection: "other", Ops: []changelog.Op{put("a", "1")}}); err != nil {
		t.Fatal(err)
	}
	f.compact()
	if b := f.Bounds("other"); b != (changelog.Bounds{Head: 1}) {
		t.Errorf("another collection's bounds are %+v", b)
	}
}

func compactBatches(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.write(put("a", "1"), put("b", "1"), put("c", "1"), put("d", "1"))
	f.write(put("a", "2"), del("b"), put("c", "2"), put("e", "2"))
	f.write(put("c", "3"))
	f.clock.Add(retention.Age)
	f.write(del("d"), del("e"))
	f.compact()
	f.bounds(changelog.Bounds{Head: 4, History: 3})
	f.equal("latest", f.latest(0, 3), "d=1@1 a=2@2 b=-@2 e=2@2 c=3@3")
	f.equal("history", f.history(3, 4), "d=-@4<1 e=-@4<2")
	f.clock.Add(retention.Tombstones - retention.Age)
	f.compact()
	f.bounds(changelog.Bounds{Head: 4, History: 4, Tombstones: 2})
	f.equal("latest", f.latest(0, 4), "a=2@2 c=3@3 d=-@4 e=-@4")
	f.clock.Add(retention.Tombstones)
	f.compact()
	f.bounds(changelog.Bounds{Head: 4, History: 4, Tombstones: 4})
	f.equal("latest", f.latest(0, 4), "a=2@2 c=3@3")
}

func compactWhileReading(t *testing.T, e Engine) {
	f := start(t, e, retention)
	for i := range 20 {
		f.write(put(fmt.Sprintf("%02d", i), "1"))
	}
	f.write(del("03"))
	at := f.Bounds(orders).Head
	latest, list, history := f.latest(0, at), f.list(at), f.history(0, at)
	overtake := func() {
		for i := range 20 {
			f.write(put(fmt.Sprintf("%02d", i), fmt.Sprint(f.Bounds(orders).Head)))
		}
		f.clock.Add(retention.Tombstones)
		if b := f.compact(); b.History <= at {
			t.Fatalf("the bounds are %+v", b)
		}
	}
	// What has begun is exact to its end, or fails: it never leaves anything out.
	whole := func(what, got string, err error, want string) {
		t.Helper()
		if err != nil && !resource.HasReason(err, resource.Compacted) {
			t.Errorf("%s: %v", what, err)
		}
		if !strings.HasPrefix(want, got) || err == nil && got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	// All three at once, the compaction after the first step of each.
	var next []func() (string, error, bool)
	for _, seq := range []iter.Seq2[string, error]{
		mapped(f.Latest(f.ctx, orders, changelog.Position{}, at), record),
		mapped(f.List(f.ctx, orders, "", at), record),
		mapped(f.History(f.ctx, orders, changelog.Position{}, at), change),
	} {
		one, stop := iter.Pull2(seq)
		defer stop()
		next = append(next, one)
	}
	results := make([][]string, 3)
	errs := make([]error, 3)
	for step := 0; ; step++ {
		going := false
		for i := range next {
			if errs[i] != nil {
				continue
			}
			if s, err, ok := next[i](); ok {
				going = true
				if errs[i] = err; err == nil {
					results[i] = append(results[i], s)
				}
			}
		}
		if step == 0 {
			overtake()
		}
		if !going {
			break
		}
	}
	for i, want := range []string{latest, list, history} {
		whole([]string{"Latest", "List", "History"}[i], strings.Join(results[i], " "), errs[i], want)
	}
	f.compactedAt(at)
}

func compactGet(t *testing.T, e Engine) {
	keep := retention
	keep.Age, keep.MinAge, keep.Tombstones = time.Nanosecond, time.Nanosecond, time.Nanosecond
	f := start(t, e, keep)
	f.write(put("a", "0"))
	stop := make(chan struct{})
	var background, readers sync.WaitGroup
	background.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			f.write(put("a", fmt.Sprint(i)))
			if i%5 == 0 {
				f.write(put("b", fmt.Sprint(i)))
				f.write(del("b"))
			}
			f.clock.Add(time.Second)
		}
	})
	background.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				f.compact()
			}
		}
	})
	for range 2 {
		readers.Go(func() {
			var last uint64
			for range 1500 {
				r := f.get("a", 0)
				if r == nil || r.Revision < last {
					t.Errorf("got %v after revision %d", r, last)
					return
				}
				last = r.Revision
				f.get("b", 0)
				head := f.Bounds(orders).Head
				for _, at := range []uint64{head, head + 5} {
					if r, err := f.Get(f.ctx, orders, "a", at); err == nil && (r == nil || r.Revision > at) || err != nil && !resource.HasReason(err, resource.Compacted) {
						t.Errorf("Get at %d: %v, %v", at, r, err)
					}
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	background.Wait()
}

func compactMany(t *testing.T, e Engine) {
	f := start(t, e, retention)
	const names, rounds = 100, 60
	for round := range rounds {
		var ops []changelog.Op
		for i := range names {
			op := put(fmt.Sprintf("%03d", i), fmt.Sprint(round))
			op.Delete = round == rounds-1 && i%2 == 0
			ops = append(ops, op)
		}
		f.write(ops...)
	}
	f.clock.Add(retention.Age)
	f.compact()
	f.bounds(changelog.Bounds{Head: rounds, History: rounds})
	all, err := collect(f.Latest(f.ctx, orders, changelog.Position{}, rounds))
	if err != nil || len(all) != names {
		t.Errorf("%d records, %v", len(all), err)
	}
	f.clock.Add(retention.Tombstones)
	f.compact()
	f.bounds(changelog.Bounds{Head: rounds, History: rounds, Tombstones: rounds})
	all, err = collect(f.Latest(f.ctx, orders, changelog.Position{}, rounds))
	if err != nil || len(all) != names/2 {
		t.Errorf("%d records, %v", len(all), err)
	}
}

func compactState(t *testing.T, e Engine) {
	f := sample(t, e)
	list := f.list(9)
	f.clock.Add(retention.Age)
	f.compact()
	f.equal("list", f.list(9), list)
	f.equal("latest", f.latest(0, 9), "a=a6@6 c=-@7 b=b8@8 d=d9@9")
	f.clock.Add(retention.Tombstones)
	f.compact()
	f.equal("list", f.list(9), list)
	f.equal("latest", f.latest(0, 9), "a=a6@6 b=b8@8 d=d9@9")
	f.bounds(changelog.Bounds{Head: 9, History: 8, Tombstones: 7})
}

// compactPieces reads a snapshot whose first records lie below the floor of the
// tombstones, in pieces, and a catch-up from below it.
func compactPieces(t *testing.T, e Engine) {
	f := start(t, e, retention)
	for _, id := range []string{"a", "b", "c", "d"} {
		f.write(put(id, "1"))
	}
	f.write(put("x", "1"))
	f.write(del("x"))
	f.clock.Add(retention.Tombstones)
	f.compact()
	f.bounds(changelog.Bounds{Head: 6, History: 6, Tombstones: 6})
	var got []string
	for after := (changelog.Position{}); ; {
		last := after
		for r, err := range f.Latest(f.ctx, orders, after, 6) {
			if err != nil {
				t.Fatalf("after %v: %v", after, err)
			}
			got = append(got, record(r))
			after = changelog.Position{Revision: r.Revision, ID: r.ID}
			break
		}
		if after == last {
			break
		}
	}
	f.equal("the snapshot", strings.Join(got, " "), "a=1@1 b=1@2 c=1@3 d=1@4")
	f.equal("catching up from 2", f.latest(2, 6), "COMPACTED")
}

func compactWithinRevision(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.write(put("a", "1"), put("b", "1"))
	f.write(put("a", "2"), put("b", "2"))
	f.write(put("a", "3"))
	f.clock.Add(retention.Age)
	f.write(put("a", "4"))
	f.compact()
	f.bounds(changelog.Bounds{Head: 4, History: 3})
	// Behind a of revision 3 there may have been more, whose past is gone.
	within := changelog.Position{Revision: 3, ID: "a"}
	f.equal("history within the floor", f.join(texts(f.History(f.ctx, orders, within, 4), change)), "COMPACTED")
	f.equal("history after the floor", f.history(3, 4), "a=4@4<3")
	within.Revision = 4
	f.equal("history within the next", f.join(texts(f.History(f.ctx, orders, within, 4), change)), "")
}

func compactMinAge(t *testing.T, e Engine) {
	keep := retention
	keep.Age, keep.MinAge = time.Second, time.Hour
	f := start(t, e, keep)
	f.write(put("a", "1"))
	f.write(put("a", "2"))
	f.clock.Add(keep.MinAge - time.Second)
	f.compact()
	f.bounds(changelog.Bounds{Head: 2})
	f.clock.Add(time.Second)
	f.compact()
	f.bounds(changelog.Bounds{Head: 2, History: 2})
}

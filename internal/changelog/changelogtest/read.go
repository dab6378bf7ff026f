package changelogtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/internal/changelog"
)

var readScenarios = []scenario{
	{"GetReadsThePast", readGet},
	{"P7_LatestFromZeroIsTheState", readLatest},
	{"P3_LatestAfterARevisionIsWhatChangedLast", readLatestAfter},
	{"P3_HistoryHasEveryChangeAndWhatWasBefore", readHistory},
	{"P5_AnIterationBrokenOffAnywhereCanBeResumed", readResumed},
	{"P7_LatestAsOfARevisionWhileWritesGoOn", readWhileWriting},
	{"RevisionsThatAreNotThere", readBeyond},
	{"AReaderCanLeave", readCancelled},
	{"CollectionsAreApart", readCollections},
}

// sample writes nine revisions of a, b and c.
func sample(t *testing.T, e Engine) *fixture {
	f := start(t, e, retention)
	f.write(put("b", "b1"))                 // 1
	f.write(put("a", "a2"), put("c", "c2")) // 2
	f.write(put("b", "b3"))                 // 3
	f.write(del("a"))                       // 4
	f.write(put("c", "c5"), put("b", "b5")) // 5
	f.write(put("a", "a6"))                 // 6
	f.write(del("c"))                       // 7
	f.write(put("b", "b8"))                 // 8
	f.write(put("d", "d9"))                 // 9
	return f
}

func readGet(t *testing.T, e Engine) {
	f := sample(t, e)
	for id, want := range map[string]string{
		"a": "- a2 a2 - - a6 a6 a6 a6",
		"b": "b1 b1 b3 b3 b5 b5 b5 b8 b8",
		"c": "- c2 c2 c2 c5 c5 - - -",
		"d": "- - - - - - - - d9",
		"e": "- - - - - - - - -",
	} {
		var got []string
		for at := range uint64(9) {
			got = append(got, f.value(id, at+1))
		}
		f.equal(id, strings.Join(got, " "), want)
	}
	if r := f.get("a", 5); r == nil || !r.Absent || r.Revision != 4 {
		t.Errorf("a at 5 is %v, want its tombstone", r)
	}
	f.equal("b now", f.value("b", 0), "b8")
	for at, want := range map[uint64]string{2: "a2", 6: "a6"} {
		if r, err := f.Exactly(f.ctx, orders, "a", at); err != nil || show(r) != want {
			t.Errorf("the change of a at %d is %v, %v", at, r, err)
		}
	}
	if r, err := f.Exactly(f.ctx, orders, "a", 5); err != nil || r != nil {
		t.Errorf("a did not change at 5: %v, %v", r, err)
	}
	f.equal("list at 3", f.list(3), "a=a2@2 b=b3@3 c=c2@2")
	f.equal("list at 4", f.list(4), "b=b3@3 c=c2@2")
	f.equal("list at 9", f.list(9), "a=a6@6 b=b8@8 d=d9@9")
	f.equal("list at 0", f.list(0), "")
}

func readLatest(t *testing.T, e Engine) {
	f := sample(t, e)
	f.equal("at 1", f.latest(0, 1), "b=b1@1")
	f.equal("at 3", f.latest(0, 3), "a=a2@2 c=c2@2 b=b3@3")
	f.equal("at 5", f.latest(0, 5), "a=-@4 b=b5@5 c=c5@5")
	f.equal("at 9", f.latest(0, 9), "a=a6@6 c=-@7 b=b8@8 d=d9@9")
	f.equal("at 0", f.latest(0, 0), "")
}

func readLatestAfter(t *testing.T, e Engine) {
	f := sample(t, e)
	f.equal("(2, 9]", f.latest(2, 9), "a=a6@6 c=-@7 b=b8@8 d=d9@9")
	f.equal("(6, 9]", f.latest(6, 9), "c=-@7 b=b8@8 d=d9@9")
	f.equal("(2, 6]", f.latest(2, 6), "b=b5@5 c=c5@5 a=a6@6")
	f.equal("(4, 5]", f.latest(4, 5), "b=b5@5 c=c5@5")
	f.equal("(9, 9]", f.latest(9, 9), "")
	f.equal("(7, 3]", f.latest(7, 3), "")
}

func readHistory(t *testing.T, e Engine) {
	f := sample(t, e)
	f.equal("(0, 4]", f.history(0, 4), "b=b1@1<- a=a2@2<- c=c2@2<- b=b3@3<b1 a=-@4<a2")
	f.equal("(4, 9]", f.history(4, 9), "b=b5@5<b3 c=c5@5<c2 a=a6@6<- c=-@7<c5 b=b8@8<b5 d=d9@9<-")
	f.equal("(9, 9]", f.history(9, 9), "")
	f.equal("(7, 3]", f.history(7, 3), "")
	f.reopen()
	f.equal("(7, 9] after a restart", f.history(7, 9), "b=b8@8<b5 d=d9@9<-")
}

func readResumed(t *testing.T, e Engine) {
	f := start(t, e, retention)
	for i := range 30 {
		var ops []changelog.Op
		for j := range 1 + i%4 {
			ops = append(ops, put(fmt.Sprintf("n%d", (i+3*j)%13), fmt.Sprint(i)))
		}
		if i%5 == 4 {
			ops[0].Delete = true
		}
		f.write(ops...)
	}
	const at = 25
	position := func(r *changelog.Record) changelog.Position {
		return changelog.Position{Revision: r.Revision, ID: r.ID}
	}
	latest := func(after changelog.Position) (all []*changelog.Record) {
		all, err := collect(f.Latest(f.ctx, orders, after, at))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	whole := latest(changelog.Position{})
	for i, r := range whole {
		f.equal("the rest of Latest", fmt.Sprint(records(latest(position(r)))), fmt.Sprint(records(whole[i+1:])))
	}
	history := func(after changelog.Position) (all []changelog.Change) {
		all, err := collect(f.History(f.ctx, orders, after, at))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	changes := history(changelog.Position{})
	for i, c := range changes {
		rest := history(position(c.New))
		if len(rest) != len(changes)-i-1 {
			t.Fatalf("after %v there are %d changes, want %d", position(c.New), len(rest), len(changes)-i-1)
		}
		for j := range rest {
			f.same("New", rest[j].New, changes[i+1+j].New)
			f.same("Old", rest[j].Old, changes[i+1+j].Old)
		}
	}
	list := func(after string) (all []*changelog.Record) {
		all, err := collect(f.List(f.ctx, orders, after, at))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	state := list("")
	for i, r := range state {
		f.equal("the rest of List", fmt.Sprint(records(list(r.ID))), fmt.Sprint(records(state[i+1:])))
	}
	// Leaving the loop early is what breaking off means.
	n := 0
	for range f.Latest(f.ctx, orders, changelog.Position{}, at) {
		if n++; n == 3 {
			break
		}
	}
	// A position need not be that of a record.
	f.equal("behind all of a revision", fmt.Sprint(records(latest(changelog.Position{Revision: 20, ID: "zzz"}))),
		fmt.Sprint(records(latest(changelog.Position{Revision: 20}))))
	f.equal("before all of a revision", fmt.Sprint(records(latest(changelog.Position{Revision: 21, ID: "!"}))),
		fmt.Sprint(records(latest(changelog.Position{Revision: 20}))))
}

func records(all []*changelog.Record) (texts []string) {
	for _, r := range all {
		texts = append(texts, record(r))
	}
	return texts
}

func readWhileWriting(t *testing.T, e Engine) {
	f := start(t, e, retention)
	for i := range 40 {
		f.write(put(fmt.Sprintf("n%02d", i), "old"))
	}
	f.write(del("n05"), put("n06", "old2"))
	at := f.Bounds(orders).Head
	latest, list, history := f.latest(0, at), f.list(at), f.history(0, at)
	n := 0
	read := func() { // every read, each step with a write after it
		var l, s, h []string
		disturb := func() {
			n++
			f.write(put(fmt.Sprintf("n%02d", n%41), fmt.Sprint("new", n)), del(fmt.Sprintf("n%02d", (n+7)%41)))
		}
		after := changelog.Position{}
		for r, err := range f.Latest(f.ctx, orders, after, at) {
			if err != nil {
				t.Fatal(err)
			}
			l = append(l, record(r))
			disturb()
		}
		for r, err := range f.List(f.ctx, orders, "", at) {
			if err != nil {
				t.Fatal(err)
			}
			s = append(s, record(r))
			disturb()
		}
		for c, err := range f.History(f.ctx, orders, after, at) {
			if err != nil {
				t.Fatal(err)
			}
			h = append(h, change(c))
			disturb()
		}
		f.equal("Latest", strings.Join(l, " "), latest)
		f.equal("List", strings.Join(s, " "), list)
		f.equal("History", strings.Join(h, " "), history)
	}
	read()
	read() // now everything was overwritten before the reading began
	// In pieces of three, with writes between them.
	var l []string
	for after := (changelog.Position{}); ; {
		piece := 0
		for r, err := range f.Latest(f.ctx, orders, after, at) {
			if err != nil {
				t.Fatal(err)
			}
			l = append(l, record(r))
			after = changelog.Position{Revision: r.Revision, ID: r.ID}
			if piece++; piece == 3 {
				break
			}
		}
		if piece == 0 {
			break
		}
		f.write(put("n00", fmt.Sprint(after)))
	}
	f.equal("Latest in pieces", strings.Join(l, " "), latest)
}

func readBeyond(t *testing.T, e Engine) {
	f := sample(t, e)
	for _, beyond := range []uint64{10, 1 << 40, math.MaxUint64} {
		f.equal("Get", f.value("b", beyond), "b8")
		f.equal("List", f.list(beyond), f.list(9))
		f.equal("Latest", f.latest(3, beyond), f.latest(3, 9))
		f.equal("History", f.history(3, beyond), f.history(3, 9))
		f.equal("Latest after", f.latest(beyond, beyond), "")
		f.equal("History after", f.history(beyond, beyond), "")
		if r, err := f.Exactly(f.ctx, orders, "b", beyond); r != nil || err != nil {
			t.Errorf("Exactly: %v, %v", r, err)
		}
	}
}

func readCancelled(t *testing.T, e Engine) {
	f := start(t, e, retention)
	var ops []changelog.Op
	for i := range 5000 {
		ops = append(ops, put(fmt.Sprint(i), "1"))
	}
	f.write(ops...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	var last error
	for _, err := range f.Latest(ctx, orders, changelog.Position{}, 1) {
		if seen++; seen == 100 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) || seen == len(ops) {
		t.Errorf("after %d records: %v", seen, last)
	}
	if _, err := f.Get(ctx, orders, "1", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if _, err := collect(f.History(ctx, orders, changelog.Position{}, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("History: %v", err)
	}
	if _, err := collect(f.List(ctx, orders, "", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("List: %v", err)
	}
}

func readCollections(t *testing.T, e Engine) {
	f := start(t, e, retention)
	names := []string{"a", "b", "a-b", "a.b", "system.keys"}
	for i, c := range names {
		if err := f.Create(f.ctx, c); err != nil {
			t.Fatal(err)
		}
		for j := range i {
			if _, err := f.Write(f.ctx, changelog.Write{Collection: c, Ops: []changelog.Op{put("x", fmt.Sprint(c, j))}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func() {
		t.Helper()
		f.equal("collections", strings.Join(f.Collections(), " "), "a a-b a.b b system.keys")
		for i, c := range names {
			if b := f.Bounds(c); b.Head != uint64(i) {
				t.Errorf("%s: %+v", c, b)
			}
			want, wantHistory := "", ""
			if i > 0 {
				want = fmt.Sprintf("x=%s%d@%d", c, i-1, i)
				wantHistory = want + "<-"
			}
			if i > 1 {
				wantHistory = fmt.Sprintf("%s<%s%d", want, c, i-2)
			}
			latest, err := texts(f.Latest(f.ctx, c, changelog.Position{}, 10), record)
			f.equal(c, f.join(latest, err), want)
			list, err := texts(f.List(f.ctx, c, "", 10), record)
			f.equal(c, f.join(list, err), want)
			if i > 0 {
				history, err := texts(f.History(f.ctx, c, changelog.Position{Revision: uint64(i - 1)}, 10), change)
				f.equal(c, f.join(history, err), wantHistory)
			}
		}
	}
	check()
	f.reopen()
	check()
	for _, read := range []func() (string, error){
		func() (string, error) { return texts(f.Latest(f.ctx, "nowhere", changelog.Position{}, 10), record) },
		func() (string, error) { return texts(f.List(f.ctx, "nowhere", "", 10), record) },
		func() (string, error) { return texts(f.History(f.ctx, "nowhere", changelog.Position{}, 10), change) },
	} {
		if s, err := read(); s != "" || err != nil {
			t.Errorf("reading a collection that is not there gave %q, %v", s, err)
		}
	}
	if r, err := f.Get(f.ctx, "nowhere", "x", 0); r != nil || err != nil {
		t.Errorf("Get gave %v, %v", r, err)
	}
}

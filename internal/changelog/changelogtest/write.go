package changelogtest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

var writeScenarios = []scenario{
	{"AWriteCanBeReadBack", writeReadBack},
	{"P1_RevisionsGrowInEachCollectionByItself", writeRevisions},
	{"P4_ABatchHasOneRevision", writeBatch},
	{"APreconditionThatHoldsLetsTheWritePass", writePreconditionsHold},
	{"APreconditionThatFailsChangesNothing", writePreconditionsFail},
	{"P4_OneFailingPreconditionRefusesTheBatch", writePreconditionInBatch},
	{"APutThatChangesNothingIsNoChange", writeNoChange},
	{"ADeleteOfNothingIsNoChange", writeDeleteNothing},
	{"AnUpdateKeepsWhatTheCreationSet", writeIdentity},
	{"TimesDoNotGoBack", writeTimes},
	{"ANameTwiceInABatchIsRefused", writeTwice},
	{"AWriterCanLeave", writeCancelled},
	{"LargeValuesAndBatches", writeLarge},
}

func writeReadBack(t *testing.T, e Engine) {
	f := start(t, e, retention)
	op := changelog.Op{ID: "1", Labels: map[string]string{"b": "2", "a": "1", "empty": ""}, Type: "shop.v1.Order", Data: []byte("\x00\xff data")}
	res := f.write(op)
	if res.Revision != 1 || !res.Changed || res.Replayed || len(res.Records) != 1 || len(res.Changes) != 1 || !res.Changes[0] {
		t.Fatalf("the result is %+v", res)
	}
	now := f.clock.Now()
	want := &changelog.Record{
		ID: "1", Revision: 1, UID: res.Records[0].UID, CreateRevision: 1, CreateTime: now, Time: now,
		Labels: op.Labels, Type: op.Type, Data: op.Data,
	}
	if !regexp.MustCompile(`^[a-z2-7]{16}$`).MatchString(want.UID) {
		t.Errorf("the uid is %q", want.UID)
	}
	if !res.Time.Equal(now) {
		t.Errorf("the time is %v", res.Time)
	}
	f.same("the result", res.Records[0], want)
	f.same("Get", f.get("1", 0), want)
	exactly, err := f.Exactly(f.ctx, orders, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	f.same("Exactly", exactly, want)
	for r, err := range f.List(f.ctx, orders, "", 1) {
		if err != nil {
			t.Fatal(err)
		}
		f.same("List", r, want)
	}
	f.reopen()
	f.same("Get after a restart", f.get("1", 0), want)
	f.bounds(changelog.Bounds{Head: 1})
}

func writeRevisions(t *testing.T, e Engine) {
	f := start(t, e, retention)
	for i := range 5 {
		for _, c := range []string{"a", "b"} {
			res, err := f.Write(f.ctx, changelog.Write{Collection: c, Ops: []changelog.Op{put("x", fmt.Sprint(i))}})
			if err != nil {
				t.Fatal(err)
			}
			if b := f.Bounds(c); b.Head != res.Revision || res.Revision <= uint64(i) {
				t.Fatalf("%s: revision %d, bounds %+v, after %d writes", c, res.Revision, b, i+1)
			}
		}
	}
	f.equal("collections", strings.Join(f.Collections(), " "), "a b")
	if b := f.Bounds("c"); b != (changelog.Bounds{}) {
		t.Errorf("a collection that is not there has bounds %+v", b)
	}
}

func writeBatch(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.write(put("b", "0"))
	res := f.write(put("c", "1"), put("a", "1"), del("b"), del("d"))
	if res.Revision != 2 || fmt.Sprint(res.Changes) != "[true true true false]" {
		t.Fatalf("the result is %+v", res)
	}
	if res.Records[0].ID != "c" || res.Records[1].ID != "a" || !res.Records[2].Absent || res.Records[3] != nil {
		t.Fatalf("the records are %v", res.Records)
	}
	f.equal("history", f.history(1, 2), "a=1@2<- b=-@2<0 c=1@2<-")
	f.equal("list", f.list(2), "a=1@2 c=1@2")
	f.equal("list before", f.list(1), "b=0@1")
}

func writePreconditionsHold(t *testing.T, e Engine) {
	f := start(t, e, retention)
	with := func(id, value string, p changelog.Precondition) changelog.Record {
		t.Helper()
		op := put(id, value)
		op.If = p
		return *f.write(op).Records[0]
	}
	r := with("a", "1", changelog.Precondition{MustNotExist: true})
	r = with("a", "2", changelog.Precondition{MustExist: true})
	r = with("a", "3", changelog.Precondition{Revision: r.Revision})
	r = with("a", "4", changelog.Precondition{ETag: r.ETag()})
	r = with("a", "5", changelog.Precondition{MustExist: true, Revision: r.Revision, ETag: r.ETag()})
	op := del("a")
	op.If = changelog.Precondition{Revision: r.Revision}
	f.write(op)
	r = with("a", "6", changelog.Precondition{MustNotExist: true}) // a tombstone does not exist
	f.equal("value", f.value("a", 0), "6")
	if r.Revision != 7 || r.Prev != 6 || r.CreateRevision != 7 {
		t.Errorf("the record is %+v", r)
	}
}

// failing is every kind of precondition that does not hold for the name "there",
// which was written twice, or "gone", which was deleted.
func failing(there *changelog.Record) []changelog.Op {
	var ops []changelog.Op
	add := func(id string, p changelog.Precondition) {
		op := put(id, "new")
		op.If = p
		ops = append(ops, op)
		op = del(id)
		op.If = p
		ops = append(ops, op)
	}
	add("there", changelog.Precondition{MustNotExist: true})
	add("there", changelog.Precondition{Revision: there.Prev})
	add("there", changelog.Precondition{Revision: there.Revision + 10})
	add("there", changelog.Precondition{ETag: "other"})
	add("there", changelog.Precondition{Revision: there.Revision, ETag: "other"})
	for _, id := range []string{"gone", "never"} {
		add(id, changelog.Precondition{MustExist: true})
		add(id, changelog.Precondition{Revision: 1})
		add(id, changelog.Precondition{ETag: there.ETag()})
	}
	return ops
}

func preconditionFixture(t *testing.T, e Engine) (*fixture, *changelog.Record) {
	f := start(t, e, retention)
	f.write(put("gone", "1"))
	f.write(put("there", "1"), del("gone"))
	return f, f.write(put("there", "2")).Records[0]
}

func writePreconditionsFail(t *testing.T, e Engine) {
	f, there := preconditionFixture(t, e)
	for _, op := range failing(there) {
		err := f.refused(resource.PreconditionFailed, changelog.Write{Collection: orders, Ops: []changelog.Op{op}})
		checkPreconditionError(t, err, op, there)
	}
	// Even where it would change nothing.
	op := put("there", "2")
	op.If.MustNotExist = true
	f.refused(resource.PreconditionFailed, changelog.Write{Collection: orders, Ops: []changelog.Op{op}})
	op.If = changelog.Precondition{MustExist: true}
	f.refused(resource.PreconditionFailed, changelog.Write{Collection: "nowhere", Ops: []changelog.Op{op}})
	f.equal("value", f.value("there", 0), "2")
}

func checkPreconditionError(t *testing.T, err *resource.Error, op changelog.Op, there *changelog.Record) {
	t.Helper()
	revision, etag := "0", ""
	if op.ID == "there" {
		revision, etag = fmt.Sprint(there.Revision), there.ETag()
	}
	if err.Metadata["revision"] != revision || err.Metadata["etag"] != etag || err.Metadata["name"] != "orders/"+op.ID {
		t.Errorf("%+v: metadata %v", op, err.Metadata)
	}
	if !strings.Contains(err.Message, "orders/"+op.ID) {
		t.Errorf("%+v: message %q", op, err.Message)
	}
}

func writePreconditionInBatch(t *testing.T, e Engine) {
	f, there := preconditionFixture(t, e)
	for _, op := range failing(there) {
		w := changelog.Write{Collection: orders, Ops: []changelog.Op{put("x", "1"), op, put("y", "1")}}
		checkPreconditionError(t, f.refused(resource.PreconditionFailed, w), op, there)
		if f.get("x", 0) != nil || f.get("y", 0) != nil {
			t.Fatalf("%+v: the rest of the batch was written", op)
		}
	}
	good := put("there", "3")
	good.If = changelog.Precondition{ETag: there.ETag()}
	f.write(put("x", "1"), good, put("y", "1"))
	f.equal("history", f.history(3, 9), "there=3@4<2 x=1@4<- y=1@4<-")
}

func writeNoChange(t *testing.T, e Engine) {
	f := start(t, e, retention)
	op := changelog.Op{ID: "a", Labels: map[string]string{"k": "v"}, Type: "T", Data: []byte("1")}
	first := f.write(op)
	f.clock.Add(time.Second)
	again := f.write(op)
	if again.Changed || again.Changes[0] || again.Revision != first.Revision {
		t.Fatalf("the same again: %+v", again)
	}
	f.same("the record", again.Records[0], first.Records[0])
	f.bounds(changelog.Bounds{Head: 1})

	for i, differs := range []func(*changelog.Op){
		func(o *changelog.Op) { o.Data = []byte("2") },
		func(o *changelog.Op) { o.Type = "U" },
		func(o *changelog.Op) { o.Labels = map[string]string{"k": "w"} },
		func(o *changelog.Op) { o.Labels = map[string]string{"k": "w", "l": ""} },
		func(o *changelog.Op) { o.Labels = nil },
		func(o *changelog.Op) { o.Data = nil },
	} {
		differs(&op)
		if res := f.write(op); !res.Changed || res.Revision != uint64(i+2) {
			t.Errorf("difference %d: %+v", i, res)
		}
	}
	// One op of a batch may change nothing.
	res := f.write(op, put("b", "1"))
	if fmt.Sprint(res.Changes) != "[false true]" || res.Records[0].Revision != 7 || res.Records[1].Revision != 8 {
		t.Errorf("the result is %+v", res)
	}
	f.equal("history", f.history(7, 8), "b=1@8<-")
	// A write of nothing is fine.
	if res := f.write(); res.Changed || res.Revision != 8 {
		t.Errorf("the result is %+v", res)
	}
}

func writeDeleteNothing(t *testing.T, e Engine) {
	f := start(t, e, retention)
	res := f.write(del("a"))
	if res.Changed || res.Revision != 0 || res.Records[0] != nil {
		t.Fatalf("the result is %+v", res)
	}
	f.write(put("a", "1"))
	f.write(del("a"))
	res = f.write(del("a"))
	if res.Changed || res.Revision != 2 || res.Records[0] == nil || !res.Records[0].Absent {
		t.Fatalf("the result is %+v", res)
	}
	f.bounds(changelog.Bounds{Head: 2})
}

func writeIdentity(t *testing.T, e Engine) {
	f := start(t, e, retention)
	first := f.write(put("a", "1")).Records[0]
	f.clock.Add(time.Second)
	second := f.write(put("a", "2")).Records[0]
	if second.UID != first.UID || second.CreateRevision != 1 || !second.CreateTime.Equal(first.CreateTime) ||
		second.Prev != 1 || !second.Time.Equal(f.clock.Now()) {
		t.Errorf("after an update: %+v", second)
	}
	tombstone := f.write(del("a")).Records[0]
	f.same("the tombstone", tombstone, &changelog.Record{ID: "a", Revision: 3, Prev: 2, Absent: true, Time: f.clock.Now()})
	f.same("the tombstone, read", f.get("a", 0), tombstone)
	f.reopen()
	f.clock.Add(time.Second)
	again := f.write(put("a", "1")).Records[0]
	if again.UID == first.UID || again.CreateRevision != 4 || !again.CreateTime.Equal(f.clock.Now()) || again.Prev != 3 {
		t.Errorf("created again: %+v", again)
	}
}

func writeTimes(t *testing.T, e Engine) {
	f := start(t, e, retention)
	before := f.write(put("a", "1")).Time
	f.clock.Add(-time.Hour)
	if after := f.write(put("a", "2")).Time; after.Before(before) {
		t.Errorf("the time went from %v back to %v", before, after)
	}
	f.reopen()
	res := f.write(put("a", "3"))
	if res.Time.Before(before) || res.Records[0].Time.Before(before) {
		t.Errorf("after a restart the time went from %v back to %v", before, res.Time)
	}
}

func writeTwice(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.refused(resource.InvalidField, changelog.Write{Collection: orders, Ops: []changelog.Op{put("a", "1"), put("b", "1"), del("a")}})
}

func writeCancelled(t *testing.T, e Engine) {
	f := start(t, e, retention)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Write(ctx, changelog.Write{Collection: orders, Ops: []changelog.Op{put("a", "1")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Write gave %v", err)
	}
	if r := f.get("a", 0); r != nil {
		t.Errorf("a write that was given up before it began was done: %v", r)
	}
	// One that is given up while it waits behind a subscriber.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	held, release := make(chan struct{}), make(chan struct{})
	stop := f.Subscribe(func(b *changelog.Batch) {
		if b.Revision == 1 {
			close(held)
			<-release
		}
	})
	defer stop()
	done := make(chan error)
	for i := range 2 {
		go func() {
			_, err := f.Write(ctx, changelog.Write{Collection: orders, Ops: []changelog.Op{put("b", fmt.Sprint(i))}})
			done <- err
		}()
	}
	<-held
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Write gave %v", err)
		}
	}
	close(release)
	f.write(put("c", "1")) // the log goes on
}

func writeLarge(t *testing.T, e Engine) {
	f := start(t, e, retention)
	large := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	f.write(put("large", large))
	var ops []changelog.Op
	for i := range 3000 {
		ops = append(ops, put(fmt.Sprintf("%04d", i), fmt.Sprintf("%04d%s", i, large[:4000])))
	}
	f.write(ops...)
	f.reopen()
	if v := f.value("large", 0); v != large {
		t.Errorf("got %d bytes back", len(v))
	}
	all, err := collect(f.Latest(f.ctx, orders, changelog.Position{Revision: 1}, 2))
	if err != nil || len(all) != len(ops) {
		t.Fatalf("%d records, %v", len(all), err)
	}
	for i, r := range all {
		if r.ID != ops[i].ID || string(r.Data) != string(ops[i].Data) {
			t.Fatalf("record %d is %s with %d bytes", i, r.ID, len(r.Data))
		}
	}
}

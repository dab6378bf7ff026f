package changelogtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

var requestScenarios = []scenario{
	{"ARetriedWriteAppliesOnce", requestReplay},
	{"ARetryOfAWriteThatChangedNothingChangesNothing", requestNoChange},
	{"AnIDWithAnotherDigestIsRefused", requestReused},
	{"ARefusedWriteLeavesItsIDFree", requestRefused},
	{"IDsAreForgottenInTime", requestExpiry},
	{"RetriesAtOnceApplyOnce", requestTogether},
	{"AReplayAfterCompactionLacksTheValues", requestCompacted},
}

func request(id string, digest byte, ops ...changelog.Op) changelog.Write {
	return changelog.Write{Collection: orders, RequestID: id, Digest: [16]byte{digest}, Ops: ops}
}

func (f *fixture) send(w changelog.Write) changelog.Result {
	f.Helper()
	res, err := f.Write(f.ctx, w)
	if err != nil {
		f.Fatalf("Write: %v", err)
	}
	return res
}

func (f *fixture) replayed(got, want changelog.Result) {
	f.Helper()
	if !got.Replayed || got.Revision != want.Revision || !got.Time.Equal(want.Time) || got.Changed != want.Changed ||
		fmt.Sprint(got.Changes) != fmt.Sprint(want.Changes) || len(got.Records) != len(want.Records) {
		f.Fatalf("the replay is %+v, the first result was %+v", got, want)
	}
	for i := range got.Records {
		f.same("the record of a replay", got.Records[i], want.Records[i])
	}
}

func requestReplay(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.write(put("c", "1"))
	labelled := changelog.Op{ID: "a", Labels: map[string]string{"k": "v"}, Type: "T", Data: []byte("1")}
	w := request("r", 1, labelled, del("c"), put("b", "1"), del("never"))
	first := f.send(w)
	f.clock.Add(time.Second)
	f.replayed(f.send(w), first)
	f.write(put("a", "2"), put("c", "2"))
	f.replayed(f.send(w), first)
	f.reopen()
	f.replayed(f.send(w), first)
	f.equal("value", f.value("a", 0), "2")
	f.bounds(changelog.Bounds{Head: 3})
	// The id counts within its collection.
	w.Collection = "others"
	if res := f.send(w); res.Replayed || !res.Changed {
		t.Errorf("in another collection: %+v", res)
	}
}

func requestNoChange(t *testing.T, e Engine) {
	f := start(t, e, retention)
	w := request("r", 1, del("a"))
	first := f.send(w)
	f.write(put("a", "1"))
	f.replayed(f.send(w), first)
	f.reopen()
	f.replayed(f.send(w), first)
	f.equal("value", f.value("a", 0), "1")
}

func requestReused(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.send(request("r", 1, put("a", "1")))
	f.refused(resource.RequestIDReused, request("r", 2, put("a", "2")))
	f.reopen()
	f.refused(resource.RequestIDReused, request("r", 2, put("a", "2")))
	f.equal("value", f.value("a", 0), "1")
}

func requestRefused(t *testing.T, e Engine) {
	f := start(t, e, retention)
	op := put("a", "1")
	op.If.MustExist = true
	f.refused(resource.PreconditionFailed, request("r", 1, op))
	if res := f.send(request("r", 2, put("a", "1"))); res.Replayed || !res.Changed {
		t.Errorf("the result is %+v", res)
	}
}

func requestExpiry(t *testing.T, e Engine) {
	for _, compact := range []bool{false, true} {
		f := start(t, e, retention)
		w := request("r", 1, put("a", "1"))
		first := f.send(w)
		f.clock.Add(retention.RequestIDs - time.Second)
		f.compact()
		f.replayed(f.send(w), first)
		f.write(put("a", "2"))
		f.clock.Add(2 * time.Second)
		if compact {
			f.compact()
		}
		// The id is free, for another write as well.
		again := f.send(request("r", 2, put("a", "3")))
		if again.Replayed || !again.Changed {
			t.Fatalf("compact %v: an id was not forgotten: %+v", compact, again)
		}
		// The new use lives its own time.
		f.clock.Add(retention.RequestIDs - time.Second)
		f.compact()
		f.replayed(f.send(request("r", 2, put("a", "3"))), again)
	}
}

func requestTogether(t *testing.T, e Engine) {
	f := start(t, e, retention)
	const retries = 20
	results := make([]changelog.Result, retries)
	var wg sync.WaitGroup
	for i := range retries {
		wg.Go(func() {
			var err error
			results[i], err = f.Write(f.ctx, request("r", 1, put("a", "1"), put("b", "1")))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	fresh := 0
	for _, res := range results {
		if !res.Replayed {
			fresh++
		}
		if res.Revision != 1 || !res.Changed || len(res.Records) != 2 || show(res.Records[1]) != "1" {
			t.Errorf("the result is %+v", res)
		}
	}
	if fresh != 1 {
		t.Errorf("%d of %d were taken for the first", fresh, retries)
	}
}

func requestCompacted(t *testing.T, e Engine) {
	keep := retention
	keep.RequestIDs = 10 * retention.Age
	f := start(t, e, keep)
	w := request("r", 1, changelog.Op{ID: "a", Labels: map[string]string{"k": "v"}, Type: "T", Data: []byte("1")}, put("b", "1"))
	first := f.send(w)
	f.write(put("a", "2"))
	f.clock.Add(2 * keep.Age)
	f.compact()
	got := f.send(w)
	bare := *first.Records[0]
	bare.Labels, bare.Type, bare.Data = nil, "", nil
	first.Records[0] = &bare
	f.replayed(got, first)
}

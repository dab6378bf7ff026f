package changelogtest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/watchroute/watchroute/internal/changelog"
)

var subscribeScenarios = []scenario{
	{"P1_SubscribersSeeEveryBatchInOrder", subscribeOrder},
	{"P9_ABatchIsSeenBeforeItsWriterIsAnswered", subscribeBeforeAnswer},
	{"P3_BetweenBoundsAndSubscribeNothingIsLost", subscribeNoGap},
	{"AfterCancelNothingIsCalled", subscribeCancel},
	{"NoChangeNoBatch", subscribeNoChange},
}

func subscribeOrder(t *testing.T, e Engine) {
	f := start(t, e, retention)
	var got []*changelog.Batch
	cancel := f.Subscribe(func(b *changelog.Batch) { got = append(got, b) })
	const writers, writes = 8, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range writes {
				c := []string{"a", "b"}[i%2]
				ops := []changelog.Op{put(fmt.Sprint(w), fmt.Sprint(i)), put("common", fmt.Sprintf("%d/%d", w, i))}
				if i%10 == 9 {
					ops[0] = del(fmt.Sprint(w))
				}
				if _, err := f.Write(f.ctx, changelog.Write{Collection: c, Ops: ops}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	if len(got) != writers*writes {
		t.Errorf("%d batches, want %d", len(got), writers*writes)
	}
	seen := map[string][]changelog.Change{}
	last := map[string]*changelog.Batch{}
	for _, b := range got {
		if p := last[b.Collection]; p != nil && (b.Revision <= p.Revision || b.Time.Before(p.Time)) {
			t.Fatalf("batch %d of %s came after %d", b.Revision, b.Collection, p.Revision)
		}
		last[b.Collection] = b
		seen[b.Collection] = append(seen[b.Collection], b.Changes...)
		for i, c := range b.Changes {
			if c.New.Revision != b.Revision || !c.New.Time.Equal(b.Time) || i > 0 && c.New.ID <= b.Changes[i-1].New.ID {
				t.Fatalf("change %d of batch %d is %+v", i, b.Revision, c.New)
			}
		}
	}
	for c, changes := range seen {
		all, err := collect(f.History(f.ctx, c, changelog.Position{}, f.Bounds(c).Head))
		if err != nil || len(all) != len(changes) {
			t.Fatalf("%s: %d changes in the history, %d were told; %v", c, len(all), len(changes), err)
		}
		for i := range all {
			f.same("New", changes[i].New, all[i].New)
			f.same("Old", changes[i].Old, all[i].Old)
		}
	}
}

func subscribeBeforeAnswer(t *testing.T, e Engine) {
	f := start(t, e, retention)
	var seen atomic.Uint64
	cancel := f.Subscribe(func(b *changelog.Batch) {
		// What is told can be read.
		if head := f.Bounds(b.Collection).Head; head < b.Revision {
			t.Errorf("batch %d was told when the head was %d", b.Revision, head)
		}
		if r := f.get(b.Changes[0].New.ID, b.Revision); r == nil || r.Revision != b.Revision {
			t.Errorf("batch %d was told, but %v is read", b.Revision, r)
		}
		seen.Store(b.Revision)
	})
	defer cancel()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 30 {
				if res := f.write(put(fmt.Sprint(w), fmt.Sprint(i))); seen.Load() < res.Revision {
					t.Errorf("revision %d was acknowledged, %d was told", res.Revision, seen.Load())
				}
			}
		})
	}
	wg.Wait()
}

func subscribeNoGap(t *testing.T, e Engine) {
	f := start(t, e, retention)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				f.write(put("a", fmt.Sprint(i)))
			}
		}
	})
	for range 50 {
		var mu sync.Mutex
		var got []uint64
		cancel := f.Subscribe(func(b *changelog.Batch) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, b.Revision)
		})
		head := f.Bounds(orders).Head
		f.write(put("b", fmt.Sprint(head)))
		cancel()
		want := head + 1
		for _, r := range got {
			if r > want {
				t.Fatalf("subscribed, the head was %d, then came %v", head, got)
			}
			if r == want {
				want++
			}
		}
		if want == head+1 {
			t.Fatalf("subscribed, the head was %d, then came only %v", head, got)
		}
	}
	close(stop)
	writer.Wait()
}

func subscribeCancel(t *testing.T, e Engine) {
	f := start(t, e, retention)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				f.write(put(fmt.Sprint(w), fmt.Sprint(i)))
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range 20 {
				var cancelled, calls atomic.Bool
				cancel := f.Subscribe(func(*changelog.Batch) {
					if cancelled.Load() {
						t.Error("called after cancel")
					}
					calls.Store(true)
				})
				cancel()
				cancelled.Store(true)
				cancel()
			}
		})
	}
	wg.Wait()
	f.write(put("a", "end"))
}

func subscribeNoChange(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.write(put("a", "1"))
	calls := 0
	cancel := f.Subscribe(func(*changelog.Batch) { calls++ })
	f.write(put("a", "1"))
	f.write(del("b"))
	f.write()
	f.send(request("r", 1, put("a", "1")))
	cancel()
	if calls != 0 {
		t.Errorf("%d batches for writes that changed nothing", calls)
	}
}

package changelogtest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

var lifeScenarios = []scenario{
	{"P5_TheEpochIsThatOfTheStore", lifeEpoch},
	{"P11_ARestartChangesNothing", lifeRestart},
	{"CollectionsOutliveARestart", lifeCreate},
	{"AfterCloseEverythingFails", lifeClosed},
	{"CloseFinishesWhatWasBegun", lifeCloseGraceful},
	{"AFolderHasOneUser", lifeLocked},
}

func lifeEpoch(t *testing.T, e Engine) {
	f := start(t, e, retention)
	epoch := f.Epoch()
	f.write(put("a", "1"))
	f.reopen()
	if got := f.Epoch(); got != epoch || epoch == 0 {
		t.Errorf("the epoch went from %x to %x", epoch, got)
	}
	if other := start(t, e, retention).Epoch(); other == epoch {
		t.Errorf("two stores have the epoch %x", epoch)
	}
}

func lifeRestart(t *testing.T, e Engine) {
	f := sample(t, e)
	var before string
	for i := range 3 {
		now := fmt.Sprint(f.Bounds(orders), f.latest(0, 9), f.history(0, 9), f.list(5), f.list(9))
		if i > 0 {
			f.equal("after a restart", now, before)
		}
		before = now
		f.reopen()
	}
	if r := f.write(put("z", "1")).Revision; r != 10 {
		t.Errorf("the next revision is %d", r)
	}
}

func lifeCreate(t *testing.T, e Engine) {
	f := start(t, e, retention)
	for range 2 {
		if err := f.Create(f.ctx, "empty"); err != nil {
			t.Fatal(err)
		}
	}
	f.write(put("a", "1"))
	f.reopen()
	f.equal("collections", strings.Join(f.Collections(), " "), "empty orders")
	if b := f.Bounds("empty"); b != (changelog.Bounds{}) {
		t.Errorf("the bounds are %+v", b)
	}
	if err := f.Create(f.ctx, orders); err != nil {
		t.Fatal(err)
	}
	f.equal("a", f.value("a", 0), "1")
}

func lifeClosed(t *testing.T, e Engine) {
	f := start(t, e, retention)
	f.write(put("a", "1"))
	cancel := f.Subscribe(func(*changelog.Batch) { t.Error("called") })
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	check := func(what string, err error) {
		t.Helper()
		if !resource.HasReason(err, resource.StoreUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := f.Write(f.ctx, changelog.Write{Collection: orders, Ops: []changelog.Op{put("a", "2")}})
	check("Write", err)
	check("Create", f.Create(f.ctx, "x"))
	check("Compact", f.Compact(f.ctx))
	_, err = f.Get(f.ctx, orders, "a", 0)
	check("Get", err)
	_, err = f.Exactly(f.ctx, orders, "a", 1)
	check("Exactly", err)
	_, err = collect(f.Latest(f.ctx, orders, changelog.Position{}, 1))
	check("Latest", err)
	_, err = collect(f.History(f.ctx, orders, changelog.Position{}, 1))
	check("History", err)
	_, err = collect(f.List(f.ctx, orders, "", 1))
	check("List", err)
	f.Subscribe(func(*changelog.Batch) {})()
	f.Bounds(orders)
	f.Collections()
	f.Epoch()
}

func lifeCloseGraceful(t *testing.T, e Engine) {
	f := start(t, e, retention)
	var acked sync.Map
	var running sync.WaitGroup
	begun := make(chan struct{}, 1000)
	for w := range 8 {
		running.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", w, i)
				begun <- struct{}{}
				_, err := f.Write(f.ctx, changelog.Write{Collection: orders, Ops: []changelog.Op{put(id, "1")}})
				if err != nil {
					if !resource.HasReason(err, resource.StoreUnavailable) {
						t.Errorf("Write: %v", err)
					}
					return
				}
				acked.Store(id, true)
				for range f.Latest(f.ctx, orders, changelog.Position{}, 1<<40) {
				}
			}
		})
	}
	for range 100 {
		<-begun
	}
	go func() {
		for range begun {
		}
	}()
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() {
			if err := f.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	closers.Wait()
	running.Wait()
	close(begun)
	f.open()
	acked.Range(func(id, _ any) bool {
		if f.get(id.(string), 0) == nil {
			t.Errorf("%s was acknowledged and is gone", id)
		}
		return true
	})
}

func lifeLocked(t *testing.T, e Engine) {
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": vfs.Default} {
		o := Options{FS: fs, Dir: "data", Retention: retention, Now: newClock().Now}
		if name == "disk" {
			o.Dir = t.TempDir()
		}
		l, err := e.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := e.Open(t.Context(), o); err == nil {
			_ = second.Close()
			t.Errorf("%s: a folder was opened twice", name)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = e.Open(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

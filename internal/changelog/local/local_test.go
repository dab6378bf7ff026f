package local_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/resource"
)

func write(ctx context.Context, l *local.Log, id, value string) (changelog.Result, error) {
	return l.Write(ctx, changelog.Write{Collection: "orders", Ops: []changelog.Op{{ID: id, Data: []byte(value)}}})
}

func mustWrite(t *testing.T, l *local.Log, id, value string) {
	t.Helper()
	if _, err := write(t.Context(), l, id, value); err != nil {
		t.Fatal(err)
	}
}

// failingDisk is a disk in memory on which operations on write-ahead logs fail once
// it is told so.
func failingDisk(disk *vfs.MemFS, broken *atomic.Bool, kinds ...errorfs.OpKind) vfs.FS {
	return errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !broken.Load() || !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		for _, k := range kinds {
			if op.Kind == k {
				return errorfs.ErrInjected
			}
		}
		return nil
	}))
}

func TestWrite_ADiskThatFailsEndsWriting(t *testing.T) {
	for name, kinds := range map[string][]errorfs.OpKind{
		"sync":  {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
		"write": {errorfs.OpFileWrite},
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			var broken atomic.Bool
			l, err := local.Open(t.Context(), config(changelogtest.Options{FS: failingDisk(disk, &broken, kinds...), Dir: "data"}))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				mustWrite(t, l, fmt.Sprint(i), "before")
			}
			epoch := l.Epoch()
			var told atomic.Int64
			defer l.Subscribe(func(*changelog.Batch) { told.Add(1) })()
			broken.Store(true)
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					for range 3 {
						_, err := write(t.Context(), l, fmt.Sprint(i), "after")
						if !resource.HasReason(err, resource.StoreUnavailable) {
							t.Errorf("Write gave %v", err)
						}
						if !errors.Is(err, errorfs.ErrInjected) {
							t.Errorf("the cause is missing: %v", err)
						}
					}
				})
			}
			wg.Wait()
			broken.Store(false) // the disk is well again, but nobody knows what is on it
			if _, err := write(t.Context(), l, "1", "later"); !resource.HasReason(err, resource.StoreUnavailable) {
				t.Errorf("Write gave %v", err)
			}
			if err := l.Compact(t.Context()); !resource.HasReason(err, resource.StoreUnavailable) {
				t.Errorf("Compact gave %v", err)
			}
			// Readers and subscribers see what was durable.
			if b := l.Bounds("orders"); b.Head != 20 || told.Load() != 0 {
				t.Errorf("the head is %d, %d batches were told", b.Head, told.Load())
			}
			for i := range 20 {
				r, err := l.Get(t.Context(), "orders", fmt.Sprint(i), 0)
				if err != nil || string(r.Data) != "before" {
					t.Errorf("%d is %v, %v", i, r, err)
				}
			}
			n := 0
			for r, err := range l.List(t.Context(), "orders", "", 100) {
				if err != nil || string(r.Data) != "before" {
					t.Errorf("listed %v, %v", r, err)
				}
				n++
			}
			if n != 20 {
				t.Errorf("%d were listed", n)
			}
			// Opened again on what reached the disk, it goes on.
			again := changelogtest.OpenMem(t, local.Config{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
			if again.Epoch() != epoch || again.Bounds("orders").Head < 20 {
				t.Errorf("the epoch is %x, the bounds %+v", again.Epoch(), again.Bounds("orders"))
			}
			mustWrite(t, again, "1", "again")
			if err := l.Close(); err == nil {
				t.Error("Close says nothing of the failure")
			}
		})
	}
}

func TestCompact_HappensByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := changelogtest.OpenMem(t, local.Config{
			CompactEvery: time.Minute,
			Retention:    changelog.Retention{Age: time.Hour, Tombstones: 2 * time.Hour},
		})
		mustWrite(t, l, "a", "1")
		mustWrite(t, l, "a", "2")
		if _, err := l.Write(t.Context(), changelog.Write{Collection: "orders", Ops: []changelog.Op{{ID: "a", Delete: true}}}); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			wait time.Duration
			want changelog.Bounds
		}{
			{59 * time.Minute, changelog.Bounds{Head: 3}},
			{2 * time.Minute, changelog.Bounds{Head: 3, History: 3}},
			{time.Hour, changelog.Bounds{Head: 3, History: 3, Tombstones: 3}},
		} {
			time.Sleep(step.wait)
			synctest.Wait()
			if b := l.Bounds("orders"); b != step.want {
				t.Errorf("after %v the bounds are %+v, want %+v", step.wait, b, step.want)
			}
		}
	})
}

// A group takes what waits, within its bounds; one write may be larger.
func TestGroups_AreBounded(t *testing.T) {
	for name, c := range map[string]local.Config{
		"writes": {GroupWrites: 3},
		"bytes":  {GroupBytes: 1000},
		"one":    {GroupWrites: 1, GroupBytes: 1},
	} {
		l := changelogtest.OpenMem(t, c)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { mustWrite(t, l, fmt.Sprint(i), strings.Repeat("x", 500)) })
		}
		wg.Wait()
		if b := l.Bounds("orders"); b.Head != 20 {
			t.Errorf("%s: the head is %d", name, b.Head)
		}
	}
}

func TestOpen_WithABadConfigFails(t *testing.T) {
	for name, c := range map[string]local.Config{
		"no folder":      {FS: vfs.NewMem()},
		"negative group": {FS: vfs.NewMem(), Dir: "data", GroupWrites: -1},
		"negative age":   {FS: vfs.NewMem(), Dir: "data", Retention: changelog.Retention{Age: -1}},
	} {
		if _, err := local.Open(t.Context(), c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := local.Open(ctx, local.Config{FS: vfs.NewMem(), Dir: "data"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open gave %v", err)
	}
}

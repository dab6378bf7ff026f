package changelogtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/watchroute/watchroute/internal/changelog"
)

var crashScenarios = []scenario{
	{"P11_PowerLossLosesNothingAcknowledged", func(t *testing.T, e Engine) {
		for seed := range uint64(3) {
			if err := crashes(t, e, e.Open, seed, 6); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
	}},
	{"P11_ALogThatDoesNotSyncIsFound", func(t *testing.T, e Engine) {
		if e.OpenUnsynced == nil {
			t.Skip("the engine cannot be told not to sync")
		}
		err := crashes(t, e, e.OpenUnsynced, 1, 3)
		if err == nil {
			t.Error("a log that answers before the disk has synced passes the crash test")
		}
		t.Log("found:", err)
	}},
}

// An ack is a write that was acknowledged.
type ack struct {
	collection string
	revision   uint64
	value      string
}

// writer writes batches that tell of themselves: the value of each record names
// the writer, a count, and all ids of the batch. Of its own name it alternates
// between putting and deleting it.
type writer struct {
	log        changelog.Log
	number     int
	collection string
	random     *rand.Rand
}

// run writes until it fails, telling of every acknowledged write.
func (w *writer) run(ctx context.Context, acked func(ack)) error {
	own := fmt.Sprintf("own-%d", w.number)
	r, err := w.log.Get(ctx, w.collection, own, 0)
	if err != nil {
		return err
	}
	exists := r != nil && !r.Absent
	for i := 0; ; i++ {
		ids := []string{own}
		for range 1 + w.random.IntN(4) {
			ids = append(ids, fmt.Sprintf("common-%d", w.random.IntN(20)))
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		value := fmt.Sprintf("%d.%d.%x %s", w.number, i, w.random.Uint64(), strings.Join(ids, ","))
		batch := changelog.Write{Collection: w.collection}
		for _, id := range ids {
			op := put(id, value)
			op.Delete = id == own && exists
			batch.Ops = append(batch.Ops, op)
		}
		exists = !exists
		res, err := w.log.Write(ctx, batch)
		if err != nil {
			return err
		}
		acked(ack{w.collection, res.Revision, value})
	}
}

const crashWriters = 6

func newWriter(l changelog.Log, number int, seed uint64) *writer {
	return &writer{l, number, []string{"a", "b"}[number%2], rand.New(rand.NewPCG(seed, uint64(number)))}
}

// crashes lets writers write to a file system in memory, takes what a power loss
// at a random moment would leave of it, checks that, and goes on there.
func crashes(t *testing.T, e Engine, open func(context.Context, Options) (changelog.Log, error), seed uint64, rounds int) error {
	random := rand.New(rand.NewPCG(seed, 99))
	clock := newClock()
	fs := vfs.NewCrashableMem()
	var sure []ack // acknowledged before the last power loss
	var epoch uint64
	for round := range rounds {
		o := Options{FS: fs, Dir: "data", Now: clock.Now, Retention: changelog.Retention{
			Age: time.Hour, MinAge: time.Minute, Bytes: 1 << 30, Tombstones: 2 * time.Hour, RequestIDs: time.Hour,
		}}
		l, err := open(t.Context(), o)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := verify(t.Context(), l, sure); err != nil {
			_ = l.Close()
			return fmt.Errorf("round %d: %w", round, err)
		}
		if epoch == 0 {
			epoch = l.Epoch()
		}
		if l.Epoch() != epoch {
			t.Errorf("round %d: the epoch went from %x to %x", round, epoch, l.Epoch())
		}

		var mu sync.Mutex
		acks := slices.Clone(sure)
		enough := make(chan struct{})
		left := random.IntN(400)
		tell := func(a ack) {
			mu.Lock()
			defer mu.Unlock()
			acks = append(acks, a)
			clock.Add(time.Second)
			if left--; left == 0 {
				close(enough)
			}
		}
		if left == 0 {
			close(enough)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i := range crashWriters {
			running.Go(func() { _ = newWriter(l, i, seed<<8+uint64(round)).run(ctx, tell) })
		}
		if round%2 == 1 { // compaction is under way as well
			running.Go(func() {
				for ctx.Err() == nil {
					_ = l.Compact(ctx)
					clock.Add(time.Minute)
				}
			})
		}
		<-enough
		mu.Lock()
		sure = slices.Clone(acks)
		mu.Unlock()
		cfg := vfs.CrashCloneCfg{}
		if round%3 > 0 { // some of what was not synced survives
			cfg.UnsyncedDataPercent = 30 * (round % 3)
			cfg.RNG = rand.New(rand.NewPCG(random.Uint64(), 0))
		}
		after := fs.CrashClone(cfg)
		stop()
		running.Wait()
		if err := l.Close(); err != nil {
			return err
		}
		fs = after
	}
	return nil
}

// verify checks a log after a crash: what was acknowledged is there, batches are
// whole, and all reads agree.
func verify(ctx context.Context, l changelog.Log, acks []ack) error {
	found := map[string]map[uint64]string{}
	for _, c := range l.Collections() {
		batches, err := verifyCollection(ctx, l, c)
		if err != nil {
			return fmt.Errorf("collection %s: %w", c, err)
		}
		found[c] = batches
	}
	for _, a := range acks {
		if a.revision <= l.Bounds(a.collection).History {
			continue // the state says what is left of it
		}
		if got := found[a.collection][a.revision]; got != a.value {
			return fmt.Errorf("revision %d of %s was acknowledged as %q and is %q, the head is %d",
				a.revision, a.collection, a.value, got, l.Bounds(a.collection).Head)
		}
	}
	return nil
}

// verifyCollection returns the value of each batch.
func verifyCollection(ctx context.Context, l changelog.Log, c string) (map[uint64]string, error) {
	b := l.Bounds(c)
	state := map[string]*changelog.Record{}
	if b.History > 0 {
		for r, err := range l.List(ctx, c, "", b.History) {
			if err != nil {
				return nil, err
			}
			state[r.ID] = r
		}
	}
	values := map[uint64]string{}
	ids := map[uint64][]string{}
	for change, err := range l.History(ctx, c, changelog.Position{Revision: b.History}, 1<<60) {
		if err != nil {
			return nil, err
		}
		r := change.New
		if r.Revision > b.Head {
			return nil, fmt.Errorf("revision %d is above the head %d", r.Revision, b.Head)
		}
		if d := same(change.Old, state[r.ID]); d != "" {
			return nil, fmt.Errorf("before %s: %s", record(r), d)
		}
		ids[r.Revision] = append(ids[r.Revision], r.ID)
		if r.Absent {
			delete(state, r.ID)
			continue
		}
		state[r.ID] = r
		if v := values[r.Revision]; v != "" && v != string(r.Data) {
			return nil, fmt.Errorf("revision %d has the batches %q and %q", r.Revision, v, r.Data)
		}
		values[r.Revision] = string(r.Data)
	}
	for revision, value := range values {
		if _, want, _ := strings.Cut(value, " "); want != strings.Join(ids[revision], ",") {
			return nil, fmt.Errorf("revision %d holds %v of the batch %q", revision, ids[revision], value)
		}
	}
	for revision := b.History + 1; revision <= b.Head; revision++ {
		if values[revision] == "" {
			return nil, fmt.Errorf("revision %d is missing, the head is %d", revision, b.Head)
		}
	}
	n := 0
	for r, err := range l.List(ctx, c, "", 1<<60) {
		if err != nil {
			return nil, err
		}
		if d := same(r, state[r.ID]); d != "" {
			return nil, fmt.Errorf("the List and History differ: %s", d)
		}
		n++
	}
	for r, err := range l.Latest(ctx, c, changelog.Position{}, 1<<60) {
		if err != nil {
			return nil, err
		}
		if d := same(r, state[r.ID]); d != "" && !r.Absent {
			return nil, fmt.Errorf("what Latest and History tell differ: %s", d)
		}
		if !r.Absent {
			n--
		}
		got, err := l.Get(ctx, c, r.ID, 0)
		if err != nil {
			return nil, err
		}
		if d := same(r, got); d != "" {
			return nil, fmt.Errorf("what Latest and Get tell differs: %s", d)
		}
	}
	if n != 0 {
		return nil, fmt.Errorf("a List gives %d more records than Latest", n)
	}
	return values, nil
}

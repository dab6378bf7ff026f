package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"

	"github.com/watchroute/watchroute/e2e/client"
	"github.com/watchroute/watchroute/e2e/picture"
	"github.com/watchroute/watchroute/e2e/process"
)

// TestCrash_NothingAcknowledgedIsLostAndNoBatchIsHalfThere: P4, P5, P8, P11. The
// process is killed in the middle of writes, again and again. (That shows what the
// process does; that it syncs, the log's tests on a disk that drops what was not
// synced show.)
func TestCrash_NothingAcknowledgedIsLostAndNoBatchIsHalfThere(t *testing.T) {
	random := seeded(t)
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	s := process.Start(t, process.Options{Args: []string{"--contracts", "shop"}})
	all := transports(t, client.Target{HTTP: s.HTTP, GRPC: s.GRPC})

	// On each transport one who must see each change, over all the crashes, and one
	// who sees the last ones; and two who come back on another transport each time.
	var watchers []*watcher
	for _, every := range []bool{true, false} {
		for _, transport := range all {
			watchers = append(watchers, newWatcher(fmt.Sprintf("%s, every change %v", transport.Name(), every), "", picture.New(every, countStep), transport))
		}
		watchers = append(watchers, newWatcher(fmt.Sprintf("the wanderer, every change %v", every), "", picture.New(every, countStep), all...))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var end goal
	var watching sync.WaitGroup
	failures := make(chan error, len(watchers))
	for _, w := range watchers {
		w.forgiving = true
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		watching.Go(func() {
			if err := w.run(ctx, &end, own); err != nil {
				failures <- err
			}
		})
	}
	for _, w := range watchers {
		select {
		case <-w.ready:
		case <-ctx.Done():
			t.Fatalf("%s has no first token", w.name)
		}
	}

	began := time.Now()
	crew := newCrew(192, 48, 10)
	var unacked, retried int
	var restarts time.Duration
	for round := range rounds {
		id := func(counter int, n int64) string { return fmt.Sprintf("round-%d-counter-%d-%d", round, counter, n) }
		conn := s.Dial()
		stop := make(chan struct{})
		alive := time.Duration(20+random.IntN(600)) * time.Millisecond
		go func() {
			defer close(stop)
			time.Sleep(alive) // the moment is the point
			s.Kill()
		}()
		for _, err := range crew.work(ctx, watchroutev1.NewResourceServiceClient(conn), id) {
			if !gone(err) {
				t.Errorf("round %d: a write failed, and not because the server went away: %v", round, err)
			}
		}
		<-stop
		_ = conn.Close()
		if t.Failed() {
			t.FailNow()
		}
		restart := time.Now()
		s.Start()
		restarts += time.Since(restart)

		resources := watchroutev1.NewResourceServiceClient(s.Dial())
		there := stored(t, resources)
		for i, c := range crew.counters {
			retry := c.pending != nil && i%2 == 0
			written := c.check(t, there, !retry)
			if written {
				unacked++
			}
			if !retry {
				continue
			}
			// The same request id: once, whether it was there or not.
			retried++
			was := there[c.names[0]]
			if err := c.finish(ctx, resources); err != nil {
				t.Fatalf("round %d: %s again after the crash: %v", round, c.names[0], err)
			}
			if written && c.revision != was.Revision {
				t.Fatalf("round %d: %s was there at revision %d, and sent again it was written anew at %d", round, c.names[0], was.Revision, c.revision)
			}
		}
	}

	there := stored(t, watchroutev1.NewResourceServiceClient(s.Dial()))
	var last uint64
	for _, c := range crew.counters {
		c.check(t, there, true)
		last = max(last, c.revision)
	}
	end.revision.Store(last)
	watching.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	events, repeats, opens := 0, 0, 0
	for _, w := range watchers {
		for _, problem := range w.picture.Problems {
			t.Errorf("%s: %s", w.name, problem)
		}
		if have := w.picture.Present(); !maps.Equal(have, there) {
			t.Errorf("%s has another picture than List", w.name)
		}
		var changes int64
		for _, state := range there {
			changes += state.Step
		}
		if w.picture.Every && int64(w.picture.Changes) != changes {
			t.Errorf("%s saw %d changes, %d were made", w.name, w.picture.Changes, changes)
		}
		events, repeats, opens = events+w.picture.Changes, repeats+w.picture.Repeats, opens+w.picture.Opens
	}
	t.Logf("%d kills in %v; %d changes were acknowledged, %d writes were there without an acknowledgement, %d were sent again with their request id; a restart took %v on average",
		rounds, time.Since(began).Round(time.Millisecond), crew.acked, unacked, retried, (restarts / time.Duration(rounds)).Round(time.Millisecond))
	t.Logf("%d watchers opened %d streams and saw %d changes, %d of them again", len(watchers), opens, events, repeats)
}

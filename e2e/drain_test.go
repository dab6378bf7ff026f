package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"

	"github.com/watchroute/watchroute/e2e/client"
	"github.com/watchroute/watchroute/e2e/picture"
	"github.com/watchroute/watchroute/e2e/process"
)

// TestDrain_UnderLoadEndsInOrder: P5, P8, P11. SIGTERM in the middle of writes, some
// times: each watch is told `drain` with a token that resumes, each write is either
// there or refused, and the process ends in bounded time.
func TestDrain_UnderLoadEndsInOrder(t *testing.T) {
	random := seeded(t)
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop", "--drain-spread", "500ms"}})
	all := transports(t, client.Target{HTTP: s.HTTP, GRPC: s.GRPC})
	var watchers []*watcher
	for _, every := range []bool{true, false} {
		for _, transport := range all {
			watchers = append(watchers, newWatcher(fmt.Sprintf("%s, every change %v", transport.Name(), every), "", picture.New(every, countStep), transport))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var end goal
	var watching sync.WaitGroup
	failures := make(chan error, len(watchers))
	for _, w := range watchers {
		w.forgiving = true
		watching.Go(func() {
			if err := w.run(ctx, &end, rand.New(rand.NewPCG(1, 1))); err != nil {
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

	crew := newCrew(96, 24, 10)
	const rounds = 4
	reasons := map[string]int{}
	var took time.Duration
	for round := range rounds {
		conn := s.Dial()
		id := func(counter int, n int64) string { return fmt.Sprintf("round-%d-counter-%d-%d", round, counter, n) }
		await(t, "all watches to be open", func() bool { return s.Metric("watchroute_watches_open") == float64(len(watchers)) })
		stop := make(chan struct{})
		alive := time.Duration(300+random.IntN(500)) * time.Millisecond
		go func() {
			defer close(stop)
			time.Sleep(alive) // the moment is the point
			took = max(took, s.Stop())
		}()
		for _, err := range crew.work(ctx, watchroutev1.NewResourceServiceClient(conn), id) {
			reasons[reasonOf(err)]++
			if !gone(err) {
				t.Errorf("round %d: a write failed, and not because the server went away: %v", round, err)
			}
		}
		<-stop
		_ = conn.Close()
		s.Start()
		there := stored(t, watchroutev1.NewResourceServiceClient(s.Dial()))
		for _, c := range crew.counters {
			c.check(t, there, true)
		}
	}
	there := stored(t, watchroutev1.NewResourceServiceClient(s.Dial()))
	var last uint64
	for _, state := range there {
		last = max(last, state.Revision)
	}
	end.revision.Store(last)
	watching.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	for _, w := range watchers {
		for _, problem := range w.picture.Problems {
			t.Errorf("%s: %s", w.name, problem)
		}
		if have := w.picture.Present(); !maps.Equal(have, there) {
			t.Errorf("%s has another picture than List", w.name)
		}
		// Each stream but the last one ended with a drain: nothing was cut. Only
		// between two polls there is nobody to tell.
		if drains := w.picture.Kinds[client.Drain]; drains != rounds && w.routes[0].Name() != "long-poll" {
			t.Errorf("%s was told of %d drains in %d rounds (%v)", w.name, drains, rounds, w.picture.Kinds)
		}
		if w.picture.Repeats > 0 {
			t.Errorf("%s saw %d events again, although its last message had a token", w.name, w.picture.Repeats)
		}
	}
	t.Logf("%d rounds; %d changes were acknowledged; ending took %v at most; the writers were told %v", rounds, crew.acked, took.Round(time.Millisecond), reasons)
}

func reasonOf(err error) string {
	s, _ := status.FromError(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	if errors.Is(err, context.Canceled) {
		return "cancelled"
	}
	return s.Code().String()
}

package watchroute_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	watchroute "github.com/watchroute/watchroute/clients/go"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// slow is a program that takes batches, at most one in ten seconds.
type slow struct {
	cancel context.CancelFunc
	done   chan struct{}
	work   chan struct{} // each batch takes one; closed: no batch takes long

	mu  sync.Mutex
	got []string
	err error
}

func (s *slow) heard() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

// batched runs a test with such a program; busy: the test says when it has finished with a
// batch.
func batched(t *testing.T, busy bool, f func(t *testing.T, p *tap, s *slow), options ...watchroute.WatchOption) {
	synctest.Test(t, func(t *testing.T) {
		p := newTap()
		client := watchroute.New(p.conn(), watchroute.WithBackoff(1, 1))
		s := &slow{done: make(chan struct{}), work: make(chan struct{})}
		if !busy {
			close(s.work)
		}
		var ctx context.Context
		ctx, s.cancel = context.WithCancel(t.Context())
		began := time.Now()
		go func() {
			defer close(s.done)
			for batch, err := range watchroute.Batches[json.RawMessage](ctx, client, "notes", 10*time.Second, options...) {
				var texts []string
				for _, e := range batch {
					texts = append(texts, shown(e))
				}
				s.mu.Lock()
				s.err = err
				if err == nil {
					s.got = append(s.got, fmt.Sprintf("%v: %s", time.Since(began), strings.Join(texts, ", ")))
				}
				s.mu.Unlock()
				<-s.work
			}
		}()
		f(t, p, s)
		s.cancel()
		<-s.done
		_ = client.Close()
		synctest.Wait()
	})
}

func TestBatches_AreAtMostOneInEachTime(t *testing.T) {
	batched(t, false, func(t *testing.T, p *tap, s *slow) {
		expect(t, s.heard(), `0s: a@1 {"n":1}`, "0s: SYNCED@1")
		time.Sleep(time.Second)
		p.say <- events(2, "t2", present("a", 2, `2`))
		p.say <- events(4, "t4", present("b", 3, `3`), present("c", 4, `4`))
		time.Sleep(time.Second)
		p.say <- events(6, "t6", present("a", 5, `5`), absent("b", 6))
		time.Sleep(7 * time.Second)
		expect(t, s.heard())
		time.Sleep(time.Second)
		expect(t, s.heard(), "10s: c@4 4, a@5 5, b@6 gone")
		time.Sleep(20 * time.Second)
		p.say <- events(8, "t8", present("a", 7, `7`), present("b", 8, `8`))
		expect(t, s.heard(), "30s: a@7 7, b@8 8")
	})
}

func TestBatches_AResetDropsWhatCameBeforeIt(t *testing.T) {
	batched(t, false, func(t *testing.T, p *tap, s *slow) {
		s.heard()
		time.Sleep(time.Second)
		p.say <- events(2, "t2", present("a", 2, `2`), present("c", 2, `2`))
		p.say <- reset(watchroutev1.Reset_ACCESS)
		p.say <- events(3, "", present("b", 3, `3`))
		expect(t, s.heard())
		p.say <- snapshotEnd(3, "t3")
		expect(t, s.heard(), "1s: RESET ACCESS, b@3 3, SYNCED@3")
		p.say <- events(4, "t4", present("b", 4, `4`))
		time.Sleep(10 * time.Second)
		expect(t, s.heard(), "11s: b@4 4")
	})
}

func TestBatches_AProgramThatIsBusyHoldsOneMessage(t *testing.T) {
	var counters watchroute.Counters
	batched(t, true, func(t *testing.T, p *tap, s *slow) {
		expect(t, s.heard(), `0s: a@1 {"n":1}`)
		s.work <- struct{}{}
		expect(t, s.heard(), "0s: SYNCED@1")
		s.work <- struct{}{}
		p.say <- events(2, "t2", present("a", 2, `2`))
		time.Sleep(10 * time.Second)
		expect(t, s.heard(), "10s: a@2 2")
		var telling sync.WaitGroup
		telling.Go(func() {
			for revision := uint64(3); revision <= 9; revision++ {
				p.say <- events(revision, "t", present("a", revision, `3`))
			}
		})
		time.Sleep(time.Hour)
		// started, events, snapshot_end, events, and what was being read.
		if n := counters.Messages.Load(); n != 5 {
			t.Errorf("%d messages were read", n)
		}
		close(s.work)
		time.Sleep(10 * time.Millisecond)
		// It is behind, and catches up.
		expect(t, s.heard(), "1h0m10.001s: a@9 3")
		telling.Wait()
	}, watchroute.CountIn(&counters))
}

func TestBatches_AProgramThatIsBehindIsGivenABatchHoweverMuchComes(t *testing.T) {
	batched(t, true, func(t *testing.T, p *tap, s *slow) {
		s.work <- struct{}{}
		s.heard()
		ctx, cancel := context.WithCancel(t.Context())
		var telling sync.WaitGroup
		telling.Go(func() {
			for revision := uint64(2); ctx.Err() == nil; revision++ {
				select {
				case p.say <- events(revision, "t", present("a", revision, `2`)):
				case <-ctx.Done():
				}
				time.Sleep(500 * time.Microsecond)
			}
		})
		time.Sleep(15 * time.Second)
		s.work <- struct{}{}
		time.Sleep(10 * time.Second)
		if got := s.heard(); len(got) != 1 || !strings.HasPrefix(got[0], "25s: a@") {
			t.Errorf("got %q", got)
		}
		cancel()
		close(s.work)
		telling.Wait()
	})
}

func TestBatches_TellWhatCameBeforeAnError(t *testing.T) {
	batched(t, false, func(t *testing.T, p *tap, s *slow) {
		s.heard()
		time.Sleep(time.Second)
		p.say <- events(2, "t2", present("a", 2, `2`))
		p.say <- events(4, "t4", present("b", 3, `3`), &watchroutev1.Event{State: 77, Resource: &watchroutev1.Resource{Name: "notes/c", Revision: 4}})
		<-s.done
		expect(t, s.heard(), "1s: a@2 2, b@3 3")
		if !watchroute.HasReason(s.err, watchroute.ReasonUnknownMessage) {
			t.Errorf("ended with %v", s.err)
		}
	})
	batched(t, false, func(t *testing.T, p *tap, s *slow) {
		s.heard()
		p.say <- events(2, "t2", present("a", 2, `2`))
		expect(t, s.heard())
		s.cancel()
		<-s.done
		expect(t, s.heard(), "0s: a@2 2")
		if !errors.Is(s.err, context.Canceled) {
			t.Errorf("ended with %v", s.err)
		}
	})
}

func TestBatches_ATokenIsStoredOnceTheProgramHasFinished(t *testing.T) {
	store := &memory{}
	stored := func(t *testing.T, want string) {
		t.Helper()
		time.Sleep(time.Second)
		synctest.Wait()
		if token, _ := store.saved(); token != want {
			t.Errorf("the token is %q, not %q", token, want)
		}
	}
	batched(t, true, func(t *testing.T, p *tap, s *slow) {
		s.work <- struct{}{}
		expect(t, s.heard(), `0s: a@1 {"n":1}`, "0s: SYNCED@1")
		stored(t, "")
		s.work <- struct{}{}
		stored(t, "t1")
		p.say <- bookmark(2, "t2") // nothing is unfinished
		stored(t, "t2")
		p.say <- events(3, "t3", present("a", 3, `3`))
		p.say <- bookmark(4, "t4")
		stored(t, "t2")
		time.Sleep(10 * time.Second)
		if len(s.heard()) != 1 {
			t.Error("there is no batch")
		}
		p.say <- bookmark(5, "t5")
		p.say <- events(6, "t6", present("a", 6, `6`)) // is held
		stored(t, "t2")
		s.work <- struct{}{}
		stored(t, "t5")
		time.Sleep(10 * time.Second)
		s.work <- struct{}{}
		stored(t, "t6")
		p.say <- events(7, "t7", present("a", 7, `7`))
		p.say <- bookmark(8, "t8")
		stored(t, "t6")
		s.heard()
		p.say <- reset(watchroutev1.Reset_COMPACTED)
		// The program is about to forget what t6 stands for.
		stored(t, "")
		p.say <- snapshotEnd(9, "t9")
		expect(t, s.heard(), "29s: RESET COMPACTED, SYNCED@9")
		stored(t, "")
		go close(s.work)
		stored(t, "t9")
	}, watchroute.KeepToken(store, "k"))
}

// A program that keeps what it was told and the token, and ends again and again in the
// midst of its work on a batch, comes to know all.
func TestBatches_WhatWasNotFinishedIsToldAgain(t *testing.T) {
	for seed := range uint64(100) {
		dice := rand.New(rand.NewPCG(seed, 3))
		m := newModel(seed, 1+dice.IntN(40), dice.IntN(10))
		client := watchroute.New(m.conn(), watchroute.WithBackoff(1, 1))
		request := &watchroutev1.WatchRequest{Delta: seed%2 == 0}
		if seed%4 < 2 {
			request.Delivery = watchroutev1.Delivery_EVERY_CHANGE
		}
		store, kept := &memory{}, map[string]entry{}
		for run := 0; fmt.Sprint(kept) != fmt.Sprint(m.stateAt(m.head())); run++ {
			if token, _ := store.saved(); token == "" {
				clear(kept)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			every := time.Duration(dice.IntN(1000)) * time.Microsecond
			for batch, err := range watchroute.Batches[map[string]int](ctx, client, "notes", every, watchroute.Request(request), watchroute.KeepToken(store, "k")) {
				if err != nil {
					t.Fatalf("seed %d: ended with %v; it has %v of %v", seed, err, kept, m.stateAt(m.head()))
				}
				if run < 20 && dice.IntN(4) == 0 {
					break
				}
				kept = applied(t, m, kept, batch)
				if fmt.Sprint(kept) == fmt.Sprint(m.stateAt(m.head())) {
					break
				}
			}
			cancel()
		}
		_ = client.Close()
	}
}

// applied gives what a program keeps after a batch.
func applied(t *testing.T, m *model, kept map[string]entry, batch []watchroute.Event[map[string]int]) map[string]entry {
	kept, seen := maps.Clone(kept), map[string]bool{}
	for i, e := range batch {
		if seen[e.Name] && e.Name != "" || e.Kind == watchroute.Reset && i > 0 || e.Kind == watchroute.Synced && i < len(batch)-1 {
			t.Errorf("event %d of %v", i, batch)
		}
		seen[e.Name] = true
		name := strings.TrimPrefix(e.Name, "notes/")
		switch e.Kind {
		case watchroute.Reset:
			clear(kept)
		case watchroute.Present:
			kept[name] = entry{e.Revision, name, e.Value}
		case watchroute.Absent:
			delete(kept, name)
		case watchroute.Synced:
			if fmt.Sprint(kept) != fmt.Sprint(m.stateAt(e.Revision)) {
				t.Errorf("synced at %d with %v, not %v", e.Revision, kept, m.stateAt(e.Revision))
			}
		}
	}
	return kept
}

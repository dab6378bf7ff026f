package local

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
)

// bench is a committer whose commits take a time and do nothing else.
type bench struct {
	queue *queue
	mu    sync.Mutex
	sizes []int           // of groups
	waits []time.Duration // of writes
}

func simulate(t *testing.T, delay, took time.Duration, body func(b *bench)) *bench {
	t.Helper()
	b := &bench{}
	synctest.Test(t, func(*testing.T) {
		b.queue = newQueue(1024, 4<<20)
		var committer sync.WaitGroup
		committer.Go(func() {
			b.queue.groups(newGather(delay), func(group []*pending) error {
				time.Sleep(took)
				b.mu.Lock()
				defer b.mu.Unlock()
				b.sizes = append(b.sizes, len(group))
				return nil
			})
		})
		body(b)
		b.queue.close()
		committer.Wait()
	})
	return b
}

func (b *bench) write() {
	p := &pending{ctx: context.Background(), done: make(chan struct{})}
	began := time.Now()
	b.queue.push(p)
	<-p.done
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits = append(b.waits, time.Since(began))
}

// crowd writes at random times with a mean distance, whether answered or not.
func (b *bench) crowd(wg *sync.WaitGroup, every time.Duration, n int) {
	random := rand.New(rand.NewPCG(1, 2))
	for range n {
		time.Sleep(time.Duration(random.ExpFloat64() * float64(every)))
		wg.Go(b.write)
	}
}

// perCommit gives the mean size of the groups but the first ones.
func (b *bench) perCommit() float64 {
	writes, late := 0, b.sizes[len(b.sizes)/3:]
	for _, n := range late {
		writes += n
	}
	return float64(writes) / float64(len(late))
}

const (
	testDelay = 5 * time.Millisecond
	testTook  = 300 * time.Microsecond
)

func TestGather_OneWriterAfterTheOtherDoesNotWait(t *testing.T) {
	b := simulate(t, testDelay, testTook, func(b *bench) {
		for range 1000 {
			b.write()
			time.Sleep(100 * time.Microsecond)
		}
	})
	if most := slices.Max(b.waits); most != testTook {
		t.Errorf("a write took %v, its commit %v", most, testTook)
	}
}

func TestGather_ACrowdSharesCommits(t *testing.T) {
	b := simulate(t, testDelay, testTook, func(b *bench) {
		var wg sync.WaitGroup
		b.crowd(&wg, 500*time.Microsecond, 4000)
		wg.Wait()
		time.Sleep(time.Second)
		before := len(b.waits)
		b.write() // after quiet
		if took := b.waits[before]; took != testTook {
			t.Errorf("after a quiet second a write took %v", took)
		}
	})
	if per := b.perCommit(); per < 5 { // in the delay come 10
		t.Errorf("%.1f writes share a commit at 2,000/s", per)
	}
	if most, bound := slices.Max(b.waits), testDelay+2*testTook; most > bound {
		t.Errorf("a write took %v, more than %v", most, bound)
	}
}

func TestGather_FewWritesDoNotWaitForTheDelay(t *testing.T) {
	b := simulate(t, testDelay, testTook, func(b *bench) {
		var wg sync.WaitGroup
		wg.Go(func() { b.crowd(&wg, 3*time.Millisecond, 300) })
		for range 2000 { // beside it, one after the other
			b.write()
		}
		wg.Wait()
	})
	if most, bound := slices.Max(b.waits), 4*testTook; most > bound {
		t.Errorf("a write took %v, more than %v", most, bound)
	}
}

func TestGather_WritersThatWaitForAnswersShareCommits(t *testing.T) {
	const writers = 16
	b := simulate(t, testDelay, testTook, func(b *bench) {
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for range 500 {
					time.Sleep(time.Duration(i) * time.Microsecond) // they come back one by one
					b.write()
				}
			})
		}
		wg.Wait()
	})
	if per := b.perCommit(); per < 0.9*writers {
		t.Errorf("%.1f of %d writes share a commit", per, writers)
	}
	if most, bound := slices.Max(b.waits), 5*testTook; most > bound {
		t.Errorf("a write took %v, more than %v", most, bound)
	}
}

func TestGather_NoDelayIsNone(t *testing.T) {
	b := simulate(t, 0, testTook, func(b *bench) {
		var wg sync.WaitGroup
		b.crowd(&wg, 500*time.Microsecond, 1000)
		wg.Wait()
	})
	if most := slices.Max(b.waits); most > 2*testTook {
		t.Errorf("a write took %v, more than two commits", most)
	}
}

func TestQueue_AwaitsWhatAGroupMayHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(4, 1000)
		push := func() { q.push(&pending{done: make(chan struct{})}) }
		for range 6 {
			push()
		}
		if n := q.await(3, nil); n != 6 {
			t.Errorf("%d writes are said to wait", n)
		}
		if n := len(q.take(nil)); n != 4 {
			t.Errorf("a group has %d writes", n)
		}
		began := time.Now()
		if n := q.await(3, time.After(time.Second)); n != 2 || time.Since(began) != time.Second {
			t.Errorf("%d writes after %v", n, time.Since(began))
		}
		time.AfterFunc(time.Second, push)
		if n := q.await(3, time.After(time.Minute)); n != 3 || time.Since(began) != 2*time.Second {
			t.Errorf("%d writes after %v", n, time.Since(began))
		}
		q.take(nil)
		time.AfterFunc(time.Second, func() { q.push(&pending{ctx: context.Background(), write: largeWrite(), done: make(chan struct{})}) })
		if n := q.await(3, nil); n != 1 {
			t.Errorf("%d writes, not one that fills a group", n)
		}
		q.take(nil)
		time.AfterFunc(time.Second, q.close)
		if n := q.await(1, nil); n != 0 {
			t.Errorf("%d writes in a closed queue", n)
		}
		if q.push(&pending{}) {
			t.Error("a closed queue takes a write")
		}
	})
}

func largeWrite() changelog.Write {
	return changelog.Write{Ops: []changelog.Op{{ID: "a", Data: make([]byte, 1000)}}}
}

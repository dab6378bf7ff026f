package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
)

// outlet is a client that a shard serves. At random its connection is full.
type outlet struct {
	rand *rand.Rand
	full float64 // how often

	mu    sync.Mutex
	kept  []hub.Frame // what Flush has to send
	lines []string
	times []time.Time
	lost  error // what sending gives
	over  chan error
	stuck chan struct{} // Flush waits for it, where it is set
}

func (o *outlet) TrySend(frames []hub.Frame) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost != nil {
		return false, o.lost
	}
	if len(o.kept) > 0 {
		panic("TrySend while there is a rest")
	}
	n := len(frames)
	if o.full > 0 && o.rand.Float64() < o.full {
		n = o.rand.IntN(n)
	}
	o.take(frames[:n])
	o.kept = append([]hub.Frame(nil), frames[n:]...)
	return n < len(frames), nil
}

func (o *outlet) take(frames []hub.Frame) {
	for _, f := range frames {
		var m watchroutev1.WatchResponse
		if err := proto.Unmarshal(f.Bytes, &m); err != nil {
			panic(err)
		}
		o.times = append(o.times, time.Now())
		switch {
		case m.GetEvents() != nil:
			for _, e := range m.GetEvents().GetEvents() {
				o.lines = append(o.lines, fmt.Sprintf("%s@%d", strings.TrimPrefix(e.GetResource().GetName(), "things/"), e.GetResource().GetRevision()))
			}
		default:
			o.lines = append(o.lines, f.Kind.String())
		}
	}
}

func (o *outlet) Flush() error {
	if o.stuck != nil {
		<-o.stuck
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.take(o.kept)
	o.kept = nil
	return o.lost
}

func (o *outlet) Over(_ *hub.Watch, err error) { o.over <- err }

func (o *outlet) said() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines, " ")
}

func (f *fixture) serve(full float64, r *watchroutev1.WatchRequest) (*outlet, *hub.Watch) {
	f.t.Helper()
	r.Parent = "things"
	w, err := f.hub.Open(f.t.Context(), hub.Request{Watch: r, Codec: wire.Proto, Transport: "test", Served: true})
	if err != nil {
		f.t.Fatal(err)
	}
	o := &outlet{rand: rand.New(rand.NewPCG(1, 1)), full: full, over: make(chan error, 2)}
	f.hub.Serve(w, o)
	return o, w
}

func TestServe_EachOutletGetsEverythingOnceWhateverIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *hub.Config) { c.RingBytes = 20 << 10 })
		f.put("a", `{}`)
		var outlets []*outlet
		for i := range 40 {
			o, _ := f.serve([]float64{0, 0.1, 0.9}[i%3], &watchroutev1.WatchRequest{Delivery: watchroutev1.Delivery_EVERY_CHANGE})
			outlets = append(outlets, o)
		}
		want := "started a@1 snapshot_end"
		synctest.Wait()
		for i := range 300 {
			want += fmt.Sprintf(" b@%d", f.put("b", fmt.Sprintf(`{"i":%d,"pad":"%0100d"}`, i, i)))
			if i%50 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second) // less than a heartbeat
		synctest.Wait()
		for i, o := range outlets {
			if got := o.said(); got != want {
				t.Fatalf("outlet %d:\ngot  %s\nwant %s", i, got, want)
			}
		}
		f.hub.Drain(time.Second)
		for _, o := range outlets {
			if err := <-o.over; !errors.Is(err, hub.ErrDrained) {
				t.Errorf("it ends with %v", err)
			}
			if !strings.HasSuffix(o.said(), " drain") {
				t.Error("the last message is not `drain`")
			}
		}
		if n := f.hub.Count(); n != 0 {
			t.Errorf("%d watches are open", n)
		}
	})
}

func TestServe_WhoIsStuckHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.put("a", `{}`)
		stuck, _ := f.serve(0, &watchroutev1.WatchRequest{})
		synctest.Wait()
		stuck.mu.Lock()
		stuck.full, stuck.stuck = 1, make(chan struct{})
		stuck.mu.Unlock()
		var others []*outlet
		for range 100 {
			o, _ := f.serve(0, &watchroutev1.WatchRequest{})
			others = append(others, o)
		}
		synctest.Wait()
		began := time.Now()
		rev := f.put("b", `{}`)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, o := range others {
			if !strings.HasSuffix(o.said(), fmt.Sprintf(" b@%d", rev)) || o.times[len(o.times)-1].Sub(began) > time.Millisecond {
				t.Fatalf("%s after %v", o.said(), o.times[len(o.times)-1].Sub(began))
			}
		}
		close(stuck.stuck)
		synctest.Wait()
		if !strings.HasSuffix(stuck.said(), fmt.Sprintf(" b@%d", rev)) {
			t.Error("who was stuck does not go on: ", stuck.said())
		}
	})
}

func TestServe_EndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.put("a", `{}`)
		lost, _ := f.serve(0, &watchroutev1.WatchRequest{})
		ended, w := f.serve(0, &watchroutev1.WatchRequest{})
		closed, _ := f.serve(0, &watchroutev1.WatchRequest{})
		synctest.Wait()
		lost.mu.Lock()
		lost.lost = errors.New("the client left")
		lost.mu.Unlock()
		f.put("a", `{"n":1}`)
		if err := <-lost.over; err == nil || err.Error() != "the client left" {
			t.Error(err)
		}
		w.End(resource.Errorf(resource.LimitReached, "enough"))
		w.End(resource.Errorf(resource.LimitReached, "too much"))
		if err := <-ended.over; !resource.HasReason(err, resource.LimitReached) || !strings.Contains(err.Error(), "enough") {
			t.Error(err)
		}
		f.hub.Close()
		if err := <-closed.over; err == nil {
			t.Error("closing the hub is no error")
		}
		for _, o := range []*outlet{lost, ended, closed} {
			select {
			case err := <-o.over:
				t.Error("it is over twice: ", err)
			default:
			}
		}
	})
}

func TestServe_BookmarksWhileQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *hub.Config) { c.Heartbeat = 10 * time.Second })
		f.put("a", `{}`)
		o, _ := f.serve(0, &watchroutev1.WatchRequest{})
		time.Sleep(5 * time.Second)
		rev := f.put("a", `{"n":1}`) // and so the next bookmark is due at 15 s
		time.Sleep(21 * time.Second)
		synctest.Wait()
		if want := fmt.Sprintf("started a@1 snapshot_end a@%d bookmark bookmark", rev); o.said() != want {
			t.Errorf("got %s, want %s", o.said(), want)
		}
		if gap := o.times[4].Sub(o.times[3]); gap != 10*time.Second {
			t.Errorf("the bookmark comes after %v", gap)
		}
	})
}

func TestSnapshot_IsSharedByNewcomers(t *testing.T) {
	f := newFixture(t)
	const things = 2000
	var rev uint64
	for i := 0; i < things; i += 100 {
		var pairs []string
		for j := range 100 {
			pairs = append(pairs, fmt.Sprintf("t%d", i+j), fmt.Sprintf(`{"n":%d,"pad":"%01000d"}`, i, j))
		}
		rev = f.put(pairs...)
	}
	read := func(r *watchroutev1.WatchRequest) {
		t.Helper()
		rd := f.watch(r)
		rd.drainTo(rev)
		if len(rd.state) != things || rd.at != rev {
			t.Errorf("the snapshot has %d things at %d", len(rd.state), rd.at)
		}
	}
	first := f.watch(&watchroutev1.WatchRequest{}) // keeps the view
	first.drainTo(rev)
	made := f.hub.SnapshotStats().Made
	for range 5 {
		read(&watchroutev1.WatchRequest{})
	}
	s := f.hub.SnapshotStats()
	if s.Made != made || s.Shared < 5*made || s.Bytes < things*1000 {
		t.Errorf("after the first one, which made %d segments: %+v", made, s)
	}
	// What has changed meanwhile comes right after it, or the snapshot is a new one.
	rev = f.put("t7", `{"n":7}`)
	read(&watchroutev1.WatchRequest{})
	rd := f.watch(&watchroutev1.WatchRequest{MinRevision: rev})
	rd.drainTo(rev)
	if got := rd.state["things/t7"]; got != `{"n":7}` || rd.at != rev {
		t.Errorf("P9: t7 is %s at %d", got, rd.at)
	}
}

func TestSnapshot_StaysWithinItsBound(t *testing.T) {
	f := newFixture(t, func(c *hub.Config) { c.MemoryBytes = 1 << 20 })
	var rev uint64
	for i := range 1000 {
		rev = f.put(fmt.Sprintf("t%d", i), fmt.Sprintf(`{"pad":"%01000d"}`, i))
	}
	a, b := f.watch(&watchroutev1.WatchRequest{}), f.watch(&watchroutev1.WatchRequest{})
	for i := 0; ; i++ { // one is far ahead of the other
		n, err := a.apply(hub.Unlimited)
		if err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if _, err := b.apply(hub.Unlimited); err != nil {
				t.Fatal(err)
			}
		}
		if n == 0 {
			break
		}
	}
	b.drainTo(rev)
	if len(a.state) != 1000 || len(b.state) != 1000 {
		t.Errorf("the snapshots have %d and %d things", len(a.state), len(b.state))
	}
	if s := f.hub.SnapshotStats(); s.Bytes > 1<<18 || s.Dropped == 0 {
		t.Errorf("%+v", s)
	}
}

// A watch that holds events back waits for their time, whoever serves it, instead of
// asking for them again and again.
func TestServe_MinIntervalIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.put("a", `{}`)
		const interval = 10 * time.Second
		r := &watchroutev1.WatchRequest{MinInterval: durationpb.New(interval)}
		o, _ := f.serve(0, r)
		rd := f.watch(&watchroutev1.WatchRequest{MinInterval: durationpb.New(interval)})
		asked := 0
		ctx, cancel := context.WithCancel(t.Context())
		var reading sync.WaitGroup
		reading.Go(func() {
			for rd.w.Wait(ctx) == nil {
				for more := true; more; more = rd.w.More() {
					asked++
					if _, err := rd.apply(hub.Unlimited); err != nil {
						t.Error(err)
					}
				}
			}
		})
		time.Sleep(time.Second)
		var rev uint64
		for i := range 10 {
			rev = f.put("a", fmt.Sprintf(`{"n":%d}`, i))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * interval)
		cancel()
		reading.Wait()
		want := fmt.Sprintf(" a@%d", rev)
		if got := o.said(); !strings.HasSuffix(got, want) || strings.Count(got, "a@") > 3 {
			t.Errorf("got %s", got)
		}
		if rd.at != rev || asked > 40 {
			t.Errorf("the reader is at %d, not %d, and was asked %d times", rd.at, rev, asked)
		}
	})
}

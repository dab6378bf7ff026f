package hub_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
)

// poor is a guard whose callers have nothing left to spend when they are asked the first
// few times.
type poor struct {
	*guard
	asked, spent atomic.Int64
	refused      int64
}

func (p *poor) Grant(context.Context, hub.Call) (hub.Grant, error) { return p, nil }

func (p *poor) Spent(took time.Duration) error {
	p.spent.Add(int64(took))
	if took == 0 && p.asked.Add(1) <= p.refused {
		return resource.Errorf(resource.LimitReached, "too dear").After(time.Millisecond)
	}
	return nil
}

func TestOpen_AFilterThatIsDearToCompileIsChargedFor(t *testing.T) {
	p := &poor{guard: &guard{}, refused: 1}
	f := newFixture(t, func(c *hub.Config) { c.Access = p })
	var parts []string
	for size := 0; size < 3900; size += 39 {
		parts = append(parts, `(data.a+1<data.b[2]?[1]:[2]).exists(x,x==3)`)
	}
	open := func(filter string) error {
		w, err := f.hub.Open(t.Context(), hub.Request{Watch: &watchroutev1.WatchRequest{Parent: "things", Filter: filter}, Codec: wire.Proto, Transport: "test"})
		if err == nil {
			w.Close(nil)
		}
		return err
	}
	if err := open(`data.n == 1`); !resource.HasReason(err, resource.LimitReached) {
		t.Fatalf("with nothing left: %v", err)
	}
	dear := strings.Join(parts[:88], "||")
	for range 2 { // the second time it is known
		if err := open(dear); err != nil {
			t.Fatal(err)
		}
	}
	if p.asked.Load() != 2 || p.spent.Load() == 0 {
		t.Errorf("asked %d times, charged %v", p.asked.Load(), time.Duration(p.spent.Load()))
	}
}

// TestWatch_ADearFilterRestsWhileItCatchesUp: it is told everything, later.
func TestWatch_ADearFilterRestsWhileItCatchesUp(t *testing.T) {
	p := &poor{guard: &guard{}}
	f := newFixture(t, func(c *hub.Config) { c.Access, c.RingBytes = p, 1 }) // resuming reads the log
	f.put("a", `{"n":1}`)
	last := f.put("b", `{"n":2}`)
	const filter = `data.n > 0`
	snapshot := f.watch(&watchroutev1.WatchRequest{Filter: filter})
	p.asked.Store(0)
	p.refused = 3
	snapshot.drainTo(last)
	if p.asked.Load() < 4 || len(snapshot.state) != 2 {
		t.Errorf("the snapshot asked %d times and has %v", p.asked.Load(), snapshot.state)
	}
	for n := range 50 {
		last = f.put("a", `{"n":`+strings.Repeat("1", n%9+1)+`}`)
	}
	p.asked.Store(0)
	resumed := f.watch(&watchroutev1.WatchRequest{Filter: filter, Delivery: watchroutev1.Delivery_EVERY_CHANGE, Start: &watchroutev1.WatchRequest_AfterRevision{AfterRevision: 2}})
	resumed.drainTo(last)
	if p.asked.Load() < 4 || resumed.state["things/a"] == "" {
		t.Errorf("resuming asked %d times and has %v", p.asked.Load(), resumed.state)
	}
}

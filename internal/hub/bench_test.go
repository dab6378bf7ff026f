package hub_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
)

// BenchmarkFanout writes to one name of a log in memory and waits until every
// watch has handed the change out; deliveries/op is the number of watches that
// have it. No socket is written: this is the hub alone.
func BenchmarkFanout(b *testing.B) {
	for _, c := range []struct {
		name    string
		watches int
		request func(i int) *watchroutev1.WatchRequest
	}{
		{"same view/1", 1, whole},
		{"same view/1000", 1000, whole},
		{"1000 names, one written", 1000, func(i int) *watchroutev1.WatchRequest {
			return &watchroutev1.WatchRequest{Names: []string{fmt.Sprintf("things/%d", i)}}
		}},
		{"1000 filters, one matches", 1000, func(i int) *watchroutev1.WatchRequest {
			return &watchroutev1.WatchRequest{Parent: "things", Filter: fmt.Sprintf("data.k == %d", i)}
		}},
	} {
		b.Run(c.name, func(b *testing.B) { fanout(b, c.watches, c.request) })
	}
}

func whole(int) *watchroutev1.WatchRequest { return &watchroutev1.WatchRequest{Parent: "things"} }

func fanout(b *testing.B, watches int, request func(int) *watchroutev1.WatchRequest) {
	log := changelogtest.NewMem(b)
	schemas, err := schema.NewRegistry(nil)
	if err != nil {
		b.Fatal(err)
	}
	h, err := hub.New(hub.Config{Log: log, Schemas: schemas})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	put := func(n int) uint64 {
		res, err := log.Write(context.Background(), changelog.Write{Collection: "things", Ops: []changelog.Op{{ID: "0", Data: fmt.Appendf(nil, `{"k":0,"n":%d}`, n)}}})
		if err != nil {
			b.Fatal(err)
		}
		return res.Revision
	}
	put(-1)
	var delivered sync.WaitGroup
	var readers sync.WaitGroup
	defer readers.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reached := 0
	for i := range watches {
		w, err := h.Open(ctx, hub.Request{Watch: request(i), Codec: wire.Proto, Transport: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		settle(b, w)
		if i == 0 || request(i).GetFilter() == "" && len(request(i).GetNames()) == 0 {
			reached++
		}
		readers.Go(func() {
			defer w.Close(nil)
			var frames []hub.Frame
			for w.Wait(ctx) == nil {
				for {
					var err error
					frames, err = w.Next(frames[:0], hub.Unlimited)
					for _, f := range frames {
						if f.Kind == hub.Events {
							delivered.Add(-f.Events)
						}
					}
					if len(frames) == 0 || err != nil {
						break
					}
				}
			}
		})
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		delivered.Add(reached)
		put(n)
		n++
		delivered.Wait()
	}
	b.ReportMetric(float64(reached), "deliveries/op")
}

// settle reads a watch's snapshot.
func settle(b *testing.B, w *hub.Watch) {
	for {
		frames, err := w.Next(nil, hub.Unlimited)
		if err != nil {
			b.Fatal(err)
		}
		if len(frames) == 0 {
			return
		}
	}
}

// BenchmarkSlowReaders is one piece, of one event, of what readers of one view missed:
// 60,000 changes of 1,000 names. The readers are at different places.
func BenchmarkSlowReaders(b *testing.B) {
	const names, pending = 1000, 60_000
	for readers := range 2 {
		b.Run(fmt.Sprintf("readers=%d", readers+1), func(b *testing.B) {
			log := changelogtest.NewMem(b)
			schemas, err := schema.NewRegistry(nil)
			if err != nil {
				b.Fatal(err)
			}
			h, err := hub.New(hub.Config{Log: log, Schemas: schemas})
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			revision := uint64(0)
			put := func(n int) {
				for i := range n {
					res, err := log.Write(b.Context(), changelog.Write{Collection: "things", Ops: []changelog.Op{
						{ID: fmt.Sprint(i % names), Data: fmt.Appendf(nil, `{"n":%d}`, revision)}}})
					if err != nil {
						b.Fatal(err)
					}
					revision = res.Revision
				}
			}
			put(names)
			var watches []*hub.Watch
			for i := range readers + 1 {
				w, err := h.Open(b.Context(), hub.Request{Watch: whole(i), Codec: wire.Proto, Transport: "bench"})
				if err != nil {
					b.Fatal(err)
				}
				defer w.Close(nil)
				settle(b, w)
				watches = append(watches, w)
				put(10) // the next one is further on
			}
			put(pending)
			if err := h.AwaitRevision(b.Context(), "things", revision); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				if _, err := watches[n%len(watches)].Next(nil, hub.Budget{Events: 1}); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}

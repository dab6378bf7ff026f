package hub_test

import (
	"context"
	"fmt"
	"testing"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
)

// BenchmarkGrowth says what a write to one name costs, until the one watch that is
// concerned has its frame, beside ever more watches that are not. The last part of a
// name is their number. It is what docs/benchmarks.md draws.
func BenchmarkGrowth(b *testing.B) {
	for _, c := range []struct {
		name    string
		counts  []int
		request func(i int) *watchroutev1.WatchRequest
	}{
		{"other names", []int{1, 1000, 100_000, 1_000_000}, func(i int) *watchroutev1.WatchRequest {
			return &watchroutev1.WatchRequest{Names: []string{fmt.Sprintf("things/other-%d", i)}}
		}},
		{"filters by equality", []int{1, 10, 100, 1000, 10_000}, func(i int) *watchroutev1.WatchRequest {
			return &watchroutev1.WatchRequest{Parent: "things", Filter: fmt.Sprintf(`data.k == "%d"`, i+1)}
		}},
		{"filters of other kinds", []int{1, 10, 100, 1000, 10_000}, func(i int) *watchroutev1.WatchRequest {
			return &watchroutev1.WatchRequest{Parent: "things", Filter: fmt.Sprintf(`data.n < -%d`, i+1)}
		}},
	} {
		for _, n := range c.counts {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) { growth(b, n, c.request) })
		}
	}
}

func growth(b *testing.B, others int, request func(i int) *watchroutev1.WatchRequest) {
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
	put := func(n int) {
		_, err := log.Write(context.Background(), changelog.Write{Collection: "things", Ops: []changelog.Op{{ID: "0", Data: fmt.Appendf(nil, `{"k":"0","n":%d}`, n)}}})
		if err != nil {
			b.Fatal(err)
		}
	}
	put(0)
	woken := make(chan struct{}, 1)
	open := func(r *watchroutev1.WatchRequest, reader *hub.Reader) *hub.Watch {
		r.Start = &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}
		w, err := h.Open(b.Context(), hub.Request{Watch: r, Codec: wire.Proto, Transport: "bench", Reader: reader})
		if err != nil {
			b.Fatal(err)
		}
		settle(b, w)
		return w
	}
	idle := hub.NewReader(func() {})
	for i := range others {
		open(request(i), idle)
	}
	idle.Take(nil)
	reader := hub.NewReader(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	w := open(&watchroutev1.WatchRequest{Names: []string{"things/0"}}, reader)
	b.ReportAllocs()
	n := 0
	var frames []hub.Frame
	for b.Loop() {
		n++
		put(n)
		for events := 0; events == 0; {
			<-woken
			reader.Take(nil)
			if frames, err = w.Next(frames[:0], hub.Unlimited); err != nil {
				b.Fatal(err)
			}
			for _, f := range frames {
				events += f.Events
			}
		}
	}
	b.StopTimer()
	if left := len(idle.Take(nil)); left > 0 {
		b.Fatalf("%d watches that are not concerned were woken", left)
	}
}

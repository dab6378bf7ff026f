package hub_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/hub"
)

// seed is taken from TEST_SEED, or chosen; it is printed either way.
func seed(t *testing.T) *rand.Rand {
	n := rand.Uint64()
	if text := os.Getenv("TEST_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal("TEST_SEED: ", err)
		}
	}
	t.Logf("seed: TEST_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// thing is the model of one value.
type thing struct {
	n  int
	on bool
}

func (v thing) json() string { return fmt.Sprintf(`{"n":%d,"on":%v}`, v.n, v.on) }

// kind is a way to watch, with what it amounts to in the model.
type kind struct {
	request *watchroutev1.WatchRequest
	has     func(id string, v thing) bool
	masked  bool
}

func randomKind(r *rand.Rand) kind {
	k := kind{request: &watchroutev1.WatchRequest{Parent: "things"}, has: func(string, thing) bool { return true }}
	switch r.IntN(4) {
	case 0:
		k.request.Filter, k.has = "data.on", func(_ string, v thing) bool { return v.on }
	case 1:
		k.request.Filter, k.has = "data.n > 5", func(_ string, v thing) bool { return v.n > 5 }
	case 2:
		k.request.Names = []string{"things/t1", "things/t3", "things/t9"}
		k.has = func(id string, _ thing) bool { return id == "t1" || id == "t3" || id == "t9" }
	}
	if k.masked = r.IntN(3) == 0; k.masked {
		k.request.ReadMask = &fieldmaskpb.FieldMask{Paths: []string{"on"}}
	}
	k.request.Delta = r.IntN(2) == 0
	if r.IntN(2) == 0 {
		k.request.Delivery = watchroutev1.Delivery_EVERY_CHANGE
	}
	return k
}

// TestWatch_FoldEqualsTruth (P1 to P4, P7, P8): writers write at random while
// readers of random kinds read a random amount, are cut off and resume; the log is
// compacted meanwhile and the ring holds little. At the end each reader's state is
// what the model says.
func TestWatch_FoldEqualsTruth(t *testing.T) {
	for round := range 4 {
		t.Run(strconv.Itoa(round), func(t *testing.T) { foldEqualsTruth(t, seed(t)) })
	}
}

func foldEqualsTruth(t *testing.T, r *rand.Rand) {
	f := newFixture(t, func(c *hub.Config) { c.RingBytes = 1 << (6 + r.IntN(14)) })
	ids := make([]string, 12)
	for i := range ids {
		ids[i] = fmt.Sprintf("t%d", i)
	}
	model := map[string]thing{}
	f.put("t0", `{"n":0,"on":false}`)
	model["t0"] = thing{}

	var readers sync.WaitGroup
	written := make(chan uint64, 1) // the last revision, when all is written
	last := make(chan struct{})
	var final uint64
	go func() { final = <-written; close(last) }()
	type result struct {
		kind kind
		rd   *reader
	}
	results := make([]result, 24)
	for i := range results {
		k, own := randomKind(r), rand.New(rand.NewPCG(r.Uint64(), 1))
		rd := f.watch(proto2(k.request))
		results[i] = result{k, rd}
		readers.Go(func() { read(f, rd, k, own, last, &final) })
	}
	var rev uint64 = 1
	for range 600 {
		var pairs []string
		for _, i := range r.Perm(len(ids))[:1+r.IntN(3)] {
			id := ids[i]
			if _, exists := model[id]; exists && r.IntN(5) == 0 {
				delete(model, id)
				pairs = append(pairs, id, "")
				continue
			}
			v := thing{n: r.IntN(10), on: r.IntN(2) == 0}
			model[id] = v
			pairs = append(pairs, id, v.json())
		}
		rev = f.put(pairs...)
		if r.IntN(100) == 0 {
			if err := f.log.Compact(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	written <- rev
	readers.Wait()
	for i, res := range results {
		want := map[string]string{}
		for id, v := range model {
			if !res.kind.has(id, v) {
				continue
			}
			s := &structpb.Struct{Fields: map[string]*structpb.Value{"on": structpb.NewBoolValue(v.on)}}
			if !res.kind.masked {
				s.Fields["n"] = structpb.NewNumberValue(float64(v.n))
			}
			want["things/"+id] = canonical(s)
		}
		if !maps.Equal(want, res.rd.state) {
			t.Errorf("reader %d (%v):\ngot  %v\nwant %v", i, res.kind.request, res.rd.state, want)
		}
	}
	checkHistory(t, f, rev)
}

// read reads a little at a time and is cut off now and then, until it has the
// last revision.
func read(f *fixture, rd *reader, k kind, r *rand.Rand, last chan struct{}, final *uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if r.IntN(40) == 0 {
			again := proto2(k.request)
			rd.w.Close(nil)
			if r.IntN(5) > 0 && rd.last != "" {
				again.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: rd.last}
				rd.forgetAfterToken()
			} else {
				rd.last = ""
			}
			rd.open(f, again)
		}
		budget := hub.Budget{Bytes: 1 + r.IntN(2000), Events: -1}
		if r.IntN(2) == 0 {
			budget.Events = 1 + r.IntN(5)
		}
		n, err := rd.apply(budget)
		if err != nil {
			rd.t.Error(err)
			return
		}
		if n > 0 {
			continue
		}
		select {
		case <-last:
			if rd.w.Reached(*final) {
				return
			}
			stop := rd.w.NotifyAt(*final)
			err = rd.w.Wait(ctx)
			stop()
		default:
			short, stop := context.WithTimeout(ctx, time.Duration(r.IntN(3))*time.Millisecond)
			_ = rd.w.Wait(short)
			stop()
			err = ctx.Err()
		}
		if err != nil {
			rd.t.Errorf("the reader of %v hangs at %d of %d: %v", k.request, rd.w.Cursor(), *final, err)
			return
		}
	}
}

func proto2(r *watchroutev1.WatchRequest) *watchroutev1.WatchRequest {
	return &watchroutev1.WatchRequest{Parent: r.Parent, Names: r.Names, Filter: r.Filter, ReadMask: r.ReadMask, Delta: r.Delta, Delivery: r.Delivery}
}

// checkHistory: Latest of everything is the model too, so the log itself agrees.
func checkHistory(t *testing.T, f *fixture, rev uint64) {
	t.Helper()
	var ids []string
	for rec, err := range f.log.Latest(t.Context(), "things", changelog.Position{}, rev) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, rec.ID)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != len(ids) {
		t.Error("Latest gave a name twice")
	}
}

package changelogtest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

var togetherScenarios = []scenario{
	{"P4_ReadersSeeBatchesWhole", togetherAtomic},
	{"P9_AWriterReadsItsWrites", togetherReadYourWrites},
	{"P1_WritesAndReadsAreLinearizable", togetherLinearizable},
	{"OnlyOneOfManyCreates", togetherCreate},
	{"EverythingAtOnce", togetherRace},
}

// togetherAtomic writes one value to all names again and again; no read at one
// revision shows two values.
func togetherAtomic(t *testing.T, e Engine) {
	f := start(t, e, retention)
	const names, writes = 8, 60
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for i := range writes {
				var ops []changelog.Op
				for n := range names {
					ops = append(ops, put(fmt.Sprint(n), fmt.Sprintf("%d.%d", w, i)))
				}
				f.write(ops...)
			}
		})
	}
	f.write(func() (ops []changelog.Op) {
		for n := range names {
			ops = append(ops, put(fmt.Sprint(n), "0"))
		}
		return
	}()...)
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				at := f.Bounds(orders).Head
				for what, seq := range map[string]func() ([]*changelog.Record, error){
					"List":   func() ([]*changelog.Record, error) { return collect(f.List(f.ctx, orders, "", at)) },
					"Latest": func() ([]*changelog.Record, error) { return collect(f.Latest(f.ctx, orders, changelog.Position{}, at)) },
				} {
					all, err := seq()
					if err != nil || len(all) != names {
						t.Errorf("%s at %d: %d records, %v", what, at, len(all), err)
						return
					}
					for _, r := range all {
						if string(r.Data) != string(all[0].Data) || r.Revision != all[0].Revision {
							t.Errorf("%s at %d: %s beside %s", what, at, record(r), record(all[0]))
							return
						}
					}
				}
				first, second := f.get("0", 0), f.get("7", 0)
				if second.Revision < first.Revision {
					t.Errorf("read %s, then %s of the same batches", record(first), record(second))
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

func togetherReadYourWrites(t *testing.T, e Engine) {
	f := start(t, e, retention)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			id := fmt.Sprint(w)
			for i := range 60 {
				res := f.write(put(id, fmt.Sprint(i)), put("all", fmt.Sprintf("%d.%d", w, i)))
				if head := f.Bounds(orders).Head; head < res.Revision {
					t.Errorf("wrote %d, the head is %d", res.Revision, head)
				}
				f.same("my name", f.get(id, 0), res.Records[0])
				f.same("the common name", f.get("all", res.Revision), res.Records[1])
			}
		})
	}
	wg.Wait()
}

func togetherCreate(t *testing.T, e Engine) {
	f := start(t, e, retention)
	for round := range 10 {
		var mu sync.Mutex
		created := 0
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				op := put(fmt.Sprint(round), fmt.Sprint(w))
				op.If.MustNotExist = true
				_, err := f.Write(f.ctx, changelog.Write{Collection: orders, Ops: []changelog.Op{op}})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					created++
				case !resource.HasReason(err, resource.PreconditionFailed):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if created != 1 {
			t.Fatalf("%d writers created one name", created)
		}
	}
}

// What porcupine is told of one call, and of what it gave.
type call struct {
	id     string
	kind   int // one of those below
	value  string
	expect uint64 // the revision that the precondition names
}

const (
	callGet = iota
	callPut
	callCreate
	callReplace
	callDelete
)

type answer struct {
	refused  bool
	revision uint64 // what the name had, or got; 0: absent
	value    string
}

type register struct {
	revision uint64 // 0: absent
	value    string
}

// registers is a set of names; each may be checked by itself, since revisions are
// compared only for equality and growth.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byName := map[string][]porcupine.Operation{}
		for _, o := range history {
			id := o.Input.(call).id
			byName[id] = append(byName[id], o)
		}
		var all [][]porcupine.Operation
		for _, h := range byName {
			all = append(all, h)
		}
		return all
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(register), input.(call), output.(answer)
		if out.refused {
			holds := in.kind == callCreate && s.revision == 0 || in.kind == callReplace && s.revision == in.expect
			return !holds && out.revision == s.revision, s
		}
		switch in.kind {
		case callGet:
			return out.revision == s.revision && out.value == s.value, s
		case callCreate:
			if s.revision != 0 {
				return false, s
			}
		case callReplace:
			if s.revision != in.expect {
				return false, s
			}
		case callDelete:
			return true, register{}
		}
		return out.revision > s.revision, register{out.revision, in.value}
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

func togetherLinearizable(t *testing.T, e Engine) {
	f := start(t, e, retention)
	began := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	for client := range 6 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(client), 1))
			last := map[string]uint64{} // what this client saw last
			for i := range 60 {
				in := call{id: fmt.Sprint(random.IntN(3)), kind: random.IntN(5), value: fmt.Sprintf("%d.%d", client, i)}
				in.expect = last[in.id]
				if in.kind == callReplace && in.expect == 0 {
					in.kind = callGet
				}
				from := time.Since(began)
				out, err := f.call(in)
				to := time.Since(began)
				if err != nil {
					t.Error(err)
					return
				}
				last[in.id] = out.revision
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: int64(from), Return: int64(to)})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	switch result := porcupine.CheckOperationsTimeout(registers, history, 20*time.Second); result {
	case porcupine.Illegal:
		for _, o := range history {
			t.Logf("%d %d..%d %+v -> %+v", o.ClientId, o.Call, o.Return, o.Input, o.Output)
		}
		t.Error("no order of these calls explains what they gave")
	case porcupine.Unknown:
		t.Log("the check was not finished in time")
	}
}

func (f *fixture) call(in call) (answer, error) {
	if in.kind == callGet {
		r, err := f.Get(f.ctx, orders, in.id, 0)
		if err != nil || r == nil || r.Absent {
			return answer{}, err
		}
		return answer{revision: r.Revision, value: string(r.Data)}, nil
	}
	op := put(in.id, in.value)
	switch in.kind {
	case callCreate:
		op.If.MustNotExist = true
	case callReplace:
		op.If.Revision = in.expect
	case callDelete:
		op = del(in.id)
	}
	res, err := f.Write(f.ctx, changelog.Write{Collection: orders, Ops: []changelog.Op{op}})
	if resource.HasReason(err, resource.PreconditionFailed) {
		var now uint64
		_, err := fmt.Sscan(resource.AsError(err).Metadata["revision"], &now)
		return answer{refused: true, revision: now}, err
	}
	if err != nil || op.Delete {
		return answer{}, err
	}
	return answer{revision: res.Revision}, nil
}

// togetherRace has every method run beside every other, for the race detector, and
// folds what subscribers and readers see.
func togetherRace(t *testing.T, e Engine) {
	keep := retention
	keep.Age, keep.MinAge, keep.Tombstones, keep.RequestIDs = 50*time.Second, time.Second, 100*time.Second, time.Minute
	f := start(t, e, keep)
	f.write(put("0", "0"))
	fold := map[string]string{"0": "0"}
	cancel := f.Subscribe(func(b *changelog.Batch) {
		for _, c := range b.Changes {
			if old := show(c.Old); old != cmp.Or(fold[c.New.ID], "-") {
				t.Errorf("%s says that before was %q, it was %q", record(c.New), old, fold[c.New.ID])
			}
			fold[c.New.ID] = show(c.New)
		}
	})
	stop := make(chan struct{})
	var writers, others sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 2))
			for i := range 150 {
				w := changelog.Write{Collection: orders}
				for id := range 1 + random.IntN(4) {
					op := put(fmt.Sprint(id*10+random.IntN(10)), fmt.Sprint(i))
					op.Delete = random.IntN(4) == 0
					w.Ops = append(w.Ops, op)
				}
				if random.IntN(3) == 0 {
					w.RequestID = fmt.Sprint(random.IntN(20))
				}
				_, err := f.Write(f.ctx, w)
				if err != nil {
					t.Error(err)
				}
				f.clock.Add(100 * time.Millisecond)
			}
		})
	}
	other := func(run func() error) {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := run(); err != nil && !resource.HasReason(err, resource.Compacted) {
					t.Error(err)
					return
				}
			}
		})
	}
	other(func() error { return f.Compact(f.ctx) })
	other(func() error { f.Subscribe(func(*changelog.Batch) {})(); f.Collections(); return nil })
	other(func() error {
		b := f.Bounds(orders)
		if b.Tombstones > b.History || b.History > b.Head {
			t.Errorf("the bounds are %+v", b)
		}
		all, err := collect(f.Latest(f.ctx, orders, changelog.Position{}, b.Head))
		if err == nil && !slices.IsSortedFunc(all, func(a, b *changelog.Record) int {
			return strings.Compare(fmt.Sprintf("%8d%s", a.Revision, a.ID), fmt.Sprintf("%8d%s", b.Revision, b.ID))
		}) {
			t.Errorf("Latest gave %v", records(all))
		}
		return err
	})
	other(func() error {
		b := f.Bounds(orders)
		_, err := collect(f.List(f.ctx, orders, "", b.Head))
		return err
	})
	other(func() error {
		b := f.Bounds(orders)
		changes, err := collect(f.History(f.ctx, orders, changelog.Position{Revision: b.History}, b.Head))
		for i := 1; i < len(changes); i++ {
			if changes[i].New.Revision > changes[i-1].New.Revision+1 {
				t.Errorf("the history goes from %d to %d", changes[i-1].New.Revision, changes[i].New.Revision)
			}
		}
		return err
	})
	writers.Wait()
	close(stop)
	others.Wait()
	cancel()
	state := map[string]string{}
	for r, err := range f.List(f.ctx, orders, "", f.Bounds(orders).Head) {
		if err != nil {
			t.Fatal(err)
		}
		state[r.ID] = show(r)
	}
	for id, v := range fold {
		if cmp.Or(state[id], "-") != v {
			t.Errorf("%s is %q, subscribers were told %q", id, state[id], v)
		}
	}
}

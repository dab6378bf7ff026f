package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"

	"github.com/watchroute/watchroute/e2e/client"
	"github.com/watchroute/watchroute/e2e/picture"
	"github.com/watchroute/watchroute/e2e/process"
	"github.com/watchroute/watchroute/e2e/purchases"
)

// readPurchases gives the real purchases, or skips the test. With -short they are
// fewer.
func readPurchases(t *testing.T) []purchases.Purchase {
	t.Helper()
	all, err := purchases.Read(purchases.Path(process.Root(t)))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the real purchases are not here (WATCHROUTE_PURCHASES says where they are): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		return all[:6000]
	}
	return all
}

// seeded gives random numbers of a seed that is printed.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

const (
	stages = 5 // PENDING to DELIVERED

	blockSize = 100 // orders that one writer walks through the stages
	writers   = 96
	// Every so many blocks are walked by single writes that demand the revision of
	// the one before, the others by batches.
	singly = 10

	customers = 36
)

// ledger is what was written: of each order the revision of each stage.
type ledger struct {
	all       []purchases.Purchase
	revisions [][stages]uint64
	writes    atomic.Int64 // calls
}

// walk writes one block of orders through all their stages.
func (l *ledger) walk(ctx context.Context, orders shopv1.OrderServiceClient, resources watchroutev1.ResourceServiceClient, block int) error {
	from, to := block*blockSize, min((block+1)*blockSize, len(l.all))
	put := func(i, stage int) error {
		p := &l.all[i]
		r := &shopv1.PutOrderRequest{OrderId: p.OrderID(), Resource: &shopv1.OrderResource{Data: p.Order(shopv1.OrderStatus(stage + 1))},
			Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}}}
		if stage > 0 {
			r.Precondition.Condition = &watchroutev1.Precondition_Revision{Revision: l.revisions[i][stage-1]}
		}
		w, err := orders.PutOrder(ctx, r)
		if err != nil {
			return fmt.Errorf("PutOrder %s: %w", p.OrderID(), err)
		}
		if revision := w.GetResource().GetRevision(); !w.GetChanged() || revision == 0 || revision > w.GetRevision() {
			return fmt.Errorf("PutOrder %s says %v", p.OrderID(), w)
		}
		l.revisions[i][stage] = w.GetResource().GetRevision()
		l.writes.Add(1)
		return nil
	}
	for i := from; i < to; i++ {
		if err := put(i, 0); err != nil {
			return err
		}
	}
	for stage := 1; stage < stages; stage++ {
		if block%singly == 0 {
			for i := from; i < to; i++ {
				if err := put(i, stage); err != nil {
					return err
				}
			}
			continue
		}
		batch := &watchroutev1.WriteRequest{Parent: "orders"}
		for i := from; i < to; i++ {
			value, err := anypb.New(l.all[i].Order(shopv1.OrderStatus(stage + 1)))
			if err != nil {
				return err
			}
			batch.Operations = append(batch.Operations, &watchroutev1.Operation{Action: &watchroutev1.Operation_Put{
				Put: &watchroutev1.Resource{Name: "orders/" + l.all[i].OrderID(), Data: value}}})
		}
		w, err := resources.Write(ctx, batch)
		if err != nil {
			return fmt.Errorf("Write: %w", err)
		}
		revision := w.GetResults()[0].GetResource().GetRevision()
		for k, r := range w.GetResults() {
			if !r.GetChanged() || r.GetResource().GetRevision() != revision || revision > w.GetRevision() {
				return fmt.Errorf("Write at %d says of its part %d: %v", w.GetRevision(), k, r)
			}
			l.revisions[from+k][stage] = revision
		}
		l.writes.Add(1)
	}
	return nil
}

// write walks all orders through all stages by concurrent writers and gives the
// last revision.
func (l *ledger) write(ctx context.Context, t *testing.T, s *process.Server) (last uint64) {
	t.Helper()
	blocks := make(chan int)
	failed := make(chan error, writers)
	var working sync.WaitGroup
	const conns = 4
	for c := range conns {
		conn := s.Dial()
		orders, resources := shopv1.NewOrderServiceClient(conn), watchroutev1.NewResourceServiceClient(conn)
		for range writers / conns {
			working.Go(func() {
				for block := range blocks {
					if err := l.walk(ctx, orders, resources, block); err != nil {
						failed <- fmt.Errorf("connection %d, block %d: %w", c, block, err)
						return
					}
				}
			})
		}
	}
	all := (len(l.all) + blockSize - 1) / blockSize
	for block := range all {
		select {
		case blocks <- block:
			continue
		case err := <-failed:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	close(blocks)
	working.Wait()
	close(failed)
	for err := range failed {
		t.Fatal(err)
	}
	for i := range l.revisions {
		last = max(last, l.revisions[i][stages-1])
	}
	return last
}

// audience is a group of watchers of the same orders.
type audience struct {
	filter string
	// scope says whether a purchase ever matches the filter.
	scope func(*purchases.Purchase) bool
	// leaves: an order that is delivered no longer matches.
	leaves bool
}

func everybody() audience {
	return audience{scope: func(*purchases.Purchase) bool { return true }}
}

// one is a customer who watches their own orders.
func one(customer string) audience {
	return audience{filter: fmt.Sprintf("data.customer_id == %q", customer), scope: func(p *purchases.Purchase) bool { return p.Customer == customer }}
}

// open watches some orders until they are delivered: at the end nothing is left.
func open() audience {
	return audience{filter: `data.status != OrderStatus.DELIVERED && data.order_id.endsWith("7")`, leaves: true,
		scope: func(p *purchases.Purchase) bool { return p.Line%10 == 7 }}
}

// step checks the value of an event, and gives the order's stage.
func (a audience) step(all []purchases.Purchase) func(*client.Event) (int64, error) {
	return func(e *client.Event) (int64, error) {
		line := lineOf(e.Name)
		if line < 1 || line > len(all) {
			return 0, errors.New("nobody wrote that")
		}
		bought := &all[line-1]
		if !a.scope(bought) {
			return 0, fmt.Errorf("it is out of scope: %+v", *bought)
		}
		if !e.Present && a.leaves {
			return stages, nil
		}
		if want := (client.Order{ID: bought.OrderID(), Customer: bought.Customer, Status: e.Order.Status, Cents: bought.Cents}); !e.Present || e.Order != want {
			return 0, fmt.Errorf("present %v, %+v, but it was %+v that was written", e.Present, e.Order, want)
		}
		return int64(e.Order.Status), nil
	}
}

// lineOf gives the purchase's line of an order's name, 0 if it is not one.
func lineOf(name string) int {
	digits, ok := strings.CutPrefix(name, "orders/p")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return 0
	}
	return n
}

// expected gives what a watcher of every change must have counted.
func (l *ledger) expected(a audience) (changes int, sum uint64) {
	for i := range l.all {
		if !a.scope(&l.all[i]) {
			continue
		}
		for stage, revision := range l.revisions[i] {
			changes++
			sum += picture.Mix("orders/"+l.all[i].OrderID(), int64(stage+1), revision)
		}
	}
	return changes, sum
}

// TestPurchases_EachWatcherSeesWhatTheServerHolds: P1 to P6 and P8.
func TestPurchases_EachWatcherSeesWhatTheServerHolds(t *testing.T) {
	all := readPurchases(t)
	random := seeded(t)
	s := process.Start(t, process.Options{Args: []string{"--contracts", "shop"}})
	target := client.Target{HTTP: s.HTTP, GRPC: s.GRPC}
	steady, shaky := transports(t, target), transports(t, target)

	type seat struct {
		*watcher
		audience
	}
	var seats []seat
	// Those that need not see each change look every few seconds.
	add := func(a audience, every bool, name string, routes ...client.Transport) *watcher {
		delivery := map[bool]string{true: " EVERY_CHANGE", false: " LATEST"}
		w := newWatcher(name+delivery[every], a.filter, picture.New(every, a.step(all)), routes...)
		if !every {
			w.interval = 3 * time.Second
		}
		seats = append(seats, seat{w, a})
		return w
	}
	// Dashboards on each transport, and some that change it as they are cut off.
	for _, every := range []bool{true, false} {
		for _, transport := range steady {
			add(everybody(), every, "the dashboard on "+transport.Name(), transport)
			add(open(), every, "the dashboard of open orders on "+transport.Name(), transport)
		}
		for n := range 2 {
			routes := slices.Clone(shaky)
			random.Shuffle(len(routes), func(i, j int) { routes[i], routes[j] = routes[j], routes[i] })
			add(everybody(), every, fmt.Sprintf("the wandering dashboard %d", n), routes...).cutAfter = 300
			add(open(), every, fmt.Sprintf("the wandering dashboard %d of open orders", n), routes...).cutAfter = 200
		}
	}
	// Customers who watch their own orders, each on every transport; one half of the
	// watches are cut off again and again.
	for i, customer := range someCustomers(all, random, customers) {
		for k, transport := range steady {
			every := i%2 == 0
			name := fmt.Sprintf("customer %s on %s", customer, transport.Name())
			if (i/2+k)%2 == 0 {
				add(one(customer), every, name, transport)
				continue
			}
			routes := append(slices.Clone(shaky[k:]), shaky[:k]...)
			add(one(customer), every, name+" and others", routes...).cutAfter = 6
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var end goal
	failures := make(chan error, len(seats))
	var watching sync.WaitGroup
	for _, w := range seats {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		watching.Go(func() {
			if err := w.run(ctx, &end, own); err != nil {
				failures <- err
				cancel()
			}
		})
	}
	for _, w := range seats {
		select {
		case <-w.ready:
		case <-ctx.Done():
			t.Fatalf("%s has no first token: %v", w.name, <-failures)
		}
	}
	t.Logf("%d watchers are open", len(seats))

	began := time.Now()
	l := &ledger{all: all, revisions: make([][stages]uint64, len(all))}
	last := l.write(ctx, t, s)
	wrote := time.Since(began)
	end.revision.Store(last)
	watching.Wait()
	watched := time.Since(began)
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	cpu, peak := s.Usage()
	if t.Failed() {
		t.FailNow()
	}

	// Counts, and each value on the way.
	delivered := map[string]int{}
	var total, folded, repeats, earlier, cuts int
	for _, w := range seats {
		p := w.picture
		for _, problem := range p.Problems {
			t.Errorf("%s: %s", w.name, problem)
		}
		changes, sum := l.expected(w.audience)
		switch {
		case p.Every && (p.Changes != changes || p.Sum != sum):
			t.Errorf("%s saw %d changes, %d were made (the same ones: %v)", w.name, p.Changes, changes, p.Sum == sum)
		case p.Changes+p.Coalesced > changes && w.cuts == 0:
			t.Errorf("%s saw %d events and %d that were folded in, but %d changes were made", w.name, p.Changes, p.Coalesced, changes)
		case p.Repeats > 0 && w.cuts == 0:
			t.Errorf("%s saw %d events twice, and was never cut off", w.name, p.Repeats)
		}
		cuts, repeats, earlier, folded = cuts+w.cuts, repeats+p.Repeats, earlier+p.Earlier, folded+p.Coalesced
		for name, events := range w.by {
			delivered[name] += events
			total += events
		}
	}
	t.Logf("%d orders, %d changes by %d calls in %v (%.0f changes/s); the last watcher was done after %v", len(all), stages*len(all), l.writes.Load(),
		wrote.Round(time.Millisecond), float64(stages*len(all))/wrote.Seconds(), watched.Round(time.Millisecond))
	t.Logf("%d events to %d watchers, which were cut off %d times and saw %d events again, %d of them folded otherwise; folded in: %d; by transport: %v", total, len(seats), cuts, repeats, earlier, folded, delivered)
	t.Logf("the server took %v of CPU and %d MiB at its peak", cpu, peak>>20)

	// Pictures, against List with the same filter.
	began = time.Now()
	resources := watchroutev1.NewResourceServiceClient(s.Dial())
	whole := list(t, resources, "", last)
	if len(whole) != len(all) {
		t.Errorf("List has %d orders, %d were written", len(whole), len(all))
	}
	for name, state := range whole {
		if want := (picture.State{Step: stages, Revision: l.revisions[lineOf(name)-1][stages-1]}); state != want {
			t.Fatalf("List has %s as %v, it was written as %v", name, state, want)
		}
	}
	asked := 0
	for _, w := range seats {
		want := map[string]picture.State{}
		for name, state := range whole {
			if p := &all[lineOf(name)-1]; w.scope(p) && !w.leaves {
				want[name] = state
			}
		}
		// A filter reads the whole collection: asked for some of the watchers.
		if w.audience.filter != "" && asked < 10 {
			asked++
			if filtered := list(t, resources, w.audience.filter, last); !maps.Equal(filtered, want) {
				t.Errorf("List with %s has %d orders, of the whole list %d match", w.audience.filter, len(filtered), len(want))
			}
		}
		if have := w.picture.Present(); !maps.Equal(have, want) {
			t.Errorf("%s has another picture than List: %d and %d orders", w.name, len(have), len(want))
		}
	}
	t.Logf("compared with List in %v", time.Since(began).Round(time.Millisecond))
	t.Logf("the server ended %v after SIGTERM", s.Stop().Round(time.Millisecond))
}

func transports(t *testing.T, target client.Target) client.Transports {
	t.Helper()
	all, err := client.All(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = all.Close() })
	return all
}

// someCustomers chooses customers who bought more than once, the busiest among
// them.
func someCustomers(all []purchases.Purchase, random *rand.Rand, n int) []string {
	bought := map[string]int{}
	for i := range all {
		bought[all[i].Customer]++
	}
	var names []string
	for name, times := range bought {
		if times > 1 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if bought[a] != bought[b] {
			return bought[b] - bought[a]
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	busiest := min(n/10, len(names))
	rest := names[busiest:]
	random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return names[:min(n, len(names))]
}

// list reads all pages.
func list(t *testing.T, resources watchroutev1.ResourceServiceClient, filter string, atLeast uint64) map[string]picture.State {
	t.Helper()
	out := map[string]picture.State{}
	var revision uint64
	for page := ""; ; {
		r, err := resources.List(t.Context(), &watchroutev1.ListRequest{Parent: "orders", Filter: filter, PageSize: 1000, PageToken: page, MinRevision: atLeast})
		if err != nil {
			t.Fatalf("List %s: %v", filter, err)
		}
		if revision != 0 && r.GetRevision() != revision {
			t.Fatalf("List has pages of revision %d and %d", revision, r.GetRevision())
		}
		revision = r.GetRevision()
		for _, in := range r.GetResources() {
			o := new(shopv1.Order)
			if err := in.GetData().UnmarshalTo(o); err != nil {
				t.Fatal(err)
			}
			out[in.GetName()] = picture.State{Step: int64(o.GetStatus()), Revision: in.GetRevision()}
		}
		if page = r.GetNextPageToken(); page == "" {
			return out
		}
	}
}

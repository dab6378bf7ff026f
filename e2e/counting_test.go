package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"

	"github.com/watchroute/watchroute/e2e/client"
	"github.com/watchroute/watchroute/e2e/picture"
)

// A counter is a group of orders that are always written together, each time with
// the next number as their amount. So a change that is lost, doubled or half
// written shows in what is there, and in what watchers are told.
type counter struct {
	names []string // one: written by Put, more: by Write

	acked    int64  // the last number whose write was acknowledged
	revision uint64 // of that write
	// pending is a write that was sent and not acknowledged. nil: none.
	pending func(context.Context, watchroutev1.ResourceServiceClient) (uint64, error)
}

func newCounter(kind string, n, names int) *counter {
	c := &counter{}
	for i := range names {
		c.names = append(c.names, fmt.Sprintf("orders/%s%d-%d", kind, n, i))
	}
	return c
}

func counted(name string, n int64) *watchroutev1.Resource {
	value, err := anypb.New(&shopv1.Order{OrderId: name[len("orders/"):], CustomerId: "counter", Status: shopv1.OrderStatus_PENDING,
		Total: &shopv1.Money{CurrencyCode: "USD", Units: n}})
	if err != nil {
		panic(err) // an order always encodes
	}
	return &watchroutev1.Resource{Name: name, Data: value}
}

// countStep is the step of a counter's event.
func countStep(e *client.Event) (int64, error) {
	if !e.Present || e.Order.Customer != "counter" || e.Order.Cents%100 != 0 {
		return 0, fmt.Errorf("nobody wrote %+v", *e)
	}
	return e.Order.Cents / 100, nil
}

// write writes the next number, with a precondition on the present one. id makes it
// apply once.
func (c *counter) write(ctx context.Context, resources watchroutev1.ResourceServiceClient, id string) error {
	next := c.acked + 1
	if len(c.names) == 1 {
		request := &watchroutev1.PutRequest{Resource: counted(c.names[0], next), Precondition: c.condition(), RequestId: id}
		c.pending = func(ctx context.Context, resources watchroutev1.ResourceServiceClient) (uint64, error) {
			r, err := resources.Put(ctx, request)
			return r.GetResource().GetRevision(), err
		}
	} else {
		request := &watchroutev1.WriteRequest{Parent: "orders", RequestId: id}
		for _, name := range c.names {
			request.Operations = append(request.Operations, &watchroutev1.Operation{
				Action: &watchroutev1.Operation_Put{Put: counted(name, next)}, Precondition: c.condition()})
		}
		c.pending = func(ctx context.Context, resources watchroutev1.ResourceServiceClient) (uint64, error) {
			r, err := resources.Write(ctx, request)
			if err != nil {
				return 0, err
			}
			return r.GetResults()[0].GetResource().GetRevision(), nil
		}
	}
	return c.finish(ctx, resources)
}

// finish sends the pending write, for the first time or again.
func (c *counter) finish(ctx context.Context, resources watchroutev1.ResourceServiceClient) error {
	revision, err := c.pending(ctx, resources)
	if err != nil {
		return err
	}
	c.acked, c.revision, c.pending = c.acked+1, revision, nil
	return nil
}

func (c *counter) condition() *watchroutev1.Precondition {
	if c.acked == 0 {
		return &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}}
	}
	return &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Revision{Revision: c.revision}}
}

// check compares what is there with what was acknowledged. After it the counter
// goes on from what is there. forget gives up a pending write; otherwise its fate is
// left to finish.
func (c *counter) check(t *testing.T, stored map[string]picture.State, forget bool) (unacked bool) {
	t.Helper()
	first := stored[c.names[0]]
	for _, name := range c.names[1:] {
		if stored[name] != first {
			t.Fatalf("half a batch: %s is %+v, but %s is %+v", c.names[0], first, name, stored[name])
		}
	}
	switch {
	case first.Step == c.acked && first.Revision == c.revision:
	case first.Step == c.acked+1 && c.pending != nil && first.Revision > c.revision:
		unacked = true
	default:
		t.Fatalf("%s is %+v; acknowledged was %d at revision %d, and more was sent: %v", c.names[0], first, c.acked, c.revision, c.pending != nil)
	}
	if forget {
		c.acked, c.revision, c.pending = first.Step, first.Revision, nil
	}
	return unacked
}

// crew writes counters until it cannot.
type crew struct {
	counters []*counter
	writers  int
	acked    int // changes that were acknowledged, in all
}

func newCrew(puts, batches, batchSize int) *crew {
	c := &crew{writers: 24}
	for n := range puts {
		c.counters = append(c.counters, newCounter("put", n, 1))
	}
	for n := range batches {
		c.counters = append(c.counters, newCounter("batch", n, batchSize))
	}
	return c
}

// work writes until the context ends or the server goes away, and says what ended
// it: one error for each writer.
func (c *crew) work(ctx context.Context, resources watchroutev1.ResourceServiceClient, id func(counter int, n int64) string) []error {
	var mu sync.Mutex
	var ends []error
	var working sync.WaitGroup
	for w := range c.writers {
		working.Go(func() {
			acked := 0
			defer func() {
				mu.Lock()
				c.acked += acked
				mu.Unlock()
			}()
			for turn := 0; ; turn++ {
				for i := w; i < len(c.counters); i += c.writers {
					one := c.counters[i]
					if err := one.write(ctx, resources, id(i, one.acked+1)); err != nil {
						mu.Lock()
						ends = append(ends, err)
						mu.Unlock()
						return
					}
					acked += len(one.names)
				}
			}
		})
	}
	working.Wait()
	return ends
}

// stored lists the counters.
func stored(t *testing.T, resources watchroutev1.ResourceServiceClient) map[string]picture.State {
	t.Helper()
	out := map[string]picture.State{}
	for page := ""; ; {
		r, err := resources.List(t.Context(), &watchroutev1.ListRequest{Parent: "orders", PageSize: 1000, PageToken: page})
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range r.GetResources() {
			o := new(shopv1.Order)
			if err := in.GetData().UnmarshalTo(o); err != nil {
				t.Fatal(err)
			}
			out[in.GetName()] = picture.State{Step: o.GetTotal().GetUnits(), Revision: in.GetRevision()}
		}
		if page = r.GetNextPageToken(); page == "" {
			return out
		}
	}
}

// gone says whether an error is what a call gets whose server goes away.
func gone(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	return errors.Is(err, context.Canceled)
}

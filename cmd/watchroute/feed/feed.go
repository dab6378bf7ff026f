package feed

import (
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

// Step is one write.
type Step struct {
	// At is when it is due, since the feed began.
	At time.Duration
	// OrderID is the order that is written.
	OrderID string
	// Order is its new state; nil: it is deleted.
	Order *shopv1.Order
}

// Player writes steps.
type Player struct {
	// Orders is where they are written.
	Orders shopv1.OrderServiceClient
	// Speed is how many times as fast as At the steps are written. Default: 1.
	Speed float64
	// Problem is told of a write that is tried again. It may be called at once by
	// several goroutines.
	Problem func(error)

	written atomic.Int64
}

// Written says how many steps were written.
func (p *Player) Written() int64 { return p.written.Load() }

const (
	writers = 8
	ahead   = 64 // steps that wait for one writer
	again   = 500 * time.Millisecond
)

// Play writes the steps when they are due, and returns when all are written, when
// ctx ends, which is no error, or when a step was refused. A step that the server
// cannot take at the moment is tried until it can.
func (p *Player) Play(ctx context.Context, steps iter.Seq[Step]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	refused := make(chan error, writers) // each writer stops after its first
	var queues [writers]chan Step
	var running sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan Step, ahead)
		running.Go(func() {
			for s := range queues[i] {
				if err := p.write(ctx, s); err != nil {
					refused <- fmt.Errorf("order %s: %w", s.OrderID, err)
					cancel() // later steps find it ended
				}
			}
		})
	}
	p.deal(ctx, steps, &queues)
	for _, q := range queues {
		close(q)
	}
	running.Wait()
	select {
	case err := <-refused:
		return err
	default:
		return nil
	}
}

// deal gives each step, when it is due, to the writer of its order.
func (p *Player) deal(ctx context.Context, steps iter.Seq[Step], queues *[writers]chan Step) {
	speed := p.Speed
	if speed == 0 {
		speed = 1
	}
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s := range steps {
		if wait := time.Until(began.Add(time.Duration(float64(s.At) / speed))); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		h := fnv.New32a()
		h.Write([]byte(s.OrderID))
		select {
		case queues[h.Sum32()%writers] <- s:
		case <-ctx.Done():
			return
		}
	}
}

// write writes one step. Once ctx has ended it does nothing.
func (p *Player) write(ctx context.Context, s Step) error {
	for ctx.Err() == nil {
		var err error
		if s.Order == nil {
			_, err = p.Orders.DeleteOrder(ctx, &shopv1.DeleteOrderRequest{OrderId: s.OrderID, AllowMissing: true})
		} else {
			_, err = p.Orders.PutOrder(ctx, &shopv1.PutOrderRequest{OrderId: s.OrderID, Resource: &shopv1.OrderResource{Data: s.Order}})
		}
		switch {
		case err == nil:
			p.written.Add(1)
			return nil
		case ctx.Err() != nil:
			return nil
		case status.Code(err) != codes.Unavailable:
			return err
		}
		if p.Problem != nil {
			p.Problem(err)
		}
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return nil
}

package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

// origin is a queue or a stream.
type origin interface {
	// consume begins to read. resumed: the first message must be there.
	consume(b broker) (c *consumer, resumed bool, err error)
	// accept says where a message is, and whether it is one that was not read before.
	accept(b broker, d *amqp.Delivery) (position string, fresh bool, err error)
	// lag says how many messages the broker has that did not come yet.
	lag(b broker) (int64, error)
}

// message is one that has come, or why no more will.
type message struct {
	event sources.Event
	tag   uint64
	err   error
}

// Run implements sources.Source.
func (s *Source) Run(ctx context.Context, from sources.Positions, to sources.Sink) error {
	err := s.run(ctx, from, to)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Source) run(ctx context.Context, from sources.Positions, to sources.Sink) error {
	var at *stream // nil: a queue
	var o origin
	name := s.config.GetQueue()
	if _, ok := s.config.GetFrom().(*watchroutev1.RabbitmqSource_Stream); ok {
		name = s.config.GetStream()
		var err error
		if at, err = newStream(name, from.Position(name), s); err != nil {
			return err
		}
		o = at
	} else {
		o = &queue{name: name, source: s}
	}
	b, err := s.connect(ctx)
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer b.Close() // ends what works
	if at != nil && at.atEnd() {
		end, err := at.end(b)
		if err == nil {
			err = to.Pass(ctx, name, end)
		}
		if err == nil {
			at, err = newStream(name, end, s)
		}
		if err != nil {
			return explain(name, err)
		}
		o = at
	}
	c, resumed, err := o.consume(b)
	if err != nil {
		return explain(name, err)
	}
	within, stop := context.WithCancel(ctx)
	defer stop()
	arrived, found := make(chan message, s.prefetch), make(chan struct{})
	work.Go(func() { s.arrive(within, name, b, c, o, found, arrived) })
	return s.take(ctx, name, b, c, o, resumed, found, arrived, to)
}

// arrive makes events of what comes, and closes found when the first message has come.
func (s *Source) arrive(ctx context.Context, name string, b broker, c *consumer, o origin, found chan<- struct{}, arrived chan<- message) {
	for first := true; ; first = false {
		d, ok := <-c.deliveries
		var m message
		if !ok {
			m.err = c.why()
		} else {
			var fresh bool
			var position string
			if position, fresh, m.err = o.accept(b, &d); m.err == nil {
				if first {
					close(found)
				}
				if !fresh {
					continue
				}
				m.event, m.tag = event(name, position, &d), d.DeliveryTag
			}
		}
		select {
		case arrived <- m:
		case <-ctx.Done():
			return
		}
		if m.err != nil {
			return
		}
	}
}

// take takes what arrives until ctx ends or something fails.
func (s *Source) take(ctx context.Context, name string, b broker, c *consumer, o origin, resumed bool, found <-chan struct{}, arrived <-chan message, to sources.Sink) error {
	var late <-chan time.Time
	if resumed {
		late = time.After(s.Patience)
	} else {
		to.Connected()
		found = nil
	}
	look := time.NewTicker(s.LagInterval)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-late:
			return fmt.Errorf("the stream %s does not give the event that this source had last: it is empty or ends before it, since it was made anew or has lost its end, or the broker is slow", name)
		case <-found:
			late, found = nil, nil
			to.Connected()
		case <-look.C:
			behind, err := o.lag(b)
			if err != nil {
				return explain(name, err)
			}
			to.Lag(name, behind+int64(len(arrived)))
		case m := <-arrived:
			events, tag, err := s.collect(m, arrived)
			if len(events) > 0 {
				if err := to.Take(ctx, events); err != nil {
					return err
				}
				if err := c.ack(tag); err != nil {
					return err
				}
			}
			if err != nil {
				return explain(name, err)
			}
		}
	}
}

// collect gives a message and those that have come with it.
func (s *Source) collect(m message, arrived <-chan message) (events []sources.Event, tag uint64, err error) {
	for m.err == nil {
		events, tag = append(events, m.event), m.tag
		if len(events) == s.MaxEvents {
			return events, tag, nil
		}
		select {
		case m = <-arrived:
		default:
			return events, tag, nil
		}
	}
	return events, tag, m.err
}

// explain says what an error of the broker is about.
func explain(name string, err error) error {
	if refused := new(amqp.Error); errors.As(err, &refused) && refused.Code == amqp.NotFound && strings.Contains(refused.Reason, "no queue") {
		return fmt.Errorf("there is no %s: %w", name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

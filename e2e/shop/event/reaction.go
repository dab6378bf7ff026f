package event

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Reaction is what a service does: some time after an event it publishes another one of
// the same order.
type Reaction struct {
	// Group is the consumer group: each has every event.
	Group string
	// On is the event that it waits for, Then the one that follows.
	On, Then Type
	// After is how long it takes.
	After time.Duration
	// Complete says more about what follows; nil: there is no more to say.
	Complete func(next *Event)
}

// again is how long a service waits before it connects anew.
const again = time.Second

// fetchWait is how long a broker that has nothing new keeps a request. A partition that is
// added in that time waits for it too.
const fetchWait = 500 * time.Millisecond

// Run reads and publishes until ctx ends. What fails is logged, and tried again.
func (r *Reaction) Run(ctx context.Context, brokers []string, logger *slog.Logger) {
	logger = logger.With("group", r.Group)
	for ctx.Err() == nil {
		err := r.run(ctx, brokers, logger)
		if ctx.Err() != nil {
			return
		}
		logger.Warn("it connects anew", "error", err)
		pause(ctx, again)
	}
}

func (r *Reaction) run(ctx context.Context, brokers []string, logger *slog.Logger) error {
	publisher, err := NewPublisher(brokers)
	if err != nil {
		return err
	}
	defer publisher.Close()
	// What is marked is done, and committed now and then and at the end.
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(Topic), kgo.ConsumerGroup(r.Group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second), kgo.FetchMaxWait(fetchWait))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		records := fetches.Records()
		// Those of all partitions as they happened, so that none waits for a later one.
		slices.SortStableFunc(records, func(a, b *kgo.Record) int { return a.Timestamp.Compare(b.Timestamp) })
		for _, record := range records {
			if typeOf(record) == r.On {
				if err := r.react(ctx, publisher, record, logger); err != nil {
					return err
				}
			}
			client.MarkCommitRecords(record)
		}
	}
}

func (r *Reaction) react(ctx context.Context, publisher *Publisher, record *kgo.Record, logger *slog.Logger) error {
	e, err := read(record)
	if err != nil {
		logger.Error("an event is left out", "error", err)
		return nil
	}
	due := e.Time.Add(r.After)
	if !pause(ctx, time.Until(due)) {
		return ctx.Err()
	}
	next := e.Next(r.Then, time.Now())
	if r.Complete != nil {
		r.Complete(next)
	}
	if err := publisher.Publish(ctx, next); err != nil {
		return fmt.Errorf("after %s: %w", e.Type, err)
	}
	logger.Info(string(next.Type), "order", next.OrderID, "trace", next.Trace.ID())
	return nil
}

// pause says whether a time went by before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

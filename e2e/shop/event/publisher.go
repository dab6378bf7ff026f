package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Partitions is how many the topic has, where it is made here.
const Partitions = 4

// giveUp is how long a record is tried to be published.
const giveUp = 30 * time.Second

// Publisher publishes events.
type Publisher struct{ client *kgo.Client }

// NewPublisher connects to some brokers (HOST:PORT) when it is first used.
func NewPublisher(brokers []string) (*Publisher, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordDeliveryTimeout(giveUp))
	if err != nil {
		return nil, err
	}
	return &Publisher{client}, nil
}

// Publish returns when the brokers have the event, or have refused it.
func (p *Publisher) Publish(ctx context.Context, e *Event) error {
	r, err := e.record()
	if err != nil {
		return err
	}
	if err := p.client.ProduceSync(ctx, r).FirstErr(); err != nil {
		return fmt.Errorf("event: %s of %s: %w", e.Type, e.OrderID, err)
	}
	return nil
}

// MakeTopic makes the topic where there is none.
func (p *Publisher) MakeTopic(ctx context.Context) error {
	made, err := kadm.NewClient(p.client).CreateTopic(ctx, Partitions, -1, nil, Topic)
	if err = errors.Join(err, made.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("event: the topic %s: %w", Topic, err)
	}
	return nil
}

// Close forgets what is not published yet.
func (p *Publisher) Close() { p.client.Close() }

package sourcetest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/watchroute/watchroute/e2e/brokers"
	"github.com/watchroute/watchroute/e2e/process"
)

// kafkaPartitions is how many partitions a topic has.
const kafkaPartitions = 4

// Kafka starts a Kafka. The events of a key are in one partition of a topic.
func Kafka(t testing.TB) Broker {
	t.Helper()
	return newKafka(t, brokers.Kafka(t, brokers.Options{}), new(atomic.Int64))
}

type kafkaBroker struct {
	kafka  *brokers.Broker
	topics *atomic.Int64 // how many were made
	topic  string
	client *kgo.Client
}

func newKafka(t testing.TB, kafka *brokers.Broker, topics *atomic.Int64) Broker {
	t.Helper()
	b := &kafkaBroker{kafka: kafka, topics: topics, topic: fmt.Sprintf("things-%d", topics.Add(1))}
	var err error
	// It sends again until the broker is back, and the broker knows what is sent again.
	if b.client, err = kgo.NewClient(kgo.SeedBrokers(kafka.Addr), kgo.DefaultProduceTopic(b.topic), kgo.RequiredAcks(kgo.AllISRAcks())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	if _, err := kadm.NewClient(b.client).CreateTopic(ctx, kafkaPartitions, 1, nil, b.topic); err != nil {
		t.Fatal(err)
	}
	return b
}

// Another implements Sharer.
func (b *kafkaBroker) Another(t testing.TB) Broker {
	t.Helper()
	return newKafka(t, b.kafka, b.topics)
}

// Source implements Broker.
func (b *kafkaBroker) Source(testing.TB) map[string]any {
	return map[string]any{
		"kafka":    map[string]any{"brokers": []any{b.kafka.Addr}, "topics": []any{b.topic}},
		"mappings": []any{map[string]any{"collection": "things", "id": "data.key", "put": `{"n": data.n, "pad": data.pad}`}},
	}
}

// Publish implements Broker.
func (b *kafkaBroker) Publish(t testing.TB, _ *process.Server, events []Event) {
	t.Helper()
	records := make([]*kgo.Record, len(events))
	for i, e := range events {
		records[i] = kafkaRecord(t, e)
	}
	b.publish(t, records...)
}

// PublishTraced implements Tracer.
func (b *kafkaBroker) PublishTraced(t testing.TB, _ *process.Server, e Event, traceparent string) {
	t.Helper()
	r := kafkaRecord(t, e)
	r.Headers = []kgo.RecordHeader{{Key: "traceparent", Value: []byte(traceparent)}}
	b.publish(t, r)
}

// Poison implements Broker.
func (b *kafkaBroker) Poison(t testing.TB, _ *process.Server) {
	t.Helper()
	b.publish(t, &kgo.Record{Key: []byte("poison"), Value: []byte("no JSON")})
}

// Restart implements Broker.
func (b *kafkaBroker) Restart(t testing.TB) bool {
	t.Helper()
	b.kafka.Kill()
	b.kafka.Start()
	return true
}

// Snapshots implements Broker.
func (b *kafkaBroker) Snapshots() bool { return false }

// ReadBare implements BareReader.
func (b *kafkaBroker) ReadBare(t testing.TB, n int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka.Addr), kgo.ConsumeTopics(b.topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	for n > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n -= fetches.NumRecords()
	}
}

func kafkaRecord(t testing.TB, e Event) *kgo.Record {
	t.Helper()
	value, err := json.Marshal(map[string]any{"key": e.Key, "n": e.N, "pad": e.Pad})
	if err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{Key: []byte(e.Key), Value: value}
}

func (b *kafkaBroker) publish(t testing.TB, records ...*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	if err := b.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Errorf("publishing: %v", err)
	}
}

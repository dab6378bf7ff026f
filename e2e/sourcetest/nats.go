package sourcetest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/watchroute/watchroute/e2e/brokers"
	"github.com/watchroute/watchroute/e2e/process"
)

const (
	// natsPublishers is how many events are published at a time.
	natsPublishers = 64
	// natsAnswer is how long the server may take to acknowledge an event.
	natsAnswer = 2 * time.Second
)

// NATS starts a NATS server with JetStream. Events are in a stream, at STREAM.KEY.
func NATS(t testing.TB) Broker {
	t.Helper()
	return newNATS(t, brokers.NATS(t, brokers.Options{}), new(atomic.Int64))
}

type natsBroker struct {
	server   *brokers.Broker
	streams  *atomic.Int64 // how many were made
	stream   string
	js       jetstream.JetStream
	poisoned atomic.Int64
}

func newNATS(t testing.TB, server *brokers.Broker, streams *atomic.Int64) Broker {
	t.Helper()
	b := &natsBroker{server: server, streams: streams, stream: fmt.Sprintf("things-%d", streams.Add(1))}
	conn, err := nats.Connect(server.URL, nats.MaxReconnects(-1), nats.ReconnectWait(againAfter))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if b.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	if _, err := b.js.CreateStream(ctx, jetstream.StreamConfig{Name: b.stream, Subjects: []string{b.stream + ".>"}, Duplicates: publishTime}); err != nil {
		t.Fatal(err)
	}
	return b
}

// Another implements Sharer.
func (b *natsBroker) Another(t testing.TB) Broker {
	t.Helper()
	return newNATS(t, b.server, b.streams)
}

// Source implements Broker.
func (b *natsBroker) Source(testing.TB) map[string]any {
	return map[string]any{
		"nats":     map[string]any{"servers": []any{b.server.URL}, "stream": b.stream, "subjects": []any{b.stream + ".>"}},
		"mappings": []any{map[string]any{"collection": "things", "id": "data.key", "put": `{"n": data.n, "pad": data.pad}`}},
	}
}

// Publish implements Broker.
func (b *natsBroker) Publish(t testing.TB, _ *process.Server, events []Event) {
	t.Helper()
	eachKey(t, natsPublishers, events, func(ctx context.Context, own []Event) error {
		for _, e := range own {
			if err := b.publishEvent(ctx, e, nats.Header{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// PublishTraced implements Tracer.
func (b *natsBroker) PublishTraced(t testing.TB, _ *process.Server, e Event, traceparent string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	if err := b.publishEvent(ctx, e, nats.Header{"traceparent": {traceparent}}); err != nil {
		t.Fatal(err)
	}
}

// Poison implements Broker.
func (b *natsBroker) Poison(t testing.TB, _ *process.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	id := fmt.Sprintf("poison-%d", b.poisoned.Add(1))
	if err := b.publish(ctx, "poison", id, []byte("no JSON"), nats.Header{}); err != nil {
		t.Fatal(err)
	}
}

// Restart implements Broker.
func (b *natsBroker) Restart(t testing.TB) bool {
	t.Helper()
	b.server.Kill()
	b.server.Start()
	return true
}

// Snapshots implements Broker.
func (b *natsBroker) Snapshots() bool { return false }

// ReadBare implements BareReader.
func (b *natsBroker) ReadBare(t testing.TB, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	consumer, err := b.js.OrderedConsumer(ctx, b.stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for range n {
		if _, err := messages.Next(jetstream.NextContext(ctx)); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *natsBroker) publishEvent(ctx context.Context, e Event, headers nats.Header) error {
	value, err := json.Marshal(map[string]any{"key": e.Key, "n": e.N, "pad": e.Pad})
	if err != nil {
		return err
	}
	return b.publish(ctx, e.Key, fmt.Sprintf("%s-%d", e.Key, e.N), value, headers)
}

// publish sends a message until the server acknowledges it. The server knows by its id what
// is sent again.
func (b *natsBroker) publish(ctx context.Context, key, id string, value []byte, headers nats.Header) error {
	m := &nats.Msg{Subject: b.stream + "." + key, Data: value, Header: headers}
	for {
		answer, cancel := context.WithTimeout(ctx, natsAnswer)
		_, err := b.js.PublishMsg(answer, m, jetstream.WithMsgID(id))
		cancel()
		if err == nil {
			return nil
		}
		if wait(ctx) != nil {
			return err
		}
	}
}

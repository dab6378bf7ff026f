package sourcetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/watchroute/watchroute/e2e/brokers"
	"github.com/watchroute/watchroute/e2e/process"
)

const (
	// rabbitPublishers is how many connections publish, and rabbitBatch how many messages
	// each may have under way, of which no two have the same key.
	rabbitPublishers = 4
	rabbitBatch      = 100
	// rabbitAnswer is how long RabbitMQ may take to confirm them.
	rabbitAnswer = 10 * time.Second
)

// RabbitMQ starts a RabbitMQ. Events are in a quorum queue, that one consumer reads at a
// time: so their order holds while a new one comes and the old one goes.
func RabbitMQ(t testing.TB) Broker {
	t.Helper()
	return newRabbitMQ(t, rabbitMQ(t), "queue", new(atomic.Int64))
}

// RabbitMQStream starts a RabbitMQ. Events are in a stream.
func RabbitMQStream(t testing.TB) Broker {
	t.Helper()
	return newRabbitMQ(t, rabbitMQ(t), "stream", new(atomic.Int64))
}

func rabbitMQ(t testing.TB) *brokers.Broker {
	t.Helper()
	return brokers.RabbitMQ(t, brokers.Options{Settings: []string{
		"disk_free_limit.absolute = 100MB", // with less it stops publishers
	}})
}

type rabbitBroker struct {
	server   *brokers.Broker
	kind     string        // queue or stream
	queues   *atomic.Int64 // how many were made
	name     string
	settled  time.Time          // when RabbitMQ has surely written down where its queue is
	writers  chan *rabbitWriter // that nobody uses
	poisoned atomic.Int64
}

// bareRabbit is one whose messages can be read again.
type bareRabbit struct {
	*rabbitBroker
	copy string // a queue with the same messages, or the stream itself
}

func newRabbitMQ(t testing.TB, server *brokers.Broker, kind string, queues *atomic.Int64) Broker {
	t.Helper()
	b := &rabbitBroker{server: server, kind: kind, queues: queues, writers: make(chan *rabbitWriter, rabbitPublishers)}
	b.name = fmt.Sprintf("things-%d", queues.Add(1))
	for range rabbitPublishers {
		w := &rabbitWriter{url: server.URL}
		b.writers <- w
		t.Cleanup(w.drop)
	}
	conn, err := amqp.Dial(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	declare := func(name string, args amqp.Table) {
		t.Helper()
		if err == nil {
			_, err = ch.QueueDeclare(name, true, false, false, false, args)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.settled = time.Now().Add(time.Second)
	if kind == "stream" {
		declare(b.name, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeStream})
		b.writtenDown(t, "coordination", "rabbit_stream_coordinator")
		return &bareRabbit{rabbitBroker: b, copy: b.name}
	}
	declare(b.name, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, amqp.SingleActiveConsumerArg: true})
	b.writtenDown(t, "quorum", b.name)
	if !full() {
		return b
	}
	declare(b.name+"-copy", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	return &bareRabbit{rabbitBroker: b, copy: b.name + "-copy"}
}

// writtenDown waits until RabbitMQ has written down where the log of a queue is, without
// which it does not find it when it was killed.
func (b *rabbitBroker) writtenDown(t testing.TB, system, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rabbitAnswer)
	defer cancel()
	for {
		text, err := os.ReadFile(filepath.Join(b.server.Dir, "data/watchroute@localhost", system, "watchroute@localhost/names.dets"))
		if err == nil && bytes.Contains(text, []byte(name)) {
			return
		}
		if wait(ctx) != nil {
			t.Fatalf("RabbitMQ has not written down where %s is: %v", name, err)
		}
	}
}

// Another implements Sharer.
func (b *rabbitBroker) Another(t testing.TB) Broker {
	t.Helper()
	return newRabbitMQ(t, b.server, b.kind, b.queues)
}

// Source implements Broker. A queue's messages have ids; a stream has those twice that were
// sent again, so their order counts.
func (b *rabbitBroker) Source(testing.TB) map[string]any {
	mapping := map[string]any{"collection": "things", "id": "data.key", "put": `{"n": data.n, "pad": data.pad}`}
	if b.kind == "stream" {
		mapping["order"] = "int(data.n)"
	}
	return map[string]any{
		"rabbitmq": map[string]any{"url": "amqp://" + b.server.Addr + "/", b.kind: b.name},
		"mappings": []any{mapping},
	}
}

// Publish implements Broker.
func (b *rabbitBroker) Publish(t testing.TB, _ *process.Server, events []Event) {
	t.Helper()
	b.publishTo(t, b.name, events)
}

// Publish implements Broker.
func (b *bareRabbit) Publish(t testing.TB, _ *process.Server, events []Event) {
	t.Helper()
	b.publishTo(t, b.name, events)
	if b.copy != b.name {
		b.publishTo(t, b.copy, events)
	}
}

// publishTo publishes a batch when that before it is confirmed. RabbitMQ may take a message
// and not the one before it, so a batch has one of each key.
func (b *rabbitBroker) publishTo(t testing.TB, queue string, events []Event) {
	t.Helper()
	eachKey(t, rabbitPublishers, events, func(ctx context.Context, own []Event) error {
		for len(own) > 0 {
			var batch []amqp.Publishing
			for had := map[string]bool{}; len(batch) < min(rabbitBatch, len(own)); {
				e := own[len(batch)]
				if had[e.Key] {
					break
				}
				had[e.Key] = true
				m, err := thingMessage(e)
				if err != nil {
					return err
				}
				batch = append(batch, m)
			}
			if err := b.publish(ctx, queue, batch); err != nil {
				return err
			}
			own = own[len(batch):]
		}
		return nil
	})
}

// PublishTraced implements Tracer.
func (b *rabbitBroker) PublishTraced(t testing.TB, _ *process.Server, e Event, traceparent string) {
	t.Helper()
	m, err := thingMessage(e)
	m.Headers = amqp.Table{"traceparent": traceparent}
	if err == nil {
		err = b.publishOne(m)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Poison implements Broker.
func (b *rabbitBroker) Poison(t testing.TB, _ *process.Server) {
	t.Helper()
	if err := b.publishOne(amqp.Publishing{MessageId: fmt.Sprintf("poison-%d", b.poisoned.Add(1)), Body: []byte("no JSON")}); err != nil {
		t.Fatal(err)
	}
}

// Restart implements Broker.
func (b *rabbitBroker) Restart(t testing.TB) bool {
	t.Helper()
	<-time.After(time.Until(b.settled))
	b.server.Kill()
	b.server.Start()
	return true
}

// Snapshots implements Broker.
func (b *rabbitBroker) Snapshots() bool { return false }

// ReadBare implements BareReader.
func (b *bareRabbit) ReadBare(t testing.TB, n int) {
	t.Helper()
	conn, err := amqp.Dial(b.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err == nil {
		err = ch.Qos(1000, 0, false)
	}
	var args amqp.Table
	if b.kind == "stream" {
		args = amqp.Table{"x-stream-offset": "first"}
	}
	var messages <-chan amqp.Delivery
	if err == nil {
		messages, err = ch.Consume(b.copy, "", false, false, false, false, args)
	}
	for i := 1; err == nil && i <= n; i++ {
		m, ok := <-messages
		if !ok {
			t.Fatalf("the bare client reads %d messages, not %d", i-1, n)
		}
		if i%500 == 0 || i == n {
			err = m.Ack(true)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func thingMessage(e Event) (amqp.Publishing, error) {
	body, err := json.Marshal(map[string]any{"key": e.Key, "n": e.N, "pad": e.Pad})
	return amqp.Publishing{ContentType: "application/json", MessageId: fmt.Sprintf("%s-%d", e.Key, e.N), Body: body}, err
}

func (b *rabbitBroker) publishOne(m amqp.Publishing) error {
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	return b.publish(ctx, b.name, []amqp.Publishing{m})
}

// publish sends messages until RabbitMQ has taken all of them.
func (b *rabbitBroker) publish(ctx context.Context, queue string, batch []amqp.Publishing) error {
	w := <-b.writers
	defer func() { b.writers <- w }()
	for {
		err := w.publish(ctx, queue, batch)
		if err == nil {
			return nil
		}
		w.drop()
		if wait(ctx) != nil {
			return err
		}
	}
}

// rabbitWriter publishes on a connection of its own.
type rabbitWriter struct {
	url      string
	conn     *amqp.Connection // nil: not connected
	ch       *amqp.Channel
	returned chan amqp.Return // what no queue has taken; it is confirmed all the same
}

var errNotTaken = errors.New("RabbitMQ has not taken a message")

// publish returns when all messages are confirmed, or something failed.
func (w *rabbitWriter) publish(ctx context.Context, queue string, batch []amqp.Publishing) error {
	ctx, cancel := context.WithTimeout(ctx, rabbitAnswer)
	defer cancel()
	if err := w.connect(); err != nil {
		return err
	}
	confirmed := make([]*amqp.DeferredConfirmation, len(batch))
	for i, m := range batch {
		m.DeliveryMode = amqp.Persistent
		var err error
		if confirmed[i], err = w.ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, m); err != nil {
			return err
		}
	}
	for _, c := range confirmed {
		taken, err := c.WaitContext(ctx)
		if err == nil && !taken {
			err = errNotTaken
		}
		if err != nil {
			return err
		}
	}
	select {
	case <-w.returned:
		return errNotTaken
	default:
		return nil
	}
}

func (w *rabbitWriter) connect() (err error) {
	if w.conn != nil {
		return nil
	}
	if w.conn, err = amqp.Dial(w.url); err != nil {
		w.conn = nil
		return err
	}
	if w.ch, err = w.conn.Channel(); err != nil {
		return err
	}
	w.returned = w.ch.NotifyReturn(make(chan amqp.Return, rabbitBatch))
	return w.ch.Confirm(false)
}

func (w *rabbitWriter) drop() {
	if w.conn != nil {
		_ = w.conn.CloseDeadline(time.Now().Add(time.Second))
		w.conn = nil
	}
}

package sourcetest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/watchroute/watchroute/e2e/brokers"
	"github.com/watchroute/watchroute/e2e/process"
)

// answerTime is how long Mosquitto may take to acknowledge. paho waits that long where the
// connection ended when a message was on its way.
const answerTime = 2 * time.Second

// MQTT starts a Mosquitto. Messages are retained, at PREFIX/KEY.
func MQTT(t testing.TB) Broker {
	t.Helper()
	return newMQTT(t, brokers.MQTT(t, brokers.Options{}))
}

func newMQTT(t testing.TB, mosquitto *brokers.Broker) *mqttBroker {
	b := &mqttBroker{mosquitto: mosquitto, prefix: fmt.Sprintf("things-%d", rand.Uint64())}
	t.Cleanup(func() {
		if b.client != nil {
			_ = b.client.Disconnect(&paho.Disconnect{})
		}
	})
	return b
}

type mqttBroker struct {
	mosquitto *brokers.Broker
	prefix    string // of its topics
	poisoned  atomic.Int64

	mu     sync.Mutex
	client *paho.Client // nil: not connected
}

// Source implements Broker.
func (b *mqttBroker) Source(testing.TB) map[string]any {
	return map[string]any{
		"mqtt":     map[string]any{"url": b.mosquitto.URL, "topics": []any{b.prefix + "/#"}},
		"mappings": []any{map[string]any{"collection": "things", "id": "data.key", "put": `{"n": data.n, "pad": data.pad}`}},
	}
}

// Publish implements Broker.
func (b *mqttBroker) Publish(t testing.TB, _ *process.Server, events []Event) {
	t.Helper()
	eachKey(t, 32, events, func(ctx context.Context, own []Event) error {
		for _, e := range own {
			if err := b.publishEvent(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// PublishTraced implements Tracer.
func (b *mqttBroker) PublishTraced(t testing.TB, _ *process.Server, e Event, traceparent string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	if err := b.publishEvent(ctx, e, paho.UserProperty{Key: "traceparent", Value: traceparent}); err != nil {
		t.Fatal(err)
	}
}

func (b *mqttBroker) publishEvent(ctx context.Context, e Event, properties ...paho.UserProperty) error {
	payload, err := json.Marshal(map[string]any{"key": e.Key, "n": e.N, "pad": e.Pad})
	if err != nil {
		return err
	}
	return b.publish(ctx, e.Key, fmt.Sprintf("%s-%d", e.Key, e.N), payload, properties...)
}

// Another implements Sharer.
func (b *mqttBroker) Another(t testing.TB) Broker { return newMQTT(t, b.mosquitto) }

// Poison implements Broker.
func (b *mqttBroker) Poison(t testing.TB, _ *process.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	id := fmt.Sprintf("poison-%d", b.poisoned.Add(1))
	if err := b.publish(ctx, id, id, []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
}

// Restart implements Broker. Mosquitto is asked to end: killed it forgets messages that it
// has acknowledged, and no client can do anything about that.
func (b *mqttBroker) Restart(t testing.TB) bool {
	t.Helper()
	b.mosquitto.Stop()
	b.mosquitto.Start()
	return true
}

// Snapshots implements Broker.
func (b *mqttBroker) Snapshots() bool { return true }

// publish sends a message until the broker acknowledges it.
func (b *mqttBroker) publish(ctx context.Context, topic, id string, payload []byte, properties ...paho.UserProperty) error {
	user := append(paho.UserProperties{{Key: "message-id", Value: id}}, properties...)
	for {
		client, err := b.connected(ctx)
		if err == nil {
			_, err = client.Publish(ctx, &paho.Publish{QoS: 1, Retain: true, Topic: b.prefix + "/" + topic, Payload: payload,
				Properties: &paho.PublishProperties{ContentType: "application/json", User: user}})
			if err == nil {
				return nil
			}
			b.drop(client)
		}
		if wait(ctx) != nil {
			return err
		}
	}
}

// connected gives the connection that all publishers share.
func (b *mqttBroker) connected(ctx context.Context) (*paho.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client != nil {
		return b.client, nil
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", b.mosquitto.Addr)
	if err != nil {
		return nil, err
	}
	client := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn), PacketTimeout: answerTime})
	if _, err := client.Connect(ctx, &paho.Connect{ClientID: "suite-" + b.prefix, KeepAlive: 30, CleanStart: true}); err != nil {
		return nil, err
	}
	b.client = client
	return client, nil
}

// drop ends a connection that has failed.
func (b *mqttBroker) drop(client *paho.Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == client {
		_ = client.Disconnect(&paho.Disconnect{})
		b.client = nil
	}
}

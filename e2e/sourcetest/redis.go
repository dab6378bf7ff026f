package sourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/watchroute/watchroute/e2e/brokers"
	"github.com/watchroute/watchroute/e2e/process"
)

const (
	redisPublishers = 8
	// redisBatch is how many events are sent at a time.
	redisBatch = 250
)

// Redis starts a Redis that acknowledges what is on its disk. Events are the field `event`
// of the entries of a stream.
func Redis(t testing.TB) Broker {
	t.Helper()
	return newRedis(t, brokers.Redis(t, brokers.Options{Settings: []string{"appendfsync always"}}), new(atomic.Int64))
}

type redisBroker struct {
	server   *brokers.Broker
	streams  *atomic.Int64 // how many were made
	stream   string
	client   *redis.Client
	poisoned atomic.Int64
}

func newRedis(t testing.TB, server *brokers.Broker, streams *atomic.Int64) Broker {
	t.Helper()
	b := &redisBroker{server: server, streams: streams, stream: fmt.Sprintf("things-%d", streams.Add(1))}
	b.client = redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, PoolSize: 2 * redisPublishers})
	t.Cleanup(func() { _ = b.client.Close() })
	return b
}

// Another implements Sharer.
func (b *redisBroker) Another(t testing.TB) Broker {
	t.Helper()
	return newRedis(t, b.server, b.streams)
}

// Source implements Broker.
func (b *redisBroker) Source(testing.TB) map[string]any {
	return map[string]any{
		"redis":    map[string]any{"address": b.server.Addr, "streams": []any{b.stream}, "field": "event"},
		"mappings": []any{map[string]any{"collection": "things", "id": "data.key", "put": `{"n": data.n, "pad": data.pad}`}},
	}
}

// Publish implements Broker.
func (b *redisBroker) Publish(t testing.TB, _ *process.Server, events []Event) {
	t.Helper()
	eachKey(t, redisPublishers, events, func(ctx context.Context, own []Event) error {
		for ; len(own) > 0; own = own[min(redisBatch, len(own)):] {
			if err := b.publish(ctx, own[:min(redisBatch, len(own))]); err != nil {
				return err
			}
		}
		return nil
	})
}

// PublishTraced implements Tracer.
func (b *redisBroker) PublishTraced(t testing.TB, _ *process.Server, e Event, traceparent string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	if err := b.publish(ctx, []Event{e}, "traceparent", traceparent); err != nil {
		t.Fatal(err)
	}
}

// Poison implements Broker.
func (b *redisBroker) Poison(t testing.TB, _ *process.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	n := int(b.poisoned.Add(1))
	err := b.send(ctx, func(p redis.Pipeliner) { b.add(ctx, p, "poison", n, []byte("no JSON")) })
	if err != nil {
		t.Fatal(err)
	}
}

// Restart implements Broker.
func (b *redisBroker) Restart(t testing.TB) bool {
	t.Helper()
	b.server.Kill()
	b.server.Start()
	return true
}

// Snapshots implements Broker.
func (b *redisBroker) Snapshots() bool { return false }

// ReadBare implements BareReader.
func (b *redisBroker) ReadBare(t testing.TB, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	for at := "0"; n > 0; {
		streams, err := b.client.XRead(ctx, &redis.XReadArgs{Streams: []string{b.stream, at}, Count: 500, Block: time.Second}).Result()
		if err != nil {
			t.Fatal(err)
		}
		entries := streams[0].Messages
		n -= len(entries)
		at = entries[len(entries)-1].ID
	}
}

// add adds an event unless the stream has had it: its publisher numbers those of a key.
const add = `
local key, n = ARGV[1], tonumber(ARGV[2])
if n <= tonumber(redis.call('HGET', KEYS[2], key) or '0') then return 0 end
redis.call('HSET', KEYS[2], key, n)
redis.call('XADD', KEYS[1], '*', 'event', ARGV[3], unpack(ARGV, 4))
return 1`

func (b *redisBroker) add(ctx context.Context, p redis.Pipeliner, key string, n int, value []byte, fields ...any) {
	p.Eval(ctx, add, []string{b.stream, b.stream + "-had"}, append([]any{key, n, value}, fields...)...)
}

func (b *redisBroker) publish(ctx context.Context, events []Event, fields ...any) error {
	values := make([][]byte, len(events))
	for i, e := range events {
		var err error
		if values[i], err = json.Marshal(map[string]any{"key": e.Key, "n": e.N, "pad": e.Pad}); err != nil {
			return err
		}
	}
	return b.send(ctx, func(p redis.Pipeliner) {
		for i, e := range events {
			b.add(ctx, p, e.Key, e.N, values[i], fields...)
		}
	})
}

// send sends commands until Redis has taken all of them.
func (b *redisBroker) send(ctx context.Context, fill func(redis.Pipeliner)) error {
	for {
		_, err := b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			fill(p)
			return nil
		})
		if err == nil {
			return nil
		}
		var said redis.Error
		if errors.As(err, &said) && !redis.HasErrorPrefix(err, "LOADING") || wait(ctx) != nil {
			return err
		}
	}
}

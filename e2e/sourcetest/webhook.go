package sourcetest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/process"
)

// WebhookID is the id that the source of Webhook must have: its path ends in it.
const WebhookID = "webhook"

const (
	// publishTime is how long publishing may take, with brokers and nodes that come back.
	publishTime = 5 * time.Minute
	// againAfter is how long a publisher waits before it tries again.
	againAfter = 50 * time.Millisecond
)

const (
	webhookKey = "a key of the test"
	// webhookBatch is how many events go with a request; a single one goes structured.
	webhookBatch = 200
)

// Webhook posts CloudEvents to the node, signed.
func Webhook(t testing.TB) Broker {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hmac")
	if err := os.WriteFile(file, []byte(webhookKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &webhookBroker{secret: file, client: &http.Client{Timeout: 30 * time.Second}}
}

type webhookBroker struct {
	secret   string
	client   *http.Client
	poisoned atomic.Int64
}

// Source implements Broker.
func (b *webhookBroker) Source(testing.TB) map[string]any {
	return map[string]any{
		"source_id": WebhookID,
		"webhook":   map[string]any{"hmac": map[string]any{"file": b.secret}},
		"decoding":  map[string]any{"format": "CLOUDEVENTS"},
		"mappings":  []any{map[string]any{"collection": "things", "id": "data.key", "put": `{"n": data.n, "pad": data.pad}`}},
	}
}

// Publish implements Broker.
func (b *webhookBroker) Publish(t testing.TB, node *process.Server, events []Event) {
	t.Helper()
	eachKey(t, 8, events, func(ctx context.Context, own []Event) error {
		for len(own) > 0 {
			n := min(len(own), webhookBatch)
			var all []json.RawMessage
			for _, e := range own[:n] {
				all = append(all, thingChanged(e))
			}
			if err := b.post(ctx, node, all, ""); err != nil {
				return err
			}
			own = own[n:]
		}
		return nil
	})
}

// PublishTraced implements Tracer.
func (b *webhookBroker) PublishTraced(t testing.TB, node *process.Server, e Event, traceparent string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	if err := b.post(ctx, node, []json.RawMessage{thingChanged(e)}, traceparent); err != nil {
		t.Fatal(err)
	}
}

// Poison implements Broker.
func (b *webhookBroker) Poison(t testing.TB, node *process.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	id := fmt.Sprintf("poison-%d", b.poisoned.Add(1))
	if err := b.post(ctx, node, []json.RawMessage{cloudEvent(id, map[string]any{"n": 1, "pad": ""})}, ""); err != nil {
		t.Fatal(err)
	}
}

// Restart implements Broker.
func (b *webhookBroker) Restart(testing.TB) bool { return false }

// Snapshots implements Broker. Nothing is kept for a source that begins late.
func (b *webhookBroker) Snapshots() bool { return false }

func thingChanged(e Event) json.RawMessage {
	return cloudEvent(fmt.Sprintf("%s-%d", e.Key, e.N), map[string]any{"key": e.Key, "n": e.N, "pad": e.Pad})
}

func cloudEvent(id string, data any) json.RawMessage {
	raw, _ := json.Marshal(map[string]any{"specversion": "1.0", "type": "thing.changed", "source": "/suite", "id": id, "data": data}) // maps of strings and numbers
	return raw
}

// post sends events until they are taken, or are refused for good.
func (b *webhookBroker) post(ctx context.Context, node *process.Server, events []json.RawMessage, traceparent string) error {
	body, contentType := []byte(events[0]), "application/cloudevents+json"
	if len(events) > 1 {
		body, _ = json.Marshal(events) // they are JSON already
		contentType = "application/cloudevents-batch+json"
	}
	signature := hmac.New(sha256.New, []byte(webhookKey))
	signature.Write(body)
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, node.URL("/v1/sources/"+WebhookID), bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", contentType)
		if traceparent != "" {
			r.Header.Set("Traceparent", traceparent)
		}
		r.Header.Set("Watchroute-Signature", "sha256="+hex.EncodeToString(signature.Sum(nil)))
		resp, err := b.client.Do(r)
		if err == nil {
			said, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			switch {
			case resp.StatusCode == http.StatusAccepted:
				return nil
			case resp.StatusCode < 500:
				return fmt.Errorf("the webhook answers with %s: %s", resp.Status, said)
			}
			err = fmt.Errorf("the webhook answers with %s: %s", resp.Status, said)
		}
		if wait(ctx) != nil {
			return err
		}
	}
}

// eachKey gives events to so many publishers, those of a key to the same one in their
// order, and waits for all.
func eachKey(t testing.TB, publishers uint32, events []Event, publish func(context.Context, []Event) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	parts := make([][]Event, publishers)
	for _, e := range events {
		h := fnv.New32a()
		_, _ = h.Write([]byte(e.Key))
		i := h.Sum32() % publishers
		parts[i] = append(parts[i], e)
	}
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(func() {
			if err := publish(ctx, part); err != nil {
				t.Errorf("publishing: %v", err)
				cancel()
			}
		})
	}
	all.Wait()
}

// wait waits before something is tried again.
func wait(ctx context.Context) error {
	select {
	case <-time.After(againAfter):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

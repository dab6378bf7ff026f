package watchroute_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	watchroute "github.com/watchroute/watchroute/clients/go"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	"github.com/watchroute/watchroute/internal/node"
	"github.com/watchroute/watchroute/server/config"
)

// startNode runs a node with the shop's contract; stop ends it. address "": a free one.
func startNode(data, address string) (at string, stop func()) {
	c := config.Default()
	c.Data, c.HTTP, c.GRPC, c.Contracts = data, "127.0.0.1:0", address, []string{"shop"}
	if address == "" {
		c.GRPC = "127.0.0.1:0"
	}
	n, err := node.Start(context.Background(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	_, calls := n.Addresses()
	return calls.String(), func() { _ = n.Stop(context.Background()) }
}

// exampleServer is a node for one example.
func exampleServer() (address string, stop func()) {
	data, err := os.MkdirTemp("", "watchroute-example-")
	if err != nil {
		panic(err)
	}
	address, end := startNode(data, "")
	return address, func() {
		end()
		_ = os.RemoveAll(data)
	}
}

// A node is restarted again and again, while it is written to: each change arrives once,
// and a mirror ends with what there is.
func TestNode_EachChangeArrivesOnceAcrossRestarts(t *testing.T) {
	for _, session := range []bool{false, true} {
		t.Run(fmt.Sprintf("session=%v", session), func(t *testing.T) {
			data := t.TempDir()
			address, stop := startNode(data, "")
			options := []watchroute.Option{watchroute.WithBackoff(20*time.Millisecond, 200*time.Millisecond)}
			if session {
				options = append(options, watchroute.WithSession())
			}
			client, err := watchroute.Dial(address, options...)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			put := func(i int) uint64 {
				o, err := watchroute.Put(ctx, client, "notes/1", note{N: i}, watchroute.RequestID(fmt.Sprint("put ", i)))
				if err != nil {
					t.Fatal(err)
				}
				return o.Revision
			}
			put(0)
			mirror, err := watchroute.NewMirror(ctx, client, "notes", watchroute.MirrorConfig[note]{}, watchroute.Delta())
			if err != nil {
				t.Fatal(err)
			}
			const writes = 40
			told := make(chan []int, 1)
			go func() {
				var numbers []int
				for event, err := range watchroute.Watch[note](ctx, client, "notes", watchroute.EveryChange(), watchroute.Delta()) {
					if err != nil {
						break
					}
					if event.Kind == watchroute.Present {
						numbers = append(numbers, event.Value.N)
					}
					if event.Kind == watchroute.Present && event.Value.N == writes {
						break
					}
				}
				told <- numbers
			}()
			if err := mirror.Synced(ctx); err != nil {
				t.Fatal(err)
			}
			var last uint64
			for i := 1; i <= writes; i++ {
				if i%10 == 0 {
					stop()
					_, stop = startNode(data, address)
				}
				last = put(i)
			}
			numbers := <-told
			for i := 1; i < len(numbers); i++ {
				if numbers[i] != numbers[i-1]+1 {
					t.Fatalf("told %v", numbers)
				}
			}
			if len(numbers) == 0 || numbers[len(numbers)-1] != writes {
				t.Errorf("told %v", numbers)
			}
			if err := mirror.WaitFor(ctx, last); err != nil {
				t.Fatal(err)
			}
			if r, ok := mirror.Get("1"); !ok || r.Value.N != writes {
				t.Errorf("the mirror has %v", r)
			}
			mirror.Close()
			_ = client.Close()
			stop()
		})
	}
}

func TestNode_ValuesAreExact(t *testing.T) {
	address, stop := startNode(t.TempDir(), "")
	defer stop()
	client, err := watchroute.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const text = `{"n":123456789012345678901,"f":1.50,"s":"<&>"}`
	if _, err := watchroute.Put(t.Context(), client, "notes/1", json.RawMessage(text)); err != nil {
		t.Fatal(err)
	}
	r, err := watchroute.Get[json.RawMessage](t.Context(), client, "notes/1")
	if err != nil || string(r.Value) != text {
		t.Errorf("got %s, %v", r.Value, err)
	}
	m, err := watchroute.Get[map[string]any](t.Context(), client, "notes/1")
	if err != nil || m.Value["f"] != 1.5 {
		t.Errorf("got %v, %v", m.Value, err)
	}
}

// Credentials that live a few seconds: a stream comes back with a fresh one, a session
// does not even end.
func TestNode_OutlivesItsCredentials(t *testing.T) {
	folder := t.TempDir()
	secret := []byte("0123456789abcdef0123456789abcdef")
	for name, text := range map[string]string{"secret": string(secret), "access.yaml": `
issuers:
  - {issuer: test, audiences: [watchroute], secret-file: ` + filepath.Join(folder, "secret") + `, operator-role: operator, roles-claim: roles, leeway: 0s}
`} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := config.Default()
	c.Data, c.HTTP, c.GRPC, c.Access = filepath.Join(folder, "data"), "127.0.0.1:0", "127.0.0.1:0", filepath.Join(folder, "access.yaml")
	n, err := node.Start(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop(context.Background()) }()
	_, address := n.Addresses()
	const life = 4 * time.Second
	mint := func(context.Context, bool) (string, error) {
		part := func(v any) string {
			text, _ := json.Marshal(v)
			return base64.RawURLEncoding.EncodeToString(text)
		}
		signed := part(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + part(map[string]any{
			"iss": "test", "aud": "watchroute", "sub": "me", "roles": []string{"operator"}, "exp": time.Now().Add(life).Unix()})
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(signed))
		return signed + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil)), nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for _, session := range []bool{false, true} {
		all.Go(func() {
			options := []watchroute.Option{watchroute.WithCredential(mint)}
			if session {
				options = append(options, watchroute.WithSession())
			}
			client, err := watchroute.Dial(address.String(), options...)
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			collection := fmt.Sprintf("notes-%v", session)
			if _, err := watchroute.Put(ctx, client, collection+"/1", note{}); err != nil {
				t.Error(err)
				return
			}
			var counters watchroute.Counters
			mirror, err := watchroute.NewMirror(ctx, client, collection, watchroute.MirrorConfig[note]{}, watchroute.CountIn(&counters))
			if err != nil {
				t.Error(err)
				return
			}
			defer mirror.Close()
			pace := time.NewTicker(20 * time.Millisecond) // a node takes 200 calls in a second
			defer pace.Stop()
			for began := time.Now(); time.Since(began) < 2*life+life/2; <-pace.C {
				o, err := watchroute.Put(ctx, client, collection+"/1", note{N: int(time.Since(began))})
				if err == nil {
					err = mirror.WaitFor(ctx, o.Revision)
				}
				if err != nil {
					t.Errorf("session=%v: %v", session, err)
					return
				}
			}
			if n := counters.Reconnects.Load(); (n == 0) != session || counters.Resets.Load() != 0 {
				t.Errorf("session=%v: %d reconnects, %d resets", session, n, counters.Resets.Load())
			}
		})
	}
	all.Wait()
}

// What a watch with deltas tells is what one without tells.
func TestNode_DeltasAreNotSeen(t *testing.T) {
	address, stop := startNode(t.TempDir(), "")
	defer stop()
	client, err := watchroute.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dice := rand.New(rand.NewPCG(1, 2))
	pick := func(texts ...string) string { return texts[dice.IntN(len(texts))] }
	object := func() string {
		return fmt.Sprintf(`{"a":%s,"b":%s,"c":{"x":%s,"y":{"z":%s}%s}%s}`, pick("1", "2", `"<x>"`, "null"), pick("[]", "[1]", "{}"),
			pick("1", "2.50"), pick("true", "false", `{"k":1}`), pick("", `,"w":1`), pick("", `,"d":{}`, `,"d":{"e":1}`, `,"d.e":1`))
	}
	order := func() string {
		return fmt.Sprintf(`{"customerId":%q%s%s%s}`, pick("1", "2"), pick("", `,"total":{"units":"1"}`, `,"total":{"units":"2","nanos":5}`),
			pick("", `,"items":[{"sku":"a"}]`, `,"items":[{"sku":"a"},{"sku":"b"}]`), pick("", `,"location":{}`, `,"location":{"description":"x"}`))
	}
	for collection, random := range map[string]func() string{"notes": object, "orders": order} {
		var names [3]string
		for i := range names {
			names[i] = fmt.Sprintf("%s/%d", collection, i)
			if _, err := watchroute.Put(ctx, client, names[i], json.RawMessage(random())); err != nil {
				t.Fatal(err)
			}
		}
		var told [2][]string
		var all sync.WaitGroup
		synced := sync.WaitGroup{}
		synced.Add(2)
		for i := range told {
			all.Go(func() {
				tell := func(kind watchroute.Kind, name string, value any) (done bool) {
					if kind == watchroute.Synced {
						synced.Done()
					}
					text, err := json.Marshal(value) // sorts the members
					if m, ok := value.(proto.Message); ok {
						text, err = proto.MarshalOptions{Deterministic: true}.Marshal(m)
					}
					if err != nil {
						t.Error(err)
					}
					told[i] = append(told[i], fmt.Sprintf("%v %s %q", kind, name, text))
					return kind == watchroute.Absent
				}
				options := []watchroute.WatchOption{watchroute.EveryChange()}
				if i == 1 {
					options = append(options, watchroute.Delta())
				}
				if collection == "notes" {
					for e, err := range watchroute.Watch[map[string]any](ctx, client, collection, options...) {
						if err != nil || tell(e.Kind, e.Name, e.Value) {
							break
						}
					}
					return
				}
				for e, err := range watchroute.Watch[*shopv1.Order](ctx, client, collection, options...) {
					if err != nil || tell(e.Kind, e.Name, e.Value) {
						break
					}
				}
			})
		}
		synced.Wait()
		for range 150 {
			if _, err := watchroute.Put(ctx, client, names[dice.IntN(len(names))], json.RawMessage(random())); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := watchroute.Delete(ctx, client, names[0]); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if !slices.Equal(told[0], told[1]) || len(told[0]) < 100 {
			for i := range min(len(told[0]), len(told[1])) {
				if told[0][i] != told[1][i] {
					t.Errorf("%s: without deltas\n%s, with\n%s", collection, told[0][i], told[1][i])
					break
				}
			}
			t.Errorf("%s: %d and %d events", collection, len(told[0]), len(told[1]))
		}
	}
}

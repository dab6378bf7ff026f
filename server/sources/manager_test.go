package sources_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/server/sources"
)

// feed is a broker of the test: it gives what it is told to.
type feed struct {
	batches chan []sources.Event
	taken   chan error // what came of each
	fail    chan error // ends Run
	began   chan map[string]string
	passes  chan [2]string // partition, position
}

func newFeed() *feed {
	return &feed{make(chan []sources.Event), make(chan error), make(chan error), make(chan map[string]string, 10), make(chan [2]string)}
}

func (f *feed) Run(ctx context.Context, from sources.Positions, to sources.Sink) error {
	f.began <- from.All()
	to.Connected()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-f.fail:
			return err
		case at := <-f.passes:
			f.taken <- to.Pass(ctx, at[0], at[1])
		case events := <-f.batches:
			err := to.Take(ctx, events)
			f.taken <- err
			if err != nil {
				return err
			}
		}
	}
}

// world is a manager over a log, with one feed.
type world struct {
	*testing.T
	log     changelog.Log
	schemas *schema.Registry
	feed    *feed
	manager *sources.Manager
	change  func(*sources.Config)

	mu    sync.Mutex
	batch []*changelog.Batch
	news  chan struct{}
}

func newWorld(t *testing.T, change ...func(*sources.Config)) *world {
	t.Helper()
	schemas, err := schema.NewRegistry(protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, log: changelogtest.NewMem(t), schemas: schemas, feed: newFeed(), news: make(chan struct{}, 1)}
	t.Cleanup(w.log.Subscribe(func(b *changelog.Batch) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.batch = append(w.batch, b)
		select {
		case w.news <- struct{}{}:
		default:
		}
	}))
	w.change = func(c *sources.Config) {
		for _, f := range change {
			f(c)
		}
	}
	w.start()
	t.Cleanup(func() { w.manager.Close() })
	return w
}

func (w *world) start() {
	w.Helper()
	cfg := sources.Config{Log: w.log, Schemas: w.schemas, Logger: slog.New(slog.DiscardHandler), Connectors: map[string]sources.Connector{
		"mqtt": func(*watchroutev1.Source) (sources.Source, error) { return w.feed, nil },
	}}
	w.change(&cfg)
	var err error
	if w.manager, err = sources.New(cfg); err != nil {
		w.Fatal(err)
	}
	if err := w.manager.Start(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// source reads a source as its JSON.
func source(t testing.TB, text string) *watchroutev1.Source {
	t.Helper()
	s := new(watchroutev1.Source)
	if err := protojson.Unmarshal([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}

const things = `"mqtt": {}, "mappings": [{"collection": "things", "id": "data.id", "put": "data"}]`

// write writes a message to a collection of the system, as a server does.
func (w *world) write(collection, id string, m proto.Message) error {
	w.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		w.Fatal(err)
	}
	op := changelog.Op{ID: id, Type: string(m.ProtoReflect().Descriptor().FullName()), Data: data}
	if err := w.manager.Checks()[collection](w.Context(), &op); err != nil {
		return err
	}
	_, err = w.log.Write(w.Context(), changelog.Write{Collection: collection, Ops: []changelog.Op{op}})
	return err
}

func (w *world) run(text string) {
	w.Helper()
	s := source(w, text)
	if err := w.write(sources.Collection, s.GetSourceId(), s); err != nil {
		w.Fatal(err)
	}
}

// gives lets the feed give events.
func (w *world) gives(events ...sources.Event) {
	w.Helper()
	if err := w.try(events...); err != nil {
		w.Fatal(err)
	}
}

func (w *world) try(events ...sources.Event) error {
	w.Helper()
	select {
	case w.feed.batches <- events:
		return <-w.feed.taken
	case <-time.After(10 * time.Second):
		w.Fatal("nothing reads")
		return nil
	}
}

// until waits until a condition holds that changes of the log may make true.
func (w *world) until(what string, holds func() bool) {
	w.Helper()
	timeout := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-w.news:
		case <-timeout:
			w.Fatalf("it never came to: %s", what)
		}
	}
}

func (w *world) status(id string) *watchroutev1.SourceStatus {
	w.Helper()
	m := new(watchroutev1.SourceStatus)
	w.get(sources.StatusOf, id, m)
	return m
}

func (w *world) becomes(id string, state watchroutev1.SourceStatus_State) {
	w.Helper()
	w.until(state.String(), func() bool { return w.status(id).GetState() == state })
}

func (w *world) get(collection, id string, m proto.Message) bool {
	w.Helper()
	rec, err := w.log.Get(context.Background(), collection, id, 0)
	if err != nil {
		w.Fatal(err)
	}
	if rec == nil || rec.Absent {
		return false
	}
	if err := proto.Unmarshal(rec.Data, m); err != nil {
		w.Fatal(err)
	}
	return true
}

// has checks a value without a schema; empty: there is none.
func (w *world) has(collection, id, want string) {
	w.Helper()
	rec, err := w.log.Get(context.Background(), collection, id, 0)
	if err != nil {
		w.Fatal(err)
	}
	got := ""
	if rec != nil && !rec.Absent {
		got = string(rec.Data)
	}
	if got != want {
		w.Errorf("%s/%s is %s, want %s", collection, id, got, want)
	}
}

func (w *world) letters() (all []*watchroutev1.DeadLetter) {
	w.Helper()
	for rec, err := range w.log.List(context.Background(), sources.DeadLettersOf, "", 1<<60) {
		if err != nil {
			w.Fatal(err)
		}
		m := new(watchroutev1.DeadLetter)
		if err := proto.Unmarshal(rec.Data, m); err != nil {
			w.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func at(position int, value string) sources.Event {
	return sources.Event{Topic: "t", Partition: "p", Position: fmt.Sprint(position), Value: []byte(value)}
}

func TestManager_EventsBecomeChanges(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", ` + things + `}`)
	w.gives(at(1, `{"id": "a", "n": 1}`), at(2, `{"id": "b", "n": 1}`), at(3, `{"id": "a", "n": 2}`))
	w.has("things", "a", `{"id":"a","n":2}`)
	w.has("things", "b", `{"id":"b","n":1}`)
	if head := w.log.Bounds("things").Head; head != 3 {
		t.Errorf("the head is %d: each event is a change of its own", head)
	}
	w.until("its status", func() bool {
		s := w.status("s")
		return s.GetState() == watchroutev1.SourceStatus_RUNNING && s.GetEvents() == 3 && s.GetChanges() == 3 && s.GetPositions()["p"] == "3" && s.GetLastEventTime() != nil
	})
}

func TestManager_AnEventMayMakeSeveralChangesOrNone(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", "mqtt": {}, "mappings": [
		{"when": "data.kind == 'order'", "collection": "carts", "id": "data.id", "put": "data"},
		{"when": "data.kind == 'order'", "collection": "lines", "forEach": "data.items", "id": "data.id + '-' + item.sku", "put": "item"},
		{"when": "data.kind == 'gone'", "collection": "carts", "id": "data.id", "delete": "true"},
		{"when": "data.kind == 'paid'", "collection": "carts", "id": "data.id", "merge": "{'paid': true, 'kind': null}", "labels": {"by": "data.by"}}]}`)
	w.gives(at(1, `{"kind":"order","id":"7","items":[{"sku":"x"},{"sku":"y"}]}`), at(2, `{"kind":"paid","id":"7","by":"ann"}`), at(3, `{"kind":"other"}`))
	w.has("carts", "7", `{"id":"7","items":[{"sku":"x"},{"sku":"y"}],"paid":true}`)
	w.has("lines", "7-x", `{"sku":"x"}`)
	w.has("lines", "7-y", `{"sku":"y"}`)
	rec, err := w.log.Get(t.Context(), "carts", "7", 0)
	if err != nil || rec.Labels["by"] != "ann" {
		t.Error(rec, err)
	}
	w.gives(at(4, `{"kind":"gone","id":"7"}`))
	w.has("carts", "7", "")
}

func TestManager_OrdersOfAContract(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", "mqtt": {}, "mappings": [{"collection": "orders", "id": "data.id", "merge": "{'customer_id': data.customer}"}]}`)
	w.gives(at(1, `{"id":"7","customer":"ann"}`), at(2, `{"id":"8","customer":7}`))
	v, err := w.log.Get(t.Context(), "orders", "7", 0)
	if err != nil || v == nil || !strings.Contains(string(w.schemas.Schema("orders").Value(v).JSON()), `"customerId":"ann"`) {
		t.Error(v, err)
	}
	if dead := w.letters(); len(dead) != 1 || dead[0].GetPosition() != "2" || !strings.Contains(dead[0].GetMessage(), "customer") {
		t.Error(dead)
	}
}

// TestManager_PositionsAreKept: what was taken is not given again to who asks for
// positions, however the manager ended.
func TestManager_PositionsAreKept(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", ` + things + `}`)
	if from := <-w.feed.began; len(from) != 0 {
		t.Error(from)
	}
	w.gives(at(1, `{"id":"a"}`), sources.Event{Partition: "q", Position: "x", Value: []byte(`{"id":"b"}`)})
	w.gives(at(2, `{"id":"a","n":1}`))
	w.manager.Close()
	w.start()
	if from := <-w.feed.began; len(from) != 2 || from["p"] != "2" || from["q"] != "x" {
		t.Error(from)
	}
}

func TestManager_APositionMovesWithoutAnEvent(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", ` + things + `}`)
	if began := <-w.feed.began; len(began) > 0 {
		t.Errorf("it began at %v", began)
	}
	for _, at := range [][2]string{{"p", "7"}, {"q", "1"}, {"p", "9"}} {
		w.feed.passes <- at
		if err := <-w.feed.taken; err != nil {
			t.Fatal(err)
		}
	}
	w.until("its status", func() bool { return w.status("s").GetPositions()["p"] == "9" })
	w.manager.Close()
	w.start()
	if began := <-w.feed.began; began["p"] != "9" || began["q"] != "1" {
		t.Errorf("it went on at %v", began)
	}
}

// TestManager_AnIDThatIsUsedAgain: two events that say they are one are both there to see.
func TestManager_AnIDThatIsUsedAgain(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", ` + things + `}`)
	with := func(value string) sources.Event { return sources.Event{ID: "1", Value: []byte(value)} }
	w.gives(with(`{"id":"a"}`), with(`{"id":"b"}`))
	w.gives(with(`{"id":"c"}`), with(`{"id":"b"}`), with(`{"id":"a"}`))
	w.has("things", "a", `{"id":"a"}`)
	w.has("things", "b", "")
	if got := w.letters(); len(got) != 2 || got[0].GetReason() != "REQUEST_ID_REUSED" || got[0].GetEventId() != "1" {
		t.Fatalf("letters: %v", got)
	}
	w.until("its status", func() bool { s := w.status("s"); return s.GetDuplicates() == 1 && s.GetDeadLetters() == 3 })
	for _, m := range w.letters() {
		m.Replay = true
		if err := w.write(sources.DeadLettersOf, m.GetDeadletterId(), m); err != nil {
			t.Fatal(err)
		}
	}
	w.until("all are replayed", func() bool { return len(w.letters()) == 0 })
	w.has("things", "b", `{"id":"b"}`)
	w.has("things", "c", `{"id":"c"}`)
}

func TestManager_Poison(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", ` + things + `}`)
	bad := at(2, "{oops")
	bad.Key, bad.Headers = []byte("k"), map[string]string{"h": "v"}
	w.gives(at(1, `{"id":"a"}`), bad, at(3, `{"id":"b"}`), at(4, `{"no":"id"}`))
	w.has("things", "a", `{"id":"a"}`)
	w.has("things", "b", `{"id":"b"}`)
	dead := map[string]*watchroutev1.DeadLetter{}
	for _, m := range w.letters() {
		dead[m.GetPosition()] = m
	}
	if m := dead["2"]; len(dead) != 2 || string(m.GetValue()) != "{oops" || string(m.GetKey()) != "k" || m.GetHeaders()["h"] != "v" || m.GetReason() != "INVALID_VALUE" || m.GetAttempts() != 1 || m.GetPartition() != "p" || m.GetTopic() != "t" || m.GetSourceId() != "s" {
		t.Fatal(dead)
	}
	if m := dead["4"]; !strings.Contains(m.GetMessage(), "mappings[0].id") {
		t.Error(m)
	}
	w.until("its status", func() bool { s := w.status("s"); return s.GetDeadLetters() == 2 && s.GetPositions()["p"] == "4" })

	// Replaying what is still wrong counts; when the mapping is mended it becomes a change.
	id := dead["4"].GetDeadletterId()
	if err := w.write(sources.DeadLettersOf, id, &watchroutev1.DeadLetter{Value: []byte("forged")}); !resource.HasReason(err, resource.InvalidField) {
		t.Errorf("writing a dead letter: %v", err)
	}
	replay := func() {
		t.Helper()
		if err := w.write(sources.DeadLettersOf, id, &watchroutev1.DeadLetter{Value: []byte("forged"), Replay: true}); err != nil {
			t.Fatal(err)
		}
	}
	letter := new(watchroutev1.DeadLetter)
	replay()
	w.until("a second attempt", func() bool { return w.get(sources.DeadLettersOf, id, letter) && letter.GetAttempts() == 2 })
	if letter.GetReplay() || string(letter.GetValue()) != `{"no":"id"}` {
		t.Error(letter)
	}
	w.run(`{"sourceId": "s", "mqtt": {}, "mappings": [{"collection": "things", "id": "data.no", "put": "data"}]}`)
	replay()
	w.until("no dead letter", func() bool { return !w.get(sources.DeadLettersOf, id, letter) })
	w.has("things", "id", `{"no":"id"}`)
}

// TestManager_AnEventThatIsRefusedWhenItIsApplied: a merge is only then known to be wrong.
func TestManager_AnEventThatIsRefusedWhenItIsApplied(t *testing.T) {
	w := newWorld(t, func(c *sources.Config) { c.MaxValueBytes = 40 })
	w.run(`{"sourceId": "s", "mqtt": {}, "mappings": [{"collection": "things", "id": "data.id", "merge": "data"}, {"collection": "copies", "id": "data.id", "put": "{'n': 1}"}]}`)
	w.gives(at(1, `{"id":"a","x":"12345678901234567890"}`), at(2, `{"id":"a","y":"12345678901234567890"}`), at(3, `{"id":"b"}`))
	w.has("things", "a", `{"id":"a","x":"12345678901234567890"}`)
	w.has("things", "b", `{"id":"b"}`)
	if dead := w.letters(); len(dead) != 1 || dead[0].GetPosition() != "2" || dead[0].GetReason() != "TOO_LARGE" {
		t.Error(dead)
	}
	if head := w.log.Bounds("copies").Head; head != 2 {
		t.Errorf("copies are at %d: nothing of an event is applied of which something is refused", head)
	}
}

func TestManager_EventsWithoutPositions(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", ` + things + `}`)
	with := func(id string, n int) sources.Event {
		return sources.Event{ID: id, Value: []byte(fmt.Sprintf(`{"id":"a","n":%d}`, n))}
	}
	w.gives(with("1", 1), with("2", 2))
	w.gives(with("1", 1), with("2", 2), with("3", 3)) // redelivered
	if head := w.log.Bounds("things").Head; head != 3 {
		t.Errorf("with ids: %d changes", head)
	}
	same := sources.Event{Value: []byte(`{"id":"b"}`)}
	again := same
	again.Redelivered = true
	w.gives(same, sources.Event{Value: []byte(`{"id":"b","n":1}`)}, again)
	w.has("things", "b", `{"id":"b","n":1}`)
	w.gives(same) // somebody says it once more
	w.has("things", "b", `{"id":"b"}`)
	w.until("its status", func() bool { return w.status("s").GetDuplicates() == 3 })
}

func TestManager_OutOfDate(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", "mqtt": {}, "mappings": [{"collection": "things", "id": "data.id", "put": "data", "order": "int(data.n)", "eventTime": "event.time"}]}`)
	event := at(3, `{"id":"a","n":10}`)
	event.Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	event.Headers = map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	w.gives(at(1, `{"id":"a","n":9}`), event, at(4, `{"id":"a","n":9}`))
	w.has("things", "a", `{"id":"a","n":10}`)
	rec, err := w.log.Get(t.Context(), "things", "a", 0)
	if err != nil || rec.Labels["event-order"] != "10" || rec.Labels["event-time"] != "2026-01-02T03:04:05Z" || rec.Labels["traceparent"] != event.Headers["traceparent"] {
		t.Error(rec.Labels, err)
	}
	w.until("its status", func() bool { return w.status("s").GetOutOfDate() == 1 })
}

func TestManager_SourcesComeAndGo(t *testing.T) {
	w := newWorld(t, func(c *sources.Config) {
		c.Sources = []*watchroutev1.Source{source(t, `{"sourceId": "fixed", `+things+`}`)}
	})
	<-w.feed.began
	w.becomes("fixed", watchroutev1.SourceStatus_RUNNING)
	w.run(`{"sourceId": "fixed", "paused": true, ` + things + `}`)
	w.becomes("fixed", watchroutev1.SourceStatus_PAUSED)
	w.run(`{"sourceId": "fixed", "tenant": "acme", ` + things + `}`)
	<-w.feed.began
	w.gives(at(1, `{"id":"a"}`))
	w.has("acme:things", "a", `{"id":"a"}`)
	w.has("things", "a", "")
	w.run(`{"sourceId": "more", "paused": true, ` + things + `}`)
	w.becomes("more", watchroutev1.SourceStatus_PAUSED)
	if _, err := w.log.Write(t.Context(), changelog.Write{Collection: sources.Collection, Ops: []changelog.Op{{ID: "more", Delete: true}}}); err != nil {
		t.Fatal(err)
	}
	w.until("no status", func() bool { return !w.get(sources.StatusOf, "more", new(watchroutev1.SourceStatus)) })
}

func TestManager_ItBacksOffAndFails(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", ` + things + `}`)
	<-w.feed.began
	w.feed.fail <- errors.New("the broker is away")
	w.becomes("s", watchroutev1.SourceStatus_BACKING_OFF)
	if s := w.status("s"); s.GetError() != "the broker is away" || s.GetRetryTime() == nil || s.GetReconnects() != 1 {
		t.Error(s)
	}
	<-w.feed.began
	w.becomes("s", watchroutev1.SourceStatus_RUNNING)
	w.feed.fail <- sources.Permanent(errors.New("the topic was made anew"))
	w.becomes("s", watchroutev1.SourceStatus_FAILED)
	w.run(`{"sourceId": "s", "note": "mended", ` + things + `}`)
	<-w.feed.began
	w.becomes("s", watchroutev1.SourceStatus_RUNNING)
}

// TestManager_ALogThatFailsStopsTheSource: the broker is not told of what is not durable.
func TestManager_ALogThatFailsStopsTheSource(t *testing.T) {
	w := newWorld(t)
	w.run(`{"sourceId": "s", ` + things + `}`)
	<-w.feed.began
	w.gives(at(1, `{"id":"a"}`))
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.try(at(2, `{"id":"a","n":1}`)); !resource.HasReason(err, resource.StoreUnavailable) {
		t.Errorf("taken with a closed log: %v", err)
	}
}

func TestManager_ChecksWhatIsWritten(t *testing.T) {
	w := newWorld(t)
	for text, want := range map[string]string{
		`{"sourceId": "s"}`: "resource.data.mappings",
		`{"sourceId": "s", "mappings": [{"collection": "things", "id": "data.id", "put": "data"}]}`:                                                                                "resource.data.connector",
		`{"sourceId": "s", "kafka": {}, "mappings": [{"collection": "things", "id": "data.id", "put": "data"}]}`:                                                                   "resource.data.kafka",
		`{"sourceId": "s", "mqtt": {}, "mappings": [{"collection": "things", "id": "data.id +", "put": "data"}]}`:                                                                  "resource.data.mappings[0].id",
		`{"sourceId": "s", "mqtt": {}, "decoding": {"format": "PROTOBUF", "message": "no.Such"}, "mappings": [{"collection": "things", "id": "data.id", "put": "data"}]}`:          "resource.data.decoding.message",
		`{"sourceId": "s", "mqtt": {}, "decoding": {"format": "PROTOBUF", "message": "shop.v1.Order"}, "mappings": [{"collection": "things", "id": "data.order_i", "put": "{}"}]}`: "resource.data.mappings[0].id",
		`{"sourceId": "s", "mqtt": {}, "mappings": [{"collection": "orders", "id": "data.id", "put": "{'customer': 'x'}"}]}`:                                                       "resource.data.mappings[0].put",
		`{"sourceId": "a/b", "mqtt": {}, "mappings": [{"collection": "things", "id": "data.id", "put": "data"}]}`:                                                                  "resource.data.source_id",
		`{"sourceId": "s", "tenant": "A B", "mqtt": {}, "mappings": [{"collection": "things", "id": "data.id", "put": "data"}]}`:                                                   "resource.data.tenant",
		`{"sourceId": "s", "mqtt": {}, "decoding": {"format": "TEXT", "message": "shop.v1.Order"}, "mappings": [{"collection": "things", "id": "data", "put": "{}"}]}`:             "resource.data.decoding.message",
		`{"sourceId": "s", "mqtt": {}, "decoding": {"format": "PROTOBUF"}, "mappings": [{"collection": "things", "id": "data", "put": "{}"}]}`:                                     "resource.data.decoding.message",
	} {
		err := w.write(sources.Collection, "s", source(t, text))
		if e := new(resource.Error); !errors.As(err, &e) || e.Metadata["field"] != want {
			t.Errorf("%s: %v, want the field %s", text, err, want)
		}
	}
	if err := w.write(sources.StatusOf, "s", &watchroutev1.SourceStatus{}); !resource.HasReason(err, resource.PermissionDenied) {
		t.Error(err)
	}
	if err := w.write(sources.DeadLettersOf, "none", &watchroutev1.DeadLetter{Replay: true}); !resource.HasReason(err, resource.NotFound) {
		t.Error(err)
	}
}

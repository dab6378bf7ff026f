package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a RabbitMQ with one queue or stream, which is called orders.
type fake struct {
	stream  map[int64]string // messages of a stream, by offset; nil: it is a queue
	ready   int
	refuses error // what comes of Consume

	mu         sync.Mutex
	consumers  []*fakeConsumer
	from       []any
	prefetches []int
	acks       []uint64
	closed     bool
}

type fakeConsumer struct {
	deliveries chan amqp.Delivery
	ended      bool
	why        error
}

func (f *fake) Consume(name string, offset any, prefetch int) (*consumer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses != nil {
		return nil, f.refuses
	}
	c := &fakeConsumer{deliveries: make(chan amqp.Delivery, 5000), why: amqp.ErrClosed}
	f.consumers, f.from, f.prefetches = append(f.consumers, c), append(f.from, offset), append(f.prefetches, prefetch)
	var offsets []int64
	for o := range f.stream {
		offsets = append(offsets, o)
	}
	slices.Sort(offsets)
	start := int64(0)
	switch from := offset.(type) {
	case int64:
		start = from
	case string:
		if from != "first" && len(offsets) > 0 { // the last chunk has one message
			start = offsets[len(offsets)-1]
		}
		if from == "next" {
			start++
		}
	}
	for _, o := range offsets {
		if o >= start {
			c.deliveries <- streamed(o, f.stream[o])
		}
	}
	return &consumer{deliveries: c.deliveries, ack: f.ack, why: func() error { return c.why }, close: func() { f.end(c, nil) }}, nil
}

func streamed(offset int64, body string) amqp.Delivery {
	return amqp.Delivery{Headers: amqp.Table{offsetHeader: offset}, Body: []byte(body), DeliveryTag: uint64(offset) + 1}
}

func (f *fake) ack(tag uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acks = append(f.acks, tag)
	return nil
}

func (f *fake) Ready(string) (int, error) { return f.ready, nil }

func (f *fake) Close() {
	for _, c := range f.consumers {
		f.end(c, nil)
	}
	f.closed = true
}

// end ends a consumer.
func (f *fake) end(c *fakeConsumer, why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.ended {
		return
	}
	if c.ended = true; why != nil {
		c.why = why
	}
	close(c.deliveries)
}

// acknowledged gives the tags, each of which stands for those before it.
func (f *fake) acknowledged() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.acks)
}

// sink takes when it is let.
type sink struct {
	positions map[string]string
	connected int
	lags      []int64
	takes     chan []sources.Event // has no buffer
	results   chan error
}

func (s *sink) Position(partition string) string { return s.positions[partition] }

func (s *sink) All() map[string]string { return s.positions }

func (s *sink) Connected() { s.connected++ }

func (s *sink) Pass(_ context.Context, partition, position string) error {
	s.positions[partition] = position
	return nil
}

func (s *sink) Lag(_ string, n int64) { s.lags = append(s.lags, n) }

func (s *sink) Take(ctx context.Context, events []sources.Event) error {
	select {
	case s.takes <- slices.Clone(events):
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-s.results
}

type fixture struct {
	*fake
	sink   *sink
	cancel context.CancelFunc
	ended  chan error
}

// run runs a source in a bubble of synctest.
func run(t *testing.T, f *fake, position string, config *watchroutev1.RabbitmqSource) *fixture {
	t.Helper()
	config.Url = "amqp://localhost"
	s, err := New(&watchroutev1.Source{SourceId: "shop", Connector: &watchroutev1.Source_Rabbitmq{Rabbitmq: config}})
	if err != nil {
		t.Fatal(err)
	}
	s.(*Source).connect = func(context.Context) (broker, error) { return f, nil }
	s.(*Source).MaxEvents = 3
	ctx, cancel := context.WithCancel(t.Context())
	x := &fixture{fake: f, cancel: cancel, ended: make(chan error, 1),
		sink: &sink{positions: map[string]string{"orders": position}, takes: make(chan []sources.Event), results: make(chan error)}}
	go func() { x.ended <- s.Run(ctx, x.sink, x.sink) }()
	t.Cleanup(func() {
		cancel()
		synctest.Wait()
		if !f.closed {
			t.Error("the connection is left open")
		}
	})
	synctest.Wait()
	return x
}

// gets gives the bodies of the next batch, which is taken.
func (x *fixture) gets() string {
	var bodies []string
	for _, e := range <-x.sink.takes {
		bodies = append(bodies, string(e.Value))
	}
	x.sink.results <- nil
	synctest.Wait()
	return strings.Join(bodies, " ")
}

// send sends messages of a queue.
func (x *fixture) send(tags ...uint64) {
	for _, tag := range tags {
		x.consumers[0].deliveries <- amqp.Delivery{DeliveryTag: tag, MessageId: fmt.Sprint("m", tag), Body: []byte(fmt.Sprint(tag))}
	}
	synctest.Wait()
}

func queueOf(name string) *watchroutev1.RabbitmqSource {
	return &watchroutev1.RabbitmqSource{From: &watchroutev1.RabbitmqSource_Queue{Queue: name}}
}

func streamOf(name string) *watchroutev1.RabbitmqSource {
	return &watchroutev1.RabbitmqSource{From: &watchroutev1.RabbitmqSource_Stream{Stream: name}}
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	with := func(url string, c *watchroutev1.RabbitmqSource, change ...func(*watchroutev1.RabbitmqSource)) *watchroutev1.RabbitmqSource {
		c.Url = url
		for _, do := range change {
			do(c)
		}
		return c
	}
	const url = "amqp://broker"
	for _, test := range []struct {
		config *watchroutev1.RabbitmqSource
		field  string
	}{
		{nil, "rabbitmq.url"},
		{with("broker:5672", queueOf("q")), "rabbitmq.url"},
		{with("http://broker", queueOf("q")), "rabbitmq.url"},
		{with("amqp://:5672", queueOf("q")), "rabbitmq.url"},
		{with("amqp://broker:0", queueOf("q")), "rabbitmq.url"},
		{with("amqp://me:hunter2@broker", queueOf("q")), "rabbitmq.url"},
		{with("amqp://broker/a/b", queueOf("q")), "rabbitmq.url"},
		{with("amqp://broker?heartbeat=0", queueOf("q")), "rabbitmq.url"},
		{with("rabbitmq-stream://broker", streamOf("s")), "rabbitmq.url"},
		{with(url, &watchroutev1.RabbitmqSource{}), "rabbitmq.queue"},
		{with(url, queueOf("")), "rabbitmq.queue"},
		{with(url, streamOf("")), "rabbitmq.stream"},
		{with(url, queueOf("q"), func(c *watchroutev1.RabbitmqSource) { c.Prefetch = 65536 }), "rabbitmq.prefetch"},
		{with(url, queueOf("q"), func(c *watchroutev1.RabbitmqSource) { c.Prefetch = -1 }), "rabbitmq.prefetch"},
		{with(url, queueOf("q"), func(c *watchroutev1.RabbitmqSource) { c.Start = watchroutev1.SourceStart_LATEST_EVENT }), "rabbitmq.start"},
		{with(url, streamOf("s"), func(c *watchroutev1.RabbitmqSource) { c.Start = 9 }), "rabbitmq.start"},
		{with(url, queueOf("q"), func(c *watchroutev1.RabbitmqSource) { c.Login = &watchroutev1.Login{} }), "rabbitmq.login.username"},
		{with(url, queueOf("q"), func(c *watchroutev1.RabbitmqSource) { c.Login = &watchroutev1.Login{Username: "me"} }), "rabbitmq.login.password"},
		{with(url, queueOf("q"), func(c *watchroutev1.RabbitmqSource) { c.Tls = &watchroutev1.ClientTls{CertFile: "x"} }), "rabbitmq.tls"},
		{with("amqps://broker:1/%2Fshop", queueOf("q"), func(c *watchroutev1.RabbitmqSource) { c.Prefetch = 65535 }), ""},
		{with(url, streamOf("s"), func(c *watchroutev1.RabbitmqSource) { c.Start = watchroutev1.SourceStart_LATEST_EVENT }), ""},
	} {
		_, err := New(&watchroutev1.Source{Connector: &watchroutev1.Source_Rabbitmq{Rabbitmq: test.config}})
		if test.field == "" {
			if err != nil {
				t.Errorf("%v: %v", test.config, err)
			}
			continue
		}
		if e := new(resource.Error); !errors.As(err, &e) || e.Reason != resource.InvalidField || e.Metadata["field"] != test.field || strings.Contains(e.Message, "hunter2") {
			t.Errorf("%v: got %v, want INVALID_FIELD in %s", test.config, err, test.field)
		}
	}
}

func TestParse_HasDefaults(t *testing.T) {
	for url, want := range map[string]string{
		"amqp://b": "b:5672 / false", "amqps://b/": "b:5671 / true", "amqp://[::1]:7/shop": "[::1]:7 shop false", "amqp://b/%2Fa%2Fb": "b:5672 /a/b false",
	} {
		a, err := parse(url)
		if got := fmt.Sprint(a, " ", a.vhost, " ", a.secure); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", url, got, err, want)
		}
	}
}

func TestQueue_AcknowledgesWhatIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := run(t, &fake{}, "", queueOf("orders"))
		x.send(1)
		first := <-x.sink.takes
		if e := first[0]; len(first) != 1 || e.ID != "m1" || e.Position != "" || e.Partition != "orders" || e.Topic != "orders" {
			t.Errorf("%+v was taken", first)
		}
		x.send(2, 3, 4, 5)
		if got := x.acknowledged(); len(got) > 0 {
			t.Errorf("%v were acknowledged before anything was durable", got)
		}
		x.sink.results <- nil
		if got := x.gets() + ", " + x.gets(); got != "2 3 4, 5" {
			t.Errorf("then %s were taken", got)
		}
		if got := x.acknowledged(); !slices.Equal(got, []uint64{1, 4, 5}) {
			t.Errorf("%v were acknowledged", got)
		}
		if x.prefetches[0] != 1000 || x.from[0] != nil || x.sink.connected != 1 {
			t.Errorf("prefetch %v, from %v; told of %d connections", x.prefetches, x.from, x.sink.connected)
		}
		x.cancel()
		if err := <-x.ended; err != nil {
			t.Errorf("Run returned %v when it was to end", err)
		}
	})
}

func TestQueue_AcknowledgesNothingThatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := run(t, &fake{}, "", queueOf("orders"))
		x.send(1, 2)
		<-x.sink.takes
		full := errors.New("the disk is full")
		x.sink.results <- full
		if err := <-x.ended; !errors.Is(err, full) || len(x.acknowledged()) > 0 {
			t.Errorf("Run returned %v, and %v were acknowledged", err, x.acknowledged())
		}
	})
}

func TestQueue_AcknowledgesWhatIsDurableThoughItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := run(t, &fake{}, "", queueOf("orders"))
		x.send(1)
		<-x.sink.takes
		x.cancel()
		synctest.Wait()
		x.sink.results <- nil
		if err := <-x.ended; err != nil || !slices.Equal(x.acknowledged(), []uint64{1}) {
			t.Errorf("Run returned %v, and %v were acknowledged", err, x.acknowledged())
		}
	})
}

func TestQueue_TakesWhatCameBeforeTheBrokerEndedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		x := run(t, f, "", queueOf("orders"))
		x.send(1)
		<-x.sink.takes
		x.send(2)
		deleted := errors.New("deleted")
		f.end(f.consumers[0], deleted)
		x.sink.results <- nil
		if got := x.gets(); got != "2" {
			t.Errorf("%s was taken", got)
		}
		if err := <-x.ended; !errors.Is(err, deleted) || sources.IsPermanent(err) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestQueue_TellsWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := run(t, &fake{ready: 40}, "", queueOf("orders"))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if !slices.Equal(x.sink.lags, []int64{40}) {
			t.Errorf("the lag was %v", x.sink.lags)
		}
	})
}

func TestRun_SaysWhatIsNotThere(t *testing.T) {
	missing := &amqp.Error{Code: amqp.NotFound, Reason: "NOT_FOUND - no queue 'orders' in vhost '/'"}
	down := &amqp.Error{Code: amqp.NotFound, Reason: "NOT_FOUND - home node 'a' of durable queue 'orders' is down"}
	other := &amqp.Error{Code: amqp.PreconditionFailed, Reason: "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'orders'"}
	for _, test := range []struct {
		refuses   error
		config    *watchroutev1.RabbitmqSource
		want      string
		permanent bool
	}{
		{missing, queueOf("orders"), "there is no orders: ", false},
		{missing, streamOf("orders"), "there is no orders: ", false},
		{down, queueOf("orders"), "orders: ", false},
		{other, streamOf("orders"), "it is no stream", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			x := run(t, &fake{refuses: test.refuses}, "", test.config)
			if err := <-x.ended; !strings.Contains(err.Error(), test.want) || strings.HasPrefix(err.Error(), "there") != strings.HasPrefix(test.want, "there") || sources.IsPermanent(err) != test.permanent {
				t.Errorf("Run returned %v, want %q", err, test.want)
			}
		})
	}
}

func TestQueue_IsNoStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := run(t, &fake{stream: map[int64]string{0: "a"}}, "", queueOf("orders"))
		if err := <-x.ended; !sources.IsPermanent(err) || !strings.Contains(err.Error(), "rabbitmq.stream") {
			t.Errorf("Run returned %v", err)
		}
	})
}

func at(offset int, body string) string {
	return fmt.Sprintf("%d/%08x", offset, crc32.ChecksumIEEE([]byte(body)))
}

func TestStream_BeginsAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := run(t, &fake{stream: map[int64]string{0: "a", 1: "b"}}, "", streamOf("orders"))
		events := <-x.sink.takes
		x.sink.results <- nil
		if len(events) == 0 || events[len(events)-1].Position != at(1, "b") || x.from[0] != "first" {
			t.Errorf("%+v were taken from %v", events, x.from)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := streamOf("orders")
		c.Start = watchroutev1.SourceStart_LATEST_EVENT
		x := run(t, &fake{stream: map[int64]string{0: "a", 1: "b"}}, "", c)
		time.Sleep(probeTime)
		synctest.Wait()
		if got := x.sink.positions["orders"]; got != at(1, "b") || x.sink.connected != 1 { // as one that is killed now leaves it
			t.Errorf("it begins behind %q, connected %d times", got, x.sink.connected)
		}
		x.consumers[1].deliveries <- streamed(2, "c")
		if got := x.gets(); got != "c" || fmt.Sprint(x.from) != "[last 1]" {
			t.Errorf("%s was taken from %v", got, x.from)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := streamOf("orders")
		c.Start = watchroutev1.SourceStart_LATEST_EVENT
		x := run(t, &fake{stream: map[int64]string{}}, "", c)
		time.Sleep(probeTime)
		synctest.Wait()
		if got := x.sink.positions["orders"]; got != nothing || fmt.Sprint(x.from) != "[last first]" {
			t.Errorf("it begins behind %q, and reads from %v", got, x.from)
		}
	})
}

func TestStream_GoesOnWhereItWas(t *testing.T) {
	all := map[int64]string{5: "e", 6: "f", 7: "g"}
	for _, test := range []struct {
		name     string
		stream   map[int64]string
		position string
		want     string // what is taken
		err      string // of the permanent error; empty: none
	}{
		{"behind the last one", all, at(6, "f"), "g", ""},
		{"nothing is new", all, at(7, "g"), "", ""},
		{"the last one was deleted, and no other", all, at(4, "d"), "e f g", ""},
		{"others were deleted", all, at(3, "c"), "", "events behind offset 3 were deleted before they were read, those up to 4 perhaps"},
		{"an offset without a message", map[int64]string{4: "d", 7: "g", 9: "i"}, at(4, "d"), "g i", ""},
		{"another event is there", all, at(6, "x"), "", "made anew"},
		{"no event is there", map[int64]string{5: "e", 7: "g"}, at(6, "f"), "", "made anew"},
		{"a position of another connector", all, "6", "", "is none"},
		{"a position that is none", all, "-2/00000000", "", "is none"},
		{"all of it, as it was empty", all, nothing, "e f g", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := run(t, &fake{stream: test.stream, closed: strings.Contains(test.err, "none")}, test.position, streamOf("orders"))
				if test.err != "" {
					if err := <-x.ended; !sources.IsPermanent(err) || !strings.Contains(err.Error(), test.err) {
						t.Errorf("Run returned %v, want a permanent error with %q", err, test.err)
					}
					return
				}
				if test.want != "" {
					got := x.gets()
					for len(got) < len(test.want) {
						got += " " + x.gets()
					}
					if got != test.want {
						t.Errorf("%s were taken, want %s", got, test.want)
					}
				}
				time.Sleep(time.Minute) // nothing is waited for any more
				x.cancel()
				if err := <-x.ended; err != nil || x.sink.connected != 1 {
					t.Errorf("Run returned %v; told of %d connections", err, x.sink.connected)
				}
			})
		})
	}
}

func TestStream_SaysThatItsEventDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := run(t, &fake{stream: map[int64]string{0: "a"}}, at(6, "f"), streamOf("orders"))
		began := time.Now()
		err := <-x.ended
		if took := time.Since(began); sources.IsPermanent(err) || !strings.Contains(err.Error(), "does not give the event") || took != 10*time.Second {
			t.Errorf("Run returned %v after %v", err, took)
		}
		if x.sink.connected != 0 {
			t.Error("it says that it reads")
		}
	})
}

func TestStream_SaysWhatWasDeletedWhileItReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{stream: map[int64]string{5: "e"}}
		x := run(t, f, "", streamOf("orders"))
		if got := x.gets(); got != "e" {
			t.Errorf("%s was taken", got)
		}
		f.consumers[0].deliveries <- streamed(7, "g") // what is between them are offsets that clients store
		if got := x.gets(); got != "g" {
			t.Errorf("%s was taken", got)
		}
		f.mu.Lock()
		f.stream = map[int64]string{10: "j"}
		f.mu.Unlock()
		f.consumers[0].deliveries <- streamed(10, "j")
		if err := <-x.ended; !sources.IsPermanent(err) || !strings.Contains(err.Error(), "behind offset 7") {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestStream_TellsWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{stream: map[int64]string{5: "e", 6: "f"}}
		x := run(t, f, at(6, "f"), streamOf("orders"))
		time.Sleep(6 * time.Second)
		f.mu.Lock()
		f.stream[20] = "t" // it does not come
		f.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !slices.Equal(x.sink.lags, []int64{0, 14}) {
			t.Errorf("the lag was %v", x.sink.lags)
		}
	})
}

func TestEvent_IsKnownByItsID(t *testing.T) {
	cloud := func(prefix string) amqp.Table {
		return amqp.Table{prefix + "specversion": "1.0", prefix + "id": "7", prefix + "source": "/a b"}
	}
	for _, test := range []struct {
		name string
		in   amqp.Delivery
		want string
	}{
		{"nothing", amqp.Delivery{}, ""},
		{"message-id", amqp.Delivery{MessageId: "m"}, "m"},
		{"cloudEvents:", amqp.Delivery{MessageId: "m", Headers: cloud("cloudEvents:")}, "/a%20b 7"},
		{"cloudEvents_", amqp.Delivery{Headers: cloud("cloudEvents_")}, "/a%20b 7"},
		{"ce-", amqp.Delivery{Headers: cloud("ce-")}, "/a%20b 7"},
		{"an id without a source", amqp.Delivery{MessageId: "m", Headers: amqp.Table{"ce-specversion": "1.0", "ce-id": "7"}}, "m"},
		{"structured", amqp.Delivery{ContentType: "application/cloudevents+json; charset=utf-8", Body: []byte(`{"id":"7","source":"/s","data":1}`)}, "/s 7"},
		{"structured, and broken", amqp.Delivery{ContentType: "application/cloudevents+json", Body: []byte(`{`), MessageId: "m"}, "m"},
	} {
		if got := event("orders", "", &test.in).ID; got != test.want {
			t.Errorf("%s: the id is %q, want %q", test.name, got, test.want)
		}
	}
}

func TestEvent_HasPropertiesAndHeaders(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := event("orders", "4/00000000", &amqp.Delivery{Headers: amqp.Table{
		"TraceParent": "00-1", "n": int32(7), "raw": []byte("x"), "when": when, "none": nil, "list": []any{"a", int64(1)}, offsetHeader: int64(4), "type": "mine",
	}, MessageId: "m", Type: "theirs", AppId: "app", CorrelationId: "c", RoutingKey: "eu.orders", ContentType: "application/json", Body: []byte("{}"), Redelivered: true, Timestamp: when})
	want := "map[app-id:app correlation-id:c list:[\"a\",1] message-id:m n:7 none: raw:x traceparent:00-1 type:mine when:2026-01-02T03:04:05Z]"
	if got := fmt.Sprint(e.Headers); got != want {
		t.Errorf("the headers are %s, want %s", got, want)
	}
	if string(e.Key) != "eu.orders" || string(e.Value) != "{}" || !e.Redelivered || e.ContentType != "application/json" || !e.Time.Equal(when) || e.Position != "4/00000000" || e.Topic != "orders" || e.Partition != "orders" {
		t.Errorf("the event is %+v", e)
	}
}

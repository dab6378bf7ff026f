package kafka

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a Sink that keeps what it takes, and where that is: what it has survives the
// sources that write to it.
type log struct {
	connected chan struct{} // is closed by Connected
	// taking, if it is set, sees events before they are taken.
	taking func(context.Context, []sources.Event) error

	mu        sync.Mutex
	changed   chan struct{} // closed, and made anew, when something was taken
	events    []sources.Event
	positions map[string]string
	lag       map[string]int64
}

func newLog() *log {
	return &log{connected: make(chan struct{}), changed: make(chan struct{}), positions: map[string]string{}, lag: map[string]int64{}}
}

func (l *log) Connected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.connected:
	default:
		close(l.connected)
	}
}

func (l *log) Lag(partition string, events int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lag[partition] = events
}

func (l *log) Pass(_ context.Context, partition, position string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.positions[partition] = position
	return nil
}

func (l *log) Take(ctx context.Context, events []sources.Event) error {
	if l.taking != nil {
		if err := l.taking(ctx, events); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		e.Value = slices.Clone(e.Value)
		l.events = append(l.events, e)
		l.positions[e.Partition] = e.Position
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func (l *log) Position(partition string) string { return l.All()[partition] }

func (l *log) All() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.positions)
}

// values are what was taken of a partition, in order.
func (l *log) values(partition string) (values []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Partition == partition {
			values = append(values, string(e.Value))
		}
	}
	return values
}

// until waits for a state of logs.
func until(t *testing.T, done func() bool, logs ...*log) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		var changed []chan struct{}
		for _, l := range logs {
			l.mu.Lock()
			changed = append(changed, l.changed)
			l.mu.Unlock()
		}
		if done() {
			return
		}
		select {
		case <-changed[0]:
		case <-changed[len(changed)-1]:
		case <-deadline:
			t.Fatal("it did not come to that")
		}
	}
}

// has waits for the values of a partition, all that there are.
func (l *log) has(t *testing.T, partition string, want ...string) {
	t.Helper()
	until(t, func() bool { return len(l.values(partition)) >= len(want) }, l)
	if got := l.values(partition); !slices.Equal(got, want) {
		t.Fatalf("%s: got %q, want %q", partition, got, want)
	}
}

// broker is a kfake with its clients.
type broker struct {
	*testing.T
	*kfake.Cluster
	client *kgo.Client
}

func newBroker(t *testing.T, opts ...kfake.Opt) *broker {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(1, "orders")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &broker{T: t, Cluster: c, client: connect(t, c)}
}

func connect(t *testing.T, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// publish writes values to a partition of orders.
func (b *broker) publish(number int32, values ...string) {
	b.Helper()
	for _, v := range values {
		b.produce(&kgo.Record{Topic: "orders", Partition: number, Value: []byte(v)})
	}
}

func (b *broker) produce(records ...*kgo.Record) {
	b.Helper()
	if err := b.client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
		b.Fatal(err)
	}
}

// config is what reads orders.
func (b *broker) config(change ...func(*watchroutev1.KafkaSource)) *watchroutev1.KafkaSource {
	k := &watchroutev1.KafkaSource{Brokers: b.ListenAddrs(), Topics: []string{"orders"}}
	for _, c := range change {
		c(k)
	}
	return k
}

func place(t *testing.T, k *watchroutev1.KafkaSource) *Source {
	t.Helper()
	s, err := New(&watchroutev1.Source{SourceId: "shop", Connector: &watchroutev1.Source_Kafka{Kafka: k}})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source)
}

// running is a source that runs.
type running struct {
	*testing.T
	cancel context.CancelFunc
	ended  chan error
}

// start runs a source; it has stopped when the test ends.
func start(t *testing.T, s *Source, l *log) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{T: t, cancel: cancel, ended: make(chan error, 1)}
	go func() {
		r.ended <- s.Run(ctx, l, l)
		close(r.ended)
	}()
	t.Cleanup(r.stop)
	return r
}

// stop ends it, and says if that was an error.
func (r *running) stop() {
	r.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		r.Error(err)
	}
}

// failure gives the error with which it ends by itself.
func (r *running) failure() error {
	r.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(30 * time.Second):
		r.Fatal("it goes on")
		return nil
	}
}

// connected waits until a log is connected.
func (l *log) waitConnected(t *testing.T, r *running) {
	t.Helper()
	select {
	case <-l.connected:
	case err := <-r.ended:
		t.Fatalf("it ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("it is not connected")
	}
}

// group is what the group of the source has committed of a partition of orders; -1: nothing.
func (b *broker) group(number int32) int64 {
	if g := b.GroupInfo("watchroute-shop"); g != nil {
		if c, ok := g.Commits["orders"][number]; ok {
			return c.Offset
		}
	}
	return -1
}

// numbers gives decimal numbers, from one to before another.
func numbers(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

func secret(t *testing.T, text string) *watchroutev1.Secret {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, text)
	return &watchroutev1.Secret{At: &watchroutev1.Secret_File{File: file}}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// says checks an error: whether it is for good, and that it has some words.
func says(t *testing.T, err error, permanent bool, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if sources.IsPermanent(err) != permanent {
		t.Errorf("permanent is %v: %v", !permanent, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// quick makes a source commit and look often.
func quick(s *Source) *Source {
	s.CommitInterval, s.LookInterval = 10*time.Millisecond, 50*time.Millisecond
	return s
}

// lastOf gives the last event that was taken.
func (l *log) lastOf(t *testing.T) sources.Event {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		t.Fatal("nothing was taken")
	}
	return l.events[len(l.events)-1]
}

// partitionOf names a partition of orders.
func partitionOf(number int) string { return fmt.Sprintf("orders/%d", number) }

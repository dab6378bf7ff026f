package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a stream as Redis has it.
type log struct {
	entries []uint64 // the milliseconds of their ids
	last    uint64
	added   int64
}

// fake is a Redis.
type fake struct {
	old bool // it does not count, as before Redis 7

	mu      sync.Mutex
	streams map[string]*log
	more    chan struct{} // closed when something is added
	closed  chan struct{}
	fails   error
}

func newFake() *fake { return &fake{streams: map[string]*log{}, more: make(chan struct{})} }

// add adds entries with the next ids.
func (f *fake) add(key string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.streams[key]
	if s == nil {
		s = &log{}
		f.streams[key] = s
	}
	for range n {
		s.last++
		s.added++
		s.entries = append(s.entries, s.last)
	}
	close(f.more)
	f.more = make(chan struct{})
}

// keep trims all but the last n.
func (f *fake) keep(key string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.streams[key]
	s.entries = s.entries[max(0, len(s.entries)-n):]
}

// remove deletes one entry.
func (f *fake) remove(key string, ms uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.streams[key]
	s.entries = slices.DeleteFunc(s.entries, func(e uint64) bool { return e == ms })
}

func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fake) Read(_ context.Context, from []place, most int) ([]state, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]state, len(from))
	for i, p := range from {
		s := f.streams[p.key]
		if s == nil {
			continue
		}
		out[i] = state{exists: true, length: int64(len(s.entries)), added: s.added, last: id{ms: s.last}}
		if f.old {
			out[i].added = 0
		}
		if len(s.entries) > 0 {
			out[i].first = id{ms: s.entries[0]}
		}
		for _, e := range s.behind(p.after) {
			if len(out[i].entries) < most {
				out[i].entries = append(out[i].entries, entry{id{ms: e}.String(), map[string]any{"event": fmt.Sprint(e)}})
			}
		}
	}
	return out, f.fails
}

func (s *log) behind(after string) []uint64 {
	if after == "$" {
		return nil
	}
	at, err := parseID(after)
	if err != nil {
		panic(err)
	}
	i, _ := slices.BinarySearch(s.entries, at.ms+1)
	return s.entries[i:]
}

func (f *fake) Wait(ctx context.Context, from []place, most time.Duration) error {
	f.mu.Lock()
	more := f.more
	for _, p := range from {
		if s := f.streams[p.key]; s != nil && len(s.behind(p.after)) > 0 {
			f.mu.Unlock()
			return nil
		}
	}
	f.mu.Unlock()
	select {
	case <-more:
	case <-time.After(most):
	case <-f.closed:
		return errors.New("closed")
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (f *fake) Close() error {
	close(f.closed)
	return nil
}

// sink keeps what it takes, and where that was.
type sink struct {
	mu        sync.Mutex
	positions map[string]string
	events    []sources.Event
	batches   []int
	lag       map[string]int64
	connected int
	fails     error
}

func newSink() *sink { return &sink{positions: map[string]string{}, lag: map[string]int64{}} }

func (s *sink) Position(partition string) string { return s.positions[partition] }

func (s *sink) All() map[string]string { return s.positions }

func (s *sink) Connected() { s.connected++ }

func (s *sink) Lag(partition string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag[partition] = n
}

func (s *sink) Pass(_ context.Context, partition, position string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.positions[partition] = position
	return s.fails
}

func (s *sink) Take(_ context.Context, events []sources.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	s.batches = append(s.batches, len(events))
	for _, e := range events {
		s.events = append(s.events, e)
		s.positions[e.Partition] = e.Position
	}
	return nil
}

// values gives the events that were taken of a stream.
func (s *sink) values(key string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Partition == key {
			all = append(all, string(e.Value))
		}
	}
	return all
}

func config(streams ...string) *watchroutev1.RedisSource {
	return &watchroutev1.RedisSource{Address: "localhost:6379", Streams: streams, Field: "event"}
}

// run runs a source until nothing happens any more, and gives what Run returned if it has
// ended by itself.
func run(t testing.TB, f *fake, to *sink, c *watchroutev1.RedisSource, during ...func()) (err error) {
	t.Helper()
	made, err := New(&watchroutev1.Source{SourceId: "shop", Connector: &watchroutev1.Source_Redis{Redis: c}})
	if err != nil {
		t.Fatal(err)
	}
	s := made.(*Source)
	s.MaxEvents = 3
	s.connect = func() (server, error) {
		f.closed = make(chan struct{})
		return f, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, to, to) }()
	synctest.Wait()
	for _, do := range during {
		do()
		time.Sleep(2 * s.Wait)
		synctest.Wait()
	}
	select {
	case err := <-ended:
		return err
	default:
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v when it was to end", err)
	}
	return nil
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	for _, test := range []struct {
		config *watchroutev1.RedisSource
		field  string
	}{
		{nil, "redis.address"},
		{&watchroutev1.RedisSource{Address: "redis", Streams: []string{"a"}}, "redis.address"},
		{&watchroutev1.RedisSource{Address: ":6379", Streams: []string{"a"}}, "redis.address"},
		{&watchroutev1.RedisSource{Address: "redis:0", Streams: []string{"a"}}, "redis.address"},
		{&watchroutev1.RedisSource{Address: "redis://me:hunter2@redis:1", Streams: []string{"a"}}, "redis.address"},
		{&watchroutev1.RedisSource{Address: "redis:1"}, "redis.streams"},
		{&watchroutev1.RedisSource{Address: "redis:1", Streams: []string{"a", ""}}, "redis.streams[1]"},
		{&watchroutev1.RedisSource{Address: "redis:1", Streams: []string{"a", "a"}}, "redis.streams[1]"},
		{&watchroutev1.RedisSource{Address: "redis:1", Streams: []string{"a"}, Database: -1}, "redis.database"},
		{&watchroutev1.RedisSource{Address: "redis:1", Streams: []string{"a"}, Start: 7}, "redis.start"},
		{&watchroutev1.RedisSource{Address: "redis:1", Streams: []string{"a"}, Login: &watchroutev1.Login{}}, "redis.login.username"},
		{&watchroutev1.RedisSource{Address: "redis:1", Streams: []string{"a"}, Login: &watchroutev1.Login{Username: "me"}}, "redis.login.password"},
		{&watchroutev1.RedisSource{Address: "redis:1", Streams: []string{"a"}, Tls: &watchroutev1.ClientTls{KeyFile: "x"}}, "redis.tls"},
		{&watchroutev1.RedisSource{Address: "[::1]:6379", Streams: []string{"a", "b"}, Database: 3}, ""},
	} {
		_, err := New(&watchroutev1.Source{Connector: &watchroutev1.Source_Redis{Redis: test.config}})
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

func TestRun_TakesStreamsInTheirOrderAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFake(), newSink()
		f.add("a", 7)
		f.add("b", 2)
		err := run(t, f, to, config("a", "b"), func() { f.add("a", 1) })
		if err == nil {
			f.add("b", 1)
			err = run(t, f, to, config("a", "b"))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := to.values("a"); !slices.Equal(got, []string{"1", "2", "3", "4", "5", "6", "7", "8"}) {
			t.Errorf("of a %v were taken", got)
		}
		if got := to.values("b"); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("of b %v were taken", got)
		}
		if got := fmt.Sprint(to.positions); got != "map[a:8-0/8 b:3-0/3]" {
			t.Errorf("the positions are %s", got)
		}
		if got := fmt.Sprint(to.batches); got != "[5 3 1 1 1]" {
			t.Errorf("the batches have %s events", got)
		}
		if to.connected != 2 {
			t.Errorf("it told of %d connections", to.connected)
		}
	})
}

func TestRun_TellsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFake(), newSink()
		f.add("a", 8)
		var lags []int64
		tracked := &tracker{sink: to, took: func() { lags = append(lags, to.lag["a"]) }}
		made, _ := New(&watchroutev1.Source{Connector: &watchroutev1.Source_Redis{Redis: config("a")}})
		s := made.(*Source)
		s.MaxEvents = 3
		f.closed = make(chan struct{})
		s.connect = func() (server, error) { return f, nil }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx, tracked, tracked) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil || fmt.Sprint(lags) != "[5 2 0]" {
			t.Errorf("the lag was %v, %v", lags, err)
		}
	})
}

// tracker looks when lag is told behind a Take.
type tracker struct {
	*sink
	took  func()
	taken int
}

func (s *tracker) Lag(partition string, n int64) {
	s.sink.Lag(partition, n)
	if len(s.batches) > s.taken {
		s.taken = len(s.batches)
		s.took()
	}
}

func TestRun_WaitsForAStreamThatIsNotThereYet(t *testing.T) {
	for _, start := range []watchroutev1.SourceStart{watchroutev1.SourceStart_EARLIEST, watchroutev1.SourceStart_LATEST_EVENT} {
		synctest.Test(t, func(t *testing.T) {
			f, to, c := newFake(), newSink(), config("a")
			c.Start = start
			if err := run(t, f, to, c, func() {}, func() { f.add("a", 5) }); err != nil {
				t.Fatal(err)
			}
			if got := to.values("a"); len(got) != 5 {
				t.Errorf("%v: %v were taken of 5", start, got)
			}
		})
	}
}

func TestRun_BeginsWithTheNextEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to, c := newFake(), newSink(), config("a")
		c.Start = watchroutev1.SourceStart_LATEST_EVENT
		f.add("a", 5)
		if err := run(t, f, to, c, func() { f.add("a", 2) }); err != nil {
			t.Fatal(err)
		}
		f.add("a", 1)
		if err := run(t, f, to, c); err != nil {
			t.Fatal(err)
		}
		if got := to.values("a"); !slices.Equal(got, []string{"6", "7", "8"}) {
			t.Errorf("%v were taken", got)
		}
	})
}

func TestRun_BeginsWhereItFirstLooked(t *testing.T) {
	for _, start := range []watchroutev1.SourceStart{watchroutev1.SourceStart_EARLIEST, watchroutev1.SourceStart_LATEST_EVENT} {
		for _, had := range []int{0, 5} {
			for _, old := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					f, to, c := newFake(), newSink(), config("a")
					c.Start, f.old = start, old
					if start == watchroutev1.SourceStart_LATEST_EVENT {
						f.add("a", had)
					}
					if err := run(t, f, to, c); err != nil { // nothing comes
						t.Fatal(err)
					}
					f.add("a", 2)
					if err := run(t, f, to, c); err != nil {
						t.Fatal(err)
					}
					if got := to.values("a"); len(got) != 2 {
						t.Errorf("%v, %d entries, old %v: %v were taken, of what came while it was away", start, had, old, got)
					}
				})
			}
		}
	}
}

func TestRun_SaysWhatWasLostWhileItWasAway(t *testing.T) {
	for _, test := range []struct {
		name string
		old  bool
		do   func(*fake)
		want string // of the permanent error; empty: none
		read int    // events behind the first ten
	}{
		{"nothing", false, func(f *fake) { f.add("a", 4) }, "", 4},
		{"what was read is trimmed", false, func(f *fake) { f.keep("a", 0); f.add("a", 4) }, "", 4},
		{"what was read is deleted", false, func(f *fake) { f.remove("a", 10); f.add("a", 1) }, "", 1},
		{"an entry is trimmed", false, func(f *fake) { f.add("a", 4); f.keep("a", 3) }, "1 entries were trimmed or deleted before they were read; it was read up to 10-0", 0},
		{"all are trimmed", false, func(f *fake) { f.add("a", 4); f.keep("a", 0) }, "4 entries were trimmed", 0},
		{"an entry is deleted", false, func(f *fake) { f.add("a", 2); f.remove("a", 11) }, "1 entries were trimmed", 0},
		{"one of many is deleted", false, func(f *fake) { f.add("a", 8); f.remove("a", 12) }, "read up to 17-0", 6},
		{"the stream is gone", false, func(f *fake) { delete(f.streams, "a") }, "it is gone; it was read up to 10-0", 0},
		{"the end is lost", false, func(f *fake) { f.streams["a"] = &log{entries: []uint64{7, 8}, last: 8, added: 8} }, "it ends at 8-0, and was read up to 10-0", 0},
		{"the stream is made anew with later ids", false, func(f *fake) { f.streams["a"] = &log{last: 50}; f.add("a", 2) }, "made anew", 0},
		{"the stream is made anew and grows", false, func(f *fake) { f.streams["a"] = &log{last: 50}; f.add("a", 11) }, "made anew", 0},
		{"old: nothing", true, func(f *fake) { f.add("a", 4); f.keep("a", 5) }, "", 4},
		{"old: nothing new", true, func(f *fake) { f.keep("a", 0) }, "", 0},
		{"old: an entry is trimmed", true, func(f *fake) { f.add("a", 4); f.keep("a", 3) }, "may have been trimmed", 0},
		{"old: the end is lost", true, func(f *fake) { f.streams["a"] = &log{entries: []uint64{7, 8}, last: 8} }, "it ends at 8-0", 0},
		{"Redis counts now", true, func(f *fake) { f.old = false; f.add("a", 4) }, "", 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, to := newFake(), newSink()
				f.old = test.old
				f.add("a", 10)
				if err := run(t, f, to, config("a")); err != nil {
					t.Fatal(err)
				}
				test.do(f)
				for range 2 { // it fails again if nothing changes
					err := run(t, f, to, config("a"))
					if test.want == "" && err != nil || test.want != "" && (!sources.IsPermanent(err) || !strings.Contains(err.Error(), test.want)) {
						t.Errorf("Run returned %v, want a permanent error with %q", err, test.want)
					}
				}
				if got := to.values("a"); len(got) != 10+test.read {
					t.Errorf("%v were taken, want %d more than 10", got, test.read)
				}
			})
		})
	}
}

func TestRun_CountsFromWhenRedisDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFake(), newSink()
		f.old = true
		f.add("a", 10)
		err := run(t, f, to, config("a"), func() { f.change(func() { f.old = false }) }, func() { f.add("a", 1) })
		if got := to.positions["a"]; err != nil || got != "11-0/11" {
			t.Fatalf("the position is %s, %v", got, err)
		}
		f.add("a", 2)
		f.keep("a", 1)
		if err := run(t, f, to, config("a")); !sources.IsPermanent(err) {
			t.Errorf("Run returned %v, want a permanent error", err)
		}
	})
}

// What is removed before it was read is told, and nothing else is.
func TestRun_LosesNothingInSilence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, to := newFake(), newSink()
		c := &cursor{key: "a", had: unknown}
		var read []uint64
		unread := map[uint64]bool{} // since the cursor has begun
		lost := false
		look := func() error {
			states, _ := f.Read(context.Background(), []place{{"a", c.after()}}, 3)
			if err := c.check(&states[0], 3); err != nil {
				return err
			}
			for _, e := range states[0].entries {
				got, err := event(c, e, "event")
				if err != nil {
					t.Fatal(err)
				}
				read = append(read, c.at.ms)
				delete(unread, c.at.ms)
				to.positions["a"] = got.Position
			}
			return nil
		}
		f.add("a", rapid.IntRange(0, 6).Draw(t, "before"))
		f.keep("a", rapid.IntRange(0, 6).Draw(t, "kept"))
		if err := look(); err != nil {
			t.Fatal(err)
		}
		for _, e := range f.streams["a"].behind(c.after()) {
			unread[e] = true
		}
		gone := func() {
			for e := range unread {
				lost = lost || !slices.Contains(f.streams["a"].entries, e)
			}
		}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			switch s := f.streams["a"]; rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				last := s.last
				f.add("a", rapid.IntRange(1, 5).Draw(t, "added"))
				for e := last + 1; e <= s.last; e++ {
					unread[e] = true
				}
			case 1:
				f.keep("a", rapid.IntRange(0, 8).Draw(t, "kept"))
				gone()
			case 2:
				if len(s.entries) > 0 {
					f.remove("a", rapid.SampledFrom(s.entries).Draw(t, "deleted"))
					gone()
				}
			case 3: // it begins again
				if to.positions["a"] != "" {
					var err error
					if c, err = newCursor("a", to.positions["a"]); err != nil {
						t.Fatal(err)
					}
				}
			default:
				if err := look(); err != nil {
					if !lost {
						t.Fatalf("nothing is lost, and it says %v", err)
					}
					return
				}
			}
		}
		for range 100 { // to the end
			if err := look(); err != nil {
				if !lost {
					t.Fatalf("nothing is lost, and it says %v", err)
				}
				return
			}
		}
		if lost {
			t.Fatalf("%v were not read, and nobody says so", unread)
		}
		if len(unread) > 0 || !slices.IsSorted(read) || len(slices.Compact(slices.Clone(read))) != len(read) {
			t.Fatalf("read are %v, unread %v", read, unread)
		}
	})
}

func TestRun_EndsWithWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, gone := errors.New("the disk is full"), errors.New("connection refused")
		f, to := newFake(), newSink()
		f.add("a", 1)
		to.fails = full
		if err := run(t, f, to, config("a")); !errors.Is(err, full) {
			t.Errorf("Run returned %v, want what Take said", err)
		}
		to.fails = nil
		if err := run(t, f, to, config("a"), func() { f.change(func() { f.fails = gone }) }); !errors.Is(err, gone) || sources.IsPermanent(err) {
			t.Errorf("Run returned %v, want what Redis said", err)
		}
		if len(to.events) != 1 {
			t.Errorf("%d events were taken", len(to.events))
		}
		to.positions["a"] = "yesterday"
		if err := run(t, f, to, config("a")); !sources.IsPermanent(err) {
			t.Errorf("Run returned %v for a position that is none", err)
		}
	})
}

func TestEvent_HasFieldsAsHeadersOrAsAnObject(t *testing.T) {
	in := entry{"1700000000123-4", map[string]any{"event": `{"a":1}`, "Type": "placed", "content-type": "text/plain"}}
	e, err := event(&cursor{key: "orders", had: 6}, in, "event")
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Value) != `{"a":1}` || fmt.Sprint(e.Headers) != "map[content-type:text/plain type:placed]" || e.ContentType != "text/plain" {
		t.Errorf("the event is %q with %v", e.Value, e.Headers)
	}
	if e.Position != "1700000000123-4/7" || e.Topic != "orders" || e.Partition != "orders" || e.Time.UnixMilli() != 1700000000123 {
		t.Errorf("it is at %q of %q, at %v", e.Position, e.Topic, e.Time)
	}
	e, err = event(&cursor{key: "orders", had: unknown}, entry{"2-0", map[string]any{"b": "2", `"a"`: "x\ny"}}, "")
	if err != nil || string(e.Value) != `{"\"a\"":"x\ny","b":"2"}` || e.Position != "2-0" {
		t.Errorf("the event is %q at %s, %v", e.Value, e.Position, err)
	}
	e, err = event(&cursor{}, entry{"2-0", map[string]any{"a": "\xff"}}, "")
	if err != nil || !strings.Contains(string(e.Value), "\xff") {
		t.Errorf("what is not UTF-8 was changed: %q, %v", e.Value, err)
	}
	if e, _ := event(&cursor{}, entry{"2-0", map[string]any{}}, ""); !json.Valid(e.Value) {
		t.Errorf("no fields are %q", e.Value)
	}
	if _, err := event(&cursor{}, entry{"2", nil}, ""); err == nil {
		t.Error("2 is an id")
	}
}

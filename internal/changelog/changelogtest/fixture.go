package changelogtest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

// tb is what *testing.T and *rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// clock stands still until it is told to go.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is a log under test with the collection "orders" as the one most tests
// use.
type fixture struct {
	tb
	changelog.Log
	ctx    context.Context
	engine Engine
	opts   Options
	clock  *clock
}

const orders = "orders"

// retention is what scenarios use that say nothing else; it differs from the
// defaults so that an engine that ignores it is found.
var retention = changelog.Retention{
	Age: 2 * time.Hour, MinAge: time.Minute, Bytes: 1 << 30, Tombstones: 10 * time.Hour, RequestIDs: 3 * time.Hour,
}

// start opens a new log in memory, which the test closes at its end.
func start(t *testing.T, e Engine, keep changelog.Retention) *fixture {
	t.Helper()
	f := open(t, t.Context(), e, keep)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

func open(t tb, ctx context.Context, e Engine, keep changelog.Retention) *fixture {
	t.Helper()
	f := &fixture{tb: t, ctx: ctx, engine: e, clock: newClock()}
	f.opts = Options{FS: vfs.NewMem(), Dir: "data", Retention: keep, Now: f.clock.Now}
	f.open()
	return f
}

func (f *fixture) open() {
	f.Helper()
	var err error
	if f.Log, err = f.engine.Open(f.ctx, f.opts); err != nil {
		f.Fatalf("Open: %v", err)
	}
}

func (f *fixture) reopen() {
	f.Helper()
	if err := f.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	f.open()
}

func put(id, value string) changelog.Op { return changelog.Op{ID: id, Data: []byte(value)} }

func del(id string) changelog.Op { return changelog.Op{ID: id, Delete: true} }

// write writes to orders what must succeed.
func (f *fixture) write(ops ...changelog.Op) changelog.Result {
	f.Helper()
	res, err := f.Write(f.ctx, changelog.Write{Collection: orders, Ops: ops})
	if err != nil {
		f.Fatalf("Write: %v", err)
	}
	return res
}

// refused writes what must fail for a reason.
func (f *fixture) refused(reason resource.Reason, w changelog.Write) *resource.Error {
	f.Helper()
	head := f.Bounds(w.Collection).Head
	_, err := f.Write(f.ctx, w)
	if !resource.HasReason(err, reason) {
		f.Fatalf("Write gave %v, want %v", err, reason)
	}
	if now := f.Bounds(w.Collection).Head; now != head {
		f.Fatalf("a refused write moved the head from %d to %d", head, now)
	}
	return resource.AsError(err)
}

func (f *fixture) get(id string, at uint64) *changelog.Record {
	f.Helper()
	r, err := f.Get(f.ctx, orders, id, at)
	if err != nil {
		f.Fatalf("Get(%s, %d): %v", id, at, err)
	}
	return r
}

// value is the present value of a name at a revision, "-" for none.
func (f *fixture) value(id string, at uint64) string {
	f.Helper()
	return show(f.get(id, at))
}

func show(r *changelog.Record) string {
	if r == nil || r.Absent {
		return "-"
	}
	return string(r.Data)
}

func (f *fixture) compact() changelog.Bounds {
	f.Helper()
	before := f.Bounds(orders)
	if err := f.Compact(f.ctx); err != nil {
		f.Fatalf("Compact: %v", err)
	}
	b := f.Bounds(orders)
	if b.Tombstones > b.History || b.History > b.Head || b.Tombstones < before.Tombstones || b.History < before.History {
		f.Fatalf("bounds went from %+v to %+v", before, b)
	}
	return b
}

func (f *fixture) bounds(want changelog.Bounds) {
	f.Helper()
	if got := f.Bounds(orders); got != want {
		f.Fatalf("bounds are %+v, want %+v", got, want)
	}
}

// The whole of an iteration, as text: NAME=VALUE@REVISION, "-" for a tombstone.
func (f *fixture) list(at uint64) string {
	f.Helper()
	return f.join(texts(f.List(f.ctx, orders, "", at), record))
}

func (f *fixture) latest(after, at uint64) string {
	f.Helper()
	return f.join(texts(f.Latest(f.ctx, orders, changelog.Position{Revision: after}, at), record))
}

func (f *fixture) history(after, until uint64) string {
	f.Helper()
	return f.join(texts(f.History(f.ctx, orders, changelog.Position{Revision: after}, until), change))
}

func (f *fixture) join(s string, err error) string {
	f.Helper()
	if err != nil {
		if e := resource.AsError(err); e.Reason == resource.Compacted {
			return e.Reason.String()
		}
		f.Fatalf("reading: %v", err)
	}
	return s
}

func record(r *changelog.Record) string { return fmt.Sprintf("%s=%s@%d", r.ID, show(r), r.Revision) }

func change(c changelog.Change) string { return record(c.New) + "<" + show(c.Old) }

func mapped[T any](seq iter.Seq2[T, error], text func(T) string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for item, err := range seq {
			s := ""
			if err == nil {
				s = text(item)
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

func texts[T any](seq iter.Seq2[T, error], text func(T) string) (string, error) {
	items, err := collect(seq)
	var all []string
	for _, item := range items {
		all = append(all, text(item))
	}
	return strings.Join(all, " "), err
}

func collect[T any](seq iter.Seq2[T, error]) (all []T, err error) {
	for item, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, item)
	}
	return all, nil
}

func (f *fixture) equal(what, got, want string) {
	f.Helper()
	if got != want {
		f.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

// same says in what two records differ; "" if in nothing.
func same(a, b *changelog.Record) string {
	if a == nil || b == nil {
		if a == b {
			return ""
		}
		return fmt.Sprintf("%v and %v", a, b)
	}
	x, y := *a, *b
	var diffs []string
	differ := func(what string, equal bool) {
		if !equal {
			diffs = append(diffs, what)
		}
	}
	differ("labels", maps.Equal(x.Labels, y.Labels))
	differ("data", bytes.Equal(x.Data, y.Data))
	differ("time", x.Time.Equal(y.Time))
	differ("create time", x.CreateTime.Equal(y.CreateTime))
	differ("name or revision", x.ID == y.ID && x.Revision == y.Revision)
	differ("prev", x.Prev == y.Prev)
	differ("state", x.Absent == y.Absent)
	differ("uid", x.UID == y.UID)
	differ("create revision", x.CreateRevision == y.CreateRevision)
	differ("type", x.Type == y.Type)
	if len(diffs) == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %+v and %+v", strings.Join(diffs, ", "), x, y)
}

func (f *fixture) same(what string, got, want *changelog.Record) {
	f.Helper()
	if d := same(got, want); d != "" {
		f.Fatalf("%s: %s", what, d)
	}
}

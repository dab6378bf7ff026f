package local

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/store"
	"github.com/watchroute/watchroute/internal/resource"
)

// Config says how to open a Log. The zero value of all but Dir is usable.
type Config struct {
	// Dir is the folder of the store; it is made if it is not there.
	Dir string
	// FS holds the folder. Default: the disk. vfs.NewMem() keeps all in memory.
	FS vfs.FS
	// Retention says what compaction lets go.
	Retention changelog.Retention
	// CacheBytes bounds the store's cache of blocks. Default: 64 MiB.
	CacheBytes int64
	// MemTableBytes is the size of one of the store's tables of recent writes in
	// memory, of which there may be four. Default: 32 MiB.
	MemTableBytes int64
	// NameBytes bounds what the store remembers of the newest records of names, so
	// that most writes need not read. Default: 32 MiB.
	NameBytes int64
	// CompactEvery is the time between two compactions. Default: 10 seconds.
	// Negative: only Compact compacts.
	CompactEvery time.Duration
	// GroupWrites and GroupBytes bound the writes that become durable together. One
	// write may be larger. Default: 1024 and 4 MiB.
	GroupWrites int
	GroupBytes  int
	// CommitDelay is the most time that a write waits for others to become durable
	// together with it, where many come. Default: none waits.
	CommitDelay time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Logger gets what the operator should know, and Pebble's messages, most of
	// them at debug. Default: slog's.
	Logger *slog.Logger

	noSync bool // for a test that proves that the tests find it
}

func (c Config) store() store.Config {
	return store.Config{
		Dir: c.Dir, FS: c.FS, Retention: c.Retention, CacheBytes: c.CacheBytes, MemTableBytes: c.MemTableBytes,
		NameBytes: c.NameBytes, Now: c.Now, Logger: c.Logger, NoSync: c.noSync,
	}
}

// Validate says what of the Config cannot be used.
func (c Config) Validate() error {
	if c.GroupWrites < 0 || c.GroupBytes < 0 || c.CommitDelay < 0 {
		return errors.New("local: a bound of groups is negative")
	}
	return c.store().Validate()
}

func (c Config) withDefaults() Config {
	c.CompactEvery = cmp.Or(c.CompactEvery, 10*time.Second)
	c.GroupWrites = cmp.Or(c.GroupWrites, 1024)
	c.GroupBytes = cmp.Or(c.GroupBytes, 4<<20)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Log is a changelog.Log over one folder.
type Log struct {
	config      Config
	store       *store.Store
	queue       *queue
	subscribers subscribers

	stop    context.CancelFunc // ends compaction
	running sync.WaitGroup
	closing sync.Once
	closed  error
}

var _ changelog.Log = (*Log)(nil)

// Open opens or makes the folder. Errors are store.Open's, or the context's.
func Open(ctx context.Context, c Config) (*Log, error) {
	if err := errors.Join(ctx.Err(), c.Validate()); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	s, err := store.Open(c.store())
	if err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.Background())
	l := &Log{config: c, store: s, queue: newQueue(c.GroupWrites, c.GroupBytes), stop: stop}
	l.running.Go(func() {
		pprof.Do(background, pprof.Labels("part", "committer"), func(context.Context) { l.commitGroups() })
	})
	if c.CompactEvery > 0 {
		l.running.Go(func() { l.compactEvery(background) })
	}
	return l, nil
}

// Close is changelog.Log's.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.stop()
		l.queue.close()
		l.running.Wait()
		l.closed = l.store.Close()
	})
	return l.closed
}

func (l *Log) compactEvery(ctx context.Context) {
	tick := time.NewTicker(l.config.CompactEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := l.store.Compact(ctx); err != nil && ctx.Err() == nil {
				l.config.Logger.Error("compaction failed", "err", err)
			}
		}
	}
}

// Write is changelog.Log's.
func (l *Log) Write(ctx context.Context, w changelog.Write) (changelog.Result, error) {
	if err := checkOps(w); err != nil {
		return changelog.Result{}, err
	}
	p := &pending{ctx: ctx, write: w}
	if err := l.wait(p); err != nil {
		return changelog.Result{}, err
	}
	result := p.result
	if !result.Replayed {
		return result, nil
	}
	for i, r := range result.Records {
		if r == nil {
			continue
		}
		kept, err := l.store.Exactly(ctx, w.Collection, r.ID, r.Revision)
		if err != nil {
			return changelog.Result{}, err
		}
		if kept != nil {
			result.Records[i] = kept
		}
	}
	return result, nil
}

// WriteAll is changelog.Log's.
func (l *Log) WriteAll(ctx context.Context, units []changelog.Unit, marks map[string]string) ([]changelog.Outcome, error) {
	for i := range units {
		if err := checkUnit(&units[i]); err != nil {
			return nil, err
		}
	}
	if units == nil {
		units = []changelog.Unit{}
	}
	p := &pending{ctx: ctx, units: units, marks: marks}
	if err := l.wait(p); err != nil {
		return nil, err
	}
	return p.outcomes, nil
}

func checkUnit(u *changelog.Unit) error {
	for i := range u.Writes {
		if err := checkOps(u.Writes[i]); err != nil {
			return err
		}
		for j := range i {
			if u.Writes[i].Collection == u.Writes[j].Collection {
				return resource.Errorf(resource.InvalidField, "a unit names %s a second time", u.Writes[i].Collection)
			}
		}
	}
	return nil
}

// Marks is changelog.Log's.
func (l *Log) Marks(prefix string) (map[string]string, error) { return l.store.Marks(prefix) }

// Create is changelog.Log's.
func (l *Log) Create(ctx context.Context, collection string) error {
	return l.wait(&pending{ctx: ctx, write: changelog.Write{Collection: collection}})
}

// wait returns when the committer has answered, or the writer has gone. After an error
// nothing but that may be looked at.
func (l *Log) wait(p *pending) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	p.done = make(chan struct{})
	if !l.queue.push(p) {
		return resource.Errorf(resource.StoreUnavailable, "the log is closed")
	}
	select {
	case <-p.done:
		return p.err
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func checkOps(w changelog.Write) error {
	if len(w.Ops) < 2 {
		return nil
	}
	seen := make(map[string]struct{}, len(w.Ops))
	for i, op := range w.Ops {
		if _, twice := seen[op.ID]; twice {
			return resource.Errorf(resource.InvalidField, "operation %d names %s/%s a second time", i, w.Collection, op.ID)
		}
		seen[op.ID] = struct{}{}
	}
	return nil
}

// Subscribe is changelog.Log's. It must not be called from a subscriber.
func (l *Log) Subscribe(f func(*changelog.Batch)) (cancel func()) { return l.subscribers.add(f) }

// Compact is changelog.Log's.
func (l *Log) Compact(ctx context.Context) error { return l.store.Compact(ctx) }

// Epoch is changelog.Log's.
func (l *Log) Epoch() uint64 { return l.store.Epoch() }

// Collections is changelog.Log's.
func (l *Log) Collections() []string { return l.store.Collections() }

// Bounds is changelog.Log's.
func (l *Log) Bounds(collection string) changelog.Bounds { return l.store.Bounds(collection) }

// Get is changelog.Log's.
func (l *Log) Get(ctx context.Context, collection, id string, at uint64) (*changelog.Record, error) {
	return l.store.Get(ctx, collection, id, at)
}

// Exactly is changelog.Log's.
func (l *Log) Exactly(ctx context.Context, collection, id string, revision uint64) (*changelog.Record, error) {
	return l.store.Exactly(ctx, collection, id, revision)
}

// Latest is changelog.Log's.
func (l *Log) Latest(ctx context.Context, collection string, after changelog.Position, at uint64) iter.Seq2[*changelog.Record, error] {
	return l.store.Latest(ctx, collection, after, at)
}

// History is changelog.Log's.
func (l *Log) History(ctx context.Context, collection string, after changelog.Position, until uint64) iter.Seq2[changelog.Change, error] {
	return l.store.History(ctx, collection, after, until)
}

// List is changelog.Log's.
func (l *Log) List(ctx context.Context, collection, after string, at uint64) iter.Seq2[*changelog.Record, error] {
	return l.store.List(ctx, collection, after, at)
}

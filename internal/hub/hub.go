package hub

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"runtime/pprof"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/clock"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// Config is what a hub needs. Log and Schemas must be set.
type Config struct {
	Log     changelog.Log
	Schemas *schema.Registry
	// Access decides who may see what. Default: AllowAll.
	Access Access
	// Observer is told what happens. Default: nobody.
	Observer Observer
	// MemoryBytes bounds what is kept in memory of all collections: the latest changes
	// and their frames, and the snapshots that newcomers share, which take a quarter of
	// it at most. Default: 128 MiB.
	MemoryBytes int64
	// RingBytes bounds the latest changes and their frames of one collection. Default:
	// half of MemoryBytes.
	RingBytes int64
	// Heartbeat is used where a watch does not ask for one. Default: 15 s.
	Heartbeat time.Duration
	// EventsPerSecond and BytesPerSecond bound what one watch is handed, but for bursts of
	// up to a second's worth: one that would get more waits, and its changes are folded
	// meanwhile where it allows that. Default: no bound.
	EventsPerSecond, BytesPerSecond float64
	// MaxAge is how old a watch may become, to a tenth more or less: then it gets `drain`,
	// and its client comes back, with a fresh credential, maybe to another node. Default:
	// as old as it likes.
	MaxAge time.Duration
	// RevisionWait is how long to wait for a revision that is not there yet.
	// Default: 2 s.
	RevisionWait time.Duration
}

// Observer is told what a hub does. Its methods must not block.
type Observer interface {
	WatchOpened(collection, transport string)
	// WatchClosed gives the reason of the end: a Reason's text, or "OK".
	WatchClosed(collection, transport, reason string)
	// Meter gives what counts for the watches of a collection on a transport.
	Meter(collection, transport string) Meter
	WatchReset(collection, transport string, reason watchroutev1.Reset_Reason)
}

// Meter counts what watches are handed. Its methods must not block.
type Meter interface {
	// Sent is told of what Next handed out.
	Sent(events, bytes int)
	// Delivered is told how long ago the newest event that was handed out was
	// written.
	Delivered(ago time.Duration)
}

// Hub serves watches on the collections of one log.
type Hub struct {
	cfg         Config
	epoch       uint64
	began       time.Time
	unsubscribe func()
	closeOnce   sync.Once

	ctx       context.Context // ends first, and with it what reads the log
	cancel    context.CancelFunc
	stopped   chan struct{}  // closed when no watch is served any more
	loops     sync.WaitGroup // of collections and shards
	chasers   sync.WaitGroup // begun with mu held for reading, while ctx lives
	clock     *clock.Clock
	snapshots snapshots
	slots     chan struct{} // see Look
	shards    []*shard      // of watches that the hub serves
	rouser    *shard        // of watches with goroutines of their own
	next      atomic.Uint32 // shard
	bytes     atomic.Int64  // of all collections
	doubts    atomic.Uint64 // counts Reconsider

	mu          sync.RWMutex // before every other lock
	collections map[string]*collection
	watches     map[*Watch]struct{}
	spread      time.Duration // of the drain
	drained     chan struct{} // closed when draining begins
}

// New starts a hub. Close ends it.
func New(cfg Config) (*Hub, error) {
	if cfg.Log == nil || cfg.Schemas == nil {
		return nil, errors.New("hub: Log and Schemas must be set")
	}
	if cfg.Access == nil {
		cfg.Access = AllowAll{}
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	if cfg.MemoryBytes == 0 {
		cfg.MemoryBytes = 128 << 20
	}
	if cfg.RingBytes == 0 {
		cfg.RingBytes = cfg.MemoryBytes / 2
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.RevisionWait == 0 {
		cfg.RevisionWait = 2 * time.Second
	}
	processors := runtime.GOMAXPROCS(0)
	h := &Hub{cfg: cfg, epoch: cfg.Log.Epoch(), began: time.Now(), stopped: make(chan struct{}), drained: make(chan struct{}), collections: map[string]*collection{},
		watches: map[*Watch]struct{}{}, clock: clock.New(), slots: make(chan struct{}, max(1, processors/2))}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.snapshots.limit = int(cfg.MemoryBytes / 4)
	for range max(1, processors/2) {
		h.shards = append(h.shards, newShard(h, false))
	}
	h.rouser = newShard(h, true)
	for _, s := range append(slices.Clip(h.shards), h.rouser) {
		h.loops.Go(labelled("shard", s.run))
	}
	h.unsubscribe = cfg.Log.Subscribe(h.publish)
	return h, nil
}

// publish is called by the log's sequencer.
func (h *Hub) publish(b *changelog.Batch) {
	h.mu.RLock()
	c := h.collections[b.Collection]
	h.mu.RUnlock()
	if c != nil {
		c.publish(b)
	}
}

// collection gives a collection, and starts its pump where it is new. The log's
// head is read under the lock that publish takes too: a batch is either in that
// head or published to the new collection, or both, never neither.
func (h *Hub) collection(name string) (*collection, error) {
	h.mu.RLock()
	c := h.collections[name]
	h.mu.RUnlock()
	if c != nil {
		return c, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.collections[name]; c != nil {
		return c, nil
	}
	if h.ctx.Err() != nil {
		return nil, errClosed()
	}
	c = newCollection(h, name, h.cfg.Log.Bounds(name).Head)
	h.collections[name] = c
	h.loops.Go(labelled("pump", c.pump))
	return c, nil
}

// AwaitRevision waits until watches and reads of the collection show a revision,
// at most Config.RevisionWait. The reasons of errors: RevisionNotReached, or
// those of the context.
func (h *Hub) AwaitRevision(ctx context.Context, collection string, revision uint64) error {
	if revision == 0 {
		return nil
	}
	c, err := h.collection(collection)
	if err != nil {
		return err
	}
	reached := make(chan struct{})
	defer c.notifyAt(revision, sync.OnceFunc(func() { close(reached) }))()
	timer := time.NewTimer(h.cfg.RevisionWait)
	defer timer.Stop()
	select {
	case <-reached:
		return nil
	case <-timer.C:
		return resource.Errorf(resource.RevisionNotReached, "this node is at revision %d of %s and has not seen revision %d", c.pumped.Load(), resource.Shared(collection), revision).
			In("min_revision").After(time.Second)
	case <-ctx.Done():
		return ctx.Err()
	case <-h.ctx.Done():
		return errClosed()
	}
}

func errClosed() error {
	return resource.Errorf(resource.Draining, "the server is shutting down").After(time.Second)
}

// ListToken is the token by which a watch continues a list of a collection.
// It is empty where the caller may not watch that.
func (h *Hub) ListToken(ctx context.Context, collection, projection string, filter *schema.Filter, revision uint64) string {
	scope, _, err := h.Scope(ctx, Call{Collection: collection, Verb: Watching, Projection: projection})
	if err != nil {
		return ""
	}
	s := selection{collection: collection, filter: filter, scope: scope}
	_, hash := s.key()
	return resource.Token{Epoch: h.epoch, Scope: hash, Revision: revision, Collection: collection}.String()
}

// Scope gives what the caller may see now, for reads beside watches, and the grant of it.
func (h *Hub) Scope(ctx context.Context, c Call) (Scope, Grant, error) {
	g, err := h.cfg.Access.Grant(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	scope, err := g.Scope()
	return scope, g, err
}

// Drain tells every watch to end with `drain` and a time to come back after,
// spread evenly over the given time, and refuses new ones.
func (h *Hub) Drain(spread time.Duration) {
	h.mu.Lock()
	if !h.isDraining() {
		h.spread = spread
		close(h.drained)
	}
	watches := make([]*Watch, 0, len(h.watches))
	for w := range h.watches {
		watches = append(watches, w)
	}
	h.mu.Unlock()
	for _, w := range watches {
		w.drain.Store(true)
		w.wake()
	}
}

// Draining is closed when the hub begins to drain.
func (h *Hub) Draining() <-chan struct{} { return h.drained }

func (h *Hub) isDraining() bool {
	select {
	case <-h.drained:
		return true
	default:
		return false
	}
}

// reconnectAfter is a time within the drain's spread, at least a tenth of it.
func (h *Hub) reconnectAfter() time.Duration {
	h.mu.RLock()
	defer h.mu.RUnlock()
	spread := max(h.spread, time.Second)
	return spread/10 + time.Duration(rand.Int64N(int64(spread)*9/10+1))
}

// trim lets the largest collection give memory back while all of them together take
// more than allowed, as long as that helps.
func (h *Hub) trim() {
	for most := h.cfg.MemoryBytes - h.cfg.MemoryBytes/4; h.bytes.Load() > most; {
		var largest *collection
		h.mu.RLock()
		for _, c := range h.collections {
			if largest == nil || c.bytes.Load() > largest.bytes.Load() {
				largest = c
			}
		}
		h.mu.RUnlock()
		before := largest.bytes.Load()
		if largest.trimTo(before - before/8); largest.bytes.Load() >= before {
			return
		}
	}
}

// Memory says what is kept in memory for watches, in bytes, and how many batches have
// left it for the bound on it: whoever still needs one of them reads the log.
func (h *Hub) Memory() (bytes int64, trimmed uint64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, c := range h.collections {
		trimmed += c.trimmed.Load()
	}
	return h.bytes.Load(), trimmed
}

// Count says how many watches are open.
func (h *Hub) Count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.watches)
}

// LagBounds are the upper bounds of the classes in Lag.Watches, in revisions; the last
// class has none.
var LagBounds = [...]uint64{0, 1, 10, 100, 1000, 10_000, 100_000}

// Lag is how far the watches of a collection on one transport are behind the log.
type Lag struct {
	Collection, Transport string
	// Watches is how many there are in each class.
	Watches [len(LagBounds) + 1]uint64
	// Most is how many revisions the slowest watch is behind, Sum all of them.
	Most, Sum uint64
}

// Lags tells of all open watches, for metrics.
func (h *Hub) Lags() []Lag {
	type key struct{ collection, transport string }
	lags := map[key]*Lag{}
	h.mu.RLock()
	for w := range h.watches {
		k := key{w.col.name, w.transport}
		l := lags[k]
		if l == nil {
			l = &Lag{Collection: k.collection, Transport: k.transport}
			lags[k] = l
		}
		behind := uint64(0)
		if head, at := w.col.pumped.Load(), w.Cursor(); head > at {
			behind = head - at
		}
		class := sort.Search(len(LagBounds), func(i int) bool { return behind <= LagBounds[i] })
		l.Watches[class]++
		l.Most, l.Sum = max(l.Most, behind), l.Sum+behind
	}
	h.mu.RUnlock()
	out := make([]Lag, 0, len(lags))
	for _, l := range lags {
		out = append(out, *l)
	}
	return out
}

// Close ends every watch and waits for the hub's own goroutines. Closing twice is
// fine. The log stays open.
func (h *Hub) Close() {
	h.closeOnce.Do(func() {
		h.Drain(time.Second)
		h.unsubscribe()
		h.mu.Lock()
		h.cancel()
		h.mu.Unlock()
		h.chasers.Wait()
		close(h.stopped)
		h.loops.Wait()
		h.clock.Close()
		for _, w := range h.served() {
			w.Close(h.ctx.Err())
			w.out.Over(w, h.ctx.Err())
		}
	})
}

// served gives the watches that the hub has to end.
func (h *Hub) served() (watches []*Watch) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for w := range h.watches {
		if w.given {
			watches = append(watches, w)
		}
	}
	return watches
}

// shard gives the shard for a watch.
func (h *Hub) shard(served bool) *shard {
	if !served {
		return h.rouser
	}
	return h.shards[int(h.next.Add(1))%len(h.shards)]
}

// labelled names a goroutine in profiles: the label `part` of pprof.
func labelled(part string, f func()) func() {
	return func() { pprof.Do(context.Background(), pprof.Labels("part", part), func(context.Context) { f() }) }
}

// Unmetered is a Meter that counts nothing.
type Unmetered struct{}

// Sent implements Meter.
func (Unmetered) Sent(int, int) {}

// Delivered implements Meter.
func (Unmetered) Delivered(time.Duration) {}

type nobody struct{}

func (nobody) WatchOpened(string, string)                           {}
func (nobody) WatchClosed(string, string, string)                   {}
func (nobody) Meter(string, string) Meter                           { return Unmetered{} }
func (nobody) WatchReset(string, string, watchroutev1.Reset_Reason) {}

package hub

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
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
	// RingBytes bounds, for each collection, the latest changes and their frames
	// that are kept in memory. Default: 64 MiB.
	RingBytes int64
	// Heartbeat is used where a watch does not ask for one. Default: 15 s.
	Heartbeat time.Duration
	// RevisionWait is how long to wait for a revision that is not there yet.
	// Default: 2 s.
	RevisionWait time.Duration
}

// Observer is told what a hub does. Its methods must not block.
type Observer interface {
	WatchOpened(collection, transport string)
	// WatchClosed gives the reason of the end: a Reason's text, or "OK".
	WatchClosed(collection, transport, reason string)
	// Sent is told of what Next handed out.
	Sent(collection, transport string, events, bytes int)
	// Delivered is told how long ago the newest event that was handed out was
	// written.
	Delivered(collection, transport string, ago time.Duration)
	WatchReset(collection, transport string, reason watchroutev1.Reset_Reason)
}

// Hub serves watches on the collections of one log.
type Hub struct {
	cfg         Config
	unsubscribe func()
	done        chan struct{}
	pumps       sync.WaitGroup
	closeOnce   sync.Once

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
	if cfg.RingBytes == 0 {
		cfg.RingBytes = 64 << 20
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.RevisionWait == 0 {
		cfg.RevisionWait = 2 * time.Second
	}
	h := &Hub{cfg: cfg, done: make(chan struct{}), drained: make(chan struct{}), collections: map[string]*collection{}, watches: map[*Watch]struct{}{}}
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
	select {
	case <-h.done:
		return nil, resource.Errorf(resource.Draining, "the server is shutting down").After(time.Second)
	default:
	}
	c = newCollection(h, name, h.cfg.Log.Bounds(name).Head)
	h.collections[name] = c
	h.pumps.Go(c.pump)
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
		return resource.Errorf(resource.RevisionNotReached, "this node is at revision %d of %s and has not seen revision %d", c.pumped.Load(), collection, revision).
			In("min_revision").After(time.Second)
	case <-ctx.Done():
		return ctx.Err()
	case <-h.done:
		return resource.Errorf(resource.Draining, "the server is shutting down").After(time.Second)
	}
}

// ListToken is the token by which a watch continues a list of a collection.
func (h *Hub) ListToken(ctx context.Context, collection string, filter *schema.Filter, revision uint64) (string, error) {
	scope, err := h.cfg.Access.Scope(ctx, collection)
	if err != nil {
		return "", err
	}
	s := selection{collection: collection, filter: filter, scope: scope}
	_, hash := s.key()
	return resource.Token{Epoch: h.cfg.Log.Epoch(), Scope: hash, Revision: revision, Collection: collection}.String(), nil
}

// Scope gives what the caller may see of a collection, for reads beside watches.
func (h *Hub) Scope(ctx context.Context, collection string) (Scope, error) {
	return h.cfg.Access.Scope(ctx, collection)
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
	return h.spread/10 + time.Duration(rand.Int64N(int64(h.spread)*9/10+1))
}

// Count says how many watches are open.
func (h *Hub) Count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.watches)
}

// Lag is how far watches are behind the log.
type Lag struct {
	Collection, Transport string
	Watches               int
	// Most is how many revisions the slowest watch is behind.
	Most uint64
}

// Lags tells of all open watches, for metrics.
func (h *Hub) Lags() []Lag {
	type key struct{ collection, transport string }
	lags := map[key]*Lag{}
	h.mu.RLock()
	for w := range h.watches {
		k := key{w.col.name, w.req.Transport}
		l := lags[k]
		if l == nil {
			l = &Lag{Collection: k.collection, Transport: k.transport}
			lags[k] = l
		}
		l.Watches++
		if head, at := w.col.pumped.Load(), w.Cursor(); head > at {
			l.Most = max(l.Most, head-at)
		}
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
		close(h.done)
		h.mu.Unlock()
	})
	h.pumps.Wait()
}

type nobody struct{}

func (nobody) WatchOpened(string, string)                           {}
func (nobody) WatchClosed(string, string, string)                   {}
func (nobody) Sent(string, string, int, int)                        {}
func (nobody) Delivered(string, string, time.Duration)              {}
func (nobody) WatchReset(string, string, watchroutev1.Reset_Reason) {}

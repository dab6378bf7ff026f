package watchroute

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Mirror is a copy in memory of a collection, or of a part of it, that is always current.
// What it shows is always the state at one revision. While its watch comes back it goes on
// showing what it has; after a Reset, until the new state is complete.
//
// What it hands out is a copy of its own. Its methods may be called from several
// goroutines at a time, and from callbacks, but Close.
type Mirror[T any] struct {
	shape      shape[T]
	collection string
	cancel     context.CancelFunc
	done       chan struct{} // closed when the goroutine has ended
	synced     chan struct{} // closed when there is a state

	mu        sync.RWMutex
	entries   map[string]*entry
	order     []string // the names, sorted; nil: not sorted yet
	indexes   map[string]*index[T]
	revision  uint64
	live      time.Time
	state     State
	err       error
	waiters   []waiter
	listeners []*listener[T] // never changed, but replaced
}

// listener is a callback for changes.
type listener[T any] struct {
	f       func(Change[T])
	stopped atomic.Bool
}

// MirrorConfig is what a mirror does beyond keeping a copy.
type MirrorConfig[T any] struct {
	// Indexes are functions from a resource to keys by which ByIndex finds it, under a name
	// each. They must give the same for the same resource.
	Indexes map[string]func(Resource[T]) []string
	// OnChange is called for each change from the first state on. [Mirror.OnChange] adds
	// others later, and says what all of them hear.
	OnChange func(Change[T])
}

// Change is a resource before and after a change. One that is nil does not exist, or is
// not in the mirror's scope.
type Change[T any] struct {
	// Before and After are not both nil.
	Before, After *Resource[T]
	// Cause is why. Of what a new state brings: ENTERED, UPDATED or LEFT.
	Cause watchroutev1.Cause
	// Coalesced is how many further changes were folded into this one.
	Coalesced uint32
	// Revision is that of the change.
	Revision uint64
}

// entry is a resource. It is never changed.
type entry struct {
	resource *watchroutev1.Resource // but for its value
	value    any
	keys     map[string][]string // by index
}

type index[T any] struct {
	keys func(Resource[T]) []string
	of   map[string]map[string]*entry // key, name
}

type waiter struct {
	revision uint64
	reached  chan struct{}
}

// NewMirror begins to mirror a collection, such as "orders", or what the options select of
// it. It goes on until ctx ends, Close is called or its watch fails for good; see Done. It
// always begins with the state: ResumeToken, AfterRevision, FromNow and KeepToken are
// errors.
func NewMirror[T any](ctx context.Context, c *Client, target string, cfg MirrorConfig[T], options ...WatchOption) (*Mirror[T], error) {
	m := &Mirror[T]{shape: shapeOf[T](), done: make(chan struct{}), synced: make(chan struct{}),
		entries: map[string]*entry{}, indexes: map[string]*index[T]{}}
	for name, keys := range cfg.Indexes {
		m.indexes[name] = &index[T]{keys, map[string]map[string]*entry{}}
	}
	if cfg.OnChange != nil {
		m.OnChange(cfg.OnChange)
	}
	ctx, leave := c.attach(ctx)
	f := &fold{form: m.shape.form, marks: true}
	follower, err := c.follow(ctx, target, options, f)
	if err == nil && (skipsState(follower.request) || follower.tokens != nil) {
		err = failure(codes.InvalidArgument, watchroutev1.ErrorReason_INVALID_FIELD.String(), "a mirror begins with the state")
	}
	if err != nil {
		leave()
		return nil, err
	}
	m.collection = follower.request.GetParent()
	if m.collection == "" {
		m.collection, _, _ = strings.Cut(follower.request.GetNames()[0], "/")
	}
	follower.observe = append(follower.observe, func(s StateChange) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.state = s.State
	})
	m.cancel = leave
	go m.run(ctx, f)
	return m, nil
}

// OnChange calls f for each change that the mirror shows from now on, in order, after it
// is shown, in the mirror's goroutine. While f runs the mirror does not go on, but its
// readers do. What it is given is its own. After stop has returned f is not called again; a
// call that is under way goes on. Both may be called from callbacks.
//
// The first state is told once it is complete, each resource as one that ENTERED, in the
// order of their names; nothing of one that is empty. f hears it if it was there before:
// see [MirrorConfig]. Otherwise who needs what there is calls OnChange first, and then View:
// what comes in between is in both. Synced and WaitFor do not wait for callbacks.
//
// After a Reset nothing is told until the new state is complete, and then only what is
// another in its value or labels, in the order of the names: what ENTERED, what is UPDATED,
// what has LEFT.
//
// A panic of f is not caught: it ends the program.
func (m *Mirror[T]) OnChange(f func(Change[T])) (stop func()) {
	l := &listener[T]{f: f}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listeners = append(slices.Clone(m.listeners), l)
	return func() {
		l.stopped.Store(true)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.listeners = slices.DeleteFunc(slices.Clone(m.listeners), func(other *listener[T]) bool { return other == l })
	}
}

// Close ends the mirror and waits until its goroutine has ended. What it has can still be
// read. It must not be called from a callback for changes. Closing twice is no error.
func (m *Mirror[T]) Close() {
	m.cancel()
	<-m.done
}

// Done is closed when the mirror no longer follows its collection; Err says why.
func (m *Mirror[T]) Done() <-chan struct{} { return m.done }

// Err gives why the mirror ended; nil while it runs.
func (m *Mirror[T]) Err() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.err
}

// Synced waits until there is a state. Its error is ctx's, or the mirror's where it ended
// before.
func (m *Mirror[T]) Synced(ctx context.Context) error { return m.wait(ctx, m.synced) }

// WaitFor waits until the mirror shows what was written at a revision; see [Outcome].
func (m *Mirror[T]) WaitFor(ctx context.Context, revision uint64) error {
	m.mu.Lock()
	if m.revision >= revision {
		m.mu.Unlock()
		return m.Synced(ctx)
	}
	w := waiter{revision, make(chan struct{})}
	m.waiters = append(m.waiters, w)
	m.mu.Unlock()
	err := m.wait(ctx, w.reached)
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.waiters = slices.DeleteFunc(m.waiters, func(other waiter) bool { return other.reached == w.reached })
	}
	return err
}

func (m *Mirror[T]) wait(ctx context.Context, reached <-chan struct{}) error {
	select {
	case <-reached:
		return nil
	default:
	}
	select {
	case <-reached:
		return nil
	case <-m.done:
		return m.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Revision gives the revision of the state that the mirror shows; 0 before the first.
func (m *Mirror[T]) Revision() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.revision
}

// State gives the state of the mirror's watch.
func (m *Mirror[T]) State() State {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state
}

// LiveAsOf gives the time at which the mirror was last known to be current: it moves on
// with each message while the watch is Live, and stands still otherwise. Zero: never yet.
func (m *Mirror[T]) LiveAsOf() time.Time {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.live
}

// Len gives the number of resources.
func (m *Mirror[T]) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.entries)
}

// Get gives the resource of a name, such as "orders/42", or of an id, such as "42".
func (m *Mirror[T]) Get(name string) (Resource[T], bool) {
	if !strings.Contains(name, "/") {
		name = m.collection + "/" + name
	}
	m.mu.RLock()
	e := m.entries[name]
	m.mu.RUnlock()
	if e == nil {
		return Resource[T]{}, false
	}
	return m.give(e), true
}

// List gives all resources, in the order of their names.
func (m *Mirror[T]) List() []Resource[T] { return m.View().Resources }

// View is what a mirror shows at one moment.
type View[T any] struct {
	// Resources are all there are, in the order of their names.
	Resources []Resource[T]
	// Revision is the one that they are the state at; 0 before the first.
	Revision uint64
	// LiveAsOf and State are as the methods of the same names.
	LiveAsOf time.Time
	State    State
}

// View gives all that the mirror shows, of one moment.
func (m *Mirror[T]) View() View[T] {
	m.mu.Lock()
	if m.order == nil {
		m.order = slices.Sorted(maps.Keys(m.entries))
	}
	entries := make([]*entry, len(m.order))
	for i, name := range m.order {
		entries[i] = m.entries[name]
	}
	v := View[T]{Revision: m.revision, LiveAsOf: m.live, State: m.state}
	m.mu.Unlock()
	v.Resources = m.giveAll(entries)
	return v
}

// ByIndex gives the resources that an index of the configuration finds under a key, in the
// order of their names. It panics where there is no such index.
func (m *Mirror[T]) ByIndex(name, key string) []Resource[T] {
	index := m.indexes[name]
	if index == nil {
		panic("watchroute: the mirror has no index " + name)
	}
	m.mu.RLock()
	entries := slices.Collect(maps.Values(index.of[key]))
	m.mu.RUnlock()
	slices.SortFunc(entries, func(a, b *entry) int { return strings.Compare(a.resource.GetName(), b.resource.GetName()) })
	return m.giveAll(entries)
}

// give makes a copy.
func (m *Mirror[T]) give(e *entry) Resource[T] {
	value, err := m.shape.give(e.value, true)
	if err != nil {
		panic("watchroute: a value that could be read before: " + err.Error())
	}
	return resourceOf(e.resource, value)
}

func (m *Mirror[T]) giveAll(entries []*entry) []Resource[T] {
	out := make([]Resource[T], len(entries))
	for i, e := range entries {
		out[i] = m.give(e)
	}
	return out
}

package hub

import (
	"context"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// Verb is a way to read.
type Verb int

// The ways to read.
const (
	Get Verb = iota
	List
	Watching
)

// Call is what somebody wants to read.
type Call struct {
	Collection string
	Verb       Verb
	Transport  string
	// Projection is the shape of values that was asked for; empty: as they are.
	Projection string
}

// Access decides what a caller may see (promise P10).
type Access interface {
	// Grant gives what a call goes on under; who calls is in ctx. An error refuses it.
	Grant(ctx context.Context, c Call) (Grant, error)
}

// Grant is what one call goes on under. An open watch keeps it.
type Grant interface {
	// Scope says what may be seen now. It is asked when the call begins, and of a watch
	// again when the time has come that the scope names, and when Hub.Reconsider was told
	// that it may be another. An error refuses the call or ends the watch: its reasons are
	// the client's business. It must not block.
	Scope() (Scope, error)
	// Open is told that a watch begins under it, once Scope was asked. An error refuses it.
	Open() error
	// Ended is told, once, that the watch is over.
	Ended(End)
	// Spent is told what time a filter took that was dear, to compile or to look through
	// the log with; with 0 it is asked whether there is any left. It must not block.
	Spent(time.Duration) error
	// Delayed is Spent for what the other watches of the collection waited for. An error
	// ends those that share the filter.
	Delayed(time.Duration) error
}

// End is how a watch ended, and what it was handed.
type End struct {
	Reason        string // OK, DRAINED, or a reason's text
	Events, Bytes uint64
}

// Scope is what one caller may see of one collection. It is asked at every change, with
// the value before and the value after. Its methods must not block and must always say
// the same of the same state.
type Scope interface {
	// Key names the scope: callers with the same key see the same, in the same shape.
	// Empty: everything. It becomes part of what a token is bound to.
	Key() string
	// Whole says that every resource is visible, whatever its state.
	Whole() bool
	// Term gives a term without which nothing is visible, if there is one.
	Term() (schema.Term, bool)
	// Visible says whether a resource in this state may be seen.
	Visible(v *schema.Value) bool
	// Shown gives what of a visible value may be seen: v itself where that is all. Filters
	// see no more of it either.
	Shown(v *schema.Value) *schema.Value
	// Redacts says whether Shown may give less than v.
	Redacts() bool
	// Shape gives what was shown in the shape that the call asked for, after the filter.
	Shape(v *schema.Value) *schema.Value
	// Shapes says whether Shape may give another value.
	Shapes() bool
	// Until is when to ask the grant again; zero: never.
	Until() time.Time
}

// AllowAll is an Access without rules.
type AllowAll struct{}

// Grant gives the grant that sees everything.
func (AllowAll) Grant(context.Context, Call) (Grant, error) { return Everything{}, nil }

// Everything is the grant and the scope without limits.
type Everything struct{}

// Scope implements Grant.
func (Everything) Scope() (Scope, error) { return Everything{}, nil }

// Open implements Grant.
func (Everything) Open() error { return nil }

// Ended implements Grant.
func (Everything) Ended(End) {}

// Spent implements Grant.
func (Everything) Spent(time.Duration) error { return nil }

// Delayed implements Grant.
func (Everything) Delayed(time.Duration) error { return nil }

// Key implements Scope.
func (Everything) Key() string { return "" }

// Whole implements Scope.
func (Everything) Whole() bool { return true }

// Term implements Scope.
func (Everything) Term() (schema.Term, bool) { return schema.Term{}, false }

// Visible implements Scope.
func (Everything) Visible(*schema.Value) bool { return true }

// Shown implements Scope.
func (Everything) Shown(v *schema.Value) *schema.Value { return v }

// Redacts implements Scope.
func (Everything) Redacts() bool { return false }

// Shape implements Scope.
func (Everything) Shape(v *schema.Value) *schema.Value { return v }

// Shapes implements Scope.
func (Everything) Shapes() bool { return false }

// Until implements Scope.
func (Everything) Until() time.Time { return time.Time{} }

// Reconsider lets the watches whose grant it may concern ask that again, before they
// hand out anything more. Where the answer is another scope they begin anew, with
// `reset`.
func (h *Hub) Reconsider(concerns func(Grant) bool) {
	h.doubts.Add(1) // for those that are opening
	h.mu.RLock()
	var watches []*Watch
	for w := range h.watches {
		if concerns(w.grant) {
			watches = append(watches, w)
		}
	}
	h.mu.RUnlock()
	for _, w := range watches {
		w.Reconsider()
	}
}

// Reconsider lets the watch ask its grant again. Any goroutine may call it.
func (w *Watch) Reconsider() {
	w.doubt.Store(true)
	w.wake()
}

// rescope asks the grant again.
func (w *Watch) rescope() error {
	scope, err := w.grant.Scope()
	if err != nil {
		return err
	}
	w.until(scope)
	if scope.Key() == w.view.selection.scope.Key() {
		return nil
	}
	s := w.view.selection
	s.scope = scope
	w.col.leave(w)
	w.col.join(w, s, 0)
	w.burst, w.due = false, 0
	return w.expire(watchroutev1.Reset_ACCESS)
}

// afford tells what time a batch of so many bytes took the view's filter, where that is
// worth mentioning, and says whether whose filter it is may go on with it; the watches
// end, otherwise. With 0 it only asks, of a filter that has not proven to be cheap for
// about as many bytes. c.mu is held.
func (v *view) afford(took time.Duration, bytes int64) bool {
	switch {
	case v.filter == nil:
		return true
	case took == 0 && bytes <= 2*v.cheap:
		return true
	case took > 0 && took < dearFilter:
		v.cheap = max(v.cheap, bytes)
		return true
	}
	v.cheap = 0
	var watches []*Watch
	for _, g := range v.groups {
		g.reader.mu.Lock()
		watches = append(watches, g.watches...)
		g.reader.mu.Unlock()
	}
	err := watches[0].grant.Delayed(took)
	if err == nil {
		return true
	}
	for _, w := range watches {
		w.End(resource.AsError(err))
	}
	return false
}

// dearFilter is what a filter may take for one batch without being charged for it, and
// slowBatch what all views together may, before any is looked at.
const (
	dearFilter = 100 * time.Microsecond
	slowBatch  = 2 * time.Millisecond
	lookedAt   = 100 // batches after a slow one
)

// until notes when the grant is to be asked again.
func (w *Watch) until(s Scope) {
	w.expires = 0
	if at := s.Until(); !at.IsZero() {
		w.expires = max(1, moment(at.Sub(w.hub.began)))
	}
}

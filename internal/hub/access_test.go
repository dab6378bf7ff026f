package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
)

// keyed is a scope of the things whose JSON has a word; "" of all.
type keyed struct {
	hub.Everything
	word  string
	until time.Time
}

func (s keyed) Key() string                  { return s.word }
func (s keyed) Whole() bool                  { return s.word == "" }
func (s keyed) Visible(v *schema.Value) bool { return strings.Contains(string(v.JSON()), s.word) }
func (s keyed) Until() time.Time             { return s.until }

// guard is an Access that gives everybody the same grant.
type guard struct {
	mu    sync.Mutex
	scope keyed
	err   error
	full  error // of Open
	ended []hub.End
}

func (g *guard) Grant(context.Context, hub.Call) (hub.Grant, error) { return g, nil }

func (g *guard) Scope() (hub.Scope, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return nil, g.err
	}
	return g.scope, nil
}

func (g *guard) Open() error { return g.full }

func (g *guard) Spent(time.Duration) error   { return nil }
func (g *guard) Delayed(time.Duration) error { return nil }

func (g *guard) Ended(e hub.End) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = append(g.ended, e)
}

func (g *guard) set(change func(*guard)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

func everybody(hub.Grant) bool { return true }

func guarded(t *testing.T, word string) (*fixture, *guard) {
	t.Helper()
	g := &guard{scope: keyed{word: word}}
	f := newFixture(t, func(c *hub.Config) { c.Access = g })
	f.put("a", `{"red":true}`)
	f.put("b", `{"blue":true}`)
	return f, g
}

func TestReconsider_AnotherScopeBeginsAnew(t *testing.T) {
	f, g := guarded(t, "red")
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(2)
	rd.want("started SNAPSHOT", "ENTERED a@1", "snapshotend")
	f.hub.Reconsider(everybody)
	rd.drainTo(f.put("a", `{"red":false}`))
	rd.want("UPDATED a@3") // the same scope: no reset
	f.hub.Reconsider(func(hub.Grant) bool { return false })
	g.set(func(g *guard) { g.scope.word = "blue" })
	rd.drainTo(f.put("a", `{"red":1}`))
	rd.want("UPDATED a@4") // nobody has asked it
	f.hub.Reconsider(everybody)
	rd.drainTo(f.put("b", `{"blue":false}`))
	rd.want("reset ACCESS", "ENTERED b@5", "snapshotend")
	rd.drainTo(f.put("a", `{"blue":true}`))
	rd.want("ENTERED a@6")
}

func TestReconsider_AChangeMadeUnderTheOldScopeIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := guarded(t, "red")
		rd := f.watch(&watchroutev1.WatchRequest{})
		rd.drainTo(2)
		rd.kinds = nil
		rev := f.put("a", `{"red":"secret"}`)
		synctest.Wait() // it waits to be handed out
		g.set(func(g *guard) { g.err = resource.Errorf(resource.PermissionDenied, "no") })
		f.hub.Reconsider(everybody)
		if n, err := rd.apply(hub.Unlimited); n != 0 || !resource.HasReason(err, resource.PermissionDenied) {
			t.Errorf("%d frames at %d, %v", n, rev, err)
		}
		rd.w.Close(resource.Errorf(resource.PermissionDenied, "no"))
		if want := []hub.End{{Reason: "PERMISSION_DENIED", Events: 1, Bytes: g.ended[0].Bytes}}; !slices.Equal(g.ended, want) {
			t.Errorf("ended as %v", g.ended)
		}
	})
}

func TestReconsider_FailsWhereTheClientWantsNoReset(t *testing.T) {
	f, g := guarded(t, "red")
	rd := f.watch(&watchroutev1.WatchRequest{OnExpired: watchroutev1.OnExpired_FAIL})
	rd.drainTo(2)
	g.set(func(g *guard) { g.scope.word = "blue" })
	f.hub.Reconsider(everybody)
	if _, err := rd.apply(hub.Unlimited); !resource.HasReason(err, resource.ScopeChanged) {
		t.Error(err)
	}
}

func TestReconsider_InTheMiddleOfASnapshot(t *testing.T) {
	f, g := guarded(t, "red")
	for i := range 20 {
		f.put(string(rune('c'+i)), `{"red":true}`)
	}
	rd := f.watch(&watchroutev1.WatchRequest{})
	for range 3 {
		if _, err := rd.apply(hub.Budget{Bytes: 1, Events: 1}); err != nil {
			t.Fatal(err)
		}
	}
	g.set(func(g *guard) { g.scope.word = "blue" })
	f.hub.Reconsider(everybody)
	rd.drainTo(22)
	if len(rd.state) != 1 || rd.state["things/b"] == "" {
		t.Errorf("it holds %v after %v", rd.state, rd.kinds)
	}
}

func TestGrant_IsAskedAgainWhenItsTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := guarded(t, "red")
		g.scope.until = time.Now().Add(time.Minute)
		rd := f.watch(&watchroutev1.WatchRequest{Heartbeat: durationpb.New(10 * time.Minute)})
		rd.drainTo(2)
		rd.kinds = nil
		began := time.Now()
		g.set(func(g *guard) { g.scope.word, g.scope.until = "blue", time.Now().Add(3*time.Minute) })
		wake := func(after time.Duration) {
			t.Helper()
			for len(rd.kinds) == 0 {
				if err := rd.w.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := rd.apply(hub.Unlimited); err != nil {
					rd.kinds = append(rd.kinds, resource.AsError(err).Reason.String())
				}
			}
			if d := time.Since(began); d != after {
				t.Errorf("%v after %v, want %v", rd.kinds, d, after)
			}
		}
		wake(time.Minute)
		rd.want("reset ACCESS")
		rd.drainTo(2)
		rd.want("ENTERED b@2", "snapshotend")
		g.set(func(g *guard) { g.err = resource.Errorf(resource.CredentialExpired, "over") })
		wake(3 * time.Minute)
		rd.want("CREDENTIAL_EXPIRED")
	})
}

func TestGrant_ThatIsFullRefusesTheWatch(t *testing.T) {
	f, g := guarded(t, "")
	g.full = resource.Errorf(resource.LimitReached, "too many")
	_, err := f.hub.Open(t.Context(), hub.Request{Watch: &watchroutev1.WatchRequest{Parent: "things"}, Codec: wire.Proto})
	if !errors.Is(err, &resource.Error{Reason: resource.LimitReached}) || f.hub.Count() != 0 || len(g.ended) != 0 {
		t.Error(err, f.hub.Count(), g.ended)
	}
}

func TestGrant_IsToldOfTheEndOnce(t *testing.T) {
	f, g := guarded(t, "")
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(2)
	rd.w.Close(nil)
	rd.w.Close(context.Canceled)
	if len(g.ended) != 1 || g.ended[0].Reason != "OK" || g.ended[0].Events != 2 || g.ended[0].Bytes == 0 {
		t.Errorf("ended as %+v", g.ended)
	}
}

func TestResume_InAnotherScopeBeginsAnew(t *testing.T) {
	f, g := guarded(t, "red")
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(2)
	rd.w.Close(nil)
	g.set(func(g *guard) { g.scope.word = "blue" })
	rd.kinds = nil
	rd.resume(f, &watchroutev1.WatchRequest{})
	rd.drainTo(2)
	rd.want("started SNAPSHOT", "reset SCOPE", "ENTERED b@2", "snapshotend")
}

// late is a guard whose answer is out of date as soon as it is given, once.
type late struct {
	*guard
	once   sync.Once
	change func()
}

func (l *late) Grant(context.Context, hub.Call) (hub.Grant, error) { return l, nil }

func (l *late) Scope() (hub.Scope, error) {
	s, err := l.guard.Scope()
	l.once.Do(l.change)
	return s, err
}

// TestReconsider_WhileAWatchOpens: what changes between the answer of the grant and the
// moment from which the hub knows of the watch is not lost.
func TestReconsider_WhileAWatchOpens(t *testing.T) {
	l := &late{guard: &guard{scope: keyed{word: "red"}}}
	f := newFixture(t, func(c *hub.Config) { c.Access = l })
	f.put("a", `{"red":true}`)
	f.put("b", `{"blue":true}`)
	l.change = func() {
		l.set(func(g *guard) { g.scope.word = "blue" })
		f.hub.Reconsider(everybody)
	}
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(2)
	rd.drainTo(f.put("c", `{"red":1,"blue":1}`))
	if rd.state["things/a"] != "" || rd.state["things/b"] == "" || rd.state["things/c"] == "" {
		t.Errorf("it holds %v after %v", rd.state, rd.kinds)
	}
}

// spender is a guard whose callers may not have dear filters.
type spender struct {
	*guard
	told atomic.Int64
}

func (s *spender) Grant(context.Context, hub.Call) (hub.Grant, error) { return s, nil }

func (s *spender) Delayed(took time.Duration) error {
	s.told.Add(int64(took))
	return resource.Errorf(resource.LimitReached, "too dear").With("limit", "filter_time")
}

// TestWatch_ADearFilterIsChargedToWhoHasIt: the watch with it ends, with the reason; the
// others are told everything.
func TestWatch_ADearFilterIsChargedToWhoHasIt(t *testing.T) {
	s := &spender{guard: &guard{}}
	f := newFixture(t, func(c *hub.Config) { c.Access = s })
	list := func(n int) string {
		return fmt.Sprintf(`{"n":%d,"l":[%s0]}`, n, strings.Repeat("1,", 3000))
	}
	f.put("a", list(0))
	dear := f.watch(&watchroutev1.WatchRequest{Filter: `data.n < 0 || data.l.exists(x, data.l.exists(y, x + y == 7))`})
	cheap := f.watch(&watchroutev1.WatchRequest{Filter: `data.n >= 0`})
	var last uint64
	for n := range 20 {
		last = f.put("a", list(n))
	}
	cheap.drainTo(last)
	if !cheap.w.Reached(last) {
		t.Fatal("the cheap one has not all")
	}
	for {
		_, err := dear.apply(hub.Unlimited)
		if resource.HasReason(err, resource.LimitReached) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err = dear.w.Wait(ctx)
		cancel()
		if err != nil {
			t.Fatalf("the dear one goes on; %v were charged", time.Duration(s.told.Load()))
		}
	}
}

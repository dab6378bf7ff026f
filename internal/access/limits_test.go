package access

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
)

// TestTurns: so many at a time, in the order in which they came; others have their own.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all turns
		ctx, cancel := context.WithCancel(t.Context())
		var done []func()
		for range mostReceived {
			f, err := all.enter(ctx, "a", 100)
			if err != nil {
				t.Fatal(err)
			}
			done = append(done, f)
		}
		entered := make(chan int, 2)
		for i := range 2 {
			go func() {
				if f, err := all.enter(ctx, "a", 100); err == nil {
					entered <- i
					defer f()
				}
			}()
			synctest.Wait()
		}
		if len(entered) > 0 {
			t.Error("too many entered")
		}
		if f, err := all.enter(ctx, "b", 100); err != nil {
			t.Errorf("somebody else: %v", err)
		} else {
			f()
		}
		if _, err := all.enter(ctx, "a", mostHeaders); !errors.Is(err, errFull) {
			t.Errorf("with too large a header: %v", err)
		}
		if f, err := all.enter(ctx, "b", mostHeaders+1); err != nil {
			t.Errorf("one alone: %v", err)
		} else {
			f()
		}
		done[0]()
		synctest.Wait()
		if first := <-entered; first != 0 {
			t.Errorf("%d entered first", first)
		}
		cancel()
		for _, f := range done[1:] {
			f()
		}
		synctest.Wait()
		if len(all.of) > 0 {
			t.Errorf("left: %v", all.of)
		}
	})
}

// TestControl_ReceiveIsForWhoMayDoAnything: the request of who shows no credential is not
// even read, unless a collection admits such callers.
func TestControl_ReceiveIsForWhoMayDoAnything(t *testing.T) {
	w := newWorld(t)
	nobody := w.enters(Presented{})
	receive := func(c *Caller) error {
		done, err := w.control.Receive(t.Context(), c, 100)
		if err == nil {
			done()
		}
		return err
	}
	if err := receive(nobody); !resource.HasReason(err, resource.CredentialMissing) {
		t.Errorf("nobody: %v", err)
	}
	if err := receive(w.named("ann")); err != nil {
		t.Errorf("ann: %v", err)
	}
	w.policy(&watchroutev1.CollectionAccess{Collection: "open", Anonymous: true, Rules: &watchroutev1.AccessRules{Get: "true"}})
	if err := receive(nobody); err != nil {
		t.Errorf("nobody, where a collection is open: %v", err)
	}
	w.policy(&watchroutev1.CollectionAccess{Collection: "open", Rules: &watchroutev1.AccessRules{Get: "true"}})
	if err := receive(nobody); !resource.HasReason(err, resource.CredentialMissing) {
		t.Errorf("nobody, where it was closed again: %v", err)
	}
}

func TestControl_FilterTime(t *testing.T) {
	told := 0
	w := newWorld(t, func(s *setup) {
		s.Limits.FilterTime = 100 * time.Millisecond
		s.Limited = func(limit string) {
			if limit == "filter_time" {
				told++
			}
		}
	})
	grant := func(subject, collection string) hub.Grant {
		g, err := w.control.Grant(With(t.Context(), w.named(subject)), hub.Call{Collection: collection, Verb: hub.Watching})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	refused := func(err error) {
		t.Helper()
		if e := resource.AsError(err); !resource.HasReason(err, resource.LimitReached) || e.RetryAfter <= 0 {
			t.Errorf("%v", err)
		}
	}
	fine := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	ann := grant("ann", "notes")
	fine(ann.Spent(0))
	fine(ann.Spent(90 * time.Millisecond))
	refused(ann.Spent(90 * time.Millisecond))
	refused(grant("ann", "others").Spent(0))
	refused(ann.Delayed(0))
	// All of them together may delay a collection, but not another, for so long.
	fine(grant("ben", "notes").Delayed(9 * time.Millisecond))
	refused(grant("cem", "notes").Delayed(9 * time.Millisecond))
	refused(grant("dan", "notes").Delayed(0))
	fine(grant("dan", "notes").Spent(0))
	fine(grant("dan", "others").Delayed(0))
	if told != 5 {
		t.Errorf("%d were counted", told)
	}
}

func TestSubnet(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64", "2001:db8:0:0:ffff::2": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64"} {
		if got := subnet(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

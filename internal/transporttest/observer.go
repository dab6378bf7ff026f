package transporttest

import (
	"context"
	"sync"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
)

// watches knows which watches of a node are open and how the others ended. It is
// the hub's observer.
type watches struct {
	mu      sync.Mutex
	open    int
	opened  int
	ends    []string // the reasons
	changed chan struct{}
}

func newWatches() *watches { return &watches{changed: make(chan struct{})} }

func (w *watches) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// await waits until a condition holds, which is asked with w.mu held.
func (w *watches) await(ctx context.Context, condition func() bool) bool {
	for {
		w.mu.Lock()
		ok, changed := condition(), w.changed
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// WatchOpened implements hub.Observer.
func (w *watches) WatchOpened(_, _ string) { w.change(func() { w.open++; w.opened++ }) }

// WatchClosed implements hub.Observer.
func (w *watches) WatchClosed(_, transport, reason string) {
	w.change(func() { w.open--; w.ends = append(w.ends, transport+" "+reason) })
}

// Meter implements hub.Observer.
func (w *watches) Meter(string, string) hub.Meter { return hub.Unmetered{} }

// WatchReset implements hub.Observer.
func (w *watches) WatchReset(string, string, watchroutev1.Reset_Reason) {}

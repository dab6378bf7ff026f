package access

import (
	"context"
	"sync"

	"github.com/watchroute/watchroute/internal/hub"
)

// tasks does one thing after the other, in a goroutine of its own.
type tasks struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	hub    *hub.Hub // set by the first task

	mu      sync.Mutex
	pending []func()
	signal  chan struct{}
}

func (t *tasks) start() {
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.signal = make(chan struct{}, 1)
	t.done.Go(func() {
		for {
			select {
			case <-t.signal:
			case <-t.ctx.Done():
				return
			}
			t.mu.Lock()
			todo := t.pending
			t.pending = nil
			t.mu.Unlock()
			for _, f := range todo {
				f()
			}
		}
	})
}

func (t *tasks) do(f func()) {
	t.mu.Lock()
	t.pending = append(t.pending, f)
	t.mu.Unlock()
	select {
	case t.signal <- struct{}{}:
	default:
	}
}

// beside does something that may take long.
func (t *tasks) beside(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() == nil {
		t.done.Go(f)
	}
}

func (t *tasks) close() {
	t.mu.Lock()
	t.cancel()
	t.mu.Unlock()
	t.done.Wait()
}

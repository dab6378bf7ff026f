package sourcetest

import (
	"context"
	"sync"
)

// board guards what changes, and lets others wait for that. The zero value is ready.
type board struct {
	mu      sync.Mutex
	changed chan struct{} // closed by the next change; nil: nobody waits
}

// update changes something.
func (b *board) update(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// read reads something.
func (b *board) read(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// wait waits until something holds; false: ctx has ended before.
func (b *board) wait(ctx context.Context, holds func() bool) bool {
	for {
		b.mu.Lock()
		held := holds()
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		if held {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

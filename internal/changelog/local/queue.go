package local

import (
	"context"
	"sync"

	"github.com/watchroute/watchroute/internal/changelog"
)

// pending is a write on its way through the committer, which alone touches result
// and err until it closes done.
type pending struct {
	ctx    context.Context // the writer's; when it is done the writer is gone
	write  changelog.Write
	result changelog.Result
	err    error
	done   chan struct{}
}

// size is about what the write takes on the disk.
func (p *pending) size() int {
	n := len(p.write.RequestID)
	for _, op := range p.write.Ops {
		n += 200 + len(op.ID) + len(op.Type) + len(op.Data)
	}
	return n
}

// queue holds the writes that wait. Many push, one takes.
type queue struct {
	mu     sync.Mutex
	wake   sync.Cond
	items  []*pending
	closed bool
}

func (q *queue) push(p *pending) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.items = append(q.items, p)
	if len(q.items) == 1 {
		q.wake.Signal()
	}
	return true
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Signal()
}

// take waits for a write and appends it and those behind it to group, within the
// bounds. It gives nothing when the queue is closed and empty.
func (q *queue) take(group []*pending, writes, bytes int) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.wake.Wait()
	}
	n := 0
	for ; n < len(q.items) && n < writes && (n == 0 || bytes > 0); n++ {
		bytes -= q.items[n].size()
	}
	group = append(group, q.items[:n]...)
	left := copy(q.items, q.items[n:])
	clear(q.items[left:])
	q.items = q.items[:left]
	return group
}

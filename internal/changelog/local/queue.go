package local

import (
	"context"
	"sync"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
)

// pending is a write on its way through the committer, which alone touches result,
// outcomes and err until it closes done.
type pending struct {
	ctx    context.Context // the writer's; when it is done the writer is gone
	write  changelog.Write
	result changelog.Result
	err    error
	done   chan struct{}
	bytes  int // size, once it is in the queue

	// Of WriteAll, in place of write and result.
	units    []changelog.Unit // nil: it is of Write
	marks    map[string]string
	outcomes []changelog.Outcome
}

// size is about what the write takes on the disk.
func (p *pending) size() int {
	n := sizeOf(&p.write)
	for i := range p.units {
		for j := range p.units[i].Writes {
			n += sizeOf(&p.units[i].Writes[j])
		}
	}
	return n
}

func sizeOf(w *changelog.Write) int {
	n := len(w.RequestID)
	for _, op := range w.Ops {
		n += 200 + len(op.ID) + len(op.Type) + len(op.Data)
	}
	return n
}

// queue holds the writes that wait. Many push, one awaits and takes.
type queue struct {
	writes, bytes int // bounds of a group

	mu     sync.Mutex
	items  []*pending
	size   int // of items
	need   int // how many there are to be for whoever awaits them; 0: nobody does
	closed bool
	wake   chan struct{}
}

func newQueue(writes, bytes int) *queue {
	return &queue{writes: writes, bytes: bytes, wake: make(chan struct{}, 1)}
}

func (q *queue) push(p *pending) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	p.bytes = p.size()
	q.items = append(q.items, p)
	q.size += p.bytes
	q.tell()
	return true
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.tell()
}

// tell wakes whoever awaits what there is now. q.mu is held.
func (q *queue) tell() {
	if q.need > 0 && q.enough(q.need) {
		q.need = 0
		q.wake <- struct{}{}
	}
}

// enough: so many writes, as much as a group may hold, or no more to come.
func (q *queue) enough(n int) bool { return len(q.items) >= n || q.size >= q.bytes || q.closed }

// await waits until there are so many writes, or as many as a group may hold, or the
// queue is closed, or the time is over; nil: it never is. It says how many there are.
func (q *queue) await(n int, over <-chan time.Time) int {
	q.mu.Lock()
	if q.enough(n) {
		defer q.mu.Unlock()
		return len(q.items)
	}
	q.need = n
	q.mu.Unlock()
	select {
	case <-q.wake:
	case <-over:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.need = 0; len(q.wake) > 0 { // both at once
		<-q.wake
	}
	return len(q.items)
}

// len says how many writes wait.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// take appends the writes that wait to group, within the bounds, at least one.
func (q *queue) take(group []*pending) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for ; n < len(q.items) && n < q.writes && (n == 0 || bytes < q.bytes); n++ {
		bytes += q.items[n].bytes
	}
	group = append(group, q.items[:n]...)
	left := copy(q.items, q.items[n:])
	clear(q.items[left:])
	q.items, q.size = q.items[:left], q.size-bytes
	return group
}

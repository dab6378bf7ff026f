package postgres

import (
	"context"
	"sync"

	"github.com/jackc/pglogrepl"

	"github.com/watchroute/watchroute/server/sources"
)

// Bounds of what waits for Take, and of what it is given at once. What is larger is alone.
const (
	mostEvents = 1000
	mostBytes  = 4 << 20
)

// queue is what was read and has not been taken.
type queue struct {
	room, more chan struct{} // with a buffer of one

	mu     sync.Mutex
	events []sources.Event
	bytes  int
	// done is up to where the log is not needed any more when the events are taken; 0: no
	// further than before.
	done   pglogrepl.LSN
	level  bool // there is nothing more
	closed bool
}

func newQueue() *queue {
	return &queue{room: make(chan struct{}, 1), more: make(chan struct{}, 1)}
}

// put appends events. It waits until there is room.
func (q *queue) put(ctx context.Context, events []sources.Event, bytes int, done pglogrepl.LSN) error {
	for !q.tryPut(events, bytes, done) {
		select {
		case <-q.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	signal(q.more)
	return nil
}

func (q *queue) tryPut(events []sources.Event, bytes int, done pglogrepl.LSN) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(events) > 0 && len(q.events) > 0 && (len(q.events)+len(events) > mostEvents || q.bytes+bytes > mostBytes) {
		return false
	}
	q.events, q.bytes, q.level = append(q.events, events...), q.bytes+bytes, false
	q.done = max(q.done, done)
	return true
}

// caughtUp says that the server has nothing more up to an LSN.
func (q *queue) caughtUp(at pglogrepl.LSN) {
	q.mu.Lock()
	q.done, q.level = max(q.done, at), true
	q.mu.Unlock()
	signal(q.more)
}

// close says that nothing more comes.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	signal(q.more)
}

// batch is what is taken at once.
type batch struct {
	events []sources.Event
	done   pglogrepl.LSN
	level  bool
}

// take waits for something; false: nothing more comes.
func (q *queue) take(ctx context.Context) (batch, bool, error) {
	for {
		q.mu.Lock()
		b, closed := batch{q.events, q.done, q.level}, q.closed
		q.events, q.bytes, q.done, q.level = nil, 0, 0, false
		q.mu.Unlock()
		if len(b.events) > 0 || b.done > 0 {
			signal(q.room)
			return b, true, nil
		}
		if closed {
			return batch{}, false, nil
		}
		select {
		case <-q.more:
		case <-ctx.Done():
			return batch{}, false, ctx.Err()
		}
	}
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events)
}

// drain hands everything to the sink until the queue is closed. taken is called with each
// LSN up to which the log is not needed any more.
func (q *queue) drain(ctx context.Context, to sources.Sink, taken func(pglogrepl.LSN)) error {
	for {
		b, ok, err := q.take(ctx)
		if !ok {
			return err
		}
		if len(b.events) > 0 {
			if err := to.Take(ctx, b.events); err != nil {
				return err
			}
		}
		if b.done > 0 {
			taken(b.done)
		}
		if n := q.waiting(); n > 0 || b.level {
			to.Lag("", int64(n))
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

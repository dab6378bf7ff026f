package local

import (
	"runtime"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
)

// commitGroups is the committer. It ends when the queue is closed and empty.
func (l *Log) commitGroups() {
	l.queue.groups(newGather(l.config.CommitDelay), func(group []*pending) error {
		batches, err := l.commit(group)
		if err == nil {
			l.subscribers.call(batches)
		}
		return err
	})
}

// groups gives the writes to commit in groups, and answers them, until the queue is
// closed and empty.
func (q *queue) groups(g *gather, commit func([]*pending) error) {
	var group []*pending
	for q.await(1, nil) > 0 {
		g.wait(q)
		group = q.take(group[:0])
		began := time.Now()
		err := commit(group)
		g.committed(len(group), q.len(), began, time.Now())
		for _, p := range group {
			if err != nil {
				p.result, p.err = changelog.Result{}, err
			}
			close(p.done)
		}
		clear(group)
		// Let the writers that were answered come back before the next group is
		// taken: larger groups cost less.
		runtime.Gosched()
	}
}

// commit applies a group of writes and returns what they changed, in order, when
// it is durable and visible. An error stands for all of them.
func (l *Log) commit(group []*pending) ([]*changelog.Batch, error) {
	g, err := l.store.Begin()
	if err != nil {
		return nil, err
	}
	defer g.Drop()
	var batches []*changelog.Batch
	for _, p := range group {
		if p.err = p.ctx.Err(); p.err != nil { // its writer is gone
			continue
		}
		d := decision{group: g, write: p.write, now: l.config.Now()}
		batch, err := d.take()
		if err != nil {
			return nil, err
		}
		if p.err = d.refused; p.err == nil {
			p.result = d.result
		}
		if batch != nil {
			batches = append(batches, batch)
		}
	}
	return batches, g.Commit()
}

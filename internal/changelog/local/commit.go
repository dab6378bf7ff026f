package local

import (
	"runtime"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/store"
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
				p.err = err
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
	c := committing{group: g, now: l.config.Now}
	for _, p := range group {
		if p.err = p.ctx.Err(); p.err != nil { // its writer is gone
			continue
		}
		if err := c.decide(p); err != nil {
			return nil, err
		}
	}
	return c.batches, g.Commit()
}

// committing is a group under way.
type committing struct {
	group   *store.Group
	now     func() time.Time
	batches []*changelog.Batch // what changes, in order
}

func (c *committing) decide(p *pending) error {
	if p.units == nil {
		d := decision{group: c.group, write: p.write, now: c.now()}
		if err := c.put(&d); err != nil {
			return err
		}
		if p.err = d.refused; p.err == nil {
			p.result = d.result
		}
		return nil
	}
	p.outcomes = make([]changelog.Outcome, len(p.units))
	for i := range p.units {
		if err := c.unit(&p.units[i], &p.outcomes[i]); err != nil {
			return err
		}
	}
	for key, text := range p.marks {
		c.group.Mark(key, text)
	}
	return nil
}

func (c *committing) put(d *decision) (err error) {
	if err = d.take(); err == nil {
		c.batches, err = d.put(c.batches)
	}
	return err
}

// unit applies a unit, or what stands in its place.
func (c *committing) unit(u *changelog.Unit, out *changelog.Outcome) (err error) {
	decisions := make([]decision, len(u.Writes))
	for i, w := range u.Writes {
		d := &decisions[i]
		*d = decision{group: c.group, write: w, now: c.now()}
		if err := d.take(); err != nil {
			return err
		}
		if out.Refused = d.refused; out.Refused != nil {
			if u.Else == nil {
				return nil
			}
			decisions = append(decisions[:0], decision{group: c.group, write: u.Else(out.Refused), now: c.now()})
			if err := decisions[0].take(); err != nil {
				return err
			}
			break
		}
	}
	out.Results = make([]changelog.Result, len(decisions))
	for i := range decisions {
		if c.batches, err = decisions[i].put(c.batches); err != nil {
			return err
		}
		out.Results[i] = decisions[i].result
	}
	return nil
}

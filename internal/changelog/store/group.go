package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/watchroute/watchroute/internal/changelog"
)

// Group collects batches that become durable together, in the order in which
// they were put, each of them entirely or not at all. Only one goroutine uses it.
// It sees what was put into it and into the groups before, durable or not.
//
// Use it as Begin, Put..., Commit. A group that is not committed must be dropped.
// An error of any method is final for the store: it refuses writes until it is
// opened again.
type Group struct {
	s       *Store
	batch   *pebble.Batch
	request map[name]*Request // made when it is needed
	created []*collection
	touched []touched
	open    bool // holds Store.writing
}

type touched struct {
	c    *collection
	head head
}

// Begin opens the group. It waits for the group before to be committed or dropped.
func (s *Store) Begin() (*Group, error) {
	if !s.gate.enter() {
		return nil, errClosed()
	}
	s.writing.Lock()
	if err := s.writable(); err != nil {
		s.writing.Unlock()
		s.gate.leave()
		return nil, err
	}
	return &Group{s: s, batch: s.db.NewBatch(), open: true}, nil
}

// Create makes a collection exist.
func (g *Group) Create(collection string) { g.collection(collection) }

func (g *Group) collection(text string) *collection {
	s := g.s
	if c := s.all[text]; c != nil {
		return c
	}
	c := &collection{name: text, number: s.next}
	s.next++
	s.all[text] = c
	g.created = append(g.created, c)
	g.set(catalogKey(text), binary.BigEndian.AppendUint32(nil, uint32(c.number)))
	return c
}

// Head is the newest revision of a collection and its time; zero if there is none.
func (g *Group) Head(collection string) (revision uint64, at time.Time) {
	c := g.s.all[collection]
	if c == nil || c.written.revision == 0 {
		return 0, time.Time{}
	}
	return c.written.revision, fromNanos(c.written.nanos)
}

// Newest is the newest record of a name, which may be a tombstone, or nil.
func (g *Group) Newest(collection, id string) (*changelog.Record, error) {
	c := g.s.all[collection]
	if c == nil {
		return nil, nil
	}
	n, err := g.find(c, id)
	return n.record, err
}

func (g *Group) find(c *collection, id string) (newest, error) {
	n, ok := g.s.names.get(name{c, id})
	if ok {
		return n, nil
	}
	n, err := g.s.findNewest(c, id)
	if err != nil {
		return newest{}, g.s.fail(err)
	}
	g.s.names.put(name{c, id}, n)
	return n, nil
}

// findNewest reads what is newest, durable or not. Store.writing is held.
func (s *Store) findNewest(c *collection, id string) (newest, error) {
	var key [128]byte
	value, closer, err := s.db.Get(latestKey(key[:0], c.number, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return newest{}, nil
	}
	if err != nil {
		return newest{}, err
	}
	_, revision, err := parsePointer(value)
	if err = errors.Join(err, closer.Close()); err != nil {
		return newest{}, err
	}
	value, closer, err = s.db.Get(changeKey(key[:0], c.number, kindHistory, revision, id))
	if err != nil {
		return newest{}, fmt.Errorf("%s/%s at %d: %w", c.name, id, revision, err)
	}
	defer closer.Close()
	r, err := decodeRecord(id, revision, value)
	return newest{r, len(value)}, err
}

// Put adds a batch. Its revision must be above the collection's head, its changes
// by id, each New complete but for Prev. Put sets Prev and Old. What the batch holds
// is shared with readers from then on.
func (g *Group) Put(b *changelog.Batch) error {
	c := g.collection(b.Collection)
	h := c.written
	if b.Revision <= h.revision || len(b.Changes) == 0 {
		return g.s.fail(fmt.Errorf("batch %d of %d changes for %s, whose head is %d", b.Revision, len(b.Changes), c.name, h.revision))
	}
	h.revision, h.nanos = b.Revision, b.Time.UnixNano()
	var key [128]byte
	var pointer [16]byte
	for i := range b.Changes {
		change := &b.Changes[i]
		r := change.New
		old, err := g.find(c, r.ID)
		if err != nil {
			return err
		}
		change.Old, r.Prev = nil, 0
		if old.record != nil {
			r.Prev = old.record.Revision
			if !old.record.Absent {
				change.Old = old.record
			}
			g.set(changeKey(key[:0], c.number, kindIndex, r.Prev, r.ID), appendPointer(pointer[:0], old.record.Absent, b.Revision))
			h.superseded += weight(r.ID, old.size)
		}
		value := appendRecord(g.s.scratch[:0], r, old.size)
		g.s.scratch = value
		g.set(changeKey(key[:0], c.number, kindHistory, b.Revision, r.ID), value)
		g.set(changeKey(key[:0], c.number, kindIndex, b.Revision, r.ID), appendPointer(pointer[:0], r.Absent, 0))
		g.set(latestKey(key[:0], c.number, r.ID), appendPointer(pointer[:0], r.Absent, b.Revision))
		g.s.names.put(name{c, r.ID}, newest{r, len(value)})
	}
	g.touch(c, h)
	return nil
}

// weight is what a superseded record counts in Retention.Bytes.
func weight(id string, size int) int64 { return int64(size + 2*(changeLen+len(id))) }

func (g *Group) touch(c *collection, h head) {
	c.written = h
	if i := slices.IndexFunc(g.touched, func(t touched) bool { return t.c == c }); i >= 0 {
		g.touched[i].head = h
		return
	}
	g.touched = append(g.touched, touched{c, h})
}

// set cannot fail: the batch is in memory.
func (g *Group) set(key, value []byte) { _ = g.batch.Set(key, value, nil) }

// Bytes is the size of the group so far.
func (g *Group) Bytes() int { return g.batch.Len() }

// Drop gives a group up, unless it was committed. What was put into it cannot be
// taken back from memory, so that the store fails unless it is empty.
func (g *Group) Drop() {
	if !g.open {
		return
	}
	if !g.batch.Empty() {
		_ = g.s.fail(errors.New("a group of writes was given up"))
	}
	_ = g.batch.Close()
	g.end()
	g.s.gate.leave()
}

// Commit makes the group durable and then visible to readers.
func (g *Group) Commit() error {
	if err := g.apply(); err != nil {
		return err
	}
	return g.wait()
}

// apply hands the group to the disk. Where it fails wait must not be called.
func (g *Group) apply() error {
	for _, t := range g.touched {
		g.set(headKey(t.c.number), t.head.append(nil))
	}
	err := g.s.apply(g.batch, true)
	g.end()
	if err != nil {
		g.s.gate.leave()
		return g.s.fail(err)
	}
	return nil
}

func (g *Group) end() {
	g.open = false
	g.s.names.trim()
	g.s.writing.Unlock()
}

// apply writes a batch; Store.writing is held where it touches what groups do. A
// synced batch is durable after its SyncWait.
func (s *Store) apply(b *pebble.Batch, sync bool) error {
	if b.Empty() {
		return nil
	}
	if !sync || s.config.NoSync {
		return s.db.Apply(b, pebble.NoSync)
	}
	return s.db.ApplyNoSyncWait(b, pebble.Sync)
}

// wait returns when the group is durable and visible.
func (g *Group) wait() error {
	defer g.s.gate.leave()
	if !g.batch.Empty() && !g.s.config.NoSync {
		if err := g.batch.SyncWait(); err != nil {
			return g.s.fail(err)
		}
	}
	_ = g.batch.Close() // gives its memory back
	if len(g.created) > 0 {
		g.s.mu.Lock()
		for _, c := range g.created {
			g.s.durable[c.name] = c
		}
		g.s.mu.Unlock()
	}
	for _, t := range g.touched {
		t.c.publish(t.head)
	}
	return nil
}

package store

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

// collection is what the store keeps in memory of one collection.
type collection struct {
	name   string
	number number

	// What readers go by. Each only grows, and tombstones <= history <= head.
	head, history, tombstones atomic.Uint64

	written head // guarded by Store.writing; may be ahead of what is durable
	floors  floors
	// superseded is head.superseded of what is durable.
	superseded atomic.Int64
}

// head is the last batch that was written.
type head struct {
	revision uint64
	nanos    int64
	// superseded counts all bytes of records that ever got a successor.
	superseded int64
}

// floors is how far compaction has come; it is guarded by Store.compacting.
type floors struct {
	history, tombstones uint64
	// The revisions up to which was looked, for superseded records and for
	// tombstones.
	seenHistory, seenTombstones uint64
	// dropped counts all bytes of superseded records that were ever dropped.
	dropped int64
}

func (h head) append(dst []byte) []byte {
	return appendUint64s(dst, h.revision, uint64(h.nanos), uint64(h.superseded))
}

func (f floors) append(dst []byte) []byte {
	return appendUint64s(dst, f.history, f.tombstones, f.seenHistory, f.seenTombstones, uint64(f.dropped))
}

func appendUint64s(dst []byte, values ...uint64) []byte {
	for _, v := range values {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

// uint64s reads what appendUint64s wrote; a missing key gives zeros.
func (s *Store) uint64s(key []byte, into ...*uint64) error {
	value, closer, err := s.db.Get(key)
	if err == pebble.ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	if len(value) != 8*len(into) {
		return fmt.Errorf("%w: %d bytes under %x", errCorrupt, len(value), key)
	}
	for i, v := range into {
		*v = binary.BigEndian.Uint64(value[8*i:])
	}
	return nil
}

func (s *Store) loadCollections() error {
	from := prefix(nil, 0, kindCatalog)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: prefix(nil, 0, kindCatalog+1)})
	if err != nil {
		return err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if len(value) != 4 {
			return fmt.Errorf("%w: collection %q", errCorrupt, it.Key())
		}
		c := &collection{name: string(it.Key()[len(from):]), number: number(binary.BigEndian.Uint32(value))}
		if err := s.loadCollection(c); err != nil {
			return err
		}
		s.all[c.name] = c
		s.next = max(s.next, c.number+1)
	}
	return it.Error()
}

func (s *Store) loadCollection(c *collection) error {
	var nanos, superseded, dropped uint64
	h, f := &c.written, &c.floors
	if err := s.uint64s(headKey(c.number), &h.revision, &nanos, &superseded); err != nil {
		return err
	}
	if err := s.uint64s(floorsKey(c.number), &f.history, &f.tombstones, &f.seenHistory, &f.seenTombstones, &dropped); err != nil {
		return err
	}
	h.nanos, h.superseded, f.dropped = int64(nanos), int64(superseded), int64(dropped)
	c.publish(*h)
	c.publishFloors()
	return nil
}

// publish makes everything up to h visible to readers.
func (c *collection) publish(h head) {
	c.superseded.Store(h.superseded)
	c.head.Store(h.revision)
}

func (c *collection) publishFloors() {
	c.history.Store(c.floors.history)
	c.tombstones.Store(c.floors.tombstones)
}

// bounds are consistent: loaded in the order in which they are not raised.
func (c *collection) bounds() changelog.Bounds {
	var b changelog.Bounds
	b.Tombstones = c.tombstones.Load()
	b.History = c.history.Load()
	b.Head = c.head.Load()
	return b
}

// Bounds says what of a collection can be read.
func (s *Store) Bounds(name string) changelog.Bounds {
	if c := s.collection(name); c != nil {
		return c.bounds()
	}
	return changelog.Bounds{}
}

func (s *Store) collection(name string) *collection {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.durable[name]
}

func compacted(c *collection, revision, floor uint64) error {
	return resource.Errorf(resource.Compacted, "revision %d of %s is older than %d, the oldest that can be read", revision, c.name, floor)
}

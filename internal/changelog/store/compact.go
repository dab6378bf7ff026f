package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A step of a compaction looks at about this many records; it writes one batch, and
// where it must keep writers out it does so for no longer.
const compactStep = 2000

// Compact drops what Retention lets go, in small steps. It can be left by its
// context between two of them.
func (s *Store) Compact(ctx context.Context) error {
	if !s.gate.enter() {
		return errClosed()
	}
	defer s.gate.leave()
	s.compacting.Lock()
	defer s.compacting.Unlock()
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.durable))
	s.mu.RUnlock()
	for _, c := range all {
		for _, step := range []func(*collection, time.Time) (bool, error){
			s.dropSuperseded, s.dropTombstones, s.dropRequests,
		} {
			for more := true; more; {
				if err := errors.Join(ctx.Err(), s.writable()); err != nil {
					return err
				}
				var err error
				if more, err = step(c, s.config.Now()); err != nil {
					return readFailed(err)
				}
			}
		}
	}
	return nil
}

// dropSuperseded looks at the next changes and drops what they superseded. It says
// whether there is more to do.
func (s *Store) dropSuperseded(c *collection, now time.Time) (more bool, err error) {
	keep := s.config.Retention
	old := now.Add(-keep.Age).UnixNano()
	young := now.Add(-keep.MinAge).UnixNano()

	head, f := c.head.Load(), c.floors
	excess := c.superseded.Load() - f.dropped - keep.Bytes
	if f.seenHistory >= head {
		return false, nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: changeKey(nil, c.number, kindHistory, f.seenHistory+1, ""),
		UpperBound: changeKey(nil, c.number, kindHistory, head+1, ""),
	})
	if err != nil {
		return false, err
	}
	defer it.Close()
	b := s.db.NewBatch()
	defer b.Close()
	var key [128]byte
	var last uint64
	n := 0
	for ok := it.First(); ; ok = it.Next() {
		if !ok {
			f.seenHistory = head
			break
		}
		revision, id, err := splitChange(it.Key())
		if err != nil {
			return false, err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return false, err
		}
		l, err := decodeLineage(value)
		if err != nil {
			return false, err
		}
		if revision != last { // a batch is looked at as a whole
			if n >= compactStep {
				more = true
				break
			}
			if l.nanos > young || l.nanos > old && excess <= 0 {
				break
			}
			last = revision
		}
		n++
		f.seenHistory = revision
		if l.prev == 0 {
			continue
		}
		f.history = revision
		for _, kind := range []byte{kindHistory, kindIndex} {
			_ = b.Delete(changeKey(key[:0], c.number, kind, l.prev, string(id)), nil)
		}
		w := weight(string(id), l.prevSize)
		f.dropped += w
		excess -= w
	}
	if err := it.Error(); err != nil {
		return false, err
	}
	return more, s.move(c, f, b)
}

// move raises the floors of a collection, first for readers, then on the disk
// together with what falls below them.
func (s *Store) move(c *collection, f floors, b *pebble.Batch) error {
	if f == c.floors {
		return nil
	}
	c.floors = f
	c.publishFloors()
	_ = b.Set(floorsKey(c.number), f.append(nil), nil)
	// Not synced: after a crash the old floors and what is above them are back.
	if err := s.apply(b, false); err != nil {
		return s.fail(err)
	}
	return nil
}

// dropTombstones looks at the index where dropSuperseded has been, and drops
// tombstones that nothing followed.
func (s *Store) dropTombstones(c *collection, now time.Time) (more bool, err error) {
	old := now.Add(-s.config.Retention.Tombstones).UnixNano()
	f := c.floors
	if f.seenTombstones >= f.seenHistory {
		return false, nil
	}
	s.writing.Lock() // nobody writes to a name between the look and the drop
	defer s.writing.Unlock()
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: changeKey(nil, c.number, kindIndex, f.seenTombstones+1, ""),
		UpperBound: changeKey(nil, c.number, kindIndex, f.seenHistory+1, ""),
	})
	if err != nil {
		return false, err
	}
	defer it.Close()
	b := s.db.NewBatch()
	defer b.Close()
	var key [128]byte
	var last uint64
	n := 0
	for ok := it.First(); ; ok = it.Next() {
		if !ok {
			f.seenTombstones = f.seenHistory
			break
		}
		revision, idBytes, err := splitChange(it.Key())
		if err != nil {
			return false, err
		}
		if revision != last && n >= compactStep {
			more = true
			break
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return false, err
		}
		absent, successor, err := parsePointer(value)
		if err != nil {
			return false, err
		}
		if absent && successor == 0 {
			id := string(idBytes)
			record := changeKey(key[:0], c.number, kindHistory, revision, id)
			nanos, err := s.timeOf(record)
			if err != nil {
				return false, err
			}
			if nanos > old {
				f.seenTombstones = revision - 1
				break
			}
			f.tombstones = revision
			f.history = max(f.history, revision)
			_ = b.Delete(record, nil)
			_ = b.Delete(it.Key(), nil)
			_ = b.Delete(latestKey(key[:0], c.number, id), nil)
			s.names.drop(name{c, id})
		}
		n++
		last, f.seenTombstones = revision, revision
	}
	if err := it.Error(); err != nil {
		return false, err
	}
	return more, s.move(c, f, b)
}

func (s *Store) timeOf(record []byte) (nanos int64, err error) {
	value, closer, err := s.db.Get(record)
	if err != nil {
		return 0, fmt.Errorf("%w: %x: %w", errCorrupt, record, err)
	}
	defer closer.Close()
	l, err := decodeLineage(value)
	return l.nanos, err
}

// dropRequests forgets request ids that are too old.
func (s *Store) dropRequests(c *collection, now time.Time) (more bool, err error) {
	old := now.Add(-s.config.Retention.RequestIDs).UnixNano()
	if old < 0 {
		return false, nil
	}
	s.writing.Lock() // nobody uses the id again meanwhile
	defer s.writing.Unlock()
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: timeKey(c.number, 0, ""),
		UpperBound: timeKey(c.number, old+1, ""),
	})
	if err != nil {
		return false, err
	}
	defer it.Close()
	b := s.db.NewBatch()
	defer b.Close()
	n := 0
	for ok := it.First(); ok && n < compactStep; ok = it.Next() {
		key := it.Key()
		if len(key) < changeLen {
			return false, fmt.Errorf("%w: key %x", errCorrupt, key)
		}
		_ = b.Delete(key, nil)
		_ = b.Delete(requestKey(c.number, string(key[changeLen:])), nil)
		n++
	}
	if err := it.Error(); err != nil {
		return false, err
	}
	if err := s.apply(b, false); err != nil {
		return false, s.fail(err)
	}
	return n == compactStep, nil
}

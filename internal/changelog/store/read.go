package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/watchroute/watchroute/internal/changelog"
)

// getter is the database or a view of it.
type getter interface {
	Get(key []byte) (value []byte, closer io.Closer, err error)
}

// errDropped: a record that ought to be there was dropped by a compaction.
var errDropped = errors.New("compacted")

// Get is changelog.Log's. A revision above the head reads the newest.
func (s *Store) Get(ctx context.Context, collection, id string, at uint64) (*changelog.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.gate.enter() {
		return nil, errClosed()
	}
	defer s.gate.leave()
	c := s.collection(collection)
	if c == nil {
		return nil, nil
	}
	// Two reads are not one view: a compaction may come between them. It raises the
	// floors before it drops anything, so a look at them after a miss tells.
	for misses := 0; ; misses++ {
		head := c.head.Load()
		limit := at
		if at == 0 || at > head {
			limit = head
		}
		r, err := s.get(c, id, limit)
		switch floor := c.history.Load(); {
		case !errors.Is(err, errDropped):
			return r, readFailed(err)
		case floor > limit && limit == at:
			return nil, compacted(c, at, floor)
		case floor <= limit && misses >= 3: // one is a tombstone that was let go
			return nil, readFailed(fmt.Errorf("%w: %s/%s at %d is missing, the floor is %d", errCorrupt, collection, id, limit, floor))
		}
	}
}

func (s *Store) get(c *collection, id string, limit uint64) (*changelog.Record, error) {
	var key [128]byte
	value, closer, err := s.db.Get(latestKey(key[:0], c.number, id))
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return nil, err
	}
	var revision uint64
	if err == nil {
		_, revision, err = parsePointer(value)
		if err = errors.Join(err, closer.Close()); err != nil {
			return nil, err
		}
	}
	r, err := walk(s.db, c, id, revision, limit)
	if r == nil && err == nil && limit < c.tombstones.Load() {
		return nil, errDropped // there may have been one, under a tombstone that was let go
	}
	return r, err
}

// walk goes from a record of a name, which must not be older than what is sought,
// down to the newest at or below limit; nil where there is none.
func walk(from getter, c *collection, id string, revision, limit uint64) (*changelog.Record, error) {
	for revision != 0 {
		r, prev, err := load(from, c, id, revision, limit)
		if r != nil || err != nil {
			return r, err
		}
		revision = prev
	}
	return nil, nil
}

// load reads one record; only its prev if it is above limit. It fails with
// errDropped where the record is not there.
func load(from getter, c *collection, id string, revision, limit uint64) (r *changelog.Record, prev uint64, err error) {
	var key [128]byte
	value, closer, err := from.Get(changeKey(key[:0], c.number, kindHistory, revision, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, 0, errDropped
	}
	if err != nil {
		return nil, 0, err
	}
	defer closer.Close()
	if revision > limit {
		l, err := decodeLineage(value)
		return nil, l.prev, err
	}
	r, err = decodeRecord(id, revision, value)
	if err != nil {
		return nil, 0, err
	}
	return r, r.Prev, nil
}

// Exactly is changelog.Log's.
func (s *Store) Exactly(ctx context.Context, collection, id string, revision uint64) (*changelog.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.gate.enter() {
		return nil, errClosed()
	}
	defer s.gate.leave()
	c := s.collection(collection)
	if c == nil || revision > c.head.Load() {
		return nil, nil
	}
	r, _, err := load(s.db, c, id, revision, revision)
	if errors.Is(err, errDropped) {
		return nil, nil
	}
	return r, readFailed(err)
}

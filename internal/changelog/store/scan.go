package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/watchroute/watchroute/internal/changelog"
)

// view is one state of one collection, with the bounds that hold for it.
type view struct {
	snapshot *pebble.Snapshot
	c        *collection
	bounds   changelog.Bounds
	// single finds single records. It is made when it is first needed, and costs a
	// third of a Get.
	single *pebble.Iterator
}

// view must be closed. Everything up to its head is in it, and nothing above its
// floors was dropped from it: a compaction raises the floors before it drops.
func (s *Store) view(c *collection) *view {
	for {
		head := c.head.Load()
		v := &view{snapshot: s.db.NewSnapshot(), c: c, bounds: c.bounds()}
		if v.bounds.History <= head {
			v.bounds.Head = head
			return v
		}
		v.close()
	}
}

func (v *view) close() {
	if v.single != nil {
		_ = v.single.Close() // its error came with what it read
	}
	_ = v.snapshot.Close() // never fails
}

// Get is pebble's, for records. The value is good until the next call.
func (v *view) Get(key []byte) (value []byte, closer io.Closer, err error) {
	if v.single == nil {
		v.single, err = v.snapshot.NewIter(&pebble.IterOptions{
			LowerBound: prefix(nil, v.c.number, kindHistory), UpperBound: prefix(nil, v.c.number, kindHistory+1),
		})
		if err != nil {
			return nil, nil, err
		}
	}
	if !v.single.SeekPrefixGE(key) {
		return nil, nil, cmp.Or(v.single.Error(), pebble.ErrNotFound)
	}
	value, err = v.single.ValueAndErr()
	return value, io.NopCloser(nil), err
}

// scan is the frame of Latest, History and List.
func scan[T any](ctx context.Context, s *Store, collection string, yield func(T, error) bool, run func(*view, func(T) (more bool)) error) {
	var none T
	if !s.gate.enter() {
		yield(none, errClosed())
		return
	}
	defer s.gate.leave()
	c := s.collection(collection)
	if c == nil {
		return
	}
	v := s.view(c)
	defer v.close()
	n, left := 0, false
	err := ctx.Err()
	if err == nil {
		err = run(v, func(item T) bool {
			if n++; n%256 == 0 && ctx.Err() != nil {
				return false
			}
			left = !yield(item, nil)
			return !left
		})
	}
	if n%256 == 0 && err == nil {
		err = ctx.Err()
	}
	if err != nil && !left {
		yield(none, readFailed(err))
	}
}

// Latest is changelog.Log's. An `at` above the head reads up to the head at the
// call.
func (s *Store) Latest(ctx context.Context, collection string, after changelog.Position, at uint64) iter.Seq2[*changelog.Record, error] {
	return func(yield func(*changelog.Record, error) bool) {
		scan(ctx, s, collection, yield, func(v *view, emit func(*changelog.Record) bool) error {
			return v.latest(ctx, after, at, emit)
		})
	}
}

func (v *view) latest(ctx context.Context, after changelog.Position, at uint64, emit func(*changelog.Record) bool) error {
	if at < v.bounds.History {
		return compacted(v.c, at, v.bounds.History)
	}
	if after.ID == "" && 0 < after.Revision && after.Revision < v.bounds.Tombstones {
		return compacted(v.c, after.Revision, v.bounds.Tombstones)
	}
	at = min(at, v.bounds.Head)
	index, err := v.changes(ctx, kindIndex, after, at)
	if err != nil {
		return err
	}
	defer index.Close()
	// The records stand in the same order, a few steps or a long way apart.
	records, err := v.changes(ctx, kindHistory, after, at)
	if err != nil {
		return err
	}
	defer records.Close()
	var key []byte
	for ok := index.First(); ok; ok = index.Next() {
		value, err := index.ValueAndErr()
		if err != nil {
			return err
		}
		_, successor, err := parsePointer(value)
		if err != nil {
			return err
		}
		if successor != 0 && successor <= at {
			continue
		}
		revision, id, err := splitChange(index.Key())
		if err != nil {
			return err
		}
		key = append(key[:0], index.Key()...)
		key[prefixLen-1] = kindHistory
		if !records.SeekGE(key) || string(records.Key()) != string(key) {
			return errors.Join(records.Error(), fmt.Errorf("%w: %s/%s at %d is missing", errCorrupt, v.c.name, id, revision))
		}
		value, err = records.ValueAndErr()
		if err != nil {
			return err
		}
		r, err := decodeRecord(string(id), revision, value)
		if err != nil {
			return err
		}
		if !emit(r) {
			return nil
		}
	}
	return index.Error()
}

// History is changelog.Log's. An `until` above the head reads up to the head at
// the call.
func (s *Store) History(ctx context.Context, collection string, after changelog.Position, until uint64) iter.Seq2[changelog.Change, error] {
	return func(yield func(changelog.Change, error) bool) {
		scan(ctx, s, collection, yield, func(v *view, emit func(changelog.Change) bool) error {
			return v.history(ctx, after, until, emit)
		})
	}
}

func (v *view) history(ctx context.Context, after changelog.Position, until uint64, emit func(changelog.Change) bool) error {
	known := after.Revision // a position within a revision still needs the rest of that
	if after.ID != "" && known > 0 {
		known--
	}
	if known < v.bounds.History {
		return compacted(v.c, known, v.bounds.History)
	}
	records, err := v.changes(ctx, kindHistory, after, min(until, v.bounds.Head))
	if err != nil {
		return err
	}
	defer records.Close()
	for ok := records.First(); ok; ok = records.Next() {
		revision, id, err := splitChange(records.Key())
		if err != nil {
			return err
		}
		value, err := records.ValueAndErr()
		if err != nil {
			return err
		}
		var change changelog.Change
		change.New, err = decodeRecord(string(id), revision, value)
		if err != nil {
			return err
		}
		if prev := change.New.Prev; prev != 0 {
			change.Old, _, err = load(v, v.c, change.New.ID, prev, prev)
			if errors.Is(err, errDropped) {
				err = fmt.Errorf("%w: %s/%s at %d is missing", errCorrupt, v.c.name, id, prev)
			}
			if err != nil {
				return err
			}
			if change.Old.Absent {
				change.Old = nil
			}
		}
		if !emit(change) {
			return nil
		}
	}
	return records.Error()
}

// List is changelog.Log's. An `at` above the head reads the state at the head of
// the call.
func (s *Store) List(ctx context.Context, collection, after string, at uint64) iter.Seq2[*changelog.Record, error] {
	return func(yield func(*changelog.Record, error) bool) {
		scan(ctx, s, collection, yield, func(v *view, emit func(*changelog.Record) bool) error {
			return v.list(ctx, after, at, emit)
		})
	}
}

func (v *view) list(ctx context.Context, after string, at uint64, emit func(*changelog.Record) bool) error {
	if at < v.bounds.History {
		return compacted(v.c, at, v.bounds.History)
	}
	at = min(at, v.bounds.Head)
	from := latestKey(nil, v.c.number, after)
	if after != "" {
		from = append(from, 0)
	}
	names, err := v.snapshot.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from, UpperBound: prefix(nil, v.c.number, kindLatest+1)})
	if err != nil {
		return err
	}
	defer names.Close()
	for ok := names.First(); ok; ok = names.Next() {
		value, err := names.ValueAndErr()
		if err != nil {
			return err
		}
		absent, revision, err := parsePointer(value)
		if err != nil {
			return err
		}
		if absent && revision <= at {
			continue
		}
		id := string(names.Key()[prefixLen:])
		r, err := walk(v, v.c, id, revision, at)
		if errors.Is(err, errDropped) {
			err = fmt.Errorf("%w: %s/%s at %d is missing", errCorrupt, v.c.name, id, at)
		}
		if err != nil {
			return err
		}
		if r == nil || r.Absent {
			continue
		}
		if !emit(r) {
			return nil
		}
	}
	return names.Error()
}

// changes iterates over the keys of a kind after a position and up to a revision.
func (v *view) changes(ctx context.Context, kind byte, after changelog.Position, until uint64) (*pebble.Iterator, error) {
	var from []byte
	switch {
	case after.ID != "":
		from = append(changeKey(nil, v.c.number, kind, after.Revision, after.ID), 0)
	case after.Revision == math.MaxUint64:
		from = prefix(nil, v.c.number, kind+1)
	default:
		from = changeKey(nil, v.c.number, kind, after.Revision+1, "")
	}
	to := changeKey(nil, v.c.number, kind, until+1, "") // until <= head
	if string(from) > string(to) {
		from = to
	}
	return v.snapshot.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from, UpperBound: to})
}

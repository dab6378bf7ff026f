package store

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// Mark sets a mark with the group; the empty text removes it.
func (g *Group) Mark(key, text string) {
	if text == "" {
		_ = g.batch.Delete(markKey(key), nil) // the batch is in memory
		return
	}
	g.set(markKey(key), []byte(text))
}

// Marks gives the marks whose keys begin with a prefix.
func (s *Store) Marks(prefix string) (marks map[string]string, err error) {
	if !s.gate.enter() {
		return nil, errClosed()
	}
	defer s.gate.leave()
	first := markKey(prefix)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: after(first)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	marks = map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		marks[string(it.Key()[prefixLen:])] = string(it.Value())
	}
	return marks, it.Error()
}

// after gives the first key behind all that begin with a prefix, which has a byte that is
// not the last.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

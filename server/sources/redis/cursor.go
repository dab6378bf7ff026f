package redis

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// id is an entry's id; the zero id is before all of them.
type id struct{ ms, seq uint64 }

var errNoID = errors.New("no entry id")

func parseID(text string) (id, error) {
	ms, seq, ok := strings.Cut(text, "-")
	if !ok {
		return id{}, fmt.Errorf("%q: %w", text, errNoID)
	}
	var out id
	var err, bad error
	out.ms, err = strconv.ParseUint(ms, 10, 64)
	out.seq, bad = strconv.ParseUint(seq, 10, 64)
	if err != nil || bad != nil {
		return id{}, fmt.Errorf("%q: %w", text, errNoID)
	}
	return out, nil
}

func (i id) String() string { return fmt.Sprintf("%d-%d", i.ms, i.seq) }

func (i id) compare(j id) int { return cmp.Or(cmp.Compare(i.ms, j.ms), cmp.Compare(i.seq, j.seq)) }

// unknown is a number of entries that nobody knows.
const unknown = -1

// cursor is where one stream has been read to.
type cursor struct {
	key    string
	latest bool // it begins with the next entry, if it has no position

	begun bool  // it has a position, or has seen the stream
	known bool  // it has a position
	taken bool  // `at` is an entry that the stream had
	at    id    // the last entry that was read, or the end when it began
	had   int64 // how many entries the stream had ever had with that; unknown: Redis did not tell
}

// newCursor makes one of a position, ID/NUMBER or ID; empty: there is none.
func newCursor(key, position string) (*cursor, error) {
	c := &cursor{key: key, had: unknown}
	if position == "" {
		return c, nil
	}
	text, number, counted := strings.Cut(position, "/")
	var err error
	if c.at, err = parseID(text); err == nil && counted {
		c.had, err = strconv.ParseInt(number, 10, 64)
	}
	if err != nil || c.had < unknown {
		return nil, fmt.Errorf("the position %q of the stream %s is none", position, key)
	}
	c.begun, c.taken, c.known = true, c.at != id{}, true
	return c, nil
}

// position gives what newCursor reads.
func (c *cursor) position() string {
	if c.had == unknown {
		return c.at.String()
	}
	return c.at.String() + "/" + strconv.FormatInt(c.had, 10)
}

// after gives where to read from.
func (c *cursor) after() string {
	if !c.begun && c.latest {
		return "$"
	}
	return c.at.String()
}

// pass goes on to an entry.
func (c *cursor) pass(text string) (err error) {
	if c.at, err = parseID(text); err != nil {
		return err
	}
	c.taken = true
	if c.had != unknown {
		c.had++
	}
	return nil
}

// state is a stream at one time, and what was read of it then.
type state struct {
	exists      bool
	length      int64 // entries that it has
	added       int64 // entries that it has ever had; 0 before Redis 7
	first, last id    // of those that it has, and that it has ever had
	entries     []entry
}

// entry is one entry; its fields are in no order.
type entry struct {
	id     string
	fields map[string]any
}

// check says whether what was read follows what was read before. most is how many were
// asked for.
func (c *cursor) check(s *state, most int) error {
	if !s.exists {
		if c.taken {
			return fmt.Errorf("it is gone; it was read up to %s", c.at)
		}
		c.begun, c.at, c.had = true, id{}, 0
		return nil
	}
	counts := s.added > 0 || s.last == id{}
	if !c.begun {
		c.begun = true
		if c.latest {
			c.at, c.taken = s.last, s.last != id{}
		}
	}
	if s.last.compare(c.at) < 0 {
		return fmt.Errorf("it ends at %s, and was read up to %s: it was made anew, or Redis has lost its end", s.last, c.at)
	}
	// What there is behind the cursor is known where all was read, or nothing is before it.
	behind := int64(unknown)
	trimmed := s.first.compare(c.at) > 0 || s.length == 0
	switch {
	case len(s.entries) < most:
		behind = int64(len(s.entries))
	case trimmed:
		behind = s.length
	}
	if !counts || c.had == unknown {
		if c.taken && trimmed && s.last.compare(c.at) > 0 {
			return fmt.Errorf("it begins at %s, and was read up to %s: entries between them may have been trimmed before they were read", s.first, c.at)
		}
		c.had = unknown
		if counts && behind != unknown {
			c.had = s.added - behind
		}
		return nil
	}
	switch missing := s.added - c.had - behind; {
	case s.added < c.had, behind != unknown && missing < 0, behind == unknown && s.added-c.had < int64(len(s.entries)):
		return errors.New("it was made anew, or Redis has lost a part of it: it has had fewer entries than were read")
	case behind != unknown && missing > 0:
		return fmt.Errorf("%d entries were trimmed or deleted before they were read; it was read up to %s", missing, c.at)
	}
	return nil
}

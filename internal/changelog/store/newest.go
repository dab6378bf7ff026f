package store

import "github.com/watchroute/watchroute/internal/changelog"

// newest is the newest record of a name, nil if there is none, and the size of its
// encoding.
type newest struct {
	record *changelog.Record
	size   int
}

type name struct {
	c  *collection
	id string
}

// names remembers what is newest of the names that were written or asked for last,
// so that a write need not read the disk. It also is where a group sees its own
// puts, so it forgets between groups only. It has no lock of its own.
type names struct {
	limit int // in bytes
	bytes int
	all   map[name]*nameEntry
	ring  nameEntry // least recently used first; ring itself is the end
}

type nameEntry struct {
	name
	newest
	before, after *nameEntry
}

func newNames(limit int) *names {
	n := &names{limit: limit, all: map[name]*nameEntry{}}
	n.ring.before, n.ring.after = &n.ring, &n.ring
	return n
}

// entryOverhead is what an entry takes beside its record, about.
const entryOverhead = 150

func (e *nameEntry) bytes() int {
	if e.record == nil {
		return entryOverhead
	}
	return entryOverhead + e.record.Size()
}

func (n *names) get(k name) (newest, bool) {
	e := n.all[k]
	if e == nil {
		return newest{}, false
	}
	e.unlink()
	n.link(e)
	return e.newest, true
}

func (n *names) put(k name, v newest) {
	e := n.all[k]
	if e == nil {
		e = &nameEntry{name: k}
		n.all[k] = e
	} else {
		e.unlink()
		n.bytes -= e.bytes()
	}
	e.newest = v
	n.bytes += e.bytes()
	n.link(e)
}

func (n *names) drop(k name) {
	if e := n.all[k]; e != nil {
		e.unlink()
		n.bytes -= e.bytes()
		delete(n.all, k)
	}
}

// trim forgets the least recently used until the limit is met.
func (n *names) trim() {
	for n.bytes > n.limit {
		n.drop(n.ring.after.name)
	}
}

func (n *names) link(e *nameEntry) {
	e.before, e.after = n.ring.before, &n.ring
	e.before.after, e.after.before = e, e
}

func (e *nameEntry) unlink() {
	e.before.after, e.after.before = e.after, e.before
}

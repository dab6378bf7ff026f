package hub

import (
	"container/list"
	"sync"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
)

const (
	// segmentBytes is how much of a snapshot is read and encoded at a time.
	segmentBytes = 64 << 10
	// A snapshot that is behind is still used by newcomers, who get what it lacks
	// right after it, while it is this young and at least this large: a hundred that
	// come at once to a collection that changes all the time cost one snapshot.
	snapshotYoung = time.Second
	snapshotLarge = 1 << 20
)

// snapshot is the state of a view at one revision in one codec, read and encoded
// once for all that begin at about the same time.
type snapshot struct {
	view  *view
	codec Codec
	at    uint64
	begun time.Time

	making sync.Mutex // held while a segment is made; before snapshots.mu
	pos    changelog.Position

	// Guarded by snapshots.mu.
	segments []*segment // nil: dropped
	bytes    int        // of those that are kept
	made     int        // bytes of all
	whole    bool       // there are no more to be made
	lost     bool       // newcomers must not begin with it
	element  *list.Element
}

// segment is a part of a snapshot: what a watch is handed at a time.
type segment struct {
	frames []Frame
	pos    changelog.Position // where it ends
	bytes  int
}

// snapshots keeps the segments of all snapshots within a bound. The one that was used
// least recently loses its segments first, from the beginning.
type snapshots struct {
	limit int

	mu    sync.Mutex // nothing is locked below it
	bytes int
	used  list.List // of *snapshot, the most recently used first
	stats SnapshotStats
}

// SnapshotStats counts segments of snapshots.
type SnapshotStats struct {
	Bytes   int    // kept
	Made    uint64 // read from the log and encoded
	Shared  uint64 // handed to a watch ready-made
	Dropped uint64 // given up for the bound on memory
}

// snapshotFor gives a snapshot that a watch which opens now may begin with, and the
// revision at which the watch stands when it has all of it.
func (w *Watch) snapshotFor(head uint64) (s *snapshot, at uint64) {
	v, all := w.view, &w.hub.snapshots
	v.mu.Lock() // snapshots.mu is after it
	defer v.mu.Unlock()
	pumped, base := w.col.pumped.Load(), v.base.Load()
	shared := v.encodedLocked()
	for i, s := range shared.snapshots {
		if s.codec.Name() != w.codec.Name() {
			continue
		}
		unchanged := s.at >= head || pumped >= head && s.at >= base && (len(v.entries) == 0 || v.entries[len(v.entries)-1].revision <= s.at)
		gone, made := all.look(s)
		switch {
		case gone:
		case unchanged:
			return s, max(s.at, head)
		case s.at >= base && s.at >= w.minRevision && made >= snapshotLarge && time.Since(s.begun) < snapshotYoung:
			return s, s.at
		}
		all.drop(s)
		s = &snapshot{view: v, codec: w.codec, at: head, begun: time.Now()}
		shared.snapshots[i] = s
		return s, head
	}
	s = &snapshot{view: v, codec: w.codec, at: head, begun: time.Now()}
	shared.snapshots = append(shared.snapshots, s)
	return s, head
}

func (all *snapshots) look(s *snapshot) (gone bool, made int) {
	all.mu.Lock()
	defer all.mu.Unlock()
	return s.lost, s.made
}

// found says what became of the wish for a segment.
type found uint8

const (
	none  found = iota // not made yet, or nothing in this piece: ask again
	ready              // here it is
	ended              // there are no more
	lost               // it is no longer kept: read on without it
)

// get gives a segment, if it was made.
func (all *snapshots) get(s *snapshot, i int) (*segment, found) {
	all.mu.Lock()
	defer all.mu.Unlock()
	switch {
	case i < len(s.segments) && s.segments[i] != nil:
		if s.element != nil {
			all.used.MoveToFront(s.element)
		}
		all.stats.Shared++
		return s.segments[i], ready
	case i < len(s.segments):
		return nil, lost
	case s.whole:
		return nil, ended
	case s.lost:
		return nil, lost
	}
	return nil, none
}

// put adds a segment that was made, and drops others where that is too much.
func (all *snapshots) put(s *snapshot, g *segment, whole bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	s.whole = whole
	if g == nil {
		return
	}
	s.made += g.bytes
	s.segments = append(s.segments, g)
	all.stats.Made++
	if s.lost { // meanwhile
		s.segments[len(s.segments)-1] = nil
		return
	}
	s.bytes += g.bytes
	all.bytes += g.bytes
	if s.element == nil {
		s.element = all.used.PushFront(s)
	}
	for all.bytes > all.limit && all.used.Len() > 0 {
		all.dropFirst(all.used.Back().Value.(*snapshot))
	}
}

func (all *snapshots) dropFirst(s *snapshot) {
	for i, g := range s.segments {
		if g != nil {
			s.segments[i] = nil
			s.bytes -= g.bytes
			all.bytes -= g.bytes
			all.stats.Dropped++
			break
		}
	}
	s.lost = true
	if s.bytes == 0 {
		all.used.Remove(s.element)
		s.element = nil
	}
}

// drop forgets snapshots that no newcomer will use.
func (all *snapshots) drop(gone ...*snapshot) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, s := range gone {
		s.lost = true
		all.bytes -= s.bytes
		s.bytes = 0
		clear(s.segments)
		if s.element != nil {
			all.used.Remove(s.element)
			s.element = nil
		}
	}
}

// SnapshotStats says what was shared.
func (h *Hub) SnapshotStats() SnapshotStats {
	h.snapshots.mu.Lock()
	defer h.snapshots.mu.Unlock()
	stats := h.snapshots.stats
	stats.Bytes = h.snapshots.bytes
	return stats
}

// segment gives a part of a snapshot, and makes it if nobody has.
func (w *Watch) segment(s *snapshot, i int) (*segment, found, error) {
	all := &w.hub.snapshots
	if g, found := all.get(s, i); found != none {
		return g, found, nil
	}
	s.making.Lock()
	defer s.making.Unlock()
	if g, found := all.get(s, i); found != none { // somebody was faster
		return g, found, nil
	}
	look, err := w.look()
	if look == nil || err != nil {
		return nil, none, err
	}
	defer look.End()
	p, r := portion{budget: Budget{Bytes: segmentBytes, Events: -1}, look: look}, reading{at: s.at, pos: s.pos}
	whole, err := w.state(&p, &r)
	if err != nil {
		all.drop(s)
		return nil, none, err
	}
	s.pos = r.pos
	if len(p.events) == 0 {
		all.put(s, nil, whole)
		if whole {
			return nil, ended, nil
		}
		return nil, none, nil
	}
	g := &segment{pos: r.pos, frames: encode(s.codec, nil, p.events, p.events[len(p.events)-1].Revision, "")}
	for _, f := range g.frames {
		g.bytes += cap(f.Bytes)
	}
	all.put(s, g, whole)
	return g, ready, nil
}

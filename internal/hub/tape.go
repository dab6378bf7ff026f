package hub

import "sort"

// chunkBytes is how large a tape's chunks grow. What is pending for a watch is a
// range of one chunk, or of a few: a frame of one range is written as it lies.
const chunkBytes = 64 << 10

// A tape keeps at most mostTape bytes: what is older is encoded again for the few who
// come for it. It is made longer backwards, for a watch that is further behind than the
// others, where that takes at most mostOlder entries; such a watch is served by itself,
// otherwise.
const (
	mostTape  = 2 << 20
	mostOlder = 2048
)

// tape is the entries of a view in one codec: each is encoded once, behind the one
// before it. Bytes that were handed out never change.
type tape struct {
	codec Codec
	// The tape has the entries after `after`, up to `until`.
	after, until uint64
	chunks       []*chunk
	size         int    // in bytes
	scratch      []byte // is what encoding needs for a moment
}

type chunk struct {
	bytes []byte // never grown beyond its capacity
	marks []mark // by revision
}

// mark is the end of a frame within a chunk.
type mark struct {
	revision uint64
	end      int32
	events   int32 // of the chunk up to here
	part     bool  // of a batch that was split: more of the revision follows
}

const (
	markBytes  = 24
	firstChunk = 512
)

// reach makes the tape have the entries after a revision, up to another one or, if
// that is more than most bytes, as far as those. It has no holes: what nobody has asked
// for, since all who could have it had it folded, is left out by beginning anew.
func (t *tape) reach(v *view, after, until uint64, most int) (ok bool) {
	if len(t.chunks) == 0 || after > t.until {
		t.chunks, t.size = nil, 0
		t.after, t.until = after, after
	}
	if after < t.after {
		entries := v.between(after, t.after)
		if len(entries) > mostOlder {
			return false
		}
		older := tape{codec: t.codec, after: after, until: after}
		older.encode(v, entries, mostTape)
		if older.until < t.after && len(entries) > 0 && older.until < entries[len(entries)-1].revision {
			return false
		}
		t.chunks, t.after, t.size = append(older.chunks, t.chunks...), after, t.size+older.size
	}
	if entries := v.between(t.until, until); t.encode(v, entries, most) {
		t.until = max(t.until, until)
	}
	for t.size > mostTape && len(t.chunks) > 2 && t.chunks[0].last().revision <= after && !t.chunks[0].last().part {
		t.drop()
	}
	return true
}

// encode puts entries behind what the tape has, until that is enough, and says whether
// those were all.
func (t *tape) encode(v *view, entries []*entry, enough int) (all bool) {
	begin := t.size
	for n, e := range entries {
		if n > 0 && t.size-begin >= enough {
			return false
		}
		split(v.events(e.steps), func(events []Event, last bool) {
			m := Message{Kind: Events, Events: events, Revision: e.revision}
			if last {
				m.Token = v.token(e.revision)
			}
			t.scratch = t.codec.Append(t.scratch[:0], &m)
			t.add(t.scratch, e.revision, len(events), !last)
		})
		t.until = e.revision
	}
	if cap(t.scratch) > 4<<10 {
		t.scratch = nil
	}
	return true
}

func (t *tape) add(frame []byte, revision uint64, events int, part bool) {
	var c *chunk
	size := firstChunk
	if n := len(t.chunks); n > 0 {
		c = t.chunks[n-1]
		size = min(chunkBytes, 2*cap(c.bytes))
	}
	if c == nil || cap(c.bytes)-len(c.bytes) < len(frame) {
		c = &chunk{bytes: make([]byte, 0, max(size, len(frame)))}
		t.chunks = append(t.chunks, c)
		t.size += c.size()
	}
	before := int32(0)
	if n := len(c.marks); n > 0 {
		before = c.marks[n-1].events
	}
	c.bytes = append(c.bytes, frame...)
	c.marks = append(c.marks, mark{revision, int32(len(c.bytes)), before + int32(events), part})
	t.size += markBytes
}

// size is what the chunk takes.
func (c *chunk) size() int { return cap(c.bytes) + 96 + markBytes*len(c.marks) }

func (c *chunk) last() mark { return c.marks[len(c.marks)-1] }

// drop drops the first chunk.
func (t *tape) drop() {
	c := t.chunks[0]
	t.size -= c.size()
	t.after = c.last().revision
	t.chunks[0] = nil
	t.chunks = t.chunks[1:]
}

// forget drops the chunks whose entries are all at or below a revision.
func (t *tape) forget(revision uint64) {
	for len(t.chunks) > 0 && t.chunks[0].last().revision <= revision && !t.chunks[0].last().part {
		t.drop()
	}
}

// read appends the frames after a revision, as far as the budget goes, at least
// those of one revision, and says at which revision they end.
func (t *tape) read(dst []Frame, after uint64, b Budget) ([]Frame, uint64) {
	first := sort.Search(len(t.chunks), func(i int) bool {
		return t.chunks[i].last().revision > after
	})
	at, bytes, events := after, 0, 0
	full := func() bool { return bytes >= b.Bytes || b.Events >= 0 && events >= b.Events }
	for n, c := range t.chunks[first:] {
		from := 0
		if n == 0 {
			from = sort.Search(len(c.marks), func(i int) bool { return c.marks[i].revision > after })
		}
		var begin mark
		if from > 0 {
			begin = c.marks[from-1]
		}
		to := len(c.marks)
		end := c.marks[to-1]
		if bytes+int(end.end-begin.end) > b.Bytes || b.Events >= 0 && events+int(end.events-begin.events) > b.Events {
			for to = from + 1; to < len(c.marks); to++ {
				end = c.marks[to-1]
				if !end.part && (bytes+int(end.end-begin.end) >= b.Bytes || b.Events >= 0 && events+int(end.events-begin.events) >= b.Events) {
					break
				}
			}
			end = c.marks[to-1]
		}
		dst = t.frames(dst, c, from, to)
		at = end.revision
		bytes += int(end.end - begin.end)
		events += int(end.events - begin.events)
		if !end.part && (to < len(c.marks) || full()) {
			break
		}
	}
	return dst, at
}

// frames appends the frames of some marks of a chunk. Where the codec's frames join
// they are one, but that a part of a batch does not join what is before the batch: that
// has a token, behind which the part would stand.
func (t *tape) frames(dst []Frame, c *chunk, from, to int) []Frame {
	var begin mark
	if from > 0 {
		begin = c.marks[from-1]
	}
	joins := t.codec.Joins()
	for i := from; i < to; i++ {
		end := c.marks[i]
		if joins && i+1 < to && (end.part || !c.marks[i+1].part) {
			continue
		}
		dst = append(dst, Frame{Kind: Events, Bytes: c.bytes[begin.end:end.end:end.end], Revision: end.revision,
			Events: int(end.events - begin.events), Token: !end.part})
		begin = end
	}
	return dst
}

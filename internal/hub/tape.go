package hub

import (
	"slices"
	"sort"
)

// chunkBytes is how large a tape's chunks grow. What is pending for a watch is a
// range of one chunk, or of a few: a frame of one range is written as it lies.
const chunkBytes = 64 << 10

// tape is the entries of a view in one codec: each is encoded once, behind the one
// before it. Bytes that were handed out never change; a chunk is dropped when the
// ring has dropped all of its entries.
type tape struct {
	codec Codec
	// The tape has the entries after `after`, up to `until`.
	after, until uint64
	chunks       []*chunk
	// events and scratch are what encoding needs for a moment.
	scratch []byte
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

// extend makes the tape have all entries from a revision up to another one, which the
// view has, and says by how many bytes it has grown. It has no holes.
func (t *tape) extend(v *view, after, until uint64) (grown int) {
	if len(t.chunks) == 0 {
		t.after, t.until = after, after
	}
	if after < t.after { // a watch that is further behind
		older := tape{codec: t.codec}
		grown = older.extend(v, after, t.after)
		t.chunks, t.after = append(older.chunks, t.chunks...), after
	}
	for _, e := range v.between(t.until, until) {
		split(v.events(e.steps), func(events []Event, last bool) {
			m := Message{Kind: Events, Events: events, Revision: e.revision}
			if last {
				m.Token = v.token(e.revision)
			}
			t.scratch = t.codec.Append(t.scratch[:0], &m)
			grown += t.add(t.scratch, e.revision, len(events), !last)
		})
	}
	t.until = max(t.until, until)
	if cap(t.scratch) > 4<<10 {
		t.scratch = nil
	}
	return grown
}

func (t *tape) add(frame []byte, revision uint64, events int, part bool) (grown int) {
	var c *chunk
	size := firstChunk
	if n := len(t.chunks); n > 0 {
		c = t.chunks[n-1]
		size = min(chunkBytes, 2*cap(c.bytes))
	}
	if c == nil || cap(c.bytes)-len(c.bytes) < len(frame) {
		c = &chunk{bytes: make([]byte, 0, max(size, len(frame)))}
		t.chunks = append(t.chunks, c)
		grown = c.size()
	}
	before := int32(0)
	if n := len(c.marks); n > 0 {
		before = c.marks[n-1].events
	}
	c.bytes = append(c.bytes, frame...)
	c.marks = append(c.marks, mark{revision, int32(len(c.bytes)), before + int32(events), part})
	return grown + markBytes
}

// size is what the chunk takes.
func (c *chunk) size() int { return cap(c.bytes) + 96 + markBytes*len(c.marks) }

// forget drops the chunks whose entries are all at or below a revision, and says how
// many bytes that gives back.
func (t *tape) forget(revision uint64) (freed int) {
	n := 0
	for n < len(t.chunks) {
		c := t.chunks[n]
		last := c.marks[len(c.marks)-1]
		if last.revision > revision || last.part {
			break
		}
		freed += c.size()
		t.after = last.revision
		n++
	}
	t.chunks = slices.Delete(t.chunks, 0, n)
	return freed
}

func (t *tape) size() (n int) {
	for _, c := range t.chunks {
		n += c.size()
	}
	return n
}

// read appends the frames after a revision, as far as the budget goes, at least
// those of one revision, and says at which revision they end.
func (t *tape) read(dst []Frame, after uint64, b Budget) ([]Frame, uint64) {
	first := sort.Search(len(t.chunks), func(i int) bool {
		marks := t.chunks[i].marks
		return marks[len(marks)-1].revision > after
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

// frames appends the frames of some marks of a chunk: one, where the codec's frames
// join.
func (t *tape) frames(dst []Frame, c *chunk, from, to int) []Frame {
	var begin mark
	if from > 0 {
		begin = c.marks[from-1]
	}
	step := 1
	if t.codec.Joins() {
		step = to - from
	}
	for i := from + step - 1; i < to; i += step {
		end := c.marks[i]
		dst = append(dst, Frame{Kind: Events, Bytes: c.bytes[begin.end:end.end:end.end], Revision: end.revision,
			Events: int(end.events - begin.events), Token: !end.part})
		begin = end
	}
	return dst
}

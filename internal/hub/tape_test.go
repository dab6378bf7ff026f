package hub

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// plain is a codec of which a test can see what was encoded: for each frame its
// number of events, its revision and a filling.
type plain struct {
	joins bool
	fill  int
}

func (plain) Name() string  { return "plain" }
func (p plain) Joins() bool { return p.joins }
func (p plain) Append(dst []byte, m *Message) []byte {
	if dst = append(dst, 0); m.Token != "" {
		dst[len(dst)-1] = 1
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.Revision))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Events)))
	return append(dst, make([]byte, p.fill)...)
}

// TestTape_GivesEveryRangeOnce reads a tape that is grown and trimmed at random, from
// random places with random budgets: it must give each frame once, in order, and stop
// only where a revision ends.
func TestTape_GivesEveryRangeOnce(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		codec := plain{joins: r.IntN(2) == 0, fill: r.IntN(3000)}
		tp := &tape{codec: codec}
		type part struct {
			revision uint64
			events   int
			part     bool
		}
		var all []part
		at := uint64(0)
		for len(all) < 100 {
			at += 1 + r.Uint64N(3)
			for parts := 1 + r.IntN(3); parts > 0; parts-- {
				p := part{at, 1 + r.IntN(3), parts > 1}
				m := Message{Revision: at, Events: make([]Event, p.events)}
				if !p.part {
					m.Token = "token"
				}
				frame := codec.Append(nil, &m)
				tp.add(frame, p.revision, p.events, p.part)
				all = append(all, p)
			}
		}
		trimmed := uint64(0)
		if r.IntN(2) == 0 {
			trimmed = r.Uint64N(at)
			tp.forget(trimmed)
		}
		size := 0
		for _, c := range tp.chunks {
			size += c.size()
		}
		if size != tp.size {
			t.Fatalf("seed %d: %d bytes are counted, the tape has %d", seed, tp.size, size)
		}
		from := trimmed + r.Uint64N(at-trimmed+1)
		var got, want []part
		for _, p := range all {
			if p.revision > from {
				want = append(want, p)
			}
		}
		cursor := from
		for cursor < at {
			b := Budget{Bytes: 1 + r.IntN(20_000), Events: -1}
			if r.IntN(2) == 0 {
				b.Events = 1 + r.IntN(10)
			}
			frames, next := tp.read(nil, cursor, b)
			if next <= cursor || !frames[len(frames)-1].Token {
				t.Fatalf("seed %d: from %d to %d, cut within a revision: %v", seed, cursor, next, !frames[len(frames)-1].Token)
			}
			if !codec.joins && len(frames) > 3 && b.Events > 0 { // no more than the revision that reaches the budget
				before := 0
				for _, f := range frames {
					if f.Revision < next {
						before += f.Events
					}
				}
				if before >= b.Events {
					t.Fatalf("seed %d: %d events before the last revision, the budget is %d", seed, before, b.Events)
				}
			}
			for _, f := range frames {
				events, token, tokens := 0, false, 0
				for rest := f.Bytes; len(rest) > 0; rest = rest[9+codec.fill:] {
					b := rest
					if token = b[0] == 1; token {
						tokens++
					}
					b = b[1:]
					p := part{uint64(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:])), false}
					got = append(got, p)
					events += p.events
				}
				if token != f.Token || !token && tokens > 0 {
					t.Fatalf("seed %d: a frame that ends without a token has one before (%d), or says that it has none: %v", seed, tokens, f.Token)
				}
				if events != f.Events || f.Revision != got[len(got)-1].revision {
					t.Fatalf("seed %d: a frame of %d events at %d says %d at %d", seed, events, got[len(got)-1].revision, f.Events, f.Revision)
				}
			}
			cursor = next
		}
		for i := range want {
			want[i].part = false
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: after %d\ngot  %v\nwant %v", seed, from, got, want)
		}
	}
}

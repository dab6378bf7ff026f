package main

import (
	"bytes"
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A value looks like {"m":"~peers~<16 hex seq>.<16 hex ns>","d":"xxxx…"}: a JSON
// object whose head is found in any framing and encoding, a google.protobuf.Struct
// too, by the mark before it, and read without a parser. No quote is within the
// head: whoever cuts a stream after a quote cuts no head.
const (
	opening = `{"m":"`
	mark    = `~peers~`
	markLen = len(mark)
	headLen = markLen + 16 + 1 + 16
)

var epoch = time.Now()

// now is the process's monotonic clock; publisher and watchers share a process.
func now() int64 { return int64(time.Since(epoch)) }

func putHex(b []byte, v uint64) {
	for i := 15; i >= 0; i-- {
		b[i] = "0123456789abcdef"[v&15]
		v >>= 4
	}
}

func getHex(b []byte) (v uint64) {
	for _, c := range b[:16] {
		if c >= 'a' {
			c -= 'a' - 10
		} else {
			c -= '0'
		}
		v = v<<4 | uint64(c&15)
	}
	return v
}

// payload makes a value of size bytes (at least 64).
func payload(size int, seq uint64, ts int64) []byte {
	b := make([]byte, max(size, 64))
	n := copy(b, opening+mark)
	putHex(b[n:], seq)
	b[n+16] = '.'
	putHex(b[n+17:], uint64(ts))
	n = len(opening) + headLen
	n += copy(b[n:], `","d":"`)
	for ; n < len(b)-2; n++ {
		b[n] = 'a' + byte(n%23)
	}
	copy(b[n:], `"}`)
	return b
}

// scan calls fn for each value in a frame.
func scan(frame []byte, fn func(seq uint64, ts int64)) {
	for {
		i := bytes.Index(frame, []byte(mark))
		if i < 0 || len(frame) < i+headLen {
			return
		}
		h := frame[i+markLen:]
		fn(getHex(h), int64(getHex(h[17:])))
		frame = frame[i+headLen:]
	}
}

// hist is a log-linear latency histogram in microseconds, 32 steps per octave.
type hist struct {
	n   [16][1024]atomic.Uint32
	max atomic.Int64
}

func (h *hist) add(shard int, ns int64) {
	us := uint64(max(ns, 0)) / 1000
	i := int(us)
	if us >= 32 {
		e := bits.Len64(us) - 6
		i = e*32 + int(us>>e)
	}
	h.n[shard&15][min(i, 1023)].Add(1)
	for {
		m := h.max.Load()
		if ns <= m || h.max.CompareAndSwap(m, ns) {
			return
		}
	}
}

// merge adds what another histogram has.
func (h *hist) merge(o *hist) {
	for s := range o.n {
		for i := range o.n[s] {
			h.n[s][i].Add(o.n[s][i].Load())
		}
	}
	h.max.Store(max(h.max.Load(), o.max.Load()))
}

// ms is the q-quantile in milliseconds.
func (h *hist) ms(q float64) float64 {
	var sum [1024]uint64
	var total uint64
	for s := range h.n {
		for i := range sum {
			c := uint64(h.n[s][i].Load())
			sum[i] += c
			total += c
		}
	}
	if total == 0 {
		return 0
	}
	want := uint64(q * float64(total))
	var acc uint64
	for i, c := range sum {
		if acc += c; acc > want {
			if i < 64 {
				return float64(i) / 1000
			}
			e := i/32 - 1
			return float64(uint64(32+i%32)<<e) / 1000
		}
	}
	return h.maxMs()
}

func (h *hist) maxMs() float64 { return float64(h.max.Load()) / 1e6 }

// run is what all watchers of one load run report into.
type run struct {
	delivered atomic.Int64 // values received, duplicates included
	last      atomic.Int64 // now() of the latest
	lat       atomic.Pointer[hist]
}

// drain waits until delivered reaches want, or nothing has come for patience.
func (r *run) drain(ctx context.Context, want int64, patience time.Duration) bool {
	got, at := r.delivered.Load(), time.Now()
	for got < want {
		if ctx.Err() != nil || time.Since(at) > patience {
			return false
		}
		time.Sleep(300 * time.Microsecond)
		if g := r.delivered.Load(); g != got {
			got, at = g, time.Now()
		}
	}
	return true
}

// tracker checks one watcher's stream: every sequence number once, in order.
// Sequence numbers of a resource start at 1.
type tracker struct {
	r  *run
	id int

	mu       sync.Mutex
	seen     []uint64
	last     uint64
	got      uint64
	dup, ooo uint64
	goal     uint64 // when last reaches goal, done is closed
	done     chan struct{}
}

func (t *tracker) sink(frame []byte) {
	at := now()
	n := int64(0)
	h := t.r.lat.Load()
	t.mu.Lock()
	scan(frame, func(seq uint64, ts int64) {
		n++
		if h != nil {
			h.add(t.id, at-ts)
		}
		w, bit := seq/64, uint64(1)<<(seq%64)
		for uint64(len(t.seen)) <= w {
			t.seen = append(t.seen, 0)
		}
		switch {
		case t.seen[w]&bit != 0:
			t.dup++
			return
		case seq < t.last:
			t.ooo++
		default:
			t.last = seq
		}
		t.seen[w] |= bit
		t.got++
	})
	if t.goal != 0 && t.last >= t.goal {
		close(t.done)
		t.goal = 0
	}
	t.mu.Unlock()
	if n > 0 {
		t.r.last.Store(at)
		t.r.delivered.Add(n)
	}
}

// await makes done close once seq has been seen.
func (t *tracker) await(seq uint64) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = make(chan struct{})
	if t.last >= seq {
		close(t.done)
	} else {
		t.goal = seq
	}
	return t.done
}

// counts sums lost, duplicate and out-of-order values over all watchers, for
// resources whose sequence ran from first+1 to lastOf(watcher).
func counts(ts []*tracker, first uint64, lastOf func(i int) uint64) (lost, dup, ooo uint64) {
	for i, t := range ts {
		t.mu.Lock()
		for s := first + 1; s <= lastOf(i); s++ {
			if s/64 >= uint64(len(t.seen)) || t.seen[s/64]&(1<<(s%64)) == 0 {
				lost++
			}
		}
		dup += t.dup
		ooo += t.ooo
		t.mu.Unlock()
	}
	return
}

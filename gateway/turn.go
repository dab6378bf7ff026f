package gateway

import (
	"runtime"
	"time"
)

const (
	// longTurn is what a connection's frames may take before others have their turn. The
	// scheduler would let it have ten times as much.
	longTurn = time.Millisecond
	// leastTurn and mostTurn bound how many bytes are read for a turn.
	leastTurn, mostTurn = 512, 32 << 10
)

// turn lets others have their turns: of small frames, of which each begins a call, a
// buffer of 32 KiB takes as long as the scheduler allows, and who waits for a change waits
// for several such turns, one for each goroutine on its way.
type turn struct {
	most  int // bytes to read
	began time.Time
	n     int // bytes that were read
}

// begin is called before bytes are read, when those before were dealt with.
func (t *turn) begin() {
	if t.most == 0 {
		t.most = mostTurn
		return
	}
	if t.n < t.most/2 { // it waits for its client
		return
	}
	switch took := time.Since(t.began); {
	case took > longTurn:
		t.most = max(leastTurn, t.most/2)
	case took < longTurn/4:
		t.most = min(mostTurn, 2*t.most)
	}
	runtime.Gosched()
}

// read is called when so many bytes were read.
func (t *turn) read(n int) { t.n, t.began = n, time.Now() }

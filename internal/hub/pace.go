package hub

import "time"

const (
	// maxPause bounds pacing: what happens after a long pass waits no longer. Nor does it
	// for longer than pausePerWatch for each watch of the pass, which is several times what
	// one takes: what is more is others' work, of which a pass must not be taken for long.
	maxPause      = 20 * time.Millisecond
	pausePerWatch = 50 * time.Microsecond
	// A pass over fewer watches, or one that took less time, is followed at once.
	pacedWatches = 16
	pacedTime    = 100 * time.Microsecond
)

// Pass is one pass over watches that were woken, and paces the next one: it begins as
// much later as this one took. Under load that leaves a client's updates to gather in
// the log, where one write takes many of them, instead of in its socket, one by one.
// After quiet a pass begins at once.
type Pass struct {
	began time.Time
	// computed is what the process had computed before, where a pass is as long as the
	// process computes: other goroutines go on with its work, as gRPC writes. 0: it is
	// as long as it takes.
	computed time.Duration
}

// BeginPass begins a pass that is as long as it takes.
func BeginPass() Pass { return Pass{began: time.Now()} }

// Rest says, at the end of a pass over so many watches, how long the next one is to
// wait; 0: not at all.
func (p Pass) Rest(watches int) time.Duration {
	passed := time.Since(p.began)
	if watches < pacedWatches || passed < pacedTime {
		return 0
	}
	most := min(maxPause, time.Duration(watches)*pausePerWatch)
	if p.computed == 0 {
		return min(passed, most)
	}
	if more := min(2*(cpuTime()-p.computed), 2*most) - passed; more >= pacedTime {
		return more
	}
	return 0
}

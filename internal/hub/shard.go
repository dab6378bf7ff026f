package hub

import (
	"sync/atomic"
	"time"
)

// Outlet is where the frames of a served watch go: a connection. Its methods are
// called by one goroutine at a time.
type Outlet interface {
	// TrySend sends frames without ever blocking, and keeps what the connection does
	// not take; full: there is such a rest. It must not keep the slice of frames.
	TrySend(frames []Frame) (full bool, err error)
	// Flush sends the rest. It may block until the client has taken it.
	Flush() error
	// Over is told, once, that the watch has ended: to say so and to let the
	// connection go. It may block. An error of TrySend or Flush comes back here.
	Over(w *Watch, err error)
}

// served is what an outlet is given at a time: what it cannot send, it keeps.
var served = Budget{Bytes: 64 << 10, Events: -1}

// The states of a watch's turn; greater ones are the number of the pass that has
// woken it, and counts it until it waits again.
const (
	running = iota // in a goroutine of its own, that looks again by itself
	waiting        // for its shard
	firstPass
)

// shard serves watches: one pass over those that were woken hands each what it has
// and never blocks. A watch that cannot be served so, because the client does not
// take what was sent or because the log has to be read, goes on in a goroutine of its
// own until it has caught up.
//
// Passes are paced, see Pass.
//
// Watches whose transport has goroutines of its own (gRPC) are only woken by a pass,
// and what that causes goes on when they wait again: gRPC writes from other goroutines.
// So there the rest is as long as the process has computed since the pass began.
type shard struct {
	*Reader
	hub    *Hub
	rouses bool // instead of serving
	signal chan struct{}
	// pass is the number of the present pass and, in the lower half, how many of the
	// watches that it has woken do not wait again yet; idle tells that they all do.
	pass atomic.Uint64
	idle chan struct{}
}

func newShard(h *Hub, rouses bool) *shard {
	s := &shard{hub: h, rouses: rouses, signal: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
	s.Reader = NewReader(func() {
		select {
		case s.signal <- struct{}{}:
		default:
		}
	})
	return s
}

func (s *shard) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var watches []*Watch
	var frames []Frame
	var number uint32
	for {
		select {
		case <-s.signal:
		case <-s.hub.stopped:
			return
		}
		pass := BeginPass()
		if s.rouses {
			pass.computed = cpuTime()
		}
		if number++; number < firstPass {
			number = firstPass
		}
		s.pass.Store(uint64(number) << 32)
		watches = s.Take(watches[:0])
		for _, w := range watches {
			if w.served {
				frames = s.serve(w, frames[:0])
			} else {
				s.rouse(w, number)
			}
		}
		s.await(timer)
		n := len(watches)
		clear(watches)
		for more := pass.Rest(n); more > 0; more = pass.Rest(n) {
			if s.rest(timer, more); pass.computed == 0 {
				break
			}
		}
		if cap(watches) > 1024 && len(watches) < cap(watches)/8 {
			watches = nil
		}
	}
}

// rouse wakes the goroutine that waits for a watch.
func (s *shard) rouse(w *Watch, pass uint32) {
	if w.turn.CompareAndSwap(waiting, pass) {
		s.pass.Add(1)
	}
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// settle is called when a watch waits again, or closes. If it is the last one that
// the present pass has woken, the pass is over.
func (w *Watch) settle(turn uint32) {
	was := w.turn.Swap(turn)
	if was < firstPass {
		return
	}
	s := w.shard
	for {
		now := s.pass.Load()
		if uint32(now>>32) != was {
			return // that pass did not wait for it any longer
		}
		if s.pass.CompareAndSwap(now, now-1) {
			if uint32(now) == 1 {
				select {
				case s.idle <- struct{}{}:
				default:
				}
			}
			return
		}
	}
}

// await waits for those that the pass has woken, but not for one that is stuck.
func (s *shard) await(timer *time.Timer) {
	if uint32(s.pass.Load()) == 0 {
		return
	}
	timer.Reset(maxPause)
	for uint32(s.pass.Load()) > 0 {
		select {
		case <-s.idle:
		case <-timer.C:
			return
		case <-s.hub.stopped:
			return
		}
	}
}

func (s *shard) rest(timer *time.Timer, pause time.Duration) {
	timer.Reset(pause)
	select {
	case <-timer.C:
	case <-s.hub.stopped:
	}
}

// serve hands a watch what it has, if that takes no time.
func (s *shard) serve(w *Watch, frames []Frame) []Frame {
	if w.turn.Load() != waiting {
		return frames
	}
	if !w.isLive() {
		s.hub.chase(w, nil)
		return frames
	}
	frames, end := w.Next(frames, served)
	full := false
	if len(frames) > 0 {
		var err error
		if full, err = w.out.TrySend(frames); err != nil {
			full, end = false, err
		}
	}
	clear(frames)
	switch {
	case full || end != nil:
		s.hub.chase(w, &handOver{full, end})
	case w.More(): // than goes out at a time
		w.wake()
	}
	return frames
}

// Serve lets the hub hand a watch's frames to an outlet, until it ends. The watch is
// the hub's from then on.
func (h *Hub) Serve(w *Watch, out Outlet) {
	w.out = out
	if !h.chase(w, nil) {
		w.Close(h.ctx.Err())
		out.Over(w, h.ctx.Err())
	}
}

// handOver is where a shard leaves a watch.
type handOver struct {
	full bool
	end  error // from Next
}

// chase serves a watch in a goroutine of its own until it has caught up, and then
// gives it back to its shard.
//
// It says whether there is a hub to do so: a watch that was served before is ended
// by Close, otherwise.
func (h *Hub) chase(w *Watch, from *handOver) bool {
	w.turn.Store(running)
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.ctx.Err() != nil {
		return false
	}
	w.given = true
	h.chasers.Go(labelled("chaser", func() {
		if err := h.catchUp(w, from); err != nil {
			w.Close(err)
			w.out.Over(w, err)
		}
	}))
	return true
}

// catchUp returns nil when the watch has caught up.
func (h *Hub) catchUp(w *Watch, from *handOver) error {
	var frames []Frame
	full, end := false, error(nil)
	if from != nil {
		full, end = from.full, from.end
	}
	for {
		if full {
			if err := w.out.Flush(); err != nil {
				return err
			}
		}
		if end != nil {
			return end
		}
		if err := h.ctx.Err(); err != nil {
			return err
		}
		frames, end = w.Next(frames[:0], served)
		if len(frames) == 0 && end == nil {
			if !w.held && !w.isLive() {
				continue // there is more to look at
			}
			w.turn.Store(waiting)
			w.wake() // for what came in between
			return nil
		}
		var err error
		if full, err = w.out.TrySend(frames); err != nil {
			return err
		}
		clear(frames)
	}
}

// isLive says whether Next needs nothing but memory: the shard's own goroutine may
// call it.
func (w *Watch) isLive() bool {
	return w.begun && !w.snapshot && !w.doubt.Load() && (w.reading == nil || w.reading.fold) && w.remembered()
}

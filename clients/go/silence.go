package watchroute

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// defaultSilence is allowed before the server says how long silence may last.
const defaultSilence = 30 * time.Second

// silence ends a stream on which nothing comes for too long while it is read. Its timer
// runs on and looks, as setting it for each message would cost as much as the message.
type silence struct {
	cancel context.CancelCauseFunc
	began  time.Time
	limit  atomic.Int64
	since  atomic.Int64 // began plus this is when reading began; 0: nobody reads

	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// listen begins, in the state in which somebody reads.
func listen(cancel context.CancelCauseFunc) *silence {
	s := &silence{cancel: cancel, began: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit.Store(int64(defaultSilence))
	s.since.Store(1)
	s.timer = time.AfterFunc(defaultSilence, s.look)
	return s
}

// allow sets how long silence may last.
func (s *silence) allow(limit time.Duration) {
	if s.limit.Swap(int64(limit)) == int64(limit) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.timer.Reset(limit)
	}
}

// reading notes that somebody begins to read.
func (s *silence) reading() { s.since.Store(max(1, int64(time.Since(s.began)))) }

// read notes that the reading is over.
func (s *silence) read() { s.since.Store(0) }

func (s *silence) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	left := time.Duration(s.limit.Load())
	if since := s.since.Load(); since != 0 {
		left -= time.Since(s.began) - time.Duration(since)
	}
	if left <= 0 {
		s.cancel(errSilent)
		return
	}
	s.timer.Reset(left)
}

// end ends it.
func (s *silence) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.timer.Stop()
}

package transporttest

import (
	"sync"
	"time"
)

// Clock is the clock of a node's log. It goes as the machine's does, and can be
// put forward.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

// Now gives the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// Forward puts the clock forward.
func (c *Clock) Forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

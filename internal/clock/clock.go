package clock

import (
	"sync"
	"time"
)

// Target is what an alarm rings.
type Target interface {
	// Ring is called when the time has come. It must not block.
	Ring()
}

// Alarm is one time. The zero Alarm is not set. It belongs to one Clock.
type Alarm struct {
	at    time.Duration // since the clock began
	place int           // in the heap, from 1; 0: not set
}

// Clock rings alarms.
type Clock struct {
	began time.Time
	wake  chan struct{}
	done  chan struct{}
	close sync.Once
	loop  sync.WaitGroup

	mu   sync.Mutex // nothing is locked below it
	heap []entry
}

type entry struct {
	alarm  *Alarm
	target Target
}

// New starts a clock. Close ends it.
func New() *Clock {
	c := &Clock{began: time.Now(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	c.loop.Go(c.run)
	return c
}

// Set sets an alarm to a time, whatever it was set to before.
func (c *Clock) Set(a *Alarm, target Target, at time.Time) {
	c.mu.Lock()
	a.at = at.Sub(c.began)
	if a.place == 0 {
		c.heap = append(c.heap, entry{a, target})
		a.place = len(c.heap)
	}
	c.up(a.place - 1)
	c.down(a.place - 1)
	first := a.place == 1
	c.mu.Unlock()
	if first {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// Stop makes an alarm that is not set. It may be ringing at this moment.
func (c *Clock) Stop(a *Alarm) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.place > 0 {
		c.remove(a.place - 1)
	}
}

// Len says how many alarms are set.
func (c *Clock) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.heap)
}

// Close ends the clock. Closing twice is fine.
func (c *Clock) Close() {
	c.close.Do(func() { close(c.done) })
	c.loop.Wait()
}

func (c *Clock) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var due []Target
	for {
		var wait time.Duration
		due, wait = c.take(due[:0])
		for i, t := range due {
			select {
			case <-c.done:
				return
			default:
			}
			t.Ring()
			due[i] = nil
		}
		if len(due) > 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-c.wake:
		case <-c.done:
			return
		}
	}
}

// take takes the alarms out whose time has come, and says how long to wait for the
// next one.
func (c *Clock) take(due []Target) ([]Target, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Since(c.began)
	for len(c.heap) > 0 {
		first := c.heap[0]
		if first.alarm.at > now {
			return due, first.alarm.at - now
		}
		c.remove(0)
		due = append(due, first.target)
	}
	return due, time.Hour
}

func (c *Clock) remove(i int) {
	c.heap[i].alarm.place = 0
	last := len(c.heap) - 1
	moved := c.heap[last]
	c.heap[last] = entry{}
	c.heap = c.heap[:last]
	if i < last {
		c.heap[i] = moved
		moved.alarm.place = i + 1
		c.up(i)
		c.down(moved.alarm.place - 1)
	}
}

func (c *Clock) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if c.heap[parent].alarm.at <= c.heap[i].alarm.at {
			return
		}
		c.swap(i, parent)
		i = parent
	}
}

func (c *Clock) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(c.heap) {
			return
		}
		if right := child + 1; right < len(c.heap) && c.heap[right].alarm.at < c.heap[child].alarm.at {
			child = right
		}
		if c.heap[i].alarm.at <= c.heap[child].alarm.at {
			return
		}
		c.swap(i, child)
		i = child
	}
}

func (c *Clock) swap(i, j int) {
	c.heap[i], c.heap[j] = c.heap[j], c.heap[i]
	c.heap[i].alarm.place, c.heap[j].alarm.place = i+1, j+1
}

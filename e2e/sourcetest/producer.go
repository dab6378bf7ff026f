package sourcetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
)

// producer makes the events of a scenario, and knows what was made.
type producer struct {
	keys []string
	pad  string // of all events

	board
	rand *rand.Rand
	last map[string]int // N of the last event, by key
	made int
}

func newProducer(seed uint64, keys int) *producer {
	p := &producer{rand: rand.New(rand.NewPCG(seed, 0)), last: map[string]int{}}
	for i := range keys {
		p.keys = append(p.keys, fmt.Sprintf("k%d", i))
	}
	return p
}

// next gives so many events, of keys at random.
func (p *producer) next(count int) []Event {
	events := make([]Event, count)
	p.update(func() {
		for i := range events {
			events[i] = p.ofLocked(p.keys[p.rand.IntN(len(p.keys))])
		}
	})
	return events
}

// each gives one event of each key.
func (p *producer) each() []Event {
	var events []Event
	p.update(func() {
		for _, key := range p.keys {
			events = append(events, p.ofLocked(key))
		}
	})
	return events
}

func (p *producer) ofLocked(key string) Event {
	p.last[key]++
	p.made++
	return Event{Key: key, N: p.last[key], Pad: p.pad}
}

// lasts gives N of the last event of each key.
func (p *producer) lasts() (last map[string]int) {
	p.read(func() { last = maps.Clone(p.last) })
	return last
}

// count gives how many events were made.
func (p *producer) count() (n int) {
	p.read(func() { n = p.made })
	return n
}

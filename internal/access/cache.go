package access

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// digest stands for a secret, so that none is kept in memory.
type digest [sha256.Size]byte

// cache remembers what is known of secrets. Where it is full, what was asked for least
// recently goes. All methods may be called at once.
type cache[V any] struct {
	entries, bytes int // the most there may be

	mu    sync.Mutex
	found map[digest]*list.Element
	order *list.List // of cached[V], the most recent first
	used  int        // bytes
}

type cached[V any] struct {
	key   digest
	value V
	bytes int
}

func newCache[V any](entries, bytes int) *cache[V] {
	return &cache[V]{entries: entries, bytes: bytes, found: map[digest]*list.Element{}, order: list.New()}
}

func (c *cache[V]) get(key digest) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.found[key]
	if e == nil {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached[V]).value, true
}

// put remembers a value, which counts for some bytes.
func (c *cache[V]) put(key digest, value V, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.found[key]; e != nil {
		c.removeLocked(e)
	}
	c.found[key] = c.order.PushFront(&cached[V]{key, value, bytes})
	c.used += bytes
	for c.order.Len() > c.entries || c.used > c.bytes {
		c.removeLocked(c.order.Back())
	}
}

func (c *cache[V]) remove(key digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.found[key]; e != nil {
		c.removeLocked(e)
	}
}

func (c *cache[V]) removeLocked(e *list.Element) {
	old := c.order.Remove(e).(*cached[V])
	delete(c.found, old.key)
	c.used -= old.bytes
}

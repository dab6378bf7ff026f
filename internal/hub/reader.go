package hub

import "sync"

// Reader is whoever takes what watches have: one goroutine, with any number of
// watches. It is told once that some of them may have something, and asks which
// with Take. A session is one; a shard is one.
type Reader struct {
	notify func()

	mu     sync.Mutex // after collection.mu; nothing is locked below it
	groups []*group   // woken since the last Take
	single []*Watch   // woken one by one
	told   bool       // that there is something
	takes  uint32
}

// group is the watches of one view that one Reader reads. A change wakes a group,
// not its watches: that costs the same for one and for ten thousand.
type group struct {
	reader  *Reader
	watches []*Watch // guarded by reader.mu
	woken   bool     // guarded by reader.mu
}

// NewReader makes a Reader. notify is called when Take has something to give and was
// not called since the last time; from any goroutine, and it must not block.
func NewReader(notify func()) *Reader { return &Reader{notify: notify} }

// Take appends to dst the watches that were woken since the last Take, each once.
// Some of them may have been closed.
func (r *Reader) Take(dst []*Watch) []*Watch {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = false
	r.takes++
	for i, g := range r.groups {
		for _, w := range g.watches {
			w.taken = r.takes
		}
		dst = append(dst, g.watches...)
		g.woken = false
		r.groups[i] = nil
	}
	for i, w := range r.single {
		if w.taken != r.takes {
			w.taken = r.takes
			dst = append(dst, w)
		}
		w.woken = false
		r.single[i] = nil
	}
	r.groups, r.single = r.groups[:0], r.single[:0]
	return dst
}

func (r *Reader) wakeGroup(g *group) {
	r.mu.Lock()
	if !g.woken {
		g.woken = true
		r.groups = append(r.groups, g)
	}
	r.tell()
}

func (r *Reader) wakeWatch(w *Watch) {
	r.mu.Lock()
	if !w.woken {
		w.woken = true
		r.single = append(r.single, w)
	}
	r.tell()
}

// tell unlocks.
func (r *Reader) tell() {
	first := !r.told
	r.told = true
	r.mu.Unlock()
	if first {
		r.notify()
	}
}

// add puts a watch into the group, remove takes it out.
func (g *group) add(w *Watch) {
	g.reader.mu.Lock()
	defer g.reader.mu.Unlock()
	w.group, w.place = g, int32(len(g.watches))
	g.watches = append(g.watches, w)
}

// remove says whether the group is empty now.
func (g *group) remove(w *Watch) (empty bool) {
	g.reader.mu.Lock()
	defer g.reader.mu.Unlock()
	last := len(g.watches) - 1
	g.watches[w.place] = g.watches[last]
	g.watches[w.place].place = w.place
	g.watches[last] = nil
	g.watches = g.watches[:last]
	if c := cap(g.watches); c > 64 && last < c/4 {
		g.watches = append(make([]*Watch, 0, c/2), g.watches...)
	}
	return last == 0
}

package conformance

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
)

// Change is one change of a resource, as the node has acknowledged it.
type Change struct {
	Revision uint64
	Name     string
	Data     string // JSON in the form of plain; empty: it is not there any more
}

// Value is a resource at a revision.
type Value struct {
	Revision uint64
	Data     string
}

// Journal is what was written to one collection of one life of the log, in order. Its
// methods may be called at once.
type Journal struct {
	mu      sync.Mutex
	changes []Change
	forms   map[string]string // by what plain was asked for: many watches tell the same
}

// Add appends changes of one revision.
func (j *Journal) Add(changes ...Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.changes = append(j.changes, changes...)
}

// Changes gives what was written so far. It must not be changed.
func (j *Journal) Changes() []Change {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clip(j.changes)
}

// plain is the function plain, for values that are told again and again.
func (j *Journal) plain(text json.RawMessage) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	form, ok := j.forms[string(text)]
	if !ok {
		if j.forms == nil {
			j.forms = map[string]string{}
		}
		form = plain(text)
		j.forms[string(text)] = form
	}
	return form
}

// Last is the last revision.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.changes) == 0 {
		return 0
	}
	return j.changes[len(j.changes)-1].Revision
}

// View gives the journal as one sees it who may see only some values: what comes into
// sight is there, and what leaves it is gone.
func (j *Journal) View(visible func(Change) bool) *Journal {
	seen, view := map[string]bool{}, &Journal{}
	for _, c := range j.Changes() {
		now := c.Data != "" && visible(c)
		if now {
			view.Add(c)
		} else if seen[c.Name] {
			view.Add(Change{c.Revision, c.Name, ""})
		}
		seen[c.Name] = now
	}
	return view
}

// at gives the state after all changes up to a revision.
func at(changes []Change, revision uint64) map[string]Value {
	state := map[string]Value{}
	for _, c := range changes {
		if c.Revision > revision {
			break
		}
		if c.Data == "" {
			delete(state, c.Name)
		} else {
			state[c.Name] = Value{c.Revision, c.Data}
		}
	}
	return state
}

func same(a, b map[string]Value) bool { return maps.Equal(a, b) }

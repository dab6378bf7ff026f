package sourcetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// journal is what a watch of things has said, and whether it may have.
type journal struct {
	// gaps lets a key have some of its events only, in their order: others see the rest.
	// anyhow lets it have them in any order and as often as they come.
	gaps, anyhow bool

	board
	first  map[string]int               // with which N a key begins at the earliest; nil: with 1
	sharp  bool                         // with just that
	last   map[string]int               // N of its last event, by key
	seen   map[Event]int                // how often
	labels map[string]map[string]string // of its last event, by key
	count  int                          // of events
	wrong  []string
}

// mostWrong bounds what is told of what is wrong: one mistake makes many.
const mostWrong = 20

func newJournal() *journal {
	return &journal{last: map[string]int{}, seen: map[Event]int{}, labels: map[string]map[string]string{}}
}

// from says with which N keys begin at the earliest.
func (j *journal) from(first map[string]int) { j.update(func() { j.first = first }) }

// at says with which N keys begin.
func (j *journal) at(first map[string]int) {
	j.update(func() { j.first, j.sharp = first, true })
}

// take is for a follower.
func (j *journal) take(e *watchroutev1.Event) { j.update(func() { j.takeLocked(e) }) }

func (j *journal) takeLocked(e *watchroutev1.Event) {
	r := e.GetResource()
	key, _ := strings.CutPrefix(r.GetName(), things+"/")
	if key == seed {
		return
	}
	bad := func(format string, args ...any) {
		j.wrong = append(j.wrong, fmt.Sprintf("%s at revision %d: ", r.GetName(), r.GetRevision())+fmt.Sprintf(format, args...))
	}
	if e.GetState() != watchroutev1.State_PRESENT || e.GetCoalesced() != 0 {
		bad("the state is %v, and %d changes are folded in", e.GetState(), e.GetCoalesced())
		return
	}
	var text watchroutev1.Json
	var value struct{ N int }
	if err := r.GetData().UnmarshalTo(&text); err != nil {
		bad("%v", err)
		return
	}
	if err := json.Unmarshal([]byte(text.GetText()), &value); err != nil {
		bad("%v", err)
		return
	}
	last, known := j.last[key]
	switch {
	case j.anyhow:
	case known && value.N <= last:
		bad("n is %d after %d: a double, or a step back", value.N, last)
	case j.gaps:
	case known && value.N != last+1:
		bad("n is %d after %d: %d are missing", value.N, last, value.N-last-1)
	case !known && j.sharp && value.N != j.first[key]:
		bad("it begins with n %d, not %d", value.N, j.first[key])
	case !known && !j.sharp && value.N != 1 && (j.first == nil || value.N < j.first[key]):
		bad("it begins with n %d, not %d", value.N, max(1, j.first[key]))
	}
	j.last[key] = max(last, value.N)
	j.seen[Event{Key: key, N: value.N}]++
	j.labels[key] = r.GetLabels()
	j.count++
}

// bad is for a follower.
func (j *journal) bad(what string) { j.update(func() { j.wrong = append(j.wrong, what) }) }

// hasLocked says whether each key has come to its last event.
func (j *journal) hasLocked(last map[string]int) bool {
	for key, n := range last {
		if j.last[key] < n {
			return false
		}
	}
	return true
}

func (j *journal) events() (n int) {
	j.read(func() { n = j.count })
	return n
}

// faults says what is wrong, and what is missing from what was published; empty: nothing.
func (j *journal) faults(last map[string]int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Clone(j.wrong[:min(len(j.wrong), mostWrong)])
	if more := len(j.wrong) - mostWrong; more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	for _, key := range slices.Sorted(maps.Keys(last)) {
		if n := j.last[key]; n != last[key] {
			all = append(all, fmt.Sprintf("things/%s has come to n %d, %d were published", key, n, last[key]))
		}
	}
	return strings.Join(all, "\n")
}

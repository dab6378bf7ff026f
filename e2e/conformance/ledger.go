package conformance

import (
	"fmt"
	"maps"
	"slices"
	"sort"
)

// Ledger checks the events of one watch against a journal, one by one. The zero value, with
// Journal, begins with a snapshot.
type Ledger struct {
	// Journal is what could be told.
	Journal *Journal
	// Every says that each change must be told, exactly once and in order.
	Every bool
	// From is the revision after which the watch begins, where it begins with changes.
	From *uint64

	begun  bool
	live   bool
	at     uint64            // the revision of the snapshot, or From
	last   uint64            // told
	count  int               // changes told since at
	told   map[string]uint64 // by name, since at
	held   map[string]Value
	Resets []string // their reasons
}

// Tell takes an event. An error says what of it is wrong.
func (l *Ledger) Tell(e *Event) error {
	if !l.begun {
		l.begin()
	}
	changes := l.Journal.Changes()
	switch e.Kind {
	case "RESET":
		l.Resets = append(l.Resets, e.Reason)
		l.begin()
		return nil
	case "SYNCED":
		if l.live {
			return fmt.Errorf("SYNCED, though the state was complete already")
		}
		l.live, l.at, l.last = true, e.Revision, e.Revision
		if want := at(changes, e.Revision); !same(l.held, want) {
			return fmt.Errorf("the snapshot at revision %d is not the state: %s", e.Revision, difference(l.held, want))
		}
		return nil
	case "PRESENT", "ABSENT":
	default:
		return fmt.Errorf("there is no kind %q", e.Kind)
	}
	data := l.Journal.plain(e.Data)
	if (e.Kind == "PRESENT") != (data != "") {
		return fmt.Errorf("a %s with the value %q", e.Kind, data)
	}
	if !l.live {
		if e.Kind == "ABSENT" {
			return fmt.Errorf("%v in a snapshot", e)
		}
		if _, ok := l.held[e.Name]; ok {
			return fmt.Errorf("%v twice in a snapshot", e)
		}
		l.held[e.Name] = Value{e.Revision, data}
		return nil
	}
	i := sort.Search(len(changes), func(i int) bool { return changes[i].Revision >= e.Revision })
	first := i
	for ; i < len(changes) && changes[i].Revision == e.Revision && changes[i].Name != e.Name; i++ {
	}
	switch {
	case i == len(changes) || changes[i].Revision != e.Revision:
		return fmt.Errorf("%v was never written", e)
	case changes[i].Data != data:
		return fmt.Errorf("%v, but what was written is %s", e, changes[i].Data)
	case e.Revision <= l.at:
		return fmt.Errorf("%v, though the state at %d was told before", e, l.at)
	case l.told[e.Name] >= e.Revision:
		return fmt.Errorf("%v, though revision %d of it was told before", e, l.told[e.Name])
	}
	if l.Every {
		if e.Revision < l.last {
			return fmt.Errorf("%v came behind revision %d", e, l.last)
		}
		if e.Revision > l.last {
			if due := first - until(changes, l.at); due != l.count {
				return fmt.Errorf("%v came when %d of the %d changes before it had been told", e, l.count, due)
			}
		}
	}
	l.told[e.Name], l.last = e.Revision, e.Revision
	l.count++
	if e.Kind == "ABSENT" {
		delete(l.held, e.Name)
	} else {
		l.held[e.Name] = Value{e.Revision, data}
	}
	return nil
}

func (l *Ledger) begin() {
	l.begun, l.live, l.at, l.last, l.count = true, false, 0, 0, 0
	l.held, l.told = map[string]Value{}, map[string]uint64{}
	if l.From != nil && len(l.Resets) == 0 {
		l.live, l.at, l.last, l.held = true, *l.From, *l.From, at(l.Journal.Changes(), *l.From)
	}
}

// Whole says whether all that was written has been told.
func (l *Ledger) Whole() error {
	if !l.begun {
		l.begin()
	}
	changes := l.Journal.Changes()
	last := l.Journal.Last()
	if l.last < last {
		return fmt.Errorf("nothing was told behind revision %d, and the last is %d", l.last, last)
	}
	if !l.live {
		return fmt.Errorf("the state is not complete: there was no SYNCED")
	}
	if want := at(changes, last); !same(l.held, want) {
		return fmt.Errorf("what was told is not the state at %d: %s", last, difference(l.held, want))
	}
	if l.Every {
		if due := len(changes) - until(changes, l.at); due != l.count {
			return fmt.Errorf("%d changes of %d were told since revision %d", l.count, due, l.at)
		}
	}
	return nil
}

// difference says where two states differ, in a few of the names.
func difference(got, want map[string]Value) string {
	names := map[string]bool{}
	for name := range got {
		names[name] = true
	}
	for name := range want {
		names[name] = true
	}
	out, n := "", 0
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if got[name] != want[name] {
			if n++; n <= 3 {
				out += fmt.Sprintf("%s is %d %.60s and not %d %.60s; ", name, got[name].Revision, got[name].Data, want[name].Revision, want[name].Data)
			}
		}
	}
	return fmt.Sprintf("%s%d names differ", out, n)
}

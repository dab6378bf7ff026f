package picture

import (
	"fmt"
	"maps"

	"github.com/watchroute/watchroute/e2e/client"
)

// State is what is known of a name.
type State struct {
	Step     int64
	Revision uint64
	Absent   bool
}

// Picture is what one watcher knows. It is for one goroutine.
type Picture struct {
	// Every: each change must arrive. Otherwise they may be folded.
	Every bool
	// Step gives the step of an event, and what is wrong with its value. Of an
	// ABSENT event it gives 0 where that is not known.
	Step func(*client.Event) (int64, error)

	// States has every name that was ever told of.
	States map[string]State

	// Token is the last one; Revision is that of its message.
	Token    string
	Revision uint64

	// Changes counts events by (name, revision), Repeats those that came again, Earlier
	// those of them that are older than what came before the cut, as changes after the
	// token were folded otherwise. Coalesced is what was folded into events.
	Changes, Repeats, Earlier, Coalesced int
	// Sum adds up Mix of all changes.
	Sum uint64
	// Kinds counts messages, Opens streams.
	Kinds map[client.Kind]int
	Opens int
	// Problems are promises that were not kept; at most a few.
	Problems []string

	// Of the stream under way.
	begun  bool
	stream uint64 // the revision of its last message or event
	// sinceToken is the newest revision of each name that came after the last token:
	// up to it, what is after the token may come again when the stream is resumed.
	sinceToken map[string]uint64
	// again is, for names that may come again in this stream, what of them: each
	// revision once.
	again map[string]span
}

// span is the revisions after one and up to another.
type span struct{ after, upto uint64 }

// New makes the picture of who has seen nothing.
func New(every bool, step func(*client.Event) (int64, error)) *Picture {
	return &Picture{Every: every, Step: step, States: map[string]State{}, Kinds: map[client.Kind]int{}, sinceToken: map[string]uint64{}}
}

// Mix makes a number of a change, so that sums of them differ where the changes do.
func Mix(name string, step int64, revision uint64) uint64 {
	x := uint64(14695981039346656037)
	for i := range len(name) {
		x = (x ^ uint64(name[i])) * 1099511628211
	}
	x ^= uint64(step)<<48 ^ revision*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (p *Picture) problem(format string, args ...any) {
	if len(p.Problems) < 5 {
		p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
	}
}

// Open begins a stream.
func (p *Picture) Open() {
	p.Opens++
	p.begun, p.stream = false, 0
	p.again = map[string]span{}
	for name, upto := range p.sinceToken {
		p.again[name] = span{p.Revision, upto}
	}
}

// Apply takes a message.
func (p *Picture) Apply(m *client.Message) {
	p.Kinds[m.Kind]++
	if (m.Kind == client.Started) == p.begun {
		p.problem("%s is not where it must be: first, and only there", m.Kind)
	}
	p.begun = true
	if m.Kind == client.Started {
		p.started(m)
	}
	if m.Revision < p.stream && m.Kind != client.Started {
		p.problem("%s at %d comes after %d", m.Kind, m.Revision, p.stream)
	}
	for i := range m.Events {
		p.event(&m.Events[i])
	}
	p.stream = max(p.stream, m.Revision)
	switch m.Kind {
	case client.Reset:
		p.problem("%s: %s", m.Kind, m.Why)
	case client.Drain, client.Bookmark, client.SnapshotEnd:
		if m.Token == "" {
			p.problem("%s without a token", m.Kind)
		}
	}
	if m.Token != "" {
		p.Token, p.Revision = m.Token, m.Revision
		// The token of `started` may stand before them.
		maps.DeleteFunc(p.sinceToken, func(_ string, upto uint64) bool { return upto <= m.Revision })
	}
}

func (p *Picture) started(m *client.Message) {
	want := "SNAPSHOT"
	if p.Token != "" {
		want = "RESUMED"
	}
	if m.Mode != want {
		p.problem("the stream %d started with %s instead of %s", p.Opens, m.Mode, want)
	}
	if m.Mode == "SNAPSHOT" {
		clear(p.States)
	}
}

func (p *Picture) event(e *client.Event) {
	step, err := p.Step(e)
	if err != nil {
		p.problem("%s@%d: %v", e.Name, e.Revision, err)
		return
	}
	if e.Revision < p.stream {
		p.problem("%s@%d comes after %d", e.Name, e.Revision, p.stream)
	}
	p.stream = e.Revision
	before := p.States[e.Name]
	if e.Revision <= before.Revision {
		p.Repeats++
		again := p.again[e.Name]
		if e.Revision <= again.after || e.Revision > again.upto {
			p.problem("%s@%d came a second time (it is at %d), and is not of what came after the last token: %d to %d", e.Name, e.Revision, before.Revision, again.after, again.upto)
		}
		p.again[e.Name] = span{e.Revision, again.upto}
		if !p.Every && e.Revision < before.Revision {
			p.Earlier++
		}
		if e.Revision == before.Revision && step != before.Step {
			p.problem("%s@%d came again as another one", e.Name, e.Revision)
		}
		return
	}
	p.sinceToken[e.Name] = e.Revision
	p.Changes++
	p.Coalesced += int(e.Coalesced)
	p.Sum += Mix(e.Name, step, e.Revision)
	jump := step - before.Step
	switch {
	case p.Every && (jump != 1 || e.Coalesced != 0):
		p.problem("%s@%d went from step %d@%d to %d in one event (coalesced %d)", e.Name, e.Revision, before.Step, before.Revision, step, e.Coalesced)
	case jump < 1+int64(e.Coalesced) && len(p.again) == 0: // what comes again may be folded into it
		p.problem("%s@%d went from step %d@%d to %d, which is not %d changes", e.Name, e.Revision, before.Step, before.Revision, step, 1+e.Coalesced)
	}
	p.States[e.Name] = State{step, e.Revision, !e.Present}
}

// Present gives the names that are there.
func (p *Picture) Present() map[string]State {
	out := map[string]State{}
	for name, s := range p.States {
		if !s.Absent {
			out[name] = s
		}
	}
	return out
}

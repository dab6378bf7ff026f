package transporttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// Fold is what a client holds that applies the messages of a watch, and of those
// that resume it, as the contract tells it to. What no watch may ever do it says in
// Faults: events that go back or come twice, tokens where there must be none,
// values that do not belong to a state.
type Fold struct {
	// State is what the client holds, by name.
	State map[string]Held
	// Token is the last one, and Revision where it stands.
	Token    string
	Revision uint64
	// Events are all that came, those after a Cut that were applied anew included.
	Events []Event
	// Told has NAME@REVISION of all events since the last snapshot, which was of the
	// revision From.
	Told map[string]bool
	From uint64
	// Resets are the reasons of the resets, in their order.
	Resets []watchroutev1.Reset_Reason
	// Faults are the promises that were broken.
	Faults []string

	request *watchroutev1.WatchRequest
	// partial: access rules hide a part of values, as a mask does.
	partial bool
	// shaped: the values are a projection's.
	shaped bool

	// Of the watch that is open now.
	begun    bool
	over     bool // drained
	snapshot bool // its end has not come
	at       uint64
	floor    uint64 // no event at or below this may come
	last     uint64 // the revision of the last event
	seen     map[string]uint64
	undo     []undo // to the last token, the newest last
}

// Held is one resource as a client holds it.
type Held struct {
	Revision uint64
	Labels   map[string]string
	Type     string
	Data     string
}

// undo is what was held before an event.
type undo struct {
	name string
	held Held
	had  bool
	seen uint64
}

// NewFold makes the fold of a watch and of all that resume it.
func NewFold(r *watchroutev1.WatchRequest) *Fold {
	return &Fold{State: map[string]Held{}, Told: map[string]bool{}, seen: map[string]uint64{}, request: r}
}

// Cut is the loss of the connection. A client goes on from its last token with
// what it held then.
func (f *Fold) Cut() {
	for _, u := range slices.Backward(f.undo) {
		f.put(u.name, u.held, u.had)
		f.seen[u.name] = u.seen
	}
	f.undo = nil
	f.begun, f.over, f.snapshot, f.at, f.last = false, false, false, 0, 0
	f.floor = f.Revision
}

func (f *Fold) put(name string, h Held, has bool) {
	if has {
		f.State[name] = h
	} else {
		delete(f.State, name)
	}
}

func (f *Fold) fault(promise, format string, args ...any) {
	if len(f.Faults) < 20 {
		f.Faults = append(f.Faults, promise+": "+fmt.Sprintf(format, args...))
	}
}

// void drops what is held.
func (f *Fold) void() {
	clear(f.State)
	clear(f.seen)
	clear(f.Told)
	f.undo, f.Token, f.Revision = nil, "", 0
	f.at, f.floor, f.last, f.snapshot = 0, 0, 0, true
}

// Apply takes the next message.
func (f *Fold) Apply(m *Message) {
	if f.over {
		f.fault("contract", "after `drain` there is %v", m)
	}
	if f.begun != (m.Kind != Started) {
		f.fault("contract", "`started` must be the first message and no other: %v", m)
	}
	switch m.Kind {
	case Started:
		f.started(m)
	case Reset:
		f.void()
		f.Resets = append(f.Resets, m.Reason)
		if m.Token != "" {
			f.fault("P8", "a reset carries a token: %v", m)
		}
		if m.Reason == 0 {
			f.fault("P8", "a reset without a reason")
		}
	}
	if m.Revision < f.at {
		f.fault("P1", "after a message at %d there is %v", f.at, m)
	}
	f.at = m.Revision
	switch m.Kind {
	case Events:
		f.events(m)
	case SnapshotEnd:
		if !f.snapshot {
			f.fault("P7", "a snapshot ends that did not begin")
		}
		if m.Token == "" {
			f.fault("P7", "the end of a snapshot carries no token")
		}
		f.snapshot = false
		clear(f.Told)
		f.From = m.Revision
	case Bookmark:
		f.floor = max(f.floor, m.Revision)
	case Drain:
		f.over = true
		if m.ReconnectAfter <= 0 {
			f.fault("contract", "`drain` does not say when to come back")
		}
	}
	f.take(m)
}

func (f *Fold) started(m *Message) {
	f.begun = true
	if m.SilenceLimit <= 0 {
		f.fault("contract", "`started` says no silence limit")
	}
	switch m.Mode {
	case watchroutev1.Started_SNAPSHOT:
		token, revision := f.Token, f.Revision
		f.void()
		f.Token, f.Revision = token, revision // a client forgets it with the reset or the next token
		if m.Token != "" {
			f.fault("P5", "a snapshot begins with a token: %v", m)
		}
	case watchroutev1.Started_RESUMED:
		if m.Token == "" {
			f.fault("P5", "a resumed watch begins without a token: %v", m)
		}
	case watchroutev1.Started_NOW:
		f.void()
		f.snapshot = false
		f.floor = m.Revision
		if m.Token == "" {
			f.fault("P5", "a watch from now begins without a token: %v", m)
		}
	default:
		f.fault("contract", "`started` has no mode: %v", m)
	}
}

// take keeps a token.
func (f *Fold) take(m *Message) {
	if m.Token == "" {
		return
	}
	if f.snapshot {
		f.fault("P5", "a token within a snapshot: %v", m)
	}
	t, err := resource.ParseToken("", m.Token)
	switch {
	case err != nil:
		f.fault("P5", "%v: %v", m, err)
	case t.Revision != m.Revision:
		f.fault("P5", "the token of %v stands at %d", m, t.Revision)
	}
	f.Token, f.Revision, f.floor, f.undo = m.Token, m.Revision, max(f.floor, m.Revision), nil
}

func (f *Fold) events(m *Message) {
	if len(m.Events) == 0 {
		f.fault("contract", "a message of no events: %v", m)
	}
	for i := range m.Events {
		e := &m.Events[i]
		r := &e.Resource
		switch {
		case r.Revision < f.last:
			f.fault("P1", "%v comes after an event of revision %d", e, f.last)
		case r.Revision <= f.floor:
			f.fault("P6", "%v comes after a token or bookmark at %d", e, f.floor)
		case r.Revision <= f.seen[r.Name]:
			f.fault("P2", "%v comes after revision %d of it", e, f.seen[r.Name])
		case r.Revision > m.Revision:
			f.fault("P6", "%v comes in a message at %d", e, m.Revision)
		}
		f.last = max(f.last, r.Revision)
		f.shape(e)
		held, had := f.State[r.Name]
		f.undo = append(f.undo, undo{r.Name, held, had, f.seen[r.Name]})
		f.seen[r.Name] = r.Revision
		f.apply(e)
		f.Events = append(f.Events, *e)
		f.Told[fmt.Sprintf("%s@%d", r.Name, r.Revision)] = true
	}
}

// shape checks what an event may look like.
func (f *Fold) shape(e *Event) {
	r := &e.Resource
	bad := func(format string, args ...any) { f.fault("contract", "%v "+format, append([]any{e}, args...)...) }
	if !strings.HasPrefix(r.Name, f.collection()+"/") {
		bad("is not of the collection %s", f.collection())
	}
	if names := f.request.GetNames(); len(names) > 0 && !slices.Contains(names, r.Name) {
		bad("is none of the names that are watched")
	}
	switch e.Cause {
	case watchroutev1.Cause_CREATED, watchroutev1.Cause_UPDATED, watchroutev1.Cause_ENTERED:
		if e.State != watchroutev1.State_PRESENT {
			bad("is %v", e.State)
		}
	case watchroutev1.Cause_DELETED, watchroutev1.Cause_LEFT:
		if e.State != watchroutev1.State_ABSENT {
			bad("is %v", e.State)
		}
	default:
		bad("has the cause %v", e.Cause)
	}
	if f.snapshot && e.Cause != watchroutev1.Cause_ENTERED {
		bad("is in a snapshot")
	}
	if e.State == watchroutev1.State_ABSENT {
		if r.UID != "" || r.ETag != "" || r.Data != "" || r.Type != "" || r.Labels != nil || r.CreateRevision != 0 || !r.CreateTime.IsZero() || !r.UpdateTime.IsZero() || e.Updated != nil {
			bad("is ABSENT and has more than name and revision: %+v", r)
		}
	} else if r.UID == "" || r.ETag == "" || r.Data == "" || r.CreateRevision == 0 || r.CreateRevision > r.Revision || r.CreateTime.IsZero() || r.UpdateTime.Before(r.CreateTime) {
		bad("is PRESENT and not whole: %+v", r)
	}
	if (r.Type == orderType) != (f.collection() == ordersCollection && !f.shaped && e.State == watchroutev1.State_PRESENT) {
		bad("has the type %q", r.Type)
	}
	if e.Coalesced > 0 && f.request.GetDelivery() == watchroutev1.Delivery_EVERY_CHANGE {
		f.fault("P3", "%v has %d changes folded into it, and every change was asked for", e, e.Coalesced)
	}
	if e.Updated != nil && !f.request.GetDelta() {
		bad("is a delta, and none was asked for")
	}
	if (e.Updated != nil) != (e.Base != 0) {
		bad("has the updated fields %v and the base %d", e.Updated, e.Base)
	}
}

func (f *Fold) collection() string {
	if f.request.GetParent() != "" {
		return f.request.GetParent()
	}
	collection, _, _ := strings.Cut(f.request.GetNames()[0], "/")
	return collection
}

// apply stores or removes.
func (f *Fold) apply(e *Event) {
	r := &e.Resource
	if e.State == watchroutev1.State_ABSENT {
		delete(f.State, r.Name)
		return
	}
	h := Held{Revision: r.Revision, Labels: r.Labels, Type: r.Type, Data: r.Data}
	if e.Updated != nil {
		held, ok := f.State[r.Name]
		switch {
		case !ok:
			f.fault("delta", "%v is a delta, and the reader does not hold the resource", e)
			return
		case held.Revision > e.Base, len(f.request.GetReadMask().GetPaths()) == 0 && !f.partial && held.Revision != e.Base:
			f.fault("delta", "%v changes what was at %d, and the reader holds what was at %d", e, e.Base, held.Revision)
		}
		data, err := applyDelta(held.Data, r.Data, e.Updated)
		if err != nil {
			f.fault("delta", "%v: %v", e, err)
		}
		h.Data = data
	}
	f.State[r.Name] = h
}

// applyDelta clears the paths in what is held and puts in what the delta carries.
func applyDelta(held, delta string, paths []string) (string, error) {
	var old, changed map[string]any
	if err := json.Unmarshal([]byte(held), &old); err != nil {
		return "", err
	}
	if err := json.Unmarshal([]byte(delta), &changed); err != nil {
		return "", err
	}
	carried := maps.Clone(changed)
	for _, path := range paths {
		elements := strings.Split(path, ".")
		value, ok := lookUp(changed, elements)
		change(old, elements, value, ok)
		forget(carried, elements)
	}
	if len(carried) > 0 {
		return "", fmt.Errorf("the delta carries %v, which is not in %v", carried, paths)
	}
	text, err := json.Marshal(old)
	return string(text), err
}

func lookUp(o map[string]any, path []string) (any, bool) {
	v, ok := o[path[0]]
	if !ok || len(path) == 1 {
		return v, ok
	}
	sub, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	return lookUp(sub, path[1:])
}

func change(o map[string]any, path []string, value any, set bool) {
	if len(path) > 1 {
		sub, ok := o[path[0]].(map[string]any)
		if !ok {
			if !set {
				return
			}
			sub = map[string]any{}
			o[path[0]] = sub
		}
		change(sub, path[1:], value, set)
		return
	}
	if set {
		o[path[0]] = value
	} else {
		delete(o, path[0])
	}
}

// forget takes a path out of an object, and what is empty then.
func forget(o map[string]any, path []string) {
	if len(path) == 1 {
		delete(o, path[0])
		return
	}
	if sub, ok := o[path[0]].(map[string]any); ok {
		sub = maps.Clone(sub)
		forget(sub, path[1:])
		o[path[0]] = sub
		if len(sub) == 0 {
			delete(o, path[0])
		}
	}
}

package watchroute_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	watchroute "github.com/watchroute/watchroute/clients/go"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// entry is one change of the model's log; an empty value is a deletion.
type entry struct {
	revision uint64
	name     string
	value    map[string]int
}

func (e entry) String() string {
	if e.value == nil {
		return fmt.Sprintf("%s@%d", e.name, e.revision)
	}
	text, _ := json.Marshal(e.value)
	return fmt.Sprintf("%s@%d%s", e.name, e.revision, text)
}

// model is a server of one collection whose log is known beforehand. Its streams are cut
// at random places, a given number of times.
type model struct {
	log  []entry
	cuts int

	mu      sync.Mutex
	random  *rand.Rand
	floor   uint64 // tokens below are expired
	said    uint64 // the highest revision that was said: a state is not older
	streams int
}

func newModel(seed uint64, changes, cuts int) *model {
	m := &model{random: rand.New(rand.NewPCG(seed, 1)), cuts: cuts}
	now := map[string]map[string]int{}
	for revision := uint64(1); len(m.log) < changes; revision++ {
		for _, n := range m.random.Perm(4)[:1+m.random.IntN(3)] { // a batch
			name := string(rune('a' + n))
			if now[name] != nil && m.random.IntN(4) == 0 {
				delete(now, name)
				m.log = append(m.log, entry{revision, name, nil})
				continue
			}
			value := map[string]int{"x": int(revision), "y": m.random.IntN(3)}
			if m.random.IntN(2) == 0 {
				value["z"] = m.random.IntN(2)
			}
			now[name] = value
			m.log = append(m.log, entry{revision, name, value})
		}
	}
	return m
}

func (m *model) head() uint64 { return m.log[len(m.log)-1].revision }

// stateAt gives the newest change of each name that exists at a revision.
func (m *model) stateAt(revision uint64) map[string]entry {
	state := map[string]entry{}
	for _, e := range m.log {
		if e.revision > revision {
			break
		}
		if state[e.name] = e; e.value == nil {
			delete(state, e.name)
		}
	}
	return state
}

func token(revision uint64) string { return strconv.FormatUint(revision, 10) }

// messages gives what a stream says, and whether it is cut behind that.
func (m *model) messages(r *watchroutev1.WatchRequest) (all []*watchroutev1.WatchResponse, cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.streams++
	at, err := strconv.ParseUint(r.GetResumeToken(), 10, 64)
	switch {
	case err == nil && at >= m.floor:
		all = append(all, atRevision(at, started(resumed, token(at))))
	default:
		all = append(all, started(snapshot, ""))
		if err == nil {
			all = append(all, reset(watchroutev1.Reset_COMPACTED))
		}
		at = m.said + uint64(m.random.IntN(int(m.head()-m.said)+1))
		for _, e := range sorted(m.stateAt(at)) {
			all = append(all, events(e.revision, "", m.event(e, entry{}, false)))
		}
		all = append(all, snapshotEnd(at, token(at)))
	}
	all = append(all, m.changes(at, r)...)
	if m.streams > m.cuts {
		return append(all, bookmark(m.head(), token(m.head()))), false
	}
	if m.random.IntN(8) == 0 {
		m.floor = at + 1
	}
	all = all[:m.random.IntN(len(all)+1)]
	for _, r := range all {
		m.said = max(m.said, r.GetRevision())
	}
	return all, true
}

// changes gives the changes behind a revision, in messages of random sizes.
func (m *model) changes(at uint64, r *watchroutev1.WatchRequest) (all []*watchroutev1.WatchResponse) {
	every := r.GetDelivery() == watchroutev1.Delivery_EVERY_CHANGE
	for at < m.head() {
		// What is folded together, of whole batches.
		to := min(at+1+uint64(m.random.IntN(4)), m.head())
		var part []entry
		for _, e := range m.log {
			if e.revision <= at || e.revision > to {
				continue
			}
			if !every {
				part = slices.DeleteFunc(part, func(o entry) bool { return o.name == e.name })
			}
			part = append(part, e)
		}
		before := m.stateAt(at)
		for len(part) > 0 {
			n := 1 + m.random.IntN(len(part))
			var piece []*watchroutev1.Event
			for _, e := range part[:n] {
				piece = append(piece, m.event(e, before[e.name], r.GetDelta()))
				if before[e.name] = e; e.value == nil {
					delete(before, e.name)
				}
			}
			last := part[n-1].revision
			if part = part[n:]; len(part) == 0 {
				all = append(all, events(to, token(to), piece...))
			} else {
				all = append(all, events(last, "", piece...))
			}
		}
		at = to
	}
	return all
}

func atRevision(revision uint64, m *watchroutev1.WatchResponse) *watchroutev1.WatchResponse {
	m.Revision = revision
	return m
}

func sorted(state map[string]entry) (out []entry) {
	for _, e := range state {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b entry) int { return int(a.revision) - int(b.revision) })
	return out
}

// event gives a change as it is sent, as what changed since before if that is asked for.
func (m *model) event(e, before entry, asDelta bool) *watchroutev1.Event {
	if e.value == nil {
		return absent(e.name, e.revision)
	}
	if !asDelta || before.value == nil {
		text, _ := json.Marshal(e.value)
		return present(e.name, e.revision, string(text))
	}
	part, paths := map[string]int{}, []string{}
	for _, key := range []string{"x", "y", "z"} {
		was, had := before.value[key]
		is, has := e.value[key]
		if had == has && was == is {
			continue
		}
		paths = append(paths, key)
		if has {
			part[key] = is
		}
	}
	text, _ := json.Marshal(part)
	return delta(e.name, e.revision, before.revision, string(text), paths...)
}

func (m *model) conn() *fake {
	return &fake{
		watch: func(ctx context.Context, r *watchroutev1.WatchRequest, send func(*watchroutev1.WatchResponse)) error {
			all, cut := m.messages(r)
			for _, r := range all {
				send(r)
			}
			if cut {
				return gone
			}
			<-ctx.Done()
			return ctx.Err()
		},
		session: func(ctx context.Context, receive <-chan *watchroutev1.SessionRequest, send func(*watchroutev1.SessionResponse)) error {
			var id string
			var left []*watchroutev1.WatchResponse
			cut, credit := false, 0
			for {
				for len(left) > 0 && credit > 0 {
					credit -= len(left[0].GetEvents().GetEvents())
					send(&watchroutev1.SessionResponse{WatchId: id, Body: &watchroutev1.SessionResponse_Watch{Watch: left[0]}})
					left = left[1:]
				}
				if cut && len(left) == 0 {
					return gone
				}
				select {
				case r := <-receive:
					switch body := r.GetBody().(type) {
					case *watchroutev1.SessionRequest_Open:
						id, credit = body.Open.GetWatchId(), int(body.Open.GetCredit())
						left, cut = m.messages(body.Open.GetWatch())
					case *watchroutev1.SessionRequest_Credit:
						credit += int(body.Credit.GetEvents())
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		},
	}
}

// check watches the model until its head and checks all that is told.
func (m *model) check(t *rapid.T, every, deltas, session bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	options := []watchroute.Option{watchroute.WithBackoff(1, 1)}
	if session {
		options = append(options, watchroute.WithSession())
	}
	client := watchroute.New(m.conn(), options...)
	defer client.Close()
	request := &watchroutev1.WatchRequest{Delta: deltas}
	if every {
		request.Delivery = watchroutev1.Delivery_EVERY_CHANGE
	}
	held, told := map[string]entry{}, map[string]uint64{}
	synced, position := false, 0 // in the log, of what EVERY_CHANGE tells next
	for event, err := range watchroute.Watch[map[string]int](ctx, client, "notes", watchroute.Request(request)) {
		if err != nil {
			t.Fatalf("ended with %v", err)
		}
		e := entry{revision: event.Revision}
		if event.Name != "" {
			e.name, e.value = event.Name[len("notes/"):], event.Value
		}
		switch event.Kind {
		case watchroute.Reset:
			clear(held)
			clear(told)
			synced = false
			continue
		case watchroute.Synced:
			if synced || fmt.Sprint(held) != fmt.Sprint(m.stateAt(e.revision)) {
				t.Fatalf("synced (%v before) at %d with %v, expected %v", synced, e.revision, held, m.stateAt(e.revision))
			}
			synced = true
			for position = 0; position < len(m.log) && m.log[position].revision <= e.revision; position++ {
			}
		case watchroute.Present:
			held[e.name] = e
		case watchroute.Absent:
			delete(held, e.name)
		}
		if event.Name != "" {
			if told[e.name] >= e.revision {
				t.Fatalf("%v is told behind revision %d", e, told[e.name])
			}
			told[e.name] = e.revision
		}
		if event.Name != "" && synced {
			i := slices.IndexFunc(m.log, func(o entry) bool { return o.revision == e.revision && o.name == e.name })
			if i < 0 || m.log[i].String() != e.String() {
				t.Fatalf("%v is told, which is not in the log", e)
			}
			if every && i != position {
				t.Fatalf("%v is told, but %v is the next", e, m.log[position])
			}
			position = i + 1
		}
		if synced && fmt.Sprint(held) == fmt.Sprint(m.stateAt(m.head())) && (!every || position == len(m.log)) {
			return
		}
	}
}

func TestWatch_TellsEachChangeAcrossCuts(t *testing.T) {
	for _, session := range []bool{false, true} {
		t.Run(fmt.Sprintf("session=%v", session), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := newModel(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 40).Draw(t, "changes"), rapid.IntRange(0, 12).Draw(t, "cuts"))
				m.check(t, rapid.Bool().Draw(t, "every"), rapid.Bool().Draw(t, "delta"), session)
			})
		})
	}
}

// The same script, cut behind each of its messages in turn.
func TestWatch_IsExactWhereverItIsCut(t *testing.T) {
	whole := start.and(
		events(2, "", present("a", 2, `{"n":2}`), present("b", 2, `{"n":2}`)), events(3, "t3", absent("b", 3)),
		bookmark(4, "t4"), events(5, "t5", present("a", 5, `{"n":5}`)), events(6, "", present("c", 6, `{"n":6}`)), events(7, "t7", present("c", 7, `{"n":7}`)))
	at := map[string]int{}
	for i, m := range whole {
		if m.GetResumeToken() != "" {
			at[m.GetResumeToken()] = i + 1
		}
	}
	for _, deltas := range []bool{false, true} {
		for cut := range whole {
			m := &model{}
			first := true
			conn := m.conn()
			conn.watch = func(ctx context.Context, r *watchroutev1.WatchRequest, send func(*watchroutev1.WatchResponse)) error {
				rest := whole
				if t := r.GetResumeToken(); t != "" {
					rest = append(says{started(resumed, t)}, whole[at[t]:]...)
				}
				n := len(rest)
				if first {
					n, first = cut+1, false
				}
				for _, m := range rest[:n] {
					send(proto.CloneOf(m))
				}
				if n < len(whole) && r.GetResumeToken() == "" {
					return gone
				}
				<-ctx.Done()
				return ctx.Err()
			}
			client := watchroute.New(conn, watchroute.WithBackoff(1, 1))
			want := []string{`a@1 {"n":1}`, "SYNCED@1", `a@2 {"n":2}`, `b@2 {"n":2}`, "b@3 gone", `a@5 {"n":5}`, `c@6 {"n":6}`, `c@7 {"n":7}`}
			if cut == 1 { // in the state
				want = append([]string{want[0], "RESET INTERRUPTED"}, want...)
			}
			options := []watchroute.WatchOption{watchroute.EveryChange()}
			if deltas {
				options = append(options, watchroute.Delta())
			}
			var told []string
			for event, err := range watchroute.Watch[json.RawMessage](t.Context(), client, "notes", options...) {
				if err != nil {
					t.Fatal(err)
				}
				if told = append(told, shown(event)); len(told) >= len(want) {
					break
				}
			}
			if !slices.Equal(told, want) {
				t.Errorf("cut behind message %d (deltas: %v): told\n%q, expected\n%q", cut, deltas, told, want)
			}
			_ = client.Close()
		}
	}
}

package changelogtest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

var modelScenarios = []scenario{
	{"AnyHistoryEqualsTheModel", func(t *testing.T, e Engine) { modelEquals(t, e, 1<<30) }},
	{"AnyHistoryEqualsTheModelWhereSizeIsShort", func(t *testing.T, e Engine) { modelEquals(t, e, 2000) }},
}

// model is what a log is to its users: every change that there ever was, in order.
type model struct {
	*fixture
	keep        changelog.Retention
	collections map[string]*modelCollection
	requests    map[string]modelRequest
}

type modelCollection struct {
	name    string
	changes []changelog.Change
	newest  map[string]*changelog.Record
	lost    map[*changelog.Record]bool // tombstones that were dropped before the name came back
	head    uint64
}

type modelRequest struct {
	digest byte
	result changelog.Result
}

func modelEquals(t *testing.T, e Engine, size int64) {
	keep := changelog.Retention{
		Age: time.Hour, MinAge: time.Minute, Bytes: size, Tombstones: 2 * time.Hour, RequestIDs: 90 * time.Minute,
	}
	rapid.Check(t, func(rt *rapid.T) {
		f := open(rt, t.Context(), e, keep)
		defer func() { _ = f.Close() }()
		m := &model{fixture: f, keep: keep, collections: map[string]*modelCollection{}, requests: map[string]modelRequest{}}
		rt.Repeat(map[string]func(*rapid.T){
			"write":   m.write,
			"write 2": m.write,
			"write 3": m.write,
			"wait":    m.wait,
			"compact": m.compact,
			"reopen":  func(rt *rapid.T) { m.fixture.tb = rt; m.reopen() },
			"read":    m.read,
			"read 2":  m.read,
		})
		m.everything()
	})
}

func (m *model) collection(rt *rapid.T) *modelCollection {
	name := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "collection")
	c := m.collections[name]
	if c == nil {
		c = &modelCollection{name: name, newest: map[string]*changelog.Record{}, lost: map[*changelog.Record]bool{}}
		m.collections[name] = c
	}
	return c
}

var modelNames = []string{"1", "2", "3", "30", "4"}

func (m *model) wait(rt *rapid.T) {
	m.clock.Add(time.Duration(rapid.IntRange(1, 3600).Draw(rt, "seconds")) * time.Second)
}

func (m *model) write(rt *rapid.T) {
	m.tb = rt
	c := m.collection(rt)
	w := changelog.Write{Collection: c.name}
	for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom(modelNames), 0, 4, rapid.ID).Draw(rt, "names") {
		op := changelog.Op{ID: id, Delete: rapid.IntRange(0, 3).Draw(rt, "delete") == 0}
		if !op.Delete {
			op.Data = bytes.Repeat([]byte(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "data")), rapid.IntRange(1, 2).Draw(rt, "size")*50)
			op.Type = rapid.SampledFrom([]string{"", "T"}).Draw(rt, "type")
			if rapid.Bool().Draw(rt, "labelled") {
				op.Labels = map[string]string{"k": rapid.SampledFrom([]string{"", "v"}).Draw(rt, "label")}
			}
		}
		op.If = c.precondition(rt, id)
		w.Ops = append(w.Ops, op)
	}
	if rapid.IntRange(0, 2).Draw(rt, "with request id") == 0 {
		w.RequestID = rapid.SampledFrom([]string{"r", "s", "rr"}).Draw(rt, "request id")
		w.Digest = [16]byte{byte(rapid.IntRange(1, 2).Draw(rt, "digest"))}
	}
	before := m.Bounds(c.name)
	res, err := m.Write(m.ctx, w)
	m.check(c, w, before, res, err)
}

// precondition is one that mostly holds.
func (c *modelCollection) precondition(rt *rapid.T, id string) (p changelog.Precondition) {
	r := c.newest[id]
	present := r != nil && !r.Absent
	wrong := rapid.IntRange(0, 9).Draw(rt, "wrong") == 0
	switch rapid.IntRange(0, 5).Draw(rt, "precondition") {
	case 0:
		p.MustExist = present != wrong
		p.MustNotExist = !p.MustExist
	case 1:
		if present {
			p.Revision = r.Revision
		}
		if wrong {
			p.Revision++
		}
	case 2:
		if present {
			p.ETag = r.ETag()
		}
		if wrong {
			p.ETag += "x"
		}
	}
	return p
}

func holds(p changelog.Precondition, r *changelog.Record) bool {
	if r == nil || r.Absent {
		return !p.MustExist && p.Revision == 0 && p.ETag == ""
	}
	return !p.MustNotExist && (p.Revision == 0 || p.Revision == r.Revision) && (p.ETag == "" || p.ETag == r.ETag())
}

// check compares the outcome of a write with what the model says, and takes over
// what the engine chose.
func (m *model) check(c *modelCollection, w changelog.Write, before changelog.Bounds, res changelog.Result, err error) {
	m.Helper()
	if before.Head != c.head {
		m.Fatalf("the head was %d, want %d", before.Head, c.head)
	}
	key := c.name + "/" + w.RequestID
	if q, ok := m.requests[key]; ok && w.RequestID != "" && q.result.Time.After(m.clock.Now().Add(-m.keep.RequestIDs)) {
		if q.digest != w.Digest[0] {
			if !resource.HasReason(err, resource.RequestIDReused) {
				m.Fatalf("a request id was used again: %v", err)
			}
			return
		}
		m.checkReplay(res, err, q.result)
		return
	}
	for i, op := range w.Ops {
		if holds(op.If, c.newest[op.ID]) {
			continue
		}
		if !resource.HasReason(err, resource.PreconditionFailed) || resource.AsError(err).Metadata["name"] != c.name+"/"+op.ID {
			m.Fatalf("the precondition of op %d does not hold, the error is %v", i, err)
		}
		return
	}
	if err != nil {
		m.Fatalf("Write: %v", err)
	}
	revision := c.head
	changed := false
	var changes []changelog.Change
	for i, op := range w.Ops {
		old := c.newest[op.ID]
		present := old
		if old != nil && old.Absent {
			present = nil
		}
		noChange := op.Delete && present == nil ||
			!op.Delete && present != nil && op.Type == present.Type && bytes.Equal(op.Data, present.Data) && maps.Equal(op.Labels, present.Labels)
		if res.Changes[i] == noChange {
			m.Fatalf("op %d: changed is %v", i, res.Changes[i])
		}
		got := res.Records[i]
		if noChange {
			if got == nil && (old == nil || old.Absent && old.Revision <= before.Tombstones) {
				continue
			}
			m.same("the record of an op that changed nothing", got, old)
			continue
		}
		changed = true
		want := &changelog.Record{ID: op.ID, Revision: c.head + 1, Time: m.clock.Now(), Absent: op.Delete}
		switch {
		case old == nil:
		case old.Absent && old.Revision <= before.Tombstones:
			c.lost[old] = true
		default:
			want.Prev = old.Revision
		}
		if !op.Delete {
			want.Labels, want.Type, want.Data = op.Labels, op.Type, op.Data
			if present != nil {
				want.UID, want.CreateRevision, want.CreateTime = present.UID, present.CreateRevision, present.CreateTime
			} else {
				want.UID, want.CreateRevision, want.CreateTime = got.UID, c.head+1, m.clock.Now()
				if len(got.UID) != 16 || old != nil && got.UID == old.UID {
					m.Fatalf("op %d: the uid is %q", i, got.UID)
				}
			}
		}
		m.same("the record of an op", got, want)
		changes = append(changes, changelog.Change{New: want, Old: present})
		c.newest[op.ID] = want
		revision = c.head + 1
	}
	slices.SortFunc(changes, func(a, b changelog.Change) int { return cmp.Compare(a.New.ID, b.New.ID) })
	c.changes = append(c.changes, changes...)
	if res.Changed != changed || res.Revision != revision || res.Replayed || !res.Time.Equal(m.clock.Now()) {
		m.Fatalf("the result is %+v, the head %d", res, c.head)
	}
	c.head = revision
	if b := m.Bounds(c.name); b.Head != c.head {
		m.Fatalf("the bounds are %+v, want the head %d", b, c.head)
	}
	if w.RequestID != "" {
		m.requests[key] = modelRequest{w.Digest[0], res}
	}
}

func (m *model) checkReplay(res changelog.Result, err error, want changelog.Result) {
	m.Helper()
	if err != nil {
		m.Fatalf("a retry: %v", err)
	}
	records := res.Records
	res.Records = want.Records
	for i, r := range records {
		w := want.Records[i]
		if w != nil && r != nil && !w.Absent && len(r.Data) == 0 { // no longer kept
			bare := *w
			bare.Labels, bare.Type, bare.Data = nil, "", nil
			w = &bare
		}
		m.same("the record of a replay", r, w)
	}
	m.replayed(res, want)
}

func (m *model) compact(rt *rapid.T) {
	m.tb = rt
	now := m.clock.Now()
	before := map[string]changelog.Bounds{}
	for name := range m.collections {
		before[name] = m.Bounds(name)
	}
	if err := m.Compact(m.ctx); err != nil {
		rt.Fatalf("Compact: %v", err)
	}
	for _, c := range m.collections {
		b := m.Bounds(c.name)
		if b.Head != c.head || b.History < before[c.name].History || b.Tombstones < before[c.name].Tombstones ||
			b.Tombstones > b.History || b.History > b.Head {
			rt.Fatalf("the bounds went from %+v to %+v", before[c.name], b)
		}
		var superseded int
		for _, change := range c.changes {
			if change.Old != nil {
				superseded += change.Old.Size()
			}
		}
		for _, change := range c.changes {
			r, age := change.New, now.Sub(change.New.Time)
			if r.Revision <= b.History && age < m.keep.MinAge {
				rt.Fatalf("%s: the floor %d passed a change of %v ago", c.name, b.History, age)
			}
			if r.Revision <= b.History && age < m.keep.Age && int64(superseded) < m.keep.Bytes {
				rt.Fatalf("%s: the floor %d passed a change of %v ago, with %d bytes in all", c.name, b.History, age, superseded)
			}
			if r.Revision <= b.Tombstones && r.Absent && c.newest[r.ID] == r && age < m.keep.Tombstones {
				rt.Fatalf("%s: the floor %d passed a tombstone of %v ago", c.name, b.Tombstones, age)
			}
			if age < m.keep.Age {
				continue
			}
			// What it superseded is gone.
			if r.Prev != 0 {
				if old, err := m.Exactly(m.ctx, c.name, r.ID, r.Prev); err != nil || old != nil {
					rt.Fatalf("%s: %v is still kept, superseded %v ago: %v", c.name, old, age, err)
				}
			}
			if age >= m.keep.Tombstones && r.Absent && c.newest[r.ID] == r {
				if old, err := m.Get(m.ctx, c.name, r.ID, 0); err != nil || old != nil {
					rt.Fatalf("%s: a tombstone of %v ago is still kept: %v %v", c.name, age, old, err)
				}
			}
		}
	}
}

func (m *model) read(rt *rapid.T) {
	m.tb = rt
	c := m.collection(rt)
	at := rapid.Uint64Range(0, c.head+1).Draw(rt, "at")
	after := changelog.Position{Revision: rapid.Uint64Range(0, c.head+1).Draw(rt, "after")}
	if rapid.Bool().Draw(rt, "within a revision") {
		after.ID = rapid.SampledFrom(modelNames).Draw(rt, "behind")
	}
	piece := rapid.IntRange(1, 5).Draw(rt, "piece")
	m.reads(c, after, at, piece)
}

// everything reads each collection at each revision.
func (m *model) everything() {
	for _, c := range m.collections {
		for at := range c.head + 2 {
			m.reads(c, changelog.Position{Revision: at / 2}, at, 100)
			m.reads(c, changelog.Position{}, at, 100)
		}
	}
}

// reads compares every kind of read with the model. Iterations are broken off after
// each piece and resumed.
func (m *model) reads(c *modelCollection, after changelog.Position, at uint64, piece int) {
	b := m.Bounds(c.name)
	if b.Head != c.head {
		m.Fatalf("the head is %d, want %d", b.Head, c.head)
	}
	state := map[string]*changelog.Record{} // at `at`
	for _, change := range c.changes {
		if change.New.Revision <= at {
			state[change.New.ID] = change.New
		}
	}
	dropped := func(r *changelog.Record) bool {
		return c.lost[r] || r.Absent && r.Revision <= b.Tombstones && c.newest[r.ID] == r
	}

	for _, id := range append(modelNames, "never") {
		want := state[id]
		if at == 0 {
			want = c.newest[id]
		}
		got, err := m.Get(m.ctx, c.name, id, at)
		switch {
		case err != nil && 0 < at && at < b.History && resource.HasReason(err, resource.Compacted):
		case err != nil:
			m.Fatalf("Get(%s, %d) with %+v: %v", id, at, b, err)
		case got == nil && want != nil && want.Absent && want.Revision <= b.Tombstones:
		default:
			m.same(fmt.Sprintf("Get(%s, %d)", id, at), got, want)
		}
	}

	var list []*changelog.Record
	for _, id := range slices.Sorted(maps.Keys(state)) {
		if r := state[id]; !r.Absent && id > after.ID {
			list = append(list, r)
		}
	}
	last := after.ID
	m.pieces(at < b.History, piece, list, func(yield func(*changelog.Record, error) bool) {
		for r, err := range m.List(m.ctx, c.name, last, at) {
			if err == nil {
				last = r.ID
			}
			if !yield(r, err) {
				return
			}
		}
	})

	var latest, history []*changelog.Record
	olds := map[string]*changelog.Record{}
	for _, change := range c.changes {
		r := change.New
		if r.Revision > at || r.Revision < after.Revision || r.Revision == after.Revision && (after.ID == "" || r.ID <= after.ID) {
			continue
		}
		history = append(history, r)
		olds[record(r)] = change.Old
		if state[r.ID] == r && !dropped(r) {
			latest = append(latest, r)
		}
	}
	known := after.Revision // a position within a revision still needs the rest of it
	if after.ID != "" && known > 0 {
		known--
	}
	position := after
	step := func(r *changelog.Record) { position = changelog.Position{Revision: r.Revision, ID: r.ID} }
	m.pieces(at < b.History || after.ID == "" && 0 < after.Revision && after.Revision < b.Tombstones, piece, latest, func(yield func(*changelog.Record, error) bool) {
		for r, err := range m.Latest(m.ctx, c.name, position, at) {
			if err == nil {
				step(r)
			}
			if !yield(r, err) {
				return
			}
		}
	})
	position = after
	m.pieces(known < b.History, piece, history, func(yield func(*changelog.Record, error) bool) {
		for change, err := range m.History(m.ctx, c.name, position, at) {
			if err == nil {
				step(change.New)
				m.same("what was before", change.Old, olds[record(change.New)])
			}
			if !yield(change.New, err) {
				return
			}
		}
	})
}

// pieces reads a sequence that takes itself up where it was broken off.
func (m *model) pieces(compacted bool, piece int, want []*changelog.Record, seq func(yield func(*changelog.Record, error) bool)) {
	m.Helper()
	var got []*changelog.Record
	for {
		n := 0
		for r, err := range seq {
			if err != nil {
				if !compacted || !resource.HasReason(err, resource.Compacted) {
					m.Fatalf("reading: %v", err)
				}
				return
			}
			got = append(got, r)
			if n++; n == piece {
				break
			}
		}
		if n < piece {
			break
		}
	}
	if compacted {
		m.Fatalf("reading below the floor gave %v", records(got))
	}
	if len(got) != len(want) {
		m.Fatalf("got %v, want %v", records(got), records(want))
	}
	for i := range got {
		m.same("a record", got[i], want[i])
	}
}

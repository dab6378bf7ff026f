package hub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a hub over a log in memory.
type fixture struct {
	t   *testing.T
	log *local.Log
	hub *hub.Hub
}

func newFixture(t *testing.T, change ...func(*hub.Config)) *fixture {
	t.Helper()
	schemas, err := schema.NewRegistry(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, log: changelogtest.NewMem(t)}
	cfg := hub.Config{Log: f.log, Schemas: schemas}
	for _, c := range change {
		c(&cfg)
	}
	if f.hub, err = hub.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.hub.Close)
	return f
}

// put writes JSON objects, given as id, json pairs, as one batch. An empty json
// deletes.
func (f *fixture) put(pairs ...string) uint64 {
	f.t.Helper()
	var w changelog.Write
	w.Collection = "things"
	for i := 0; i < len(pairs); i += 2 {
		w.Ops = append(w.Ops, changelog.Op{ID: pairs[i], Data: []byte(pairs[i+1]), Delete: pairs[i+1] == ""})
	}
	res, err := f.log.Write(context.Background(), w)
	if err != nil {
		f.t.Fatal(err)
	}
	return res.Revision
}

// reader folds what a watch says, as a client would.
type reader struct {
	t     *testing.T
	w     *hub.Watch
	state map[string]string
	last  string // the last token
	at    uint64 // the last revision
	kinds []string
	seen  map[string]uint64 // name -> revision of the last event
	all   []*watchroutev1.Event

	// What the reader had at its last token: a client that is cut off keeps that.
	kept     map[string]string
	keptSeen map[string]uint64
	keptAt   string
}

// remember keeps the state if a token came with it.
func (rd *reader) remember() {
	if rd.last != rd.keptAt {
		rd.kept, rd.keptSeen, rd.keptAt = maps.Clone(rd.state), maps.Clone(rd.seen), rd.last
	}
}

// forgetAfterToken goes back to the state at the last token.
func (rd *reader) forgetAfterToken() {
	rd.state, rd.seen = maps.Clone(rd.kept), maps.Clone(rd.keptSeen)
}

func (f *fixture) watch(r *watchroutev1.WatchRequest) *reader {
	f.t.Helper()
	rd := &reader{t: f.t, state: map[string]string{}, seen: map[string]uint64{}}
	rd.open(f, r)
	return rd
}

func (rd *reader) open(f *fixture, r *watchroutev1.WatchRequest) {
	rd.t.Helper()
	if r.Parent == "" && len(r.Names) == 0 {
		r.Parent = "things"
	}
	w, err := f.hub.Open(context.Background(), hub.Request{Watch: r, Codec: wire.Proto, Transport: "test"})
	if err != nil {
		rd.t.Fatal(err)
	}
	rd.w, rd.at, rd.kinds = w, 0, nil
	rd.t.Cleanup(func() { w.Close(nil) })
}

func (rd *reader) resume(f *fixture, r *watchroutev1.WatchRequest) {
	rd.t.Helper()
	rd.w.Close(nil)
	r.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: rd.last}
	rd.open(f, r)
}

// apply takes one Next.
func (rd *reader) apply(b hub.Budget) (int, error) {
	rd.t.Helper()
	frames, err := rd.w.Next(nil, b)
	for _, fr := range frames {
		var m watchroutev1.WatchResponse
		if err := proto.Unmarshal(fr.Bytes, &m); err != nil {
			rd.t.Fatal(err)
		}
		rd.message(&m)
	}
	return len(frames), err
}

func (rd *reader) message(m *watchroutev1.WatchResponse) {
	rd.t.Helper()
	if m.Revision < rd.at && m.GetReset_() == nil {
		rd.t.Errorf("P1: revision went from %d to %d", rd.at, m.Revision)
	}
	rd.at = m.Revision
	defer func() {
		if m.ResumeToken != "" {
			rd.last = m.ResumeToken
			rd.remember()
		}
	}()
	switch body := m.Body.(type) {
	case *watchroutev1.WatchResponse_Started:
		rd.kinds = append(rd.kinds, "started "+body.Started.Mode.String())
		if body.Started.Mode == watchroutev1.Started_SNAPSHOT {
			clear(rd.state)
			clear(rd.seen)
		}
	case *watchroutev1.WatchResponse_Reset_:
		rd.kinds = append(rd.kinds, "reset "+body.Reset_.Reason.String())
		clear(rd.state)
		clear(rd.seen)
	case *watchroutev1.WatchResponse_Events:
		revision := uint64(0)
		for _, e := range body.Events.Events {
			r := e.Resource
			if r.Revision < revision {
				rd.t.Errorf("P1: %s@%d comes after revision %d", r.Name, r.Revision, revision)
			}
			revision = r.Revision
			if r.Revision <= rd.seen[r.Name] {
				rd.t.Errorf("P2: %s@%d comes after %s@%d", r.Name, r.Revision, r.Name, rd.seen[r.Name])
			}
			rd.seen[r.Name] = r.Revision
			rd.all = append(rd.all, e)
			rd.kinds = append(rd.kinds, fmt.Sprintf("%s %s@%d", e.Cause, strings.TrimPrefix(r.Name, "things/"), r.Revision))
			rd.fold(e)
		}
	default:
		rd.kinds = append(rd.kinds, fmt.Sprint(strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", m.Body), "*watchroutev1.WatchResponse_"))))
	}
}

func (rd *reader) fold(e *watchroutev1.Event) {
	rd.t.Helper()
	if e.State == watchroutev1.State_ABSENT {
		delete(rd.state, e.Resource.Name)
		return
	}
	var v structpb.Struct
	if err := e.Resource.Data.UnmarshalTo(&v); err != nil {
		rd.t.Fatal(err)
	}
	if e.UpdatedFields != nil {
		var old structpb.Struct
		if err := old.UnmarshalJSON([]byte(rd.state[e.Resource.Name])); err != nil {
			rd.t.Fatalf("a delta for %s, which the reader does not hold", e.Resource.Name)
		}
		for _, path := range e.UpdatedFields.Paths { // only top-level paths are used here
			if nv, ok := v.Fields[path]; ok {
				old.Fields[path] = nv
			} else {
				delete(old.Fields, path)
			}
		}
		v.Fields = old.Fields
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(&v)
	_ = text
	if err != nil {
		rd.t.Fatal(err)
	}
	rd.state[e.Resource.Name] = canonical(&v)
}

func canonical(v *structpb.Struct) string {
	b, err := v.MarshalJSON()
	if err != nil {
		panic(err)
	}
	return strings.ReplaceAll(string(b), " ", "")
}

// drainTo reads until the watch has handed out everything up to a revision.
func (rd *reader) drainTo(revision uint64) {
	rd.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	defer rd.w.NotifyAt(revision)()
	for {
		n, err := rd.apply(hub.Unlimited)
		if err != nil {
			rd.t.Fatal(err)
		}
		if n == 0 {
			if rd.w.Reached(revision) {
				return
			}
			if err := rd.w.Wait(ctx); err != nil {
				rd.t.Fatalf("the watch hangs at %d, waiting for %d: %v; it said %v", rd.w.Cursor(), revision, err, rd.kinds)
			}
		}
	}
}

func (rd *reader) want(kinds ...string) {
	rd.t.Helper()
	if !slices.Equal(rd.kinds, kinds) {
		rd.t.Errorf("got  %q\nwant %q", rd.kinds, kinds)
	}
	rd.kinds = nil
}

func TestWatch_SnapshotThenChanges(t *testing.T) {
	f := newFixture(t)
	f.put("a", `{"n":1}`)
	f.put("b", `{"n":1}`)
	rev := f.put("a", `{"n":2}`)
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(rev)
	rd.want("started SNAPSHOT", "ENTERED b@2", "ENTERED a@3", "snapshotend")
	f.put("c", `{}`)
	f.put("a", "")
	rd.drainTo(f.put("b", `{"n":2}`))
	rd.want("CREATED c@4", "DELETED a@5", "UPDATED b@6")
}

func TestWatch_BatchIsOneRevisionAndOneToken(t *testing.T) {
	f := newFixture(t)
	f.put("x", `{}`)
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(1)
	var pairs []string
	for i := range 900 {
		pairs = append(pairs, fmt.Sprintf("n%03d", i), `{"pad":"`+strings.Repeat("x", 300)+`"}`)
	}
	rev := f.put(pairs...)
	for range 100 {
		frames, err := rd.w.Next(nil, hub.Budget{Bytes: 1, Events: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(frames) == 0 {
			_ = rd.w.Wait(t.Context())
			continue
		}
		if len(frames) < 2 {
			t.Fatalf("900 events of 300 bytes came in %d frames", len(frames))
		}
		events := 0
		for i, fr := range frames {
			events += fr.Events
			if last := i == len(frames)-1; fr.Token != last {
				t.Errorf("P4: frame %d of %d carries a token: %v", i, len(frames), fr.Token)
			}
		}
		if events != 900 || rd.w.Cursor() != rev {
			t.Errorf("P4: the batch was cut: %d events, cursor %d", events, rd.w.Cursor())
		}
		return
	}
	t.Fatal("nothing came")
}

func TestWatch_ConflationDoesNotLoseAnExit(t *testing.T) {
	f := newFixture(t)
	rev := f.put("a", `{"on":true}`)
	rd := f.watch(&watchroutev1.WatchRequest{Filter: "data.on"})
	rd.drainTo(rev)
	rd.want("started SNAPSHOT", "ENTERED a@1", "snapshotend")
	f.put("a", `{"on":false}`)
	rev = f.put("a", `{"on":false,"n":1}`)
	awaitPump(t, f, rev)
	rd.drainTo(rev)
	// Revision 3 alone is outside before and after; folding takes the exit along,
	// or it was told by itself.
	if len(rd.state) != 0 || len(rd.kinds) == 0 {
		t.Errorf("P3: the exit was lost: %q, state %v", rd.kinds, rd.state)
	}
}

func TestWatch_FoldsWhatASlowReaderMissed(t *testing.T) {
	for _, way := range []string{"ring", "log", "resume"} {
		t.Run(way, func(t *testing.T) {
			f := newFixture(t, func(c *hub.Config) {
				if way == "log" {
					c.RingBytes = 1
				}
			})
			f.put("a", `{"on":true,"n":0}`)
			f.put("b", `{"on":false}`)
			rev := f.put("c", `{"on":true}`)
			req := &watchroutev1.WatchRequest{Filter: "data.on"}
			rd := f.watch(req)
			rd.drainTo(rev)
			rd.want("started SNAPSHOT", "ENTERED a@1", "ENTERED c@3", "snapshotend")
			if way == "resume" {
				rd.w.Close(nil)
			}
			for i := range 5 {
				f.put("a", fmt.Sprintf(`{"on":true,"n":%d}`, i+1)) // 4..8
			}
			f.put("c", `{"on":false}`)       // 9
			f.put("c", `{"on":false,"n":2}`) // 10
			f.put("b", `{"on":true}`)        // 11
			f.put("d", `{"on":true}`)        // 12
			rev = f.put("d", "")             // 13
			awaitPump(t, f, rev)
			if way == "resume" {
				rd.resume(f, req)
			}
			rd.drainTo(rev)
			want := []string{"UPDATED a@8", "LEFT c@9", "ENTERED b@11", "DELETED d@13"}
			if way == "resume" {
				want = append([]string{"started RESUMED"}, want...)
			}
			rd.want(want...)
			for _, e := range rd.all {
				if e.Resource.Name == "things/a" && e.Resource.Revision == 8 && e.Coalesced != 4 {
					t.Errorf("coalesced is %d, not 4", e.Coalesced)
				}
			}
		})
	}
}

func TestWatch_CountsWhatAResumeFolds(t *testing.T) {
	f := newFixture(t)
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(f.put("a", `{"n":0}`))
	rd.w.Close(nil)
	f.put("a", `{"n":1}`)
	f.put("a", `{"n":2}`)
	f.put("b", `{}`)
	rev := f.put("b", "")
	f.hub.Close() // so that the ring of another hub cannot have it
	schemas, _ := schema.NewRegistry(nil)
	var err error
	if f.hub, err = hub.New(hub.Config{Log: f.log, Schemas: schemas}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.hub.Close)
	rd.resume(f, &watchroutev1.WatchRequest{})
	rd.drainTo(rev)
	rd.want("started RESUMED", "UPDATED a@3", "DELETED b@5")
	for _, e := range rd.all[1:] {
		if e.Coalesced != 1 {
			t.Errorf("%s was folded from one more change, and says %d", e.Resource.Name, e.Coalesced)
		}
	}
}

func TestWatch_EveryChangeSkipsNone(t *testing.T) {
	for _, ring := range []int64{0, 1} {
		f := newFixture(t, func(c *hub.Config) { c.RingBytes = ring })
		f.put("a", `{"n":0}`)
		rd := f.watch(&watchroutev1.WatchRequest{Delivery: watchroutev1.Delivery_EVERY_CHANGE})
		rd.drainTo(1)
		rd.kinds = nil
		var rev uint64
		var want []string
		for i := range 50 {
			rev = f.put("a", fmt.Sprintf(`{"n":%d}`, i+1))
			want = append(want, fmt.Sprintf("UPDATED a@%d", rev))
		}
		awaitPump(t, f, rev)
		rd.drainTo(rev)
		rd.want(want...)
	}
}

func TestWatch_MaskHidesChangesButMovesTheToken(t *testing.T) {
	f := newFixture(t)
	rev := f.put("a", `{"n":1,"m":1}`)
	rd := f.watch(&watchroutev1.WatchRequest{ReadMask: &fieldmaskpb.FieldMask{Paths: []string{"n"}}})
	rd.drainTo(rev)
	rd.kinds = nil
	before := rd.last
	rev = f.put("a", `{"n":1,"m":2}`)
	rd.drainTo(rev)
	rd.want()
	rev = f.put("a", `{"n":2,"m":2}`)
	rd.drainTo(rev)
	rd.want("UPDATED a@3")
	if rd.last == before {
		t.Error("the token did not move")
	}
	if got := rd.state["things/a"]; got != `{"n":2}` {
		t.Errorf("state %s", got)
	}
}

func TestWatch_DeltaCarriesWhatChanged(t *testing.T) {
	f := newFixture(t)
	rev := f.put("a", `{"n":1,"m":1,"gone":true}`)
	rd := f.watch(&watchroutev1.WatchRequest{Delta: true})
	rd.drainTo(rev)
	rev = f.put("a", `{"n":1,"m":2}`)
	rd.drainTo(rev)
	e := rd.all[len(rd.all)-1]
	if got := e.UpdatedFields.GetPaths(); !slices.Equal(got, []string{"gone", "m"}) {
		t.Errorf("updated fields %v", got)
	}
	if e.BaseRevision != 1 {
		t.Errorf("base %d", e.BaseRevision)
	}
	if got := rd.state["things/a"]; got != `{"m":2,"n":1}` {
		t.Errorf("state %s", got)
	}
}

func TestWatch_TokenOfAnotherScopeResets(t *testing.T) {
	f := newFixture(t)
	rev := f.put("a", `{"n":1}`)
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(rev)
	for name, r := range map[string]*watchroutev1.WatchRequest{
		"filter":   {Filter: "data.n > 0"},
		"names":    {Names: []string{"things/a"}},
		"mask":     {ReadMask: &fieldmaskpb.FieldMask{Paths: []string{"n"}}},
		"delivery": {Delivery: watchroutev1.Delivery_EVERY_CHANGE},
	} {
		t.Run(name, func(t *testing.T) {
			other := f.watch(&watchroutev1.WatchRequest{})
			other.last = rd.last
			other.resume(f, r)
			other.drainTo(rev)
			other.want("started SNAPSHOT", "reset SCOPE", "ENTERED a@1", "snapshotend")
			r.OnExpired = watchroutev1.OnExpired_FAIL
			_, err := f.hub.Open(t.Context(), hub.Request{Watch: r, Codec: wire.Proto})
			if !resource.HasReason(err, resource.ScopeChanged) {
				t.Errorf("on_expired FAIL: %v", err)
			}
		})
	}
}

func TestWatch_TokenOfAnotherEpochResets(t *testing.T) {
	f, g := newFixture(t), newFixture(t)
	f.put("a", `{}`)
	g.put("a", `{}`)
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(1)
	rd.w.Close(nil)
	rd.resume(g, &watchroutev1.WatchRequest{})
	rd.drainTo(1)
	rd.want("started SNAPSHOT", "reset EPOCH", "ENTERED a@1", "snapshotend")
}

func TestWatch_FromNow(t *testing.T) {
	f := newFixture(t)
	rev := f.put("a", `{}`)
	rd := f.watch(&watchroutev1.WatchRequest{Start: &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}})
	rd.drainTo(rev)
	rev = f.put("b", `{}`)
	rd.drainTo(rev)
	rd.want("started NOW", "CREATED b@2")
}

func TestWatch_AfterRevision(t *testing.T) {
	f := newFixture(t)
	f.put("a", `{}`)
	rev := f.put("b", `{}`)
	rd := f.watch(&watchroutev1.WatchRequest{Start: &watchroutev1.WatchRequest_AfterRevision{AfterRevision: 1}})
	rd.drainTo(rev)
	rd.want("started RESUMED", "CREATED b@2")
	_, err := f.hub.Open(t.Context(), hub.Request{Codec: wire.Proto, Watch: &watchroutev1.WatchRequest{Parent: "things", Start: &watchroutev1.WatchRequest_AfterRevision{AfterRevision: 9}}})
	if !resource.HasReason(err, resource.FutureRevision) {
		t.Error(err)
	}
}

func TestWatch_ByNameWakesOnlyItsOwn(t *testing.T) {
	f := newFixture(t)
	f.put("a", `{}`, "b", `{}`)
	woken := 0
	reader := hub.NewReader(func() { woken++ })
	w, err := f.hub.Open(t.Context(), hub.Request{Watch: &watchroutev1.WatchRequest{Names: []string{"things/a"}}, Codec: wire.Proto, Reader: reader, Owner: "me"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(nil)
	for {
		if frames, _ := w.Next(nil, hub.Unlimited); len(frames) == 0 {
			break
		}
	}
	reader.Take(nil)
	before := woken
	rev := f.put("b", `{"n":1}`)
	awaitPump(t, f, rev)
	if woken != before || len(reader.Take(nil)) > 0 {
		t.Error("a change of another name woke the watch")
	}
	awaitPump(t, f, f.put("a", `{"n":1}`))
	awaitPump(t, f, f.put("a", `{"n":2}`))
	if woken != before+1 {
		t.Errorf("two changes of its name woke the reader %d times before it looked", woken-before)
	}
	if got := reader.Take(nil); len(got) != 1 || got[0] != w || got[0].Owner() != "me" {
		t.Errorf("what was woken is %v", got)
	}
}

func TestWatch_Drain(t *testing.T) {
	f := newFixture(t)
	rev := f.put("a", `{}`)
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(rev)
	f.hub.Drain(3 * time.Second)
	_, err := rd.apply(hub.Unlimited)
	if !errors.Is(err, hub.ErrDrained) {
		t.Fatal(err)
	}
	rd.want("started SNAPSHOT", "ENTERED a@1", "snapshotend", "drain")
	if tok, err := resource.ParseToken("", rd.last); err != nil || tok.Revision != rev {
		t.Error("drain carries no good token", err)
	}
	if _, err := f.hub.Open(t.Context(), hub.Request{Watch: &watchroutev1.WatchRequest{Parent: "things"}, Codec: wire.Proto}); !resource.HasReason(err, resource.Draining) {
		t.Error(err)
	}
}

func TestWatch_MinRevisionInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.put("a", `{}`)
		_, err := f.hub.Open(t.Context(), hub.Request{Watch: &watchroutev1.WatchRequest{Parent: "things", MinRevision: 7}, Codec: wire.Proto})
		if !resource.HasReason(err, resource.RevisionNotReached) {
			t.Error(err)
		}
	})
}

func TestWatch_BookmarksWhileQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		rev := f.put("a", `{"on":true}`)
		rd := f.watch(&watchroutev1.WatchRequest{Filter: "data.on", Heartbeat: durationpb.New(5 * time.Second)})
		rd.drainTo(rev)
		rd.kinds = nil
		rev = f.put("b", `{"on":false}`) // not in the view, but the bookmark passes it
		began := time.Now()
		for i := range 3 {
			for n := 0; n == 0; {
				if err := rd.w.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				var err error
				if n, err = rd.apply(hub.Unlimited); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := time.Since(began).Round(time.Second), time.Duration(i+1)*5*time.Second; got != want {
				t.Errorf("bookmark %d after %v", i, got)
			}
		}
		rd.want("bookmark", "bookmark", "bookmark")
		if tok, _ := resource.ParseToken("", rd.last); tok.Revision != rev || rd.at != rev {
			t.Errorf("P6: the bookmark is at %d, token %d, not %d", rd.at, tok.Revision, rev)
		}
	})
}

// A watch whose alarm rings as a change comes, and that follows another one then, has
// its next bookmark all the same.
func TestWatch_BookmarksAfterItHasFollowedAnotherOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const heartbeat = 5 * time.Second
		f := newFixture(t)
		rev := f.put("a", `{}`)
		reader := hub.NewReader(func() {})
		var watches []*hub.Watch
		for range 2 {
			w, err := f.hub.Open(t.Context(), hub.Request{Codec: wire.Proto, Transport: "test", Reader: reader,
				Watch: &watchroutev1.WatchRequest{Parent: "things", Heartbeat: durationpb.New(heartbeat)}})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close(nil)
			for !w.Reached(rev) {
				if _, err := w.Next(nil, hub.Unlimited); err != nil {
					t.Fatal(err)
				}
			}
			watches = append(watches, w)
		}
		first, second := watches[0], watches[1]
		time.Sleep(heartbeat) // both alarms ring
		f.put("b", `{}`)
		synctest.Wait()
		if woken := reader.Take(nil); len(woken) != 2 {
			t.Fatalf("%d watches were woken", len(woken))
		}
		before := first.Cursor()
		if frames, err := first.Next(nil, hub.Unlimited); err != nil || len(frames) != 1 || frames[0].Kind != hub.Events {
			t.Fatalf("the first one says %v, %v", frames, err)
		}
		if !second.Follow(first, before) {
			t.Fatal("the second one does not follow")
		}
		time.Sleep(heartbeat)
		synctest.Wait()
		for _, w := range reader.Take(nil) {
			frames, err := w.Next(nil, hub.Unlimited)
			if err != nil || len(frames) != 1 || frames[0].Kind != hub.Bookmark {
				t.Fatalf("after %v it says %v, %v", heartbeat, frames, err)
			}
			watches = slices.DeleteFunc(watches, func(x *hub.Watch) bool { return x == w })
		}
		if len(watches) > 0 {
			t.Errorf("%d watches have no bookmark", len(watches))
		}
	})
}

func TestWatch_MinIntervalGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		rev := f.put("a", `{"n":0}`)
		rd := f.watch(&watchroutev1.WatchRequest{MinInterval: durationpb.New(time.Second)})
		rd.drainTo(rev)
		rd.kinds = nil
		rd.drainTo(f.put("a", `{"n":1}`)) // after quiet: at once
		began := time.Now()
		f.put("a", `{"n":2}`)
		f.put("a", `{"n":3}`)
		rd.drainTo(f.put("b", `{}`))
		if took := time.Since(began).Round(100 * time.Millisecond); took != time.Second {
			t.Errorf("the second delivery came after %v", took)
		}
		rd.want("UPDATED a@2", "UPDATED a@4", "CREATED b@5")
	})
}

func TestWatch_CompactedPositionResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.put("a", `{"n":1}`)
		rev := f.put("b", `{"n":1}`)
		plain, filtered := &watchroutev1.WatchRequest{}, &watchroutev1.WatchRequest{Filter: "data.n > 0"}
		one, two := f.watch(plain), f.watch(filtered)
		one.drainTo(rev)
		two.drainTo(rev)
		one.w.Close(nil)
		two.w.Close(nil)
		f.hub.Close()
		f.put("b", `{"n":2}`)
		time.Sleep(2 * time.Hour) // virtual: past the retained history, not past the tombstones
		rev = f.put("a", "")
		if err := f.log.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b := f.log.Bounds("things"); b.History < 3 {
			t.Fatalf("nothing was compacted: %+v", b)
		}
		g := &fixture{t: t, log: f.log}
		schemas, _ := schema.NewRegistry(nil)
		var err error
		if g.hub, err = hub.New(hub.Config{Log: f.log, Schemas: schemas}); err != nil {
			t.Fatal(err)
		}
		defer g.hub.Close()
		one.resume(g, plain)
		one.drainTo(rev)
		one.want("started RESUMED", "UPDATED b@3", "DELETED a@4")
		two.resume(g, filtered)
		two.drainTo(rev)
		two.want("started SNAPSHOT", "reset COMPACTED", "ENTERED b@3", "snapshotend")
		one.w.Close(nil)
		two.w.Close(nil)
	})
}

// awaitPump waits until the hub has seen a revision.
func awaitPump(t *testing.T, f *fixture, revision uint64) {
	t.Helper()
	if err := f.hub.AwaitRevision(t.Context(), "things", revision); err != nil {
		t.Fatal(err)
	}
}

// A budget bounds what comes out of a fold, not what goes in.
func TestWatch_FoldsAllThatIsPendingIntoABudget(t *testing.T) {
	f := newFixture(t)
	rev := f.put("a", `{}`)
	rd := f.watch(&watchroutev1.WatchRequest{})
	rd.drainTo(rev)
	for i := range 500 {
		f.put("a", fmt.Sprintf(`{"n":%d}`, i))
	}
	rev = f.put("b", `{}`)
	awaitPump(t, f, rev)
	rd.kinds = nil
	if _, err := rd.apply(hub.Budget{Bytes: 1, Events: 1}); err != nil {
		t.Fatal(err)
	}
	rd.want("UPDATED a@501")
	if e := rd.all[len(rd.all)-1]; e.Coalesced != 499 {
		t.Errorf("%d changes were folded", e.Coalesced)
	}
	rd.drainTo(rev)
	rd.want("CREATED b@502")
}

// A reader of one event at a time gets each name once for all that it missed, from
// memory and from the log, and what it had is not told again when memory lets go of it
// in between.
func TestWatch_ASlowReaderOfManyNamesIsFolded(t *testing.T) {
	const names, rounds = 10, 100
	for name, c := range map[string]struct {
		ring int64
		trim int // after so many events
	}{
		"from memory":               {1 << 20, -1},
		"from the log":              {1, -1},
		"from the log, in the end":  {1 << 20, 4},
		"from the log, at the last": {1 << 20, names - 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(cfg *hub.Config) { cfg.RingBytes = c.ring })
			var rev uint64
			write := func(size int) {
				for i := range names {
					rev = f.put(fmt.Sprint("n", i), fmt.Sprintf(`{"n":%d,"s":%q}`, rev, strings.Repeat("x", size)))
				}
			}
			write(0)
			rd := f.watch(&watchroutev1.WatchRequest{})
			rd.drainTo(rev)
			for range rounds {
				write(0)
			}
			awaitPump(t, f, rev)
			until := rev
			began, token := len(rd.all), rd.last
			for n := range names {
				if n == c.trim {
					for range 15 { // more than the ring holds
						write(20_000)
					}
					awaitPump(t, f, rev)
					if _, trimmed := f.hub.Memory(); trimmed < names*rounds {
						t.Fatalf("the ring lost %d batches only", trimmed)
					}
				}
				if rd.last != token {
					t.Fatalf("there is a token after %d of %d names", n, names)
				}
				if got, err := rd.apply(hub.Budget{Events: 1}); err != nil || got != 1 {
					t.Fatalf("after %d names it is told %d messages, %v", n, got, err)
				}
			}
			for n, e := range rd.all[began:] {
				if want := until - names + 1 + uint64(n); e.GetResource().GetRevision() != want || e.Coalesced != rounds-1 {
					t.Errorf("event %d is %v, not of revision %d", n, e, want)
				}
			}
			for rd.w.Cursor() < until { // a bookmark may say so
				if _, err := rd.apply(hub.Budget{Events: 1}); err != nil {
					t.Fatal(err)
				}
			}
			rd.drainTo(rev)
		})
	}
}

// In the middle of a catch-up, after events without a token, nothing carries one: the
// reader would be told again what it had before that.
func TestWatch_NoTokenInTheMiddleOfACatchUp(t *testing.T) {
	f := newFixture(t, func(c *hub.Config) { c.RingBytes = 1 })
	f.put("a", `{}`)
	rev := f.put("b", `{}`)
	req := &watchroutev1.WatchRequest{Names: []string{"things/a", "things/b"}}
	rd := f.watch(req)
	rd.drainTo(rev)
	f.put("a", `{"n":1}`)
	rev = f.put("b", `{"n":1}`)
	awaitPump(t, f, f.put("c", `{}`))
	kept := rd.last
	rd.resume(f, req)
	if _, err := rd.apply(hub.Budget{Bytes: 1, Events: 1}); err != nil {
		t.Fatal(err)
	}
	rd.want("started RESUMED", "UPDATED a@3")
	f.hub.Drain(time.Second)
	if _, err := rd.apply(hub.Unlimited); !errors.Is(err, hub.ErrDrained) {
		t.Fatal(err)
	}
	rd.want("drain")
	if rd.last != kept {
		t.Errorf("P5: there is a token in the middle, before %d", rev)
	}
}

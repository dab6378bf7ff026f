package transporttest

import (
	"fmt"
	"slices"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

// retained is a log that keeps superseded changes for an hour and deletions for a
// day.
var retained = Options{Retention: changelog.Retention{Age: time.Hour, MinAge: time.Minute, Tombstones: 24 * time.Hour}}

// Resumes are the scenarios about tokens, and what does not resume.
var Resumes = []Scenario{
	{Name: "P5 a cut watch goes on where its token says, exactly", Run: resumesExactly, Both: true},
	{Name: "P5 whoever has seen everything resumes and is told nothing", Run: resumesToNothing},
	{Name: "P5 delta is no part of the scope", Run: deltaIsNoScope},
	{Name: "P8 a token of another scope resets", Run: foreignScope, Both: true},
	{Name: "P8 a token of another collection resets", Run: foreignCollection, On: func(k Kit) bool { return !k.Typed }},
	{Name: "P8 a token of another life of the log resets", Run: foreignEpoch},
	{Name: "P8 a position that is compacted away resets, where the newest state cannot stand for it", Run: compacted, Options: retained},
	{Name: "P8 a position older than the memory of deletions resets", Run: compactedTombstones, Options: retained},
	{Name: "P8 a watch that is open while the log is compacted misses nothing", Run: compactedWhileOpen, Options: retained, On: func(k Kit) bool { return !k.Poll }},
	{Name: "P8 a revision that lies in the future is refused", Run: futureRevision},
}

func resumesExactly(c *Case) {
	c.exists()
	at := c.Write(put("a", Value{Units: 1}), put("b", Value{Units: 1}))
	rd := c.Watch(everyChange)
	rd.UntilRevision(at)
	for round := range 3 {
		rd.Cut()
		rd.said = nil
		one := c.Put("a", Value{Units: 10*round + 2})
		two := c.Write(put("b", Value{Units: 10*round + 2}), put("c", Value{Units: 1}))
		three := c.Delete("c")
		rd.Resume(c.Transport)
		rd.UntilRevision(three)
		live := c.Put("a", Value{Units: 10*round + 3})
		rd.UntilRevision(live)
		rd.Want(startedResumed, did(updated, "a", one), did(updated, "b", two), did(created, "c", two), did(deleted, "c", three), did(updated, "a", live))
		c.WantTruth(rd)
	}
}

func resumesToNothing(c *Case) {
	at := c.Put("a", Value{Units: 1})
	for _, changes := range [][]requestChange{nil, {everyChange}, {filter("data.total.units == 1")}, {mask(statusPath)}} {
		rd := c.Watch(append(changes, heartbeat(time.Second))...)
		rd.UntilRevision(at)
		rd.said = nil
		rd.Resume(c.Transport)
		rd.UntilKind(Bookmark)
		rd.Want(startedResumed)
		if rd.Revision != at {
			c.Errorf("the bookmark is at %d, nothing happened after %d", rd.Revision, at)
		}
		rd.Close()
	}
}

func deltaIsNoScope(c *Case) {
	at := c.Put("a", Value{Units: 1, Status: pending})
	rd := c.Watch()
	rd.UntilRevision(at)
	rd.Cut()
	at = c.Put("a", Value{Units: 2, Status: pending})
	rd.said = nil
	rd.request.Delta = true
	rd.Resume(c.Transport)
	rd.UntilRevision(at)
	rd.Want(startedResumed, did(updated, "a", at))
	if e := rd.Events[len(rd.Events)-1]; !slices.Equal(e.Updated, []string{unitsPath}) {
		c.Errorf("the delta has %v", e.Updated)
	}
	c.WantTruth(rd)
}

// resets checks that a token resets a watch, or fails it where that is asked for.
func (c *Case) resets(r *watchroutev1.WatchRequest, text string, reason watchroutev1.Reset_Reason, code resource.Reason) {
	c.Helper()
	r = cloneRequest(r)
	token(text)(r)
	rd, err := c.Try(r)
	if err != nil {
		c.Fatalf("{%v}: %v", r, err)
	}
	end := rd.UntilKind(SnapshotEnd)
	if len(rd.said) < 2 || rd.said[0] != startedSnapshot || rd.said[1] != "reset "+reason.String() {
		c.Errorf("{%v} said %q, want a reset because of %v", r, rd.said, reason)
	}
	if !slices.Equal(rd.Resets, []watchroutev1.Reset_Reason{reason}) {
		c.Errorf("{%v} was reset because of %v", r, rd.Resets)
	}
	if end.Revision == 0 {
		c.Errorf("the snapshot after the reset ends at %d", end.Revision)
	}
	c.WantTruth(rd)
	// The token after the reset is good.
	rd.said = nil
	// A label that changes is an event under any mask.
	v := Value{Customer: "7", Units: 1, Status: pending, Labels: map[string]string{"after": fmt.Sprint(end.Revision)}}
	w := v
	w.Customer = "8"
	at := c.Write(put("after7", v), put("after8", w))
	rd.Resume(c.Transport)
	if len(r.GetNames()) == 0 {
		rd.UntilRevision(at)
		if rd.said[0] != startedResumed {
			c.Errorf("{%v} said %q after its own token", r, rd.said)
		}
	}
	rd.Close()
	failExpired(r)
	c.refused(r, code, "field", "start")
}

// refused checks that a watch is refused for a reason, with such metadata.
func (c *Case) refused(r *watchroutev1.WatchRequest, reason resource.Reason, metadata ...string) {
	c.Helper()
	rd, err := c.Try(r)
	if err == nil {
		var m *Message
		m, err = rd.Try()
		rd.Close()
		if err == nil {
			c.Errorf("{%v} begins with %v, and not with %s", r, m, reason)
			return
		}
	}
	c.wantError(fmt.Sprintf("{%v}", r), err, reason, metadata...)
}

// wantError checks an error's reason, and some of its metadata.
func (c *Case) wantError(what string, err error, reason resource.Reason, metadata ...string) {
	c.Helper()
	if wrong := wantReason(err, reason); wrong != "" {
		c.Errorf("%s: %s", what, wrong)
		return
	}
	got := asError(err).Metadata
	for i := 0; i < len(metadata); i += 2 {
		if got[metadata[i]] != metadata[i+1] {
			c.Errorf("%s: %v: the metadata %q is %q, want %q", what, err, metadata[i], got[metadata[i]], metadata[i+1])
		}
	}
}

func foreignScope(c *Case) {
	c.Write(put("a", Value{Customer: "7", Units: 1, Status: pending}), put("b", Value{Customer: "8", Units: 1}))
	requests := map[string]*watchroutev1.WatchRequest{
		"nothing":      c.Request(),
		"filter":       c.Request(filter(ofCustomer("7"))),
		"other filter": c.Request(filter(ofCustomer("8"))),
		"mask":         c.Request(mask(statusPath)),
		"other mask":   c.Request(mask(unitsPath)),
		"delivery":     c.Request(everyChange),
		"name":         c.Request(names(c.name("a"))),
		"other name":   c.Request(names(c.name("b"))),
	}
	if !c.Kit.Typed {
		requests["names"] = c.Request(names(c.name("a"), c.name("b")))
	}
	tokens := map[string]string{}
	for what, r := range requests {
		rd, err := c.Try(r)
		if err != nil {
			c.Fatal(err)
		}
		rd.UntilKind(SnapshotEnd)
		tokens[what] = rd.Token
		rd.Close()
	}
	for _, pair := range [][2]string{{"nothing", "filter"}, {"filter", "nothing"}, {"filter", "other filter"}, {"nothing", "mask"}, {"mask", "nothing"},
		{"mask", "other mask"}, {"nothing", "delivery"}, {"delivery", "nothing"}, {"nothing", "name"}, {"name", "nothing"}, {"name", "other name"}, {"names", "name"}} {
		if tokens[pair[0]] != "" {
			c.resets(requests[pair[1]], tokens[pair[0]], watchroutev1.Reset_SCOPE, resource.ScopeChanged)
		}
	}
	// What only looks different is the same scope.
	at := c.Put("z", Value{Customer: "7", Units: 77, Status: pending})
	same := map[string]*watchroutev1.WatchRequest{
		"nothing":  c.Request(func(r *watchroutev1.WatchRequest) { r.Delivery = watchroutev1.Delivery_LATEST }, minInterval(time.Millisecond), heartbeat(time.Minute)),
		"mask":     c.Request(mask(statusPath, statusPath)),
		"delivery": c.Request(everyChange, failExpired),
	}
	for what, r := range same {
		token(tokens[what])(r)
		rd, err := c.Try(r)
		if err != nil {
			c.Errorf("{%v}: %v", r, err)
			continue
		}
		rd.UntilRevision(at)
		if rd.said[0] != startedResumed {
			c.Errorf("{%v} with a token of the same scope said %q", r, rd.said[:2])
		}
		rd.Close()
	}
}

func foreignCollection(c *Case) {
	c.Put("a", Value{Units: 1})
	other := *c
	other.Collection = "others"
	other.Put("a", Value{Units: 1})
	rd := other.Watch()
	rd.UntilKind(SnapshotEnd)
	c.resets(c.Request(), rd.Token, watchroutev1.Reset_SCOPE, resource.ScopeChanged)
}

func foreignEpoch(c *Case) {
	c.Put("a", Value{Units: 1})
	o := c.Node.options
	o.Dir = ""
	other := c.At(StartNode(c.TB, o))
	other.Put("b", Value{Units: 1})
	other.Put("c", Value{Units: 1})
	for _, changes := range [][]requestChange{nil, {filter("data.total.units > 0")}} {
		rd := other.Watch(changes...)
		rd.UntilKind(SnapshotEnd)
		c.resets(c.Request(changes...), rd.Token, watchroutev1.Reset_EPOCH, resource.EpochChanged)
	}
}

func compacted(c *Case) {
	c.exists()
	one := c.Write(put("a", Value{Units: 1}), put("b", Value{Units: 1}), put("c", Value{Units: 1}))
	requests := map[string]*watchroutev1.WatchRequest{
		"exact": c.Request(), "by name": c.Request(names(c.name("a"))),
		"filter": c.Request(filter("data.total.units > 0")), "every": c.Request(everyChange),
	}
	readers := map[string]*Reader{}
	for what, r := range requests {
		rd, err := c.Try(r)
		if err != nil {
			c.Fatal(err)
		}
		rd.UntilRevision(one)
		rd.Cut()
		rd.said = nil
		readers[what] = rd
	}
	two := c.Put("a", Value{Units: 2})
	c.Node.Compact(2 * time.Hour)
	three := c.Delete("b")
	if got := c.Node.Log.Bounds(c.Collection); got.History < two {
		c.Fatalf("nothing was compacted: %+v", got)
	}
	readers["exact"].Resume(c.Transport)
	readers["exact"].UntilRevision(three)
	readers["exact"].Want(startedResumed, did(updated, "a", two), did(deleted, "b", three))
	readers["by name"].Resume(c.Transport)
	for len(readers["by name"].said) < 2 {
		readers["by name"].Next()
	}
	readers["by name"].Want(startedResumed, did(updated, "a", two))
	for _, what := range []string{"filter", "every"} {
		c.resets(requests[what], readers[what].Token, watchroutev1.Reset_COMPACTED, resource.Compacted)
		r := cloneRequest(requests[what])
		after(one)(r)
		failExpired(r)
		c.refused(r, resource.Compacted)
	}
	last := c.Write(put("a", Value{Units: 9}), put("end", Value{Units: 9}))
	for _, rd := range readers {
		rd.Resume(c.Transport)
		rd.UntilRevision(last)
		c.WantTruth(rd)
	}
}

func compactedTombstones(c *Case) {
	one := c.Write(put("a", Value{Units: 1}), put("b", Value{Units: 1}))
	rd := c.Watch()
	rd.UntilRevision(one)
	rd.Cut()
	c.Delete("b")
	c.Node.Compact(30 * time.Hour)
	c.Put("c", Value{Units: 1})
	if got := c.Node.Log.Bounds(c.Collection); got.Tombstones <= one {
		c.Fatalf("no deletion was forgotten: %+v", got)
	}
	c.resets(c.Request(), rd.Token, watchroutev1.Reset_COMPACTED, resource.Compacted)
	rd.Resume(c.Transport)
	rd.UntilKind(SnapshotEnd)
	c.WantTruth(rd)
}

func compactedWhileOpen(c *Case) {
	at := c.Write(put("a", Value{Units: 1}), put("b", Value{Units: 1}))
	readers := []*Reader{c.Watch(), c.Watch(everyChange), c.Watch(filter("data.total.units > 0"))}
	for _, rd := range readers {
		rd.UntilRevision(at)
	}
	for i := range 3 {
		c.Put("a", Value{Units: i + 2})
		c.Node.Compact(30 * time.Hour)
		at = c.Delete("b")
		at = max(at, c.Put("b", Value{Units: i + 2}))
		for _, rd := range readers {
			rd.UntilRevision(at)
			if len(rd.Resets) != 0 {
				c.Errorf("{%v} was reset", rd.request)
			}
			c.WantTruth(rd)
		}
	}
	if got := len(readers[1].Events); got != 2+3*3 {
		c.Errorf("P3: %d events came", got)
	}
}

func futureRevision(c *Case) {
	at := c.Put("a", Value{Units: 1})
	c.refused(c.Request(after(at+1)), resource.FutureRevision, "field", "after_revision")
	rd := c.Watch(after(at))
	next := c.Put("a", Value{Units: 2})
	rd.UntilRevision(next)
	rd.Want(startedResumed, did(updated, "a", next))
}

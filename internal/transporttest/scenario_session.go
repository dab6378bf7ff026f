package transporttest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

func sessions(k Kit) bool { return k.Session }

// SessionScenarios are the scenarios about many watches on one stream.
var SessionScenarios = []Scenario{
	{Name: "session: many watches on one stream, each in its own order", Run: manyWatches, On: sessions},
	{Name: "session: a fence is answered after everything that was written before it", Run: fences, On: sessions},
	{Name: "session: a watch sends no more events than it has credit for", Run: credit, On: sessions, Both: true},
	{Name: "session: a batch is never cut by credit", Run: creditAndBatches, On: sessions},
	{Name: "P6 a watch in a snapshot without credit bookmarks nothing that is still to come", Run: creditInSnapshot, On: sessions},
	{Name: "session: what is wrong with one watch ends that watch only", Run: oneBadWatch, On: sessions},
	{Name: "session: what is wrong with the session ends it", Run: badSession, On: sessions},
	{Name: "session: a drain ends every watch and then the session", Run: sessionDrain, On: sessions},
	{Name: "P12 a session that is left is released at once", Run: leaveSession, On: sessions},
}

// sessionReader is a client of a session, with a fold for each watch.
type sessionReader struct {
	c       *Case
	session Session
	folds   map[string]*Fold
	closed  map[string]*Error // nil: in order
	fences  []string
}

func (c *Case) session() *sessionReader {
	c.Helper()
	x, err := c.Transport.(Sessions).Session(c.ctx)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = x.Close() })
	return &sessionReader{c: c, session: x, folds: map[string]*Fold{}, closed: map[string]*Error{}}
}

func (x *sessionReader) send(r *watchroutev1.SessionRequest) {
	x.c.Helper()
	if err := x.session.Send(r); err != nil {
		x.c.Fatal(err)
	}
}

func (x *sessionReader) open(id string, r *watchroutev1.WatchRequest, credit ...uint32) {
	x.c.Helper()
	x.folds[id] = NewFold(r)
	open := &watchroutev1.OpenWatch{WatchId: id, Watch: r}
	if credit != nil {
		open.Credit = &credit[0]
	}
	x.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Open{Open: open}})
}

func (x *sessionReader) cancel(id string) {
	x.c.Helper()
	x.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Cancel{Cancel: &watchroutev1.CancelWatch{WatchId: id}}})
}

func (x *sessionReader) credit(id string, events uint32) {
	x.c.Helper()
	x.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Credit{Credit: &watchroutev1.Credit{WatchId: id, Events: events}}})
}

func (x *sessionReader) fence(id string) {
	x.c.Helper()
	x.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Fence{Fence: &watchroutev1.Fence{FenceId: id}}})
}

// try reads one message.
func (x *sessionReader) try() error {
	x.c.Helper()
	late := time.AfterFunc(patience, func() { _ = x.session.Close() })
	m, err := x.session.Recv()
	if !late.Stop() && err != nil {
		err = fmt.Errorf("nothing came for %v: %w", patience, err)
	}
	switch {
	case err != nil:
		return err
	case m.Watch != nil:
		f := x.folds[m.WatchID]
		if _, ended := x.closed[m.WatchID]; f == nil || ended {
			x.c.Fatalf("the watch %q is not open, and says %v", m.WatchID, m.Watch)
		}
		f.Apply(m.Watch)
		for _, fault := range f.Faults {
			x.c.Errorf("the watch %q: %s", m.WatchID, fault)
		}
		f.Faults = nil
	case m.Closed != nil:
		x.closed[m.WatchID] = nil
		if m.Closed.GetCode() != 0 {
			x.closed[m.WatchID] = fromStatus(m.Closed)
		}
	default:
		x.fences = append(x.fences, m.Fence)
	}
	return nil
}

// until reads until something is so.
func (x *sessionReader) until(what string, is func() bool) {
	x.c.Helper()
	for !is() {
		if err := x.try(); err != nil {
			x.c.Fatalf("%v while waiting for %s", err, what)
		}
	}
}

func (x *sessionReader) untilRevision(id string, revision uint64) {
	x.c.Helper()
	x.until(fmt.Sprintf("revision %d of %q", revision, id), func() bool { return x.folds[id].Token != "" && x.folds[id].Revision >= revision })
}

// flush reads all that has been committed.
func (x *sessionReader) flush() {
	x.c.Helper()
	id := fmt.Sprint("flush ", len(x.fences))
	x.fence(id)
	x.until("the fence", func() bool { return slices.Contains(x.fences, id) })
}

// wantTruth compares what a watch holds with List.
func (x *sessionReader) wantTruth(id string) {
	x.c.Helper()
	want, _ := x.c.List(x.folds[id].request)
	if d := diff(x.folds[id].State, want, x.folds[id].request.GetReadMask() == nil); d != "" {
		x.c.Errorf("the watch %q does not hold what List says:%s", id, d)
	}
}

func manyWatches(c *Case) {
	other := *c
	other.Collection = "others"
	other.Put("a", Value{Units: 1})
	c.exists()
	x := c.session()
	x.open("all", c.Request())
	x.open("every", c.Request(everyChange))
	x.open("seven", c.Request(filter(ofCustomer("7")), delta))
	x.open("one", c.Request(names(c.name("a1"))))
	x.open("others", other.Request())
	x.flush() // they are open
	ids := []string{"all", "every", "seven", "one"}
	var last uint64
	for i := range 40 {
		c.Write(put(fmt.Sprintf("a%d", i%5), Value{Customer: fmt.Sprint(6 + i%3), Units: i + 1}), put(fmt.Sprintf("b%d", i%2), Value{Units: i + 1}))
	}
	at := other.Put("b", Value{Units: 1})
	x.flush()
	for _, id := range ids {
		x.wantTruth(id)
	}
	if got := len(x.folds["every"].Events); got != 80 {
		c.Errorf("P3: 80 changes, %d events", got)
	}
	if f := x.folds["others"]; f.Revision != at || len(f.State) != 2 {
		c.Errorf("the other collection's watch is at %d and holds %v", f.Revision, f.State)
	}
	// An ended watch's name is free again.
	x.cancel("every")
	x.until("the end of a watch", func() bool { _, ended := x.closed["every"]; return ended })
	if err := x.closed["every"]; err != nil {
		c.Errorf("a watch that was cancelled ends with %v", err)
	}
	delete(x.closed, "every")
	again := c.Request(everyChange, token(x.folds["every"].Token))
	x.open("every", again)
	last = c.Put("a1", Value{Customer: "7", Units: 1000})
	for _, id := range ids {
		x.untilRevision(id, last)
	}
	if f := x.folds["every"]; len(f.Events) != 1 {
		c.Errorf("the watch that was opened again says %v", f.Events)
	}
	x.cancel("nobody") // is ignored: it may have crossed the watch's end
	x.flush()
}

func fences(c *Case) {
	c.exists()
	x := c.session()
	x.fence("of nothing")
	x.until("the fence", func() bool { return len(x.fences) == 1 })
	x.open("all", c.Request())
	x.open("seven", c.Request(filter(ofCustomer("7"))))
	for i := range 20 {
		at := c.Put("a", Value{Customer: fmt.Sprint(7 + i%2), Units: i + 1})
		x.fence(fmt.Sprint(i))
		x.until("the fence", func() bool { return len(x.fences) == i+2 })
		if got := x.folds["all"].State[c.name("a")].Revision; got != at {
			c.Errorf("P9: after the fence the watch holds revision %d, written was %d", got, at)
		}
		if _, held := x.folds["seven"].State[c.name("a")]; held != (i%2 == 0) {
			c.Errorf("P9: after the fence the filtered watch holds it: %v", held)
		}
	}
	// Those that wait are answered in their order.
	for i := range 5 {
		c.Put("a", Value{Units: 100 + i})
		x.fence(fmt.Sprint("many ", i))
	}
	x.until("the fences", func() bool { return len(x.fences) == 26 })
	if got := x.fences[21:]; !slices.Equal(got, []string{"many 0", "many 1", "many 2", "many 3", "many 4"}) {
		c.Errorf("the fences come as %q", got)
	}
}

func credit(c *Case) {
	c.exists()
	x := c.session()
	x.open("w", c.Request(everyChange), 3)
	x.flush()
	f := x.folds["w"]
	var last uint64
	for i := range 10 {
		last = c.Put("a", Value{Units: i + 1})
	}
	x.until("what the credit is for", func() bool { return len(f.Events) >= 3 })
	x.flush() // a watch without credit holds no fence up
	if len(f.Events) != 3 {
		c.Errorf("with credit for 3 there are %d events", len(f.Events))
	}
	x.credit("w", 4)
	x.until("what the credit is for", func() bool { return len(f.Events) >= 7 })
	x.flush()
	if len(f.Events) != 7 {
		c.Errorf("with credit for 7 there are %d events", len(f.Events))
	}
	x.credit("nobody", 5)
	x.credit("w", 100)
	x.untilRevision("w", last)
	if len(f.Events) != 10 {
		c.Errorf("P3: 10 changes, %d events", len(f.Events))
	}
	x.wantTruth("w")

	// Without credit there are no events, and LATEST folds them meanwhile.
	x.open("none", c.Request(), 0)
	x.until("the start", func() bool { return x.folds["none"].begun })
	for i := range 10 {
		last = c.Put("a", Value{Units: 100 + i})
	}
	x.flush()
	if n := len(x.folds["none"].Events); n != 0 {
		c.Errorf("without credit there are %d events", n)
	}
	x.credit("none", 1000)
	x.untilRevision("none", last)
	if n := len(x.folds["none"].Events); n != 1 {
		c.Errorf("ten changes of one name that were not sent yet come as %d events", n)
	}
	x.wantTruth("none")
}

func creditAndBatches(c *Case) {
	c.exists()
	x := c.session()
	x.open("w", c.Request(everyChange), 1)
	x.flush()
	f := x.folds["w"]
	first := c.bigBatch(1)
	x.untilRevision("w", first)
	if len(f.Events) != bigBatch {
		c.Errorf("P4: with credit for 1 a batch of %d comes as %d events", bigBatch, len(f.Events))
	}
	second := c.bigBatch(2)
	x.flush()
	if len(f.Events) != bigBatch {
		c.Errorf("the credit is overdrawn twice: %d events", len(f.Events))
	}
	x.credit("w", 1)
	x.untilRevision("w", second)
	x.wantTruth("w")
}

func creditInSnapshot(c *Case) {
	c.Put("first", Value{Units: 1})
	at := c.bigBatch(1)
	last := c.Put("last", Value{Units: 1})
	x := c.session()
	x.open("w", c.Request(heartbeat(time.Second)), 10)
	f := x.folds["w"]
	x.until("what the credit is for", func() bool { return len(f.Events) >= 10 })
	if f.Token != "" {
		c.Errorf("P5: a token within the snapshot, after %d events", len(f.Events))
	}
	// A bookmark within the snapshot says that nothing at or below its revision
	// is still to come: Fold remembers that, and the rest of the batch is.
	bookmark := false
	for !bookmark {
		m, err := x.session.Recv()
		if err != nil {
			c.Fatal(err)
		}
		if m.Watch != nil {
			f.Apply(m.Watch)
			bookmark = m.Watch.Kind == Bookmark
		}
	}
	x.credit("w", 10000)
	x.untilRevision("w", last)
	if len(f.State) != bigBatch+2 {
		c.Errorf("P7: the snapshot with the batch of %d has %d resources", at, len(f.State))
	}
	x.wantTruth("w")
}

func oneBadWatch(c *Case) {
	c.exists()
	x := c.session()
	x.open("good", c.Request())
	x.open("bad filter", c.Request(filter("nonsense")))
	x.open("bad name", &watchroutev1.WatchRequest{Parent: "Bad"})
	x.open("no collection", &watchroutev1.WatchRequest{Parent: "system.nowhere"})
	x.open("bad token", c.Request(token("garbage")))
	x.open("nothing", nil)
	x.open("expired", c.Request(failExpired, after(1000)))
	want := map[string]resource.Reason{"bad filter": resource.InvalidFilter, "bad name": resource.InvalidName, "no collection": resource.CollectionNotFound,
		"bad token": resource.InvalidToken, "nothing": resource.InvalidName, "expired": resource.FutureRevision}
	x.until("the ends", func() bool { return len(x.closed) == len(want) })
	for id, reason := range want {
		err := x.closed[id]
		if err == nil {
			c.Errorf("the watch %q was not refused", id)
			continue
		}
		c.wantError(id, err, reason)
	}
	at := c.Put("a", Value{Units: 1})
	x.untilRevision("good", at)
	x.wantTruth("good")
}

func badSession(c *Case) {
	c.exists()
	request := func(open *watchroutev1.OpenWatch) *watchroutev1.SessionRequest {
		return &watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Open{Open: open}}
	}
	good := request(&watchroutev1.OpenWatch{WatchId: "w", Watch: c.Request()})
	for what, bad := range map[string]struct {
		messages []*watchroutev1.SessionRequest
		reason   resource.Reason
	}{
		"an id twice":        {[]*watchroutev1.SessionRequest{good, good}, resource.InvalidWatchID},
		"an empty id":        {[]*watchroutev1.SessionRequest{request(&watchroutev1.OpenWatch{Watch: c.Request()})}, resource.InvalidWatchID},
		"a long id":          {[]*watchroutev1.SessionRequest{request(&watchroutev1.OpenWatch{WatchId: strings.Repeat("x", 65), Watch: c.Request()})}, resource.InvalidWatchID},
		"nothing":            {[]*watchroutev1.SessionRequest{good, {}}, resource.InvalidField},
		"a long fence":       {[]*watchroutev1.SessionRequest{{Body: &watchroutev1.SessionRequest_Fence{Fence: &watchroutev1.Fence{FenceId: strings.Repeat("x", 65)}}}}, resource.InvalidWatchID},
		"a fence without id": {[]*watchroutev1.SessionRequest{{Body: &watchroutev1.SessionRequest_Fence{Fence: &watchroutev1.Fence{}}}}, resource.InvalidWatchID},
	} {
		x := c.session()
		for _, m := range bad.messages {
			if m.GetOpen() != nil {
				x.folds[m.GetOpen().GetWatchId()] = NewFold(c.Request())
			}
			x.send(m)
		}
		var err error
		for err == nil {
			err = x.try()
		}
		c.wantError(what, err, bad.reason)
	}
	c.Node.AwaitWatches(0)
}

func sessionDrain(c *Case) {
	at := c.Put("a", Value{Units: 1})
	x := c.session()
	ids := []string{"a", "b", "c"}
	for _, id := range ids {
		x.open(id, c.Request())
	}
	for _, id := range ids {
		x.untilRevision(id, at)
	}
	c.Node.Restart()
	var err error
	for err == nil {
		err = x.try()
	}
	if !errors.Is(err, io.EOF) {
		c.Errorf("the session ends with %v", err)
	}
	for _, id := range ids {
		if f := x.folds[id]; !f.over || f.Revision != at {
			c.Errorf("the watch %q was not drained, or has no token: %+v", id, f)
		}
	}
}

func leaveSession(c *Case) {
	c.exists()
	x := c.session()
	for i := range 20 {
		x.open(fmt.Sprint(i), c.Request(heartbeat(10*time.Minute)))
	}
	x.flush()
	c.Node.AwaitWatches(20)
	_ = x.session.Close()
	c.Node.AwaitWatches(0)
}

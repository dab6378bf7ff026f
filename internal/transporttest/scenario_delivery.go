package transporttest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// A node and a reader between whom little fits: whoever does not read holds the
// server up soon, and what the hub keeps falls out of the ring.
var narrow = Options{RingBytes: 64 << 10, WriteBuffer: 32 << 10}

const (
	narrowRead  = 32 << 10
	wideValue   = 16 << 10
	wideChanges = 40
)

// Deliveries are the scenarios about what comes to a reader that is behind.
var Deliveries = []Scenario{
	{Name: "P3 EVERY_CHANGE skips nothing, however slow the reader is", Run: everyChangeIsGapless, Options: narrow},
	{Name: "P3 LATEST converges and counts what it folds", Run: latestConverges, Options: narrow},
	{Name: "P3 LATEST folds what a reader missed, and counts it", Run: latestFoldsOnResume, Both: true},
	{Name: "P3 an exit is not lost when later changes are folded into it", Run: exitIsNotLost, Both: true},
	{Name: "P3 a resource that came and went while nobody read is told as gone", Run: cameAndWent},
	{Name: "P4 a batch is one revision and one token, however many messages it takes", Run: batchIsWhole, Both: true},
	{Name: "P4 a batch that was cut off in the middle comes again, whole", Run: batchCutInTheMiddle},
	{Name: "P4 a batch that is missed is caught up with whole", Run: batchInCatchUp, Options: Options{RingBytes: 1}},
	{Name: "P4 a snapshot that was cut off in the middle begins anew", Run: snapshotCutInTheMiddle},
}

// slowly gives the case with a connection that takes little ahead of its reader.
func (c *Case) slowly() *Case {
	return c.On(c.Kit, c.Kit.New(c.TB, c.Node, Dialer{ReadBuffer: narrowRead}))
}

// pad is a text that makes a value about so large.
func pad(bytes int) string { return strings.Repeat("x", bytes) }

func everyChangeIsGapless(c *Case) {
	c.exists()
	rd := c.slowly().Watch(everyChange)
	rd.UntilKind(SnapshotEnd)
	var want []string
	var last uint64
	for i := range wideChanges {
		id := fmt.Sprintf("a%d", i%3)
		ops := []Op{put(id, Value{Units: i + 1, Place: pad(wideValue)})}
		cause := updated
		if i < 3 {
			cause = created
		}
		last = c.Write(ops...)
		want = append(want, did(cause, id, last))
		if i%20 == 10 {
			rd.Next() // a little
		}
	}
	rd.UntilRevision(last)
	var got []string
	for i := range rd.Events {
		got = append(got, strings.Replace(rd.Events[i].String(), c.Collection+"/", "", 1))
	}
	if !slices.Equal(got, want) {
		c.Errorf("%d changes were written, %d events came:\ngot  %q\nwant %q", len(want), len(got), got, want)
	}
	c.WantTruth(rd)
}

func latestConverges(c *Case) {
	c.exists()
	rd := c.slowly().Watch()
	rd.UntilKind(SnapshotEnd)
	changes := map[string]int{}
	var last uint64
	for i := range wideChanges {
		ids := []string{fmt.Sprintf("a%d", i%3), "all"}
		v := Value{Units: i + 1, Place: pad(wideValue)}
		last = c.Write(put(ids[0], v), put(ids[1], v))
		for _, id := range ids {
			changes[c.name(id)]++
		}
	}
	rd.UntilRevision(last)
	c.WantTruth(rd)
	told := map[string]int{}
	for i := range rd.Events {
		told[rd.Events[i].Resource.Name] += 1 + int(rd.Events[i].Coalesced)
	}
	for name, n := range changes {
		if told[name] != n {
			c.Errorf("%s changed %d times, %d are told with those that were folded", name, n, told[name])
		}
	}
	if len(rd.Events) == 2*wideChanges {
		c.Log("nothing was folded")
	}
}

func latestFoldsOnResume(c *Case) {
	for _, changes := range [][]requestChange{nil, {filter("data.total.units > 0")}, {mask(unitsPath)}, {names(c.name("a"))}} {
		at := c.Write(put("a", Value{Units: 1}))
		rd := c.Watch(changes...)
		rd.UntilRevision(at)
		rd.Cut()
		rd.said, rd.Events = nil, nil
		for i := range 5 {
			at = c.Put("a", Value{Units: i + 2, Status: shipped})
		}
		rd.Resume(c.Transport)
		rd.UntilRevision(at)
		told := 0
		for i := range rd.Events {
			told += 1 + int(rd.Events[i].Coalesced)
		}
		if told != 5 || rd.said[0] != startedResumed {
			c.Errorf("five changes came to {%v} as %q, and %d are told with those that were folded", rd.request, rd.said, told)
		}
		c.WantTruth(rd)
		rd.Close()
	}
}

func exitIsNotLost(c *Case) {
	at := c.Put("a", Value{Customer: "7", Units: 1})
	gathering, resuming := c.Watch(filter(ofCustomer("7")), minInterval(time.Second), heartbeat(time.Second)), c.Watch(filter(ofCustomer("7")))
	gathering.UntilRevision(at)
	resuming.UntilRevision(at)
	resuming.Cut()
	gathering.said, resuming.said = nil, nil
	first := c.Put("a", Value{Customer: "7", Units: 2}) // is sent at once, what follows is gathered
	gathering.UntilRevision(first)
	out := c.Put("a", Value{Customer: "8", Units: 2})
	outside := c.Put("a", Value{Customer: "9", Units: 2})
	gathering.UntilRevision(outside)
	resuming.Resume(c.Transport)
	b := c.Put("b", Value{Customer: "7"})
	resuming.UntilRevision(b)
	for _, rd := range []*Reader{gathering, resuming} {
		exits := 0
		for i := range rd.Events {
			if e := &rd.Events[i]; e.Cause == exited && (e.Resource.Revision == out || e.Resource.Revision == outside) {
				exits++
			}
		}
		if _, held := rd.State[c.name("a")]; held || exits != 1 {
			c.Errorf("the exit at %d came %d times: %v", out, exits, rd.said)
		}
	}
	c.WantTruth(resuming)
}

func cameAndWent(c *Case) {
	at := c.Put("x", Value{Customer: "7"})
	rd := c.Watch(filter(ofCustomer("7")))
	rd.UntilRevision(at)
	rd.Cut()
	c.Put("a", Value{Customer: "7"})
	gone := c.Delete("a")
	c.Put("b", Value{Customer: "7"})
	out := c.Put("b", Value{Customer: "8"})
	c.Put("c", Value{Customer: "8"}) // never was in it
	last := c.Put("x", Value{Customer: "7", Units: 1})
	c.List(&watchroutev1.WatchRequest{Parent: c.Collection, MinRevision: last}) // all of it is there to be folded
	rd.Resume(c.Transport)
	rd.UntilRevision(last)
	// Whoever reads less than all of it may hold a and b.
	rd.Want(startedSnapshot, did(entered, "x", at), "snapshot_end",
		startedResumed, did(deleted, "a", gone), did(exited, "b", out), did(updated, "x", last))
	c.WantTruth(rd)
}

// bigBatch is more than one message.
const (
	bigBatch = 100
	bigValue = 1000
)

func (c *Case) bigBatch(units int) uint64 {
	c.Helper()
	ops := make([]Op, bigBatch)
	for i := range ops {
		ops[i] = put(fmt.Sprintf("n%03d", i), Value{Units: units, Place: pad(bigValue)})
	}
	return c.Write(ops...)
}

// whole checks, at a token, that a reader holds all of one batch and nothing of
// another.
func (rd *Reader) whole() {
	rd.c.Helper()
	of := map[uint64]int{}
	for _, h := range rd.State {
		of[h.Revision]++
	}
	for revision, n := range of {
		if n != bigBatch && n != 1 {
			rd.c.Errorf("P4: at the token of %d the reader holds %d of the %d resources of revision %d", rd.Revision, n, bigBatch, revision)
		}
	}
}

func batchIsWhole(c *Case) {
	c.Put("one", Value{Units: 1})
	for _, changes := range [][]requestChange{nil, {everyChange}, {delta, mask(unitsPath)}} {
		c.bigBatch(1)
		rd := c.Watch(changes...)
		rd.UntilKind(SnapshotEnd)
		rd.Events = nil
		at := c.bigBatch(2)
		messages := 0
		for rd.Revision < at {
			m := rd.Next()
			if m.Kind != Events {
				continue
			}
			messages++
			if last := len(rd.Events) == bigBatch; last != (m.Token != "") {
				c.Errorf("P4: after %d of %d events there is a token: %v", len(rd.Events), bigBatch, m.Token != "")
			}
			for i := range m.Events {
				if m.Events[i].Resource.Revision != at {
					c.Errorf("%v is not of the batch at %d", &m.Events[i], at)
				}
			}
		}
		if len(rd.Events) != bigBatch || messages < 2 {
			c.Errorf("%d events came in %d messages", len(rd.Events), messages)
		}
		c.WantTruth(rd)
		rd.Close()
	}
}

func batchCutInTheMiddle(c *Case) {
	c.Put("one", Value{Units: 1})
	for i, changes := range [][]requestChange{nil, {everyChange, delta}} {
		rd := c.Watch(changes...)
		rd.UntilKind(SnapshotEnd)
		before := c.bigBatch(2*i + 1)
		rd.UntilRevision(before)
		rd.whole()
		rd.Events = nil
		at := c.bigBatch(2*i + 2)
		for cut := range 3 {
			events := 0
			for events <= cut*20 { // further each time
				m := rd.Next()
				events += len(m.Events)
				if m.Token != "" && m.Revision >= at {
					c.Fatalf("the token of the batch came after %d of its events", events)
				}
			}
			rd.Cut()
			if rd.Revision != before {
				c.Fatalf("P4: the batch at %d is cut by the token of %d", at, rd.Revision)
			}
			rd.whole()
			c.wantUnits(rd, 2*i+1)
			rd.Events = nil
			rd.Resume(c.Transport)
		}
		rd.UntilRevision(at)
		if len(rd.Events) != bigBatch {
			c.Errorf("P4: %d of %d events came after the cut", len(rd.Events), bigBatch)
		}
		rd.whole()
		c.WantTruth(rd)
		rd.Close()
	}
}

// wantUnits checks that all of the batch has one value.
func (c *Case) wantUnits(rd *Reader, units int) {
	c.Helper()
	for name, h := range rd.State {
		if want := (Value{Units: units, Place: pad(bigValue)}).JSON(name); idOf(name) != "one" && h.Data != want {
			c.Fatalf("P4: %s is torn: %.80s", name, h.Data)
		}
	}
}

func batchInCatchUp(c *Case) {
	at := c.Put("one", Value{Units: 1})
	var readers []*Reader
	for _, changes := range [][]requestChange{nil, {everyChange}, {filter("data.total.units > 0")}, {filter("data.total.units > 0"), everyChange}} {
		rd := c.Watch(changes...)
		rd.UntilRevision(at)
		rd.Cut()
		readers = append(readers, rd)
	}
	c.bigBatch(1)
	c.Put("one", Value{Units: 2})
	last := c.bigBatch(2)
	for _, rd := range readers {
		// It is cut off after its first events, and comes back.
		rd.Resume(c.Transport)
		for n := 0; n == 0; {
			n = len(rd.Next().Events)
		}
		rd.Resume(c.Transport)
		for rd.Revision < last {
			if m := rd.Next(); m.Token != "" {
				rd.whole()
			}
		}
		c.WantTruth(rd)
		rd.Close()
	}
}

func snapshotCutInTheMiddle(c *Case) {
	c.Put("one", Value{Units: 1})
	at := c.bigBatch(1)
	rd := c.Watch()
	for len(rd.Events) == 0 {
		rd.Next()
	}
	if rd.Token != "" {
		c.Fatalf("the snapshot has a token after %d of its events", len(rd.Events))
	}
	rd.Cut()
	if len(rd.State) != 0 {
		c.Errorf("what is held of a snapshot that was cut off is %v", rd.State)
	}
	rd.Events, rd.said = nil, nil
	rd.Resume(c.Transport)
	rd.UntilRevision(at)
	if rd.said[0] != startedSnapshot || len(rd.Events) != bigBatch+1 {
		c.Errorf("%d events came after %q", len(rd.Events), rd.said[0])
	}
	c.WantTruth(rd)
}

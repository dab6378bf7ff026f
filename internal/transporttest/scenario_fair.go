package transporttest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Fairness are the scenarios about readers that do not read, and those that leave.
var Fairness = []Scenario{
	{Name: "P12 a stalled reader delays neither its neighbour nor a writer, and catches up", Run: stalledReader, Options: narrow},
	{Name: "P12 a reader that takes nothing is closed in the end, and can resume", Run: closedForStalling, On: timed,
		Options: Options{RingBytes: narrow.RingBytes, WriteBuffer: narrow.WriteBuffer, WriteTimeout: time.Second}},
	{Name: "P12 a client that leaves is released at once", Run: leaving},
	{Name: "P12 a client that leaves in the middle of much is released at once", Run: leavingWhileBusy, Options: narrow},
}

// timed are the transports whose writes have a time limit of the gateway's. Native
// gRPC parks a reader instead, which costs nobody else anything.
func timed(k Kit) bool { return !strings.HasPrefix(k.Name, "gRPC") && !k.Poll }

func stalledReader(c *Case) {
	c.exists()
	slow := c.slowly()
	var stalled []*Reader
	for range 3 {
		stalled = append(stalled, slow.Watch(everyChange), slow.Watch(filter("data.total.units > 0"), delta))
	}
	neighbour := c.Watch(everyChange)
	neighbour.UntilKind(SnapshotEnd)
	var last uint64
	for i := range wideChanges {
		last = c.Put(fmt.Sprintf("a%d", i%4), Value{Units: i + 1, Place: pad(wideValue)})
		if i%10 == 9 {
			neighbour.UntilRevision(last) // it is told while the others stall
		}
	}
	neighbour.UntilRevision(last)
	if len(neighbour.Events) != wideChanges {
		c.Errorf("P3: the neighbour was told %d of %d changes", len(neighbour.Events), wideChanges)
	}
	for i, rd := range stalled {
		if i == 2 {
			break // the others never read
		}
		c.finish(rd, last)
		if every := i%2 == 0; every && len(rd.Events) != wideChanges {
			c.Errorf("P3: the stalled reader was told %d of %d changes", len(rd.Events), wideChanges)
		}
		c.WantTruth(rd)
	}
}

// finish reads up to a revision; a watch that was ended meanwhile is resumed.
func (c *Case) finish(rd *Reader, revision uint64) {
	c.Helper()
	for rd.Token == "" || rd.Revision < revision {
		_, err := rd.Try()
		rd.Report()
		if err == nil {
			continue
		}
		if e := asError(err); e != nil && e.Reason != "SLOW_READER" || strings.HasPrefix(err.Error(), "nothing came") {
			c.Fatalf("{%v} ends with %v", rd.request, err)
		}
		rd.Resume(c.Transport)
	}
}

func closedForStalling(c *Case) {
	c.exists()
	rd := c.slowly().Watch(everyChange)
	var last uint64
	for i := range wideChanges {
		last = c.Put(fmt.Sprintf("a%d", i%4), Value{Units: i + 1, Place: pad(wideValue)})
	}
	c.Node.AwaitWatches(0)
	c.Node.watches.mu.Lock()
	ends := slices.Clone(c.Node.watches.ends)
	c.Node.watches.mu.Unlock()
	if len(ends) != 1 || !strings.HasSuffix(ends[0], " SLOW_READER") {
		c.Errorf("the watch ended because of %q", ends)
	}
	// What had been sent is read, then the connection is over.
	var err error
	for err == nil {
		_, err = rd.Try()
	}
	rd.Report()
	// Plaintext HTTP/1.1 has no other end than the connection's.
	if errors.Is(err, io.EOF) && c.Kit.Name != "SSE" && c.Kit.Name != "NDJSON" {
		c.Errorf("the watch that was cut off ends as if in order: %v", err)
	}
	if rd.Revision >= last {
		c.Fatalf("the reader was not stalled: it has come to %d", rd.Revision)
	}
	rd.Resume(c.Transport)
	c.finish(rd, last) // on a busy machine it is cut off again
	if len(rd.Events) < wideChanges {
		c.Errorf("P3: %d of %d changes came", len(rd.Events), wideChanges)
	}
	c.WantTruth(rd)
}

func leaving(c *Case) {
	at := c.Put("a", Value{Units: 1})
	readers := []*Reader{c.Watch(), c.Watch(filter("data.total.units > 5")), c.Watch(names(c.name("b")))}
	open := make(chan error, len(readers))
	for i, rd := range readers {
		if i < 2 {
			rd.UntilRevision(at)
		} else {
			rd.UntilKind(SnapshotEnd)
		}
		go func() { // a poll is open while it is waited for
			_, err := rd.Try()
			open <- err
		}()
	}
	c.Node.AwaitWatches(len(readers))
	for i, rd := range readers {
		_ = rd.stream.Close()
		<-open
		c.Node.AwaitWatches(len(readers) - i - 1)
	}
}

func leavingWhileBusy(c *Case) {
	c.exists()
	slow := c.slowly()
	readers := []*Reader{slow.Watch(everyChange), slow.Watch()}
	for i := range wideChanges {
		c.Put(fmt.Sprintf("a%d", i), Value{Units: i + 1, Place: pad(wideValue)})
	}
	if !c.Kit.Poll {
		c.Node.AwaitWatches(len(readers))
	}
	for _, rd := range readers {
		rd.Close()
	}
	c.Node.AwaitWatches(0)
}

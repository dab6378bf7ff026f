package transporttest

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Drains are the scenarios about a server that goes away and comes back.
var Drains = []Scenario{
	{Name: "P8 a server that goes away says drain, and the watch goes on after its restart", Run: drain},
	{Name: "P8 P3 no change is lost or doubled across a restart under load", Run: drainUnderLoad},
	{Name: "P8 a snapshot that a drain interrupts begins anew", Run: drainInSnapshot},
}

func drain(c *Case) {
	at := c.Put("a", Value{Units: 1})
	rd := c.Watch(everyChange)
	rd.UntilRevision(at)
	rd.Want(startedSnapshot, did(entered, "a", at), "snapshot_end")
	ended := make(chan *Message, 1)
	go func() {
		defer close(ended)
		for {
			m, err := rd.Try()
			switch {
			case err == nil && m.Kind == Drain:
				ended <- m
			case err != nil:
				if !errors.Is(err, io.EOF) {
					c.Error(err)
				}
				return
			}
		}
	}()
	c.Node.AwaitWatches(1) // a poll is one while it waits
	c.Node.Restart()
	m := <-ended
	<-ended
	rd.Report()
	if m == nil || m.Token == "" || m.Revision != at || m.ReconnectAfter > time.Second {
		c.Fatalf("it says %v, and to come back after a time that is spread over a second", m)
	}
	rd.Want("drain")
	next := c.Put("a", Value{Units: 2})
	rd.Resume(c.Transport)
	rd.UntilRevision(next)
	rd.Want(startedResumed, did(updated, "a", next))
	c.WantTruth(rd)
}

func drainUnderLoad(c *Case) {
	c.exists()
	rd := c.Watch(everyChange)
	rd.UntilKind(SnapshotEnd)
	const writes, restartAt = 60, 20
	reached, restarted := make(chan struct{}), make(chan struct{})
	last := make(chan uint64, 1)
	wrote := map[uint64]bool{}
	var all sync.WaitGroup
	all.Go(func() {
		defer close(last)
		var revision uint64
		for i := range writes {
			switch i {
			case restartAt:
				close(reached)
			case writes - 10:
				<-restarted
			}
			var err error
			if revision, err = c.writeOnce(fmt.Sprint("write-", i), put(fmt.Sprintf("a%d", i%3), Value{Units: i + 1})); err != nil {
				c.Error(err)
				return
			}
			wrote[revision] = true
		}
		last <- revision
	})
	all.Go(func() {
		defer close(restarted)
		<-reached
		c.Node.Restart()
	})
	drains := 0
	var final uint64
	for final == 0 || rd.Revision < final {
		select {
		case revision, ok := <-last:
			if !ok {
				all.Wait()
				return
			}
			final, last = revision, nil
		default:
		}
		m, err := rd.Try()
		rd.Report()
		switch {
		case err == nil && m.Kind == Drain:
			drains++
		case err != nil:
			if e := asError(err); !errors.Is(err, io.EOF) && (e == nil || e.Reason != "DRAINING") && !c.Kit.Poll {
				c.Fatalf("the watch ends with %v after %v", err, tail(rd.said))
			}
			c.comeBack(rd)
		case final == 0 && m.Kind == Events && len(rd.Events) >= writes:
			final = <-last // all is written, or soon
			last = nil
		}
	}
	all.Wait()
	if drains == 0 && !c.Kit.Poll {
		c.Error("no `drain` came")
	}
	if len(rd.Events) != writes {
		c.Errorf("P3: %d events of %d changes", len(rd.Events), writes)
	}
	for i := range rd.Events {
		if r := rd.Events[i].Resource.Revision; !wrote[r] {
			c.Errorf("an event of %d, which nobody wrote", r)
		}
	}
	c.WantTruth(rd)
}

// comeBack resumes as soon as there is a server that does not drain.
func (c *Case) comeBack(rd *Reader) {
	c.Helper()
	for deadline := time.Now().Add(patience); ; {
		err := rd.TryResume(c.Transport)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("the watch cannot be resumed: %v", err)
		}
	}
}

// writeOnce writes until it is acknowledged, at most once.
func (c *Case) writeOnce(requestID string, op Op) (uint64, error) {
	r := &watchroutev1.PutRequest{Resource: op.Value.resource(c.name(op.ID)), RequestId: requestID}
	for deadline := time.Now().Add(patience); ; {
		ctx, cancel := c.callContext()
		out, err := c.Node.Service().Put(ctx, r, grpc.WaitForReady(true))
		cancel()
		if err == nil {
			return out.GetRevision(), nil
		}
		if e := asError(fromGRPC(err)); e == nil || e.Code != codes.Unavailable && e.Code != codes.Canceled || time.Now().After(deadline) {
			return 0, err
		}
	}
}

func drainInSnapshot(c *Case) {
	c.fill(50)
	for range 3 {
		c.bigBatch(1)
		c.bigBatch(2)
	}
	slow := c.slowly()
	rd := slow.Watch()
	ended, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		c.Node.Restart()
		close(ended)
		if c.Kit.Poll { // one that came between two answers waits at the new node
			c.Put("n0001", Value{Units: 2})
		}
	}()
	restarted := func() bool {
		select {
		case <-ended:
			return c.Kit.Poll
		default:
			return false
		}
	}
	for !restarted() {
		m, err := rd.Try()
		if err != nil {
			if e := asError(err); !errors.Is(err, io.EOF) && !(c.Kit.Poll && e != nil && e.Reason == "DRAINING") {
				c.Error(err)
			}
			break
		}
		if m.Kind == Drain && m.Token == "" {
			c.Log("it was interrupted in the snapshot")
		}
	}
	rd.Report()
	<-written
	c.comeBack(rd)
	for rd.Token == "" || rd.snapshot {
		rd.Next()
	}
	at := c.Put("n0000", Value{Units: 1})
	rd.UntilRevision(at)
	c.WantTruth(rd)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// The writer makes slowWrites changes a second to slowNames resources; a reader
// takes slowReads events a second.
const (
	slowNames  = 10
	slowWrites = 2000
	slowReads  = slowWrites / 100
)

func slowKey(i int) string { return fmt.Sprintf("slow.%d", i) }

// slowReader is what a reader holds that is a hundred times slower than the writer
// and asks for the default delivery, LATEST.
type slowReader struct {
	*lifetime // of its connection

	mu               sync.Mutex
	received, folded int
	age              time.Duration     // of the last event, when it was read
	state            map[string]uint64 // the sequence number of each resource, by its full name
}

// take takes in one event and waits until the next is due.
func (r *slowReader) take(name string, value []byte, coalesced int) {
	r.mu.Lock()
	scan(value, func(seq uint64, ts int64) {
		r.state[name] = seq
		r.age = time.Duration(now() - ts)
	})
	r.received++
	r.folded += coalesced
	r.mu.Unlock()
	select {
	case <-time.After(time.Second / slowReads):
	case <-r.ctx.Done():
	}
}

// holds says whether the reader holds these sequence numbers.
func (r *slowReader) holds(final []uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, seq := range final {
		if r.state[wrCollection+"/"+slowKey(i)] != seq {
			return false
		}
	}
	return true
}

// measureSlow follows two such readers: one that just reads slowly, so that the
// sockets between fill, and one that grants credit in a session, so that they do
// not.
func (c *curves) measureSlow() error {
	const curve = "slow-reader"
	c.about(point{Curve: curve, Title: fmt.Sprintf("Readers of %d events/s, %d changes/s of %d resources (LATEST, 1 KiB)", slowReads, slowWrites, slowNames),
		XLabel: "seconds", YLabel: "changes", LogY: true})
	c.about(point{Curve: curve + "-age", Title: "How old what they read is", XLabel: "seconds", YLabel: "seconds"})
	c.about(point{Curve: curve + "-memory", Title: "Server memory beside each of them", XLabel: "seconds", YLabel: "RSS, MiB"})
	var failed error
	for _, kind := range []struct {
		name string
		open func(*slowReader, *watchroute) error
	}{{"SSE", (*slowReader).openSSE}, {"session with credit", (*slowReader).openSession}} {
		if err := c.serve(func(s *watchroute) error { return c.slowly(s, curve, kind.name, kind.open) }); err != nil {
			c.note(curve, "%s: %v", kind.name, err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", kind.name, err))
		}
	}
	return failed
}

func (c *curves) slowly(s *watchroute, curve, name string, open func(*slowReader, *watchroute) error) error {
	const size, patience = 1024, 90 * time.Second
	ctx, cancel := context.WithTimeout(c.ctx, c.slow+patience+time.Minute)
	defer cancel()
	pub := &wrPublisher{addr: s.GRPC}
	defer pub.close()
	final := make([]uint64, slowNames)
	var written atomic.Int64
	put := func(i int) error {
		final[i]++
		written.Add(1)
		return pub.Publish(ctx, slowKey(i), payload(size, final[i], now()))
	}
	for i := range final { // the collection must exist
		if err := put(i); err != nil {
			return err
		}
	}
	written.Store(0)
	r := &slowReader{lifetime: newLifetime(), state: map[string]uint64{}}
	defer r.cancel()
	if err := open(r, s); err != nil {
		return err
	}

	begin := time.Now()
	wrote := make(chan error, 1)
	go func() {
		wrote <- each(slowNames, slowNames, func(i int) error { // a writer for each resource keeps their order
			for due := begin; time.Since(begin) < c.slow; due = due.Add(time.Second * slowNames / slowWrites) {
				time.Sleep(time.Until(due))
				if err := put(i); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	sample := func() {
		t := time.Since(begin).Seconds()
		r.mu.Lock()
		defer r.mu.Unlock()
		c.point(curve, name+": written", t, float64(written.Load()))
		c.point(curve, name+": events", t, float64(r.received))
		c.point(curve, name+": changes in them (events + coalesced)", t, float64(r.received+r.folded))
		c.point(curve+"-age", name, t, r.age.Seconds())
		c.point(curve+"-memory", name, t, memory(s))
	}
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	var ended time.Time // the writer has
	for ended.IsZero() || !r.holds(final) {
		select {
		case err := <-wrote:
			if err != nil {
				return err
			}
			ended = time.Now()
		case <-ticks.C:
			sample()
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := r.Err(); err != nil {
			return err
		}
		if !ended.IsZero() && time.Since(ended) > patience {
			return fmt.Errorf("the final state had not arrived %v after the last write", patience)
		}
	}
	sample()
	c.note(curve, "%s: %d changes were written; the reader got %d events, into which %d more changes were folded, and the final state within %.0f s after the last write",
		name, written.Load(), r.received, r.folded, max(1, time.Since(ended).Seconds()))
	return nil
}

// openSSE just reads slowly.
func (r *slowReader) openSSE(s *watchroute) error {
	br, err := r.requestBy(&meagre, s.HTTP, "GET "+wrAllPath+"?from=NOW HTTP/1.1\r\nAccept: text/event-stream\r\n", nil)
	if err != nil {
		return err
	}
	w := &wrSSEWatch{wrWatch: wrWatch{sink: func(line []byte) {
		name := after(line, `"name":"`, '"')
		n, _ := strconv.Atoi(strings.TrimRight(after(line, `"coalesced":`, ','), "}\n"))
		r.take(name, line, n)
	}}}
	if err := w.until("started", br); err != nil {
		return err
	}
	go func() { r.fail(w.until("", br)) }()
	return nil
}

// after gives what stands between a text and the next byte that is end.
func after(line []byte, text string, end byte) string {
	_, rest, _ := bytes.Cut(line, []byte(text))
	value, _, _ := bytes.Cut(rest, []byte{end})
	return string(value)
}

// openSession grants credit for one event, and for another when that is read.
func (r *slowReader) openSession(s *watchroute) error {
	conn, err := dialWRSession(r.ctx, s.HTTP, s.GRPC)
	if err != nil {
		return err
	}
	context.AfterFunc(r.ctx, func() { conn.Close() })
	session := conn.(*wrSession)
	_, err = session.openWith(r.ctx, &watchroutev1.OpenWatch{Credit: proto.Uint32(1),
		Watch: &watchroutev1.WatchRequest{Parent: wrCollection, Start: &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}}}, func(b []byte) {
		m := &watchroutev1.WatchResponse{}
		if err := proto.Unmarshal(b, m); err != nil {
			r.fail(err)
			return
		}
		for _, e := range m.GetEvents().GetEvents() {
			r.take(e.GetResource().GetName(), e.GetResource().GetData().GetValue(), int(e.GetCoalesced()))
			r.fail(session.grant(0, 1))
		}
	})
	return err
}

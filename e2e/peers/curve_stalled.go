package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// measureStalled follows a server whose resource 1000 watch over Server-Sent
// Events, of whom none or 100 stop reading after a while.
func (c *curves) measureStalled() error {
	const curve = "stalled-memory"
	c.about(point{Curve: curve, Title: "Server memory while 100 of 1000 watchers do not read (SSE, 1 KiB)", XLabel: "seconds", YLabel: "RSS, MiB"})
	for _, rate := range []float64{20, 60} {
		latency := fmt.Sprintf("stalled-latency-%g", rate)
		c.about(point{Curve: latency, Title: fmt.Sprintf("Latency of the other watchers, %g updates/s", rate), XLabel: "seconds", YLabel: "ms", LogY: true})
		for _, stalled := range []int{0, 100} {
			err := c.serve(func(s *watchroute) error { return c.stalled(s, curve, latency, stalled, rate) })
			if err != nil {
				return fmt.Errorf("%d stalled, %g/s: %w", stalled, rate, err)
			}
		}
	}
	return nil
}

func (c *curves) stalled(s *watchroute, memoryCurve, latencyCurve string, stalled int, rate float64) error {
	const n, key, size, stallAt = 1000, "r.00000", 1024, 5
	series := fmt.Sprintf("%d stalled, %g updates/s", stalled, rate)
	ctx, cancel := context.WithTimeout(c.ctx, c.stall+time.Minute)
	defer cancel()
	pub := &wrPublisher{addr: s.GRPC}
	defer pub.close()
	const first = uint64(1)
	seq := first
	if err := pub.Publish(ctx, key, payload(size, seq, now())); err != nil {
		return err
	}

	var reading, others run                      // by those that read to the end; by the others
	stall := make(chan struct{})                 // closed: the others stop reading
	stalling, release := context.WithCancel(ctx) // over: they read on
	defer release()
	conns, ts := make([]Conn, n), make([]*tracker, n)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	}()
	err := each(n, 64, func(i int) (err error) {
		t := &tracker{r: &reading, id: i}
		ts[i] = t
		sink := t.sink
		if i < stalled {
			t.r = &others
			sink = func(frame []byte) {
				select {
				case <-stall:
					<-stalling.Done()
				default:
					t.sink(frame)
				}
			}
		}
		conn := wrSSEConn{wrHTTPConn: dialWRHTTP(s.HTTP, s.GRPC)}
		if i < stalled {
			conn.dialer = &meagre
		}
		conns[i] = conn
		_, err = conn.Watch(ctx, key, nil, sink)
		return err
	})
	if err != nil {
		return err
	}

	begin, from := time.Now(), procCPU(s.Pid)
	reading.lat.Store(new(hist))
	var sampling sync.WaitGroup
	sampling.Go(func() {
		ticks := time.NewTicker(time.Second)
		defer ticks.Stop()
		for second := 1; second <= int(c.stall.Seconds()); second++ {
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return
			}
			h := reading.lat.Swap(new(hist))
			c.point(memoryCurve, series, float64(second), memory(s))
			c.point(latencyCurve, fmt.Sprintf("p50, %d stalled", stalled), float64(second), h.ms(.50))
			c.point(latencyCurve, fmt.Sprintf("p99, %d stalled", stalled), float64(second), h.ms(.99))
			if second == stallAt {
				close(stall)
			}
		}
	})
	step, late := time.Duration(float64(time.Second)/rate), 0
	for due := begin; due.Sub(begin) < c.stall && ctx.Err() == nil; due = due.Add(step) {
		time.Sleep(time.Until(due))
		if time.Since(due) > step {
			late++
		}
		seq++
		if err = pub.Publish(ctx, key, payload(size, seq, now())); err != nil {
			cancel()
			break
		}
	}
	sampling.Wait()
	if err != nil {
		return err
	}
	reading.drain(ctx, int64(seq-first)*int64(n-stalled), 5*time.Second)
	used := procCPU(s.Pid) - from
	lost, dup, ooo := counts(ts[stalled:], first, func(int) uint64 { return seq })
	// Those that the server has cut find the end of what was on its way.
	release()
	time.Sleep(2 * time.Second)
	cut := 0
	for _, conn := range conns[:stalled] {
		if conn.Err() != nil {
			cut++
		}
	}
	c.note(memoryCurve, "%s: those that read lost %d, doubled %d, out of order %d; server CPU %.1f s; the publisher was late %d of %d times; the server had cut %d stalled readers",
		series, lost, dup, ooo, used, late, seq-first, cut)
	if lost+dup+ooo > 0 {
		return errors.New("those that read did not get every update once and in order")
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

const mostOperations = 1000 // of one Write

// measureCollection fills one collection with more and more resources of 100 B,
// and at each size restarts the server and takes a snapshot.
func (c *curves) measureCollection() error {
	const (
		mem, times, cpu = "collection-memory", "collection-time", "collection-cpu"
		resources       = "resources"
	)
	c.about(point{Curve: mem, Title: "Server memory with a large collection (100 B values)", XLabel: resources, YLabel: "RSS, MiB", LogX: true})
	c.about(point{Curve: times, Title: "Restart and snapshot of a large collection", XLabel: resources, YLabel: "seconds", LogX: true, LogY: true})
	c.about(point{Curve: cpu, Title: "Server CPU of a large collection, for each resource", XLabel: resources, YLabel: "µs", LogX: true})
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := startWatchroute(c.ctx, dir)
	if err != nil {
		return err
	}
	defer func() { s.Stop(0) }()
	restart := func(patience time.Duration) (seconds float64, err error) {
		s.Stop(patience)
		began := time.Now()
		next, err := startWatchroute(c.ctx, dir)
		if err != nil {
			return 0, err
		}
		s = next
		return time.Since(began).Seconds(), awaitReady(c.ctx, s)
	}
	have := 0
	for _, n := range c.resources {
		x := float64(n)
		from, began := procCPU(s.Pid), time.Now()
		if err := c.fill(s, have, n); err != nil {
			return err
		}
		added := n - have
		have = n
		c.note(times, "%d resources were written in %.1f s, %d at a time", added, time.Since(began).Seconds(), mostOperations)
		c.point(cpu, "write", x, (procCPU(s.Pid)-from)/float64(added)*1e6)
		c.point(mem, "after writing", x, settled(s))

		took, err := restart(0)
		if err != nil {
			return err
		}
		c.point(times, "restart after a kill", x, took)
		if took, err = restart(time.Minute); err != nil {
			return err
		}
		c.point(times, "restart after a stop", x, took)
		c.point(mem, "after a restart", x, settled(s))
		for _, t := range []struct {
			name string
			dial func(ctx context.Context, http, grpc string) (Conn, error)
		}{
			{"SSE", dialWRSSE},
			{"gRPC", dialWRGRPC(grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(4<<20))},
		} {
			from, began := procCPU(s.Pid), time.Now()
			if err := c.snapshot(s, t.dial, n); err != nil {
				return fmt.Errorf("snapshot over %s: %w", t.name, err)
			}
			c.point(times, "snapshot over "+t.name, x, time.Since(began).Seconds())
			c.point(cpu, "snapshot over "+t.name, x, (procCPU(s.Pid)-from)/x*1e6)
			c.point(mem, "after a snapshot over "+t.name, x, memory(s))
		}
	}
	return nil
}

// fill writes resources from one number to another.
func (c *curves) fill(s *watchroute, from, to int) error {
	cc, err := dialGRPC(s.GRPC)
	if err != nil {
		return err
	}
	defer cc.Close()
	batches := (to - from + mostOperations - 1) / mostOperations
	return each(batches, 4, func(b int) error {
		r := &watchroutev1.WriteRequest{Parent: wrCollection}
		for i := from + b*mostOperations; i < min(to, from+(b+1)*mostOperations); i++ {
			put, err := wrResource(fmt.Sprintf("i.%07d", i), payload(100, uint64(i+1), now()))
			if err != nil {
				return err
			}
			r.Operations = append(r.Operations, &watchroutev1.Operation{Action: &watchroutev1.Operation_Put{Put: put}})
		}
		return cc.Invoke(c.ctx, wrService+"Write", r, new(frame))
	})
}

func (c *curves) snapshot(s *watchroute, dial func(ctx context.Context, http, grpc string) (Conn, error), n int) error {
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Minute)
	defer cancel()
	conn, err := dial(ctx, s.HTTP, s.GRPC)
	if err != nil {
		return err
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { conn.Close() })
	var got atomic.Int64
	err = conn.Snapshot(ctx, n, func(frame []byte) {
		k := int64(0)
		scan(frame, func(uint64, int64) { k++ })
		got.Add(k)
	})
	if err == nil && got.Load() != int64(n) {
		err = fmt.Errorf("it has %d resources instead of %d", got.Load(), n)
	}
	return err
}

// awaitReady waits until the server says that it is ready.
func awaitReady(ctx context.Context, s *watchroute) error {
	for deadline := time.Now().Add(time.Minute); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTP+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("/readyz: %s", resp.Status)
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

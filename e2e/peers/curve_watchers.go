package main

import (
	"fmt"
	"strings"
	"syscall"
)

// measureWatchers is scenario s1 over Server-Sent Events with more and more
// watchers. At a fixed rate it is 20 updates a second, or as many as make 20,000
// deliveries.
func (c *curves) measureWatchers() error {
	const cpu, rate = "watchers-cpu", "watchers-rate"
	c.about(point{Curve: cpu, Title: "Server CPU of one delivery, the writes included (SSE, 256 B, one resource)", XLabel: "watchers", YLabel: "µs", LogX: true, LogY: true})
	c.about(point{Curve: rate, Title: "Deliveries a second as fast as they go (SSE, server and client on one machine)", XLabel: "watchers", YLabel: "deliveries/s", LogX: true})
	for _, n := range c.watchers {
		if room := openFiles() - 200; n > room {
			c.note(cpu, "%d watchers are left out: the limit on open files leaves room for %d", n, room)
			continue
		}
		perSecond := min(20, 20000/float64(n))
		for _, m := range []struct{ series, mode string }{
			{"20 updates/s, or 20,000 deliveries/s if that is less", fmt.Sprintf("rate -rate %g", perSecond)},
			{"as fast as they go", "max"},
		} {
			args := fmt.Sprintf("-scenario s1 -n %d -secs %g -mode %s", n, c.secs, m.mode)
			rs, err := one(c.ctx, "wr-sse", 0, strings.Fields(args))
			if err != nil {
				return fmt.Errorf("%s: %w", args, err)
			}
			for _, r := range rs {
				c.point(cpu, m.series, float64(n), r.CPUPerM)
				if m.mode == "max" {
					c.point(rate, "", float64(n), r.PerS)
				}
				if r.Lost+r.Dup+r.OOO > 0 || r.Notes != "" {
					c.note(cpu, "%s: lost %d, doubled %d, out of order %d; %s", args, r.Lost, r.Dup, r.OOO, r.Notes)
				}
			}
		}
	}
	return nil
}

func openFiles() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return int(l.Cur)
}

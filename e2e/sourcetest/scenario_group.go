package sourcetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/watchroute/watchroute/e2e/process"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// group is two nodes, each with a log of its own, that share what is read.
type group struct {
	*world
	other *world
	both  *journal // what either of them sees
}

func newGroup(w *world) *group {
	w.Helper()
	g := &group{world: w, other: w.beside(process.Race), both: newJournal()}
	g.both.anyhow = true
	for _, member := range []*world{g.world, g.other} {
		member.journal = newJournal()
		member.journal.gaps = true
		member.live = follow(w, &follower{conn: member.conn, parent: things, wrong: member.journal.bad, take: func(e *watchroutev1.Event) {
			member.journal.take(e)
			g.both.take(e)
		}})
	}
	return g
}

// groupIsHandedOver: a node joins, another leaves and comes again, each in order: each
// event has its effect once, in one log or the other.
func groupIsHandedOver(w *world) {
	g := newGroup(w)
	g.run()
	end := g.publishingBefore(g.both)
	g.reaches(g.soon())
	g.other.write()
	g.other.goesOn()
	g.write(paused)
	g.becomes(isPaused)
	g.other.goesOn()
	g.write()
	g.becomes(running)
	g.goesOn()
	end()
	g.settles()
	var wrong []string
	g.both.read(func() {
		for event, times := range g.both.seen {
			if times != 1 {
				wrong = append(wrong, fmt.Sprintf("things/%s n %d: %d times", event.Key, event.N, times))
			}
		}
	})
	if len(wrong) > 0 {
		slices.Sort(wrong)
		w.Errorf("%d events have their effect more than once in the two logs together:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), mostWrong)], "\n"))
	}
}

// groupMemberIsKilled: the other one takes over; nothing is lost, and nothing is twice in
// one log.
func groupMemberIsKilled(w *world) {
	g := newGroup(w)
	g.run()
	g.other.write()
	end := g.publishingBefore(g.both)
	g.goesOn()
	g.other.goesOn()
	g.node.Kill()
	killed := time.Now()
	g.other.goesOn()
	g.node.Start()
	end()
	g.settles()
	w.Logf("all was read %v after the kill", time.Since(killed).Round(time.Millisecond))
	twice := 0
	g.both.read(func() {
		for _, times := range g.both.seen {
			twice += times - 1
		}
	})
	w.Logf("%d events are in both logs", twice)
}

// goesOn waits until the node has seen some events more.
func (w *world) goesOn() {
	w.Helper()
	w.reaches(w.journal.events() + 50 + w.chance.IntN(100))
}

// settles waits until all that was published is in one log or the other.
func (g *group) settles() {
	g.Helper()
	g.other.sound()
	g.publish(g.producer.each())
	last := g.producer.lasts()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want := 0
	for _, n := range last {
		want += n
	}
	// Not g.both.last: what comes last is no sign that the rest has come.
	g.both.wait(ctx, func() bool { return len(g.both.seen) == want })
	g.sound()
	g.other.sound()
	var missing []string
	g.both.read(func() {
		for key, n := range last {
			for i := 1; i <= n; i++ {
				if g.both.seen[Event{Key: key, N: i}] == 0 {
					missing = append(missing, fmt.Sprintf("things/%s n %d", key, i))
				}
			}
		}
	})
	if len(missing) > 0 {
		slices.Sort(missing)
		g.Fatalf("%d events are in neither log:\n%s\none source: %s\nthe other: %s", len(missing), strings.Join(missing[:min(len(missing), mostWrong)], "\n"), g.statuses.text(), g.other.statuses.text())
	}
}

package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func name(prefix string, n int) string { return fmt.Sprintf("%s-%d", prefix, n) }

// A stream of a state and some changes is cut at one byte after the other, each time a new
// watch on a new connection, whose events must be exactly the same in the end.
func TestConnection_IsCutAtEachByte(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		for _, via := range c.Via {
			if via == "ladder" {
				continue // its rungs are cut by themselves
			}
			t.Run(via, func(t *testing.T) {
				t.Parallel()
				cutAtEachByte(t, c, via)
			})
		}
	})
}

func cutAtEachByte(t *testing.T, c *Client, via string) {
	w := NewWorld(t, c, Setup{Flags: []string{"--first", "1ms", "--most", "4ms"}, Args: []string{"--heartbeat", "10m"}})
	w.Put("a", Note(1))
	w.Write(map[string]any{"b": Note(2), "c": Note(2)})
	from := w.Last()
	w.Put("a", Note(3))
	w.Write(map[string]any{"b": Note(4), "d": Note(4)}, "c")
	w.Put("a", Note(5))

	kinds := []Options{{Every: true, From: &from}, {}, {Delta: true}, {Delta: true, Every: true, From: &from}}
	total := 0
	for k, o := range kinds {
		o.Via = via
		o.Request = map[string]any{"heartbeat": "600s"}
		// What goes through uncut is how long the stream is.
		w.Proxy.Cut()
		before := w.Proxy.Through()
		first := w.Open(name("uncut", k), o)
		w.Live([]*Watch{first}, settleTime)
		w.settle([]*Watch{first})
		length := w.Proxy.Through() - before
		w.cancel(first)
		step := longer(max(1, length/40), 1)
		for at := 1 + k%step; at <= length+step; at += step {
			w.Proxy.Cut()
			w.Proxy.CutAfter(at, at/2+1)
			watch := w.Open(fmt.Sprintf("cut-%d-%d", k, at), o)
			w.settle([]*Watch{watch})
			w.cancel(watch)
			total++
			if t.Failed() {
				t.Fatalf("cut after %d bytes of %d", at, length)
			}
		}
		w.Proxy.CutAfter()
	}
	t.Logf("cut at %d positions", total)
}

// A batch that is more than a message is cut in its middle, and what it changed is changed
// back before the client returns: what was told of it must not stay in what deltas change.
func TestDelta_IsCutWithinABatch(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		batch := func(n int, third bool) map[string]any {
			out := map[string]any{}
			for i := range 60 {
				value := map[string]any{"n": n, "filler": strings.Repeat("x", 5000)}
				if third {
					value["third"] = n
				}
				out[name("many", i)] = value
			}
			return out
		}
		w.Write(batch(0, false))
		var all []*Watch
		for _, via := range c.Via {
			if via != "long-poll" && via != "ladder" { // an answer is complete or is not taken
				all = append(all, w.Open("delta-"+via, Options{Via: via, Delta: true}))
			}
		}
		w.Live(all, settleTime)
		for round := range longer(8, 60) {
			w.settle(all)
			before := map[string]int{}
			for _, watch := range all {
				before[watch.ID] = len(watch.Reports())
			}
			w.Proxy.CutOpenAfter(600 + round*4500/longer(8, 60))
			w.Write(batch(2*round+1, true))
			for _, watch := range all {
				w.Await(watch, settleTime, "cut", func(reports []Report) bool {
					return slices.ContainsFunc(reports[before[watch.ID]:], func(r Report) bool { return r.State == "BACKING_OFF" })
				})
			}
			w.Write(batch(2*round+2, false))
			w.Proxy.Accept()
		}
		w.Settle(all)
	})
}

func (w *World) cancel(watch *Watch) {
	w.T.Helper()
	w.Driver.Send(map[string]any{"op": "cancel", "id": watch.ID})
	w.Ended(watch, 10*time.Second)
}

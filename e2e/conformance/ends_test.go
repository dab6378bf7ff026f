package conformance

import (
	"slices"
	"testing"
	"time"
)

// A watch that is cancelled, whatever it is doing, leaves nothing open at the node.
func TestCancel_FreesEverything(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("before", Note(0))
		live, resting, waiting := w.OpenAll(), w.openMore("resting"), w.openMore("waiting")
		w.Live(live, settleTime)
		w.Live(resting, settleTime)
		w.Pause(resting)
		w.many(2000, 50, 500)
		w.Settle(live)
		w.Live(waiting, settleTime)
		if open := w.Node.Metric("watchroute_watches_open"); open == 0 {
			t.Fatal("the node counts no watch")
		}
		for _, watch := range resting {
			watch.Unchecked = true // what it did not ask for is not told
			w.cancel(watch)
		}
		for _, watch := range live {
			w.cancel(watch)
		}
		w.Proxy.Refuse()
		w.Proxy.Cut()
		for _, watch := range waiting {
			w.Await(watch, settleTime, "BACKING_OFF", func(reports []Report) bool {
				return slices.ContainsFunc(reports, func(r Report) bool { return r.State == "BACKING_OFF" })
			})
			watch.Unchecked = true
			w.cancel(watch)
		}
		w.Proxy.Accept()
		for deadline := time.Now().Add(settleTime); w.Node.Metric("watchroute_watches_open") != 0; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%v watches are open at the node, and all are cancelled", w.Node.Metric("watchroute_watches_open"))
			}
		}
		time.Sleep(time.Second) // a gRPC channel that was away comes back once, whoever uses it
		accepted := w.Proxy.Accepted()
		time.Sleep(time.Second) // longer than any back-off
		if more := w.Proxy.Accepted() - accepted; more != 0 {
			t.Errorf("%d connections are made for watches that are cancelled", more)
		}
	})
}

// openMore opens a watch on each transport.
func (w *World) openMore(id string) (all []*Watch) {
	w.T.Helper()
	for _, via := range w.Client.Via {
		all = append(all, w.Open(id+"-"+via, Options{Via: via, Every: true}), w.Open(id+"-mirror-"+via, Options{Via: via, Mirror: true}))
	}
	return all
}

// A position that cannot be resumed is an error, for those that asked for that.
func TestReset_IsAnError(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{Args: []string{"--retention-age", "1s", "--retention-min-age", "1s", "--retention-tombstones", "1s"}})
		w.Write(map[string]any{"a": Note(1), "b": Note(1)})
		var all []*Watch
		for _, via := range c.Via {
			all = append(all, w.Open("watch-"+via, Options{Via: via, Every: true, Request: map[string]any{"onExpired": "FAIL"}}))
		}
		w.Live(all, settleTime)
		w.settle(all)
		w.Proxy.Refuse()
		w.Proxy.Cut()
		from := w.Last()
		w.Put("a", Note(2))
		w.Put("a", Note(3))
		w.gone(from)
		w.Proxy.Accept()
		for _, watch := range all {
			watch.Unchecked = true // it was told all but what made it end
			w.final(watch, "OUT_OF_RANGE", "COMPACTED")
			if len(watch.Ledger.Resets) > 0 {
				t.Errorf("%s was told RESET %v", watch.ID, watch.Ledger.Resets)
			}
		}
	})
}

// A caller that may not watch any more is told so, for good; once it may, a new watch is as
// any.
func TestAccess_ToAllIsLostAndRegained(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		g := newGuarded(t, c, nil)
		g.Driver.Credential(g.token("ada", time.Hour))
		g.Write(map[string]any{"a": owned("ada", 1), "b": owned("ada", 1)})
		all := g.OpenAll()
		g.Live(all, settleTime)
		g.settle(all)
		rule := func(get string) {
			g.Operate("PUT", "/v1/system.collections/notes", map[string]any{"data": map[string]any{"collection": "notes",
				"rules": map[string]any{"get": get, "write": `"writer" in auth.roles`}}})
		}
		rule("false")
		for _, watch := range all {
			g.final(watch, "PERMISSION_DENIED", "PERMISSION_DENIED")
		}
		g.Put("a", owned("ada", 2))
		rule(orderOwner)
		again := g.openMore("again")
		g.Live(again, settleTime)
		g.Put("b", owned("ada", 3))
		for _, watch := range all {
			watch.Unchecked = true
		}
		g.Settle(again)
	})
}

// Behind a proxy that lets the beginning of each answer through, and the rest when it is
// complete, streams fall mute: the ladder is gone down, rung by rung, to what needs none.
func TestLadder_StepsDownFromSilence(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		if !slices.Contains(c.Via, "ladder") {
			t.Skip("the client has no ladder")
		}
		w := NewWorld(t, c, Setup{Flags: []string{"--ladder", "1m"}}) // no step up meanwhile
		w.Put("a", Note(1))
		watch := w.Open("every", Options{Via: "ladder", Every: true})
		w.Live([]*Watch{watch}, settleTime)
		w.Proxy.BufferBehind(250) // which hold what a stream begins with and some bookmarks
		w.Proxy.Cut()
		w.Await(watch, 2*settleTime, "LIVE by long-polling", func(reports []Report) bool {
			return slices.ContainsFunc(reports, func(r Report) bool { return r.State == "LIVE" && r.Via == "long-poll" })
		})
		var rungs []string
		for _, r := range watch.Reports() {
			if r.State == "LIVE" && !slices.Contains(rungs, r.Via) {
				rungs = append(rungs, r.Via)
			}
		}
		if !slices.Equal(rungs, []string{"grpc-web", "websocket", "sse", "long-poll"}) {
			t.Errorf("it went down by %v\n%s", rungs, watch.tail())
		}
		w.many(20, 3, 0)
		w.Settle([]*Watch{watch})
	})
}

package conformance

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The node keeps superseded changes for a second; it looks for older ones each 10 s.
func TestReset_Compacted(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{Args: []string{"--retention-age", "1s", "--retention-min-age", "1s", "--retention-tombstones", "1s"}})
		w.Write(map[string]any{"a": Note(1), "b": Note(1), "c": Note(1)})
		all := w.OpenAll()
		w.Live(all, settleTime)
		w.settle(all)
		w.Proxy.Refuse()
		from := w.Last()
		w.Write(map[string]any{"a": Note(2), "d": Note(2)}, "b")
		w.Put("a", Note(3))
		w.gone(from)
		w.Proxy.Accept()
		w.Settle(all)
		expectReset(t, all, "COMPACTED")
	})
}

// gone waits until the node cannot resume from a revision any more.
func (w *World) gone(revision uint64) {
	w.T.Helper()
	client := http.Client{Timeout: time.Second}
	for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); {
		resp, err := client.Get(w.Node.URL("/v1/notes:watch?on_expired=FAIL&delivery=EVERY_CHANGE&after_revision=" + itoa(revision)))
		if err != nil {
			w.T.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusGone {
			return
		}
		time.Sleep(200 * time.Millisecond) // it is looked at from outside only
	}
	w.T.Fatalf("the node can still resume from revision %d", revision)
}

// expectReset says that each watch was told one RESET, of one of these reasons.
func expectReset(t *testing.T, all []*Watch, reasons ...string) {
	t.Helper()
	for _, watch := range all {
		if watch.Mirror {
			if !watch.Has("RESETTING") {
				t.Errorf("%s was never RESETTING: %v", watch.ID, watch.States())
			}
			continue
		}
		if told := watch.Ledger.Resets; len(told) != 1 || !slices.Contains(reasons, told[0]) {
			t.Errorf("%s: it was told RESET %v, and should have been one of %v\n%s", watch.ID, told, reasons, watch.tail())
		}
	}
}

// Another log, with other revisions, is at the same place.
func TestReset_Epoch(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Write(map[string]any{"a": Note(1), "b": Note(1)})
		w.Put("a", Note(2))
		all := w.OpenAll()
		w.Live(all, settleTime)
		w.settle(all)
		w.Proxy.Refuse()
		w.Node.Stop()
		empty(t, w.Node.Data)
		w.Node.Start()
		fresh := NewWriter(t, w.Node.URL(""), "notes")
		fresh.Write(map[string]any{"a": Note(5), "c": Note(5)})
		w.Writer = fresh
		for _, watch := range all {
			watch.Ledger.Journal = fresh.Journal
			watch.last = 0
		}
		w.Proxy.Accept()
		w.Settle(all)
		expectReset(t, all, "EPOCH")
		fresh.Put("c", Note(6))
		w.Settle(all)
		// A mirror tells what differs.
		for _, watch := range all {
			if told := 0; watch.Mirror {
				for _, e := range watch.Events() {
					if e.Name == "notes/a" || e.Name == "notes/b" {
						told++
					}
				}
				if told != 4 { // each came and went, or changed
					t.Errorf("%s: the callbacks were told of a and b %d times, not twice each", watch.ID, told)
				}
			}
		}
	})
}

// A batch that is more than a message is cut in its middle, so that some of it was told behind the last token; and
// then another log is at the same place, whose revisions are lower. What was told of the old one counts no
// more: what the same names become in the new one is told.
func TestReset_EpochBehindACut(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		batch := func(n int) map[string]any {
			out := map[string]any{}
			for i := range 60 {
				out[name("many", i)] = map[string]any{"n": n, "filler": strings.Repeat(string(rune('a'+n%26)), 5000)}
			}
			return out
		}
		w.Write(batch(0))
		var all []*Watch
		for _, via := range c.Via {
			if via != "long-poll" && via != "ladder" { // an answer is complete or is not taken
				all = append(all, w.Open("every-"+via, Options{Via: via, Every: true}), w.Open("latest-"+via, Options{Via: via}),
					w.Open("delta-"+via, Options{Via: via, Delta: true}), w.Open("mirror-"+via, Options{Via: via, Mirror: true}))
			}
		}
		w.Live(all, settleTime)
		proved := map[string]bool{} // transports on which some of a batch was told
		cuts := []int{100_000, 200_000, 280_000, 450_000}
		for round, cut := range longer(cuts, append(cuts, 40_000, 150_000, 350_000, 600_000)) {
			for n := range 20 { // so that the old revisions are higher
				w.Put("high", Note(100*round+n))
			}
			w.settle(all)
			before := map[string]int{}
			for _, watch := range all {
				before[watch.ID] = len(watch.Reports())
			}
			w.Proxy.CutOpenAfter(cut)
			w.Write(batch(3*round + 1))
			for _, watch := range all {
				if cut > 300_000 && (watch.Via == "grpc-web" || watch.Via == "sse") {
					continue // each has a connection of its own, which all of it may go through
				}
				w.Await(watch, settleTime, "cut", func(reports []Report) bool {
					return slices.ContainsFunc(reports[before[watch.ID]:], func(r Report) bool { return r.State == "BACKING_OFF" })
				})
			}
			w.Proxy.Refuse()
			w.Node.Stop()
			for _, watch := range all {
				w.Await(watch, settleTime, "end of the node", func(reports []Report) bool { return lastState(reports) != "LIVE" })
				told := 0
				for _, r := range watch.Reports()[before[watch.ID]:] {
					if r.Event != nil {
						told++
					}
				}
				proved[watch.Via] = proved[watch.Via] || !watch.Mirror && told > 0 && told < 60
				if err := watch.check(); err != nil {
					t.Fatalf("%s: %v\n%s", watch.ID, err, watch.tail())
				}
			}
			empty(t, w.Node.Data)
			w.Node.Start()
			w.Writer = NewWriter(t, w.Node.URL(""), "notes")
			w.Write(batch(3*round + 2))
			for _, watch := range all {
				watch.Ledger.Journal, watch.Ledger.Resets, watch.last = w.Journal, nil, 0
			}
			w.Proxy.Accept()
			w.Settle(all)
			w.Write(batch(3*round + 3)) // at a revision that is lower than what was told
			w.Settle(all)
			for _, watch := range all {
				for _, reason := range watch.Ledger.Resets {
					if reason != "EPOCH" {
						t.Errorf("%s was told RESET %v", watch.ID, watch.Ledger.Resets)
					}
				}
			}
		}
		for _, watch := range all {
			if !proved[watch.Via] {
				t.Errorf("on %s no watch was told some of a batch", watch.Via)
			}
		}
	})
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// A snapshot that is cut begins anew: RESET, INTERRUPTED; the first one, and one behind a
// reset, which has left no token.
func TestReset_Interrupted(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.many(4000, 4000, 200)
		w.Proxy.CutAtRandom(func() int { return 400_000 })
		var all []*Watch
		for _, via := range c.Via {
			if via != "long-poll" && via != "ladder" { // an answer is complete or is not taken
				all = append(all, w.Open("every-"+via, Options{Via: via, Every: true}), w.Open("mirror-"+via, Options{Via: via, Mirror: true}))
			}
		}
		interrupted := func(state string, from map[string]int) {
			t.Helper()
			for _, watch := range all {
				w.Await(watch, settleTime, "BACKING_OFF in the "+state, func(reports []Report) bool {
					was := ""
					for _, r := range reports[min(from[watch.ID], len(reports)):] {
						if r.State == "BACKING_OFF" && was == state {
							return true
						}
						if r.State != "" {
							was = r.State
						}
					}
					return false
				})
			}
			w.Proxy.CutAtRandom(nil)
			w.Settle(all)
			// Some may have been cut before they had told anything.
			if !slices.ContainsFunc(all, func(watch *Watch) bool { return slices.Contains(watch.Ledger.Resets, "INTERRUPTED") }) {
				t.Error("no watch was told RESET INTERRUPTED")
			}
		}
		interrupted("SNAPSHOT", nil)

		w.Proxy.Refuse()
		w.Node.Stop()
		empty(t, w.Node.Data)
		w.Node.Start()
		w.Writer = NewWriter(t, w.Node.URL(""), "notes")
		w.many(4000, 4000, 201)
		from := map[string]int{}
		for _, watch := range all {
			watch.Ledger.Journal, watch.Ledger.Resets, watch.last = w.Journal, nil, 0
			from[watch.ID] = len(watch.Reports())
		}
		w.Proxy.CutAtRandom(func() int { return 400_000 })
		w.Proxy.Accept()
		interrupted("RESETTING", from)
		// It may be cut between `started` and `reset`: then EPOCH is never told.
		for _, watch := range all {
			for _, reason := range watch.Ledger.Resets {
				if reason != "EPOCH" && reason != "INTERRUPTED" {
					t.Errorf("%s was told RESET %v", watch.ID, watch.Ledger.Resets)
				}
			}
		}
	})
}

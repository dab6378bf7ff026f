package conformance

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/hostile"
)

// A program that does not ask for events while up to 10,000 changes of 2 KB come costs its
// process little, hears all of EVERY_CHANGE, and of LATEST what is left when it goes on.
func TestProgram_IsSlow(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		// A node whose watches all catch up at once may be silent on each for some seconds.
		w := NewWorld(t, c, Setup{Heartbeat: "5s"})
		const silenceLimit = 10 * time.Second
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		w.settle(all)
		address := w.Proxy.Address
		if c.HTTP {
			address = "http://" + address
		}
		process, err := hostile.Find(address)
		if err != nil {
			t.Fatal(err)
		}
		before, _ := process.Memory()
		w.Pause(all)
		paused := time.Now()
		// The node drops who takes nothing for 30 s: on a busy machine there are fewer changes.
		changes := w.manyWithin(15*time.Second, 10_000, 100, 2000)
		time.Sleep(max(3*time.Second, time.Until(paused.Add(silenceLimit+2*time.Second)))) // and longer than what is under way takes
		after, _ := process.Memory()
		t.Logf("resident: %d MiB before, %d MiB with %d MiB of changes for each of %d watches", before>>20, after>>20, changes*2000>>20, len(all))
		if grown := after - before; grown > 32<<20 {
			t.Errorf("the driver has grown by %d MiB", grown>>20)
		}
		for _, watch := range all {
			if got := watch.States(); watch.Via != "ladder" && len(got) != 3 {
				t.Errorf("%s took a slow program for a broken connection: %v", watch.ID, got)
			}
			w.Driver.Send(map[string]any{"op": "go", "id": watch.ID})
		}
		w.Settle(all)
		anywhere := 0
		for _, watch := range all {
			stayed := len(watch.States()) == 3
			if !stayed && watch.Via != "ladder" {
				t.Errorf("%s did not stay on its connection when its program went on: %v\n%s", watch.ID, watch.Course(), watch.tail())
			}
			if watch.Mirror || watch.Ledger.Every || !stayed { // who comes back is not told how much was folded
				continue
			}
			told, folded := 0, 0
			for _, e := range watch.Events() {
				if e.Name != "notes/before" && (e.Kind == "PRESENT" || e.Kind == "ABSENT") {
					told, folded = told+1, folded+e.Coalesced
				}
			}
			if told+folded != changes {
				t.Errorf("%s: %d events and %d changes that were folded into them are not the %d that there were", watch.ID, told, folded, changes)
			}
			t.Logf("%s: %d events, %d folded", watch.ID, told, folded)
			anywhere += folded // what fits into the buffers of sockets is told one by one
		}
		if anywhere == 0 {
			t.Error("nothing was folded")
		}
	})
}

// A token in a store outlives the process. What the program had not finished with comes
// again, and nothing else.
func TestStore_OutlivesTheProcess(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("a", Note(1))
		dir := t.TempDir()
		open := func(from *uint64, delta bool) (all []*Watch) {
			for _, via := range c.Via {
				for kind, o := range map[string]Options{"every": {Every: true}, "latest": {}, "delta": {Delta: true, Every: true}} {
					o.Via, o.Store, o.From = via, filepath.Join(dir, kind+via), from
					all = append(all, w.Open(kind+"-"+via, o))
				}
			}
			return all
		}
		all := open(nil, true)
		w.Live(all, settleTime)
		w.Write(map[string]any{"a": Note(2), "b": Note(2)})
		w.settle(all)
		w.Driver.End()
		from := w.Last()
		w.Put("c", Note(3))
		w.Delete("b")

		w.StartDriver()
		all = open(&from, false)
		w.Settle(all)
		for _, watch := range all {
			if states := watch.States(); states[0] != "RESUMING" {
				t.Errorf("%s did not begin with its token: %v", watch.ID, states)
			}
		}
		// Now it is killed in the middle of an event.
		from = w.Last()
		w.Pause(all)
		w.Put("d", Note(4))
		w.Put("e", Note(5))
		time.Sleep(2 * time.Second) // in which the event comes, and a token would be saved
		w.Driver.Kill()
		w.StartDriver()
		all = open(&from, false)
		w.Settle(all)
	})
}

func TestMirror_AnswersReaders(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("a", Note(1))
		var mirrors []*Watch
		for _, via := range c.Via {
			mirrors = append(mirrors, w.Open("mirror-"+via, Options{Via: via, Mirror: true}))
		}
		w.Live(mirrors, settleTime)
		w.settle(mirrors)

		// What was written is read after waitFor.
		next := w.Last() + 1
		for _, m := range mirrors {
			w.Driver.Send(map[string]any{"op": "waitFor", "id": m.ID, "revision": itoa(next)})
		}
		w.Put("b", Note(2))
		for _, m := range mirrors {
			w.Await(m, settleTime, "answer to waitFor", func(reports []Report) bool {
				return slices.ContainsFunc(reports, func(r Report) bool { return r.Reached >= next })
			})
			if dump := w.Dump(m); dump.Revision < next || len(dump.Resources) != 2 {
				t.Errorf("%s: behind waitFor it shows %+v", m.ID, dump)
			}
		}

		// A callback that blocks holds up no reader, and what it missed comes.
		w.Pause(mirrors)
		w.Put("a", Note(3))
		w.Put("a", Note(4))
		for _, m := range mirrors {
			w.consistent(m, w.Dump(m))
			w.Driver.Send(map[string]any{"op": "go", "id": m.ID})
		}
		w.Settle(mirrors)

		// liveAsOf goes on while it is quiet, and stands still while it is away.
		time.Sleep(2500 * time.Millisecond) // more than two heartbeats
		for _, m := range mirrors {
			if age := time.Since(liveAsOf(t, w.Dump(m))); age > 2200*time.Millisecond {
				t.Errorf("%s is live as of %v ago", m.ID, age)
			}
		}
		w.Proxy.Refuse()
		for _, m := range mirrors {
			w.Await(m, settleTime, "BACKING_OFF", func(reports []Report) bool {
				return slices.Contains([]string{"BACKING_OFF", "RESUMING"}, lastState(reports))
			})
		}
		first := map[string]time.Time{}
		for _, m := range mirrors {
			first[m.ID] = liveAsOf(t, w.Dump(m))
		}
		time.Sleep(time.Second) // away
		for _, m := range mirrors {
			dump := w.Dump(m)
			if at := liveAsOf(t, dump); !at.Equal(first[m.ID]) {
				t.Errorf("%s is away, and its liveAsOf moves from %v to %v", m.ID, first[m.ID], at)
			}
			if w.consistent(m, dump); dump.State == "LIVE" {
				t.Errorf("%s is away, and LIVE", m.ID)
			}
		}
		w.Put("a", Note(5))
		w.Proxy.Accept()
		w.Settle(mirrors)
	})
}

// Batches of 100 KB, which are more than a message, are cut in their middle.
func TestMirror_NeverShowsHalfABatch(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.many(20, 20, 5000)
		var all []*Watch
		for _, via := range c.Via {
			all = append(all, w.Open("mirror-"+via, Options{Via: via, Mirror: true}), w.Open("every-"+via, Options{Via: via, Every: true}),
				w.Open("delta-"+via, Options{Via: via, Delta: true}))
		}
		w.Live(all, settleTime)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		w.Proxy.CutAtRandom(func() int { return 50_000 + random.IntN(400_000) })
		w.Proxy.Cut()
		polled := w.Poll(all, 40*time.Millisecond)
		for n := range longer(30, 150) {
			batch := map[string]any{}
			for i := range 20 {
				note := Note(n)
				note["filler"] = strings.Repeat("x", 5000)
				batch[name("many", i)] = note
			}
			w.Write(batch)
			time.Sleep(50 * time.Millisecond) // so that batches do not fold into one
		}
		w.Proxy.CutAtRandom(nil)
		w.Proxy.Cut()
		polled()
		w.Settle(all)
		t.Logf("%d connections", w.Proxy.Accepted())
	})
}

func liveAsOf(t *testing.T, d *Dump) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, d.LiveAsOf)
	if err != nil {
		t.Error(err)
	}
	return at
}

// Waits are random, at most the ceiling, which doubles; and begins anew behind a success.
func TestBackOff_Waits(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		// Machines are busy: what is asked of a single wait is little, of all of them more.
		const first, most, slack = 100 * time.Millisecond, 400 * time.Millisecond, 700 * time.Millisecond
		w := NewWorld(t, c, Setup{Flags: []string{"--first", first.String(), "--most", most.String()}})
		w.Put("a", Note(1))
		var all []*Watch
		for _, via := range c.Via {
			if via != "ladder" {
				all = append(all, w.Open("watch-"+via, Options{Via: via, Every: true}))
			}
		}
		w.Live(all, settleTime)
		for range 2 {
			w.Put("a", Note(int(w.Last())+1))
			w.settle(all) // a message behind started: the ceiling begins anew
			before := map[string]int{}
			for _, watch := range all {
				before[watch.ID] = len(watch.Reports())
			}
			w.Proxy.Refuse()
			time.Sleep(4 * time.Second) // away
			w.Proxy.Accept()
			w.Live(all, settleTime)
			for _, watch := range all {
				checkWaits(t, watch, before[watch.ID], first, most, slack)
			}
		}
		w.Settle(all)
	})
}

func checkWaits(t *testing.T, watch *Watch, from int, first, most, slack time.Duration) {
	t.Helper()
	watch.driver.mu.Lock()
	reports, times := slices.Clone(watch.driver.reports[watch.ID]), slices.Clone(watch.driver.at[watch.ID])
	watch.driver.mu.Unlock()
	var waits, top []time.Duration
	began, ceiling := time.Time{}, first
	for i := from; i < len(reports); i++ {
		switch reports[i].State {
		case "BACKING_OFF":
			began = times[i]
		case "CONNECTING", "RESUMING":
			if began.IsZero() {
				continue
			}
			wait := times[i].Sub(began)
			if waits = append(waits, wait); wait > ceiling+slack {
				t.Errorf("%s: wait %d was %v, its ceiling %v", watch.ID, len(waits), wait, ceiling)
			}
			if ceiling == most {
				top = append(top, wait)
			}
			began, ceiling = time.Time{}, min(2*ceiling, most)
		}
	}
	switch {
	case len(top) < 6: // 18 on average
		t.Errorf("%s: only %d attempts in 4 s: %v", watch.ID, len(waits), waits)
	case slices.Min(top) > most*3/4:
		t.Errorf("%s: the waits are not random: %v", watch.ID, waits)
	case slices.Max(top) < most/2:
		t.Errorf("%s: the ceiling did not grow: %v", watch.ID, waits)
	}
}

// Behind a proxy that buffers, a ladder goes down to long-poll; without it, up again.
func TestLadder_StepsDownAndUp(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		if !slices.Contains(c.Via, "ladder") {
			t.Skip("the client has no ladder")
		}
		w := NewWorld(t, c, Setup{})
		w.Put("a", Note(1))
		w.Proxy.Buffer(true)
		all := []*Watch{w.Open("every", Options{Via: "ladder", Every: true}), w.Open("latest", Options{Via: "ladder", Delta: true}),
			w.Open("mirror", Options{Via: "ladder", Mirror: true})}
		w.Live(all, settleTime)
		stop := w.Load(loadPause)
		time.Sleep(longer(2*time.Second, 10*time.Second)) // of load
		stop()
		w.Settle(all)
		rungs := func(reports []Report) (rungs []string) {
			for _, r := range reports {
				if r.State == "LIVE" || r.State == "SNAPSHOT" || r.State == "RESETTING" {
					rungs = append(rungs, r.Via)
				}
			}
			return slices.Compact(rungs)
		}
		for _, watch := range all {
			if got := rungs(watch.Reports()); !slices.Equal(got, []string{"long-poll"}) {
				t.Errorf("%s: behind a proxy that buffers it was live by %v", watch.ID, got)
			}
		}
		w.Proxy.Buffer(false)
		w.Proxy.Cut()
		stop = w.Load(loadPause)
		for _, watch := range all {
			w.Await(watch, settleTime, "LIVE by gRPC-Web", func(reports []Report) bool {
				got := rungs(reports)
				return len(got) > 0 && got[len(got)-1] == "grpc-web"
			})
		}
		stop()
		w.Settle(all)
		for _, watch := range all {
			t.Logf("%s: %v", watch.ID, rungs(watch.Reports()))
		}
	})
}

package conformance

import (
	"testing"
	"time"
)

const day = 24 * time.Hour

// The time of day jumps, by a day forward and back, while changes come, and again and again
// while it is quiet, so that it does within each wait for a message: nothing is lost or
// doubled, and no connection is taken for silent. A mirror says as of when it is live by the
// time that its machine has.
func TestClock_Jumps(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{Clock: NewWallClock(t)})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		ahead := time.Duration(0)
		for _, jump := range []time.Duration{day, -day} {
			stop := w.Load(loadPause)
			for range longer(2, 20) {
				time.Sleep(250 * time.Millisecond) // of load
				ahead += jump
				w.Clock.Set(t, ahead)
			}
			stop()
			w.Settle(all)
			for range longer(25, 100) { // longer than silence_limit
				time.Sleep(150 * time.Millisecond) // of quiet
				ahead += jump
				w.Clock.Set(t, ahead)
			}
			time.Sleep(1500 * time.Millisecond) // a heartbeat comes, at least
			for _, watch := range all {
				if !watch.Mirror {
					continue
				}
				if age := w.Clock.Now().Sub(liveAsOf(t, w.Dump(watch))); age < 0 || age > 2200*time.Millisecond {
					t.Errorf("%s is live as of %v ago, by a clock that is %v ahead", watch.ID, age, ahead)
				}
			}
		}
		w.Put("after", Note(0))
		w.Settle(all)
		for _, watch := range all {
			if got := watch.States(); len(got) != 3 && watch.Via != "ladder" {
				t.Errorf("%s went through %v, with nothing to disturb it but the clock", watch.ID, got)
			}
		}
	})
}

// The time of day jumps while a connection is silent and while watches wait to come back:
// silence is found and waits are over when they would have been.
func TestClock_JumpsWhileAway(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{Clock: NewWallClock(t), Flags: []string{"--first", "500ms", "--most", "1s"}})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		for n, ahead := range []time.Duration{-day, day} {
			before := map[string]int{}
			for _, watch := range all {
				before[watch.ID] = len(watch.Reports())
			}
			w.Proxy.Freeze()
			time.Sleep(500 * time.Millisecond) // of silence
			w.Clock.Set(t, ahead)
			for _, watch := range all {
				if watch.Via == "ladder" || watch.Via == "long-poll" {
					continue
				}
				w.Await(watch, 8*time.Second, "BACKING_OFF for silence", func(reports []Report) bool {
					for _, r := range reports[before[watch.ID]:] {
						if r.State == "BACKING_OFF" {
							return true
						}
					}
					return false
				})
			}
			w.Proxy.Refuse()
			w.Proxy.Thaw()
			w.Put("before", Note(n+1))
			time.Sleep(time.Second) // away
			w.Clock.Set(t, -ahead)
			time.Sleep(time.Second) // away
			w.Proxy.Accept()
			back := time.Now()
			w.Settle(all)
			if took := time.Since(back); took > 20*time.Second {
				t.Errorf("with a ceiling of 1 s for waits, coming back took %v", took)
			}
			w.Clock.Set(t, 0)
		}
	})
}

// The time of day jumps while a credential of 8 s is used up. The renewal that was planned
// comes when it is due; one that cannot be planned by a wrong clock is left out, and the watches come back at once when
// the credential has expired. Nobody asks for credentials without a stop.
func TestClock_JumpsUnderACredential(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		g := newGuarded(t, c, NewWallClock(t))
		life := func() string { return g.token("ada", 8*time.Second) }
		g.Driver.Credential(life())
		g.Put("a", owned("ada", 0))
		var all []*Watch
		for _, via := range c.Via {
			if via == "session" || via == "websocket" {
				all = append(all, g.Open("every-"+via, Options{Via: via, Every: true}), g.Open("delta-"+via, Options{Via: via, Delta: true, Every: true}),
					g.Open("mirror-"+via, Options{Via: via, Mirror: true}))
			}
		}
		for _, watch := range all {
			watch.Allowed = merged(watch.Allowed, atOnce)
		}
		g.Live(all, settleTime)
		n := 0
		seconds := func(count int) {
			for range count {
				time.Sleep(time.Second) // the life of credentials
				n++
				g.Driver.Credential(life())
				g.Put("a", owned("ada", n))
			}
		}
		seconds(1)
		for _, ahead := range []time.Duration{day, -day} {
			before := g.Driver.Asked()
			g.Clock.Set(t, ahead)
			seconds(longer(11, 40))
			g.Settle(all)
			asked := g.Driver.Asked() - before
			t.Logf("%v ahead, the provider was asked %d times", ahead, asked)
			if most := longer(11, 40) / 2; asked > most {
				t.Errorf("by a clock that is %v ahead, the provider was asked %d times for credentials that live 8 s", ahead, asked)
			}
		}
		// By the right clock a session goes on.
		g.Clock.Set(t, 0)
		seconds(9)
		g.Settle(all)
		before := map[string]int{}
		for _, watch := range all {
			before[watch.ID] = len(watch.States())
		}
		seconds(7)
		g.Settle(all)
		for _, watch := range all {
			if states := watch.States(); len(states) != before[watch.ID] {
				t.Errorf("%s did not go on under a fresh credential, by a clock that is right again: %v\n%s", watch.ID, states, watch.tail())
			}
		}
	})
}

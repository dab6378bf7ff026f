package conformance

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

const loadPause = 4 * time.Millisecond

func TestQuiet_EverythingIsToldOnce(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		polled := w.Poll(all, 20*time.Millisecond)
		stop := w.Load(loadPause)
		time.Sleep(longer(time.Second, 5*time.Second)) // of load
		stop()
		polled()
		w.Settle(all)
		for _, watch := range all {
			if got := watch.States(); len(got) != 3 && watch.Via != "ladder" {
				t.Errorf("%s went through %v, with nothing to disturb it", watch.ID, got)
			}
		}
	})
}

func TestServer_Restarts(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{Args: []string{"--drain-spread", "300ms", "--drain-time", "3s"}})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		for range longer(1, 5) {
			stop := w.Load(loadPause)
			w.Node.Stop()
			w.Node.Start()
			w.Live(all, settleTime)
			stop()
			w.Settle(all)
		}
		for _, watch := range all {
			if watch.Via != "long-poll" && watch.Via != "ladder" && !watch.Has("DRAINING") {
				t.Errorf("%s was never DRAINING: %v", watch.ID, watch.States())
			}
		}
	})
}

func TestServer_IsKilled(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		for range longer(2, 8) {
			stop := w.Load(loadPause)
			time.Sleep(200 * time.Millisecond) // of load
			w.Node.Kill()
			w.Node.Start()
			w.Live(all, settleTime)
			stop()
			w.Settle(all)
		}
	})
}

// Under load each connection is cut, one after the other, after a random number of bytes.
func TestConnection_IsCutUnderLoad(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random, cuts := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1)) // the latter is the proxy's
		w.Proxy.CutAtRandom(func() int { return 1 + cuts.IntN(20_000) })
		w.Proxy.Cut()
		polled := w.Poll(all, 20*time.Millisecond)
		stop := w.Load(loadPause)
		// Programs that rest are in the middle of a message when its stream is cut.
		for deadline := time.Now().Add(longer(4*time.Second, 20*time.Second)); time.Now().Before(deadline); {
			resting := all[random.IntN(len(all))]
			w.Driver.Send(map[string]any{"op": "pause", "id": resting.ID})
			time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
			w.Driver.Send(map[string]any{"op": "go", "id": resting.ID})
		}
		w.Proxy.CutAtRandom(nil)
		w.Proxy.Cut()
		stop()
		polled()
		w.Settle(all)
		t.Logf("%d connections", w.Proxy.Accepted())
	})
}

func TestConnection_IsHalfOpen(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		stop := w.Load(loadPause)
		w.Proxy.Freeze()
		for _, watch := range all {
			w.Await(watch, 8*time.Second, "BACKING_OFF for silence", func(reports []Report) bool {
				for _, r := range reports {
					if r.State == "BACKING_OFF" {
						return true
					}
				}
				return false
			})
		}
		w.Proxy.Thaw()
		stop()
		w.Settle(all)
	})
}

// The beginning of each connection goes through, and then nothing more, without an end.
func TestConnection_FallsMute(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		stop := w.Load(loadPause)
		w.Proxy.Mute(6000)
		time.Sleep(longer(5*time.Second, 20*time.Second)) // of load
		for _, watch := range all {
			if !watch.Has("BACKING_OFF") && watch.Via != "ladder" {
				t.Errorf("%s did not come back from silence: %v", watch.ID, watch.States())
			}
		}
		w.Proxy.Mute(-1)
		w.Proxy.Cut() // those that are mute from their beginning: TestConnection_IsHalfOpen waits for such
		stop()
		w.Settle(all)
	})
}

func TestProgram_IsStoppedAndGoesOn(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		w.Driver.Signal(syscall.SIGSTOP)
		stop := w.Load(loadPause)
		time.Sleep(3500 * time.Millisecond) // longer than silence_limit
		stop()
		w.Driver.Signal(syscall.SIGCONT)
		w.Settle(all)
	})
}

func TestOffline_TenThousandChanges(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("before", Note(0))
		all := w.OpenAll()
		w.Live(all, settleTime)
		w.Proxy.Refuse()
		w.many(10_000, 100, 0)
		w.Proxy.Accept()
		w.Settle(all)
	})
}

// many writes so many changes of so many names, with values of about so many bytes.
func (w *World) many(changes, names, size int) {
	w.T.Helper()
	w.manyWithin(time.Hour, changes, names, size)
}

// manyWithin is many, but that it stops after some time. It gives how many changes it has made.
func (w *World) manyWithin(limit time.Duration, changes, names, size int) (n int) {
	w.T.Helper()
	began := time.Now()
	filler := make([]byte, size)
	for i := range filler {
		filler[i] = byte('a' + i%23)
	}
	for n < changes && time.Since(began) < limit {
		batch := map[string]any{}
		for range min(50, changes-n) {
			value := Note(n)
			if size > 0 {
				value["filler"] = string(filler)
			}
			batch[name("many", n%names)] = value
			n++
		}
		w.Write(batch)
	}
	return n
}

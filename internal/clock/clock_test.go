package clock_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/watchroute/watchroute/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bell notes when it rings.
type bell struct {
	mu    sync.Mutex
	alarm clock.Alarm
	rung  []time.Duration
	began time.Time
}

func (b *bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = append(b.rung, time.Since(b.began))
}

func TestClock_RingsEachAlarmAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		defer c.Close()
		began := time.Now()
		r := rand.New(rand.NewPCG(1, 2))
		bells := make([]*bell, 1000)
		want := make([]time.Duration, len(bells))
		for i := range bells {
			bells[i] = &bell{began: began}
			for range 1 + r.IntN(3) { // the last time counts
				want[i] = time.Duration(r.IntN(int(time.Minute)))
				c.Set(&bells[i].alarm, bells[i], began.Add(want[i]))
			}
			if r.IntN(4) == 0 {
				c.Stop(&bells[i].alarm)
				c.Stop(&bells[i].alarm)
				want[i] = -1
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for i, b := range bells {
			if want[i] < 0 && len(b.rung) == 0 {
				continue
			}
			if !slices.Equal(b.rung, []time.Duration{want[i]}) {
				t.Fatalf("alarm %d was set to %v and rang at %v", i, want[i], b.rung)
			}
		}
		if n := c.Len(); n != 0 {
			t.Errorf("%d alarms are left", n)
		}
	})
}

// again sets its alarm again when it rings.
type again struct {
	bell
	clock *clock.Clock
}

func (a *again) Ring() {
	a.bell.Ring()
	a.clock.Set(&a.alarm, a, time.Now().Add(time.Second))
}

func TestClock_AnAlarmMaySetItselfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		a := &again{clock: c, bell: bell{began: time.Now()}}
		c.Set(&a.alarm, a, time.Now().Add(-time.Second)) // past: at once
		time.Sleep(2500 * time.Millisecond)
		c.Close()
		c.Close()
		if want := []time.Duration{0, time.Second, 2 * time.Second}; !slices.Equal(a.rung, want) {
			t.Errorf("it rang at %v, not %v", a.rung, want)
		}
		c.Set(&a.alarm, a, time.Now())
		time.Sleep(time.Second)
		if len(a.rung) != 3 {
			t.Errorf("it rang after Close: %v", a.rung)
		}
	})
}

type silent struct{ alarm clock.Alarm }

func (*silent) Ring() {}

// BenchmarkSet sets one of 100,000 alarms anew.
func BenchmarkSet(b *testing.B) {
	c := clock.New()
	defer c.Close()
	alarms := make([]silent, 100_000)
	at := time.Now().Add(time.Hour)
	for i := range alarms {
		c.Set(&alarms[i].alarm, &alarms[i], at.Add(time.Duration(i)))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		c.Set(&alarms[i%len(alarms)].alarm, &alarms[i%len(alarms)], at.Add(time.Duration(i)*time.Microsecond))
	}
}

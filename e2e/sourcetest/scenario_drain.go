package sourcetest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// drainKeys is how many things are drained into; a list has room for them.
	drainKeys = 900
	// drainPad makes an event about 1 KB of JSON.
	drainPad = 960
	// drainBatch is how many events are published at a time.
	drainBatch = 5000
)

// drain: a broker has many events, and the source comes. It says how fast that goes, and
// what it costs, beside a bare client that only reads.
func drain(w *world) {
	count := 20_000
	if full() {
		count = 1_000_000
	}
	w.producer.keys = nil
	for i := range drainKeys {
		w.producer.keys = append(w.producer.keys, fmt.Sprintf("k%d", i))
	}
	text := noise(w.chance, 1<<20)
	publish := func() {
		for left := count; left > 0; left -= drainBatch {
			events := w.producer.next(min(left, drainBatch))
			for i := range events {
				at := w.chance.IntN(len(text) - drainPad)
				events[i].Pad = text[at : at+drainPad]
			}
			w.publish(events)
		}
	}
	w.run()
	base := w.head() + drainKeys
	w.publish(w.producer.each()) // a source that has taken nothing yet begins with a snapshot
	w.eventually("the first event of each key is read", func() bool { return w.head() == base })
	if !w.connector.Posts {
		w.write(paused)
		w.becomes(isPaused)
		publish()
	}
	began, before := time.Now(), w.cpu()
	if w.connector.Posts {
		publish()
	} else {
		w.write()
	}
	var first time.Time
	for deadline := began.Add(patience + time.Duration(count)*time.Millisecond); ; {
		head := w.head()
		if first.IsZero() && head > base {
			first = time.Now()
		}
		if head >= base+count {
			break
		}
		if time.Now().After(deadline) {
			w.Fatalf("%d of %d events are read after %v; the source: %s", head-base, count, time.Since(began), w.statuses.text())
		}
		<-time.After(again)
	}
	wall, cpu := time.Since(began), w.cpu()-before
	told := fmt.Sprintf("%d events of %d bytes: %s", count, drainPad, cost(count, wall, cpu))
	if !w.connector.Posts {
		told += fmt.Sprintf("; %v to the first", first.Sub(began).Round(time.Millisecond))
	}
	if bare, ok := w.broker.(BareReader); ok {
		began, before := time.Now(), ownCPU()
		bare.ReadBare(w, count)
		bareWall, bareCPU := time.Since(began), ownCPU()-before
		told += fmt.Sprintf("\na bare client: %s; it takes %.2f of the time and %.2f of the CPU", cost(count, bareWall, bareCPU), ratio(bareWall, wall), ratio(bareCPU, cpu))
	}
	w.Log(told)
	if head := w.head(); head != base+count {
		w.Errorf("%d events have made %d changes", count, head-base)
	}
	state := w.state()
	for key, n := range w.producer.lasts() {
		if got := state[things+"/"+key]; got != n {
			w.Errorf("things/%s is n %d, not %d", key, got, n)
		}
	}
}

// noise gives text that no broker's client can make much smaller.
func noise(r *rand.Rand, size int) string {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(strconv.FormatUint(r.Uint64(), 36))
	}
	return b.String()
}

func (w *world) cpu() time.Duration {
	cpu, _ := w.node.Usage()
	return cpu
}

// ownCPU is what the test's process has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // it knows itself
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func cost(count int, wall, cpu time.Duration) string {
	return fmt.Sprintf("%.0f events/s, %.1f s of CPU for a million", float64(count)/wall.Seconds(), cpu.Seconds()/float64(count)*1e6)
}

func ratio(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }

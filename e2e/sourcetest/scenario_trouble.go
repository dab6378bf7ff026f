package sourcetest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// noticed is how long a broker is away at least for its source to have to say so.
const noticed = 3 * time.Second

// brokerIsKilled: by SIGKILL while events come, and it comes again with what it has.
func brokerIsKilled(w *world) {
	w.look()
	w.run()
	end := w.publishing()
	w.reaches(w.soon())
	mark, began := w.statuses.mark(), time.Now()
	if !w.broker.Restart(w) {
		end()
		w.Skip("there is no broker that could be restarted")
	}
	away := time.Since(began)
	w.reaches(w.soon())
	end()
	w.settles()
	said := w.statuses.said(mark, backingOff)
	w.Logf("the broker was away for %v; the source said that it backs off: %v", away.Round(time.Millisecond), said)
	if away > noticed && !said {
		w.Errorf("the broker was away for %v, and the source has not said that it backs off: %s", away, w.statuses.text())
	}
}

// backsOff: what the source needs is not there, at first and later; when it is there the
// source runs by itself.
func backsOff(w *world) {
	w.look()
	start, stop, _ := w.needs()
	mark := w.statuses.mark()
	w.write()
	w.says(mark, backingOff)
	start()
	w.becomes(running)
	w.publish(w.producer.next(200))
	w.until("all that was published is seen", func() bool { return w.journal.hasLocked(w.producer.lasts()) })
	if !w.connector.Advertises && !w.connector.Posts {
		mark := w.statuses.mark()
		stop()
		w.says(mark, backingOff)
		w.publish(w.producer.next(200))
		start()
		w.becomes(running)
	}
	w.settles()
}

// unheard is how long a broker may give events whose acknowledgements it does not get.
const unheard = time.Second

// acknowledgementsAreLost: the broker hears nothing of what was taken, and gives it again
// if it does not know by positions.
func acknowledgementsAreLost(w *world) {
	w.look()
	start, stop, deaf := w.needs()
	start()
	w.run()
	for range 2 {
		w.publish(w.producer.next(200))
		w.until("all that was published is seen", func() bool { return w.journal.hasLocked(w.producer.lasts()) })
		deaf.Store(true)
		w.publish(w.producer.next(200))
		last := w.producer.lasts()
		ctx, cancel := context.WithTimeout(context.Background(), unheard)
		w.journal.wait(ctx, func() bool { return w.journal.hasLocked(last) }) // who asks for events is not heard, either
		cancel()
		mark := w.statuses.mark()
		stop()
		w.says(mark, backingOff)
		deaf.Store(false)
		start()
		w.becomes(running)
	}
	w.settles()
	w.Logf("the broker gave %d events again", w.status().GetDuplicates())
}

var (
	address = regexp.MustCompile(`(?:127\.0\.0\.1|localhost):(\d+)`)
	file    = regexp.MustCompile(`"file":"([^"]+)"`)
)

// needs gives the source another address, where nobody is yet, or a file that is not there,
// if it has no address. What it gives lets that be there, takes it away, and lets what is
// said to the address be lost.
func (w *world) needs() (start, stop func(), deaf *atomic.Bool) {
	w.Helper()
	raw, err := json.Marshal(w.source)
	if err != nil {
		w.Fatal(err)
	}
	source := string(raw)
	if found := address.FindString(source); found != "" {
		f := newForwarder(w, found)
		w.change(strings.ReplaceAll(source, found, f.addr))
		return f.start, f.stop, &f.deaf
	}
	found := file.FindStringSubmatch(source)
	if found == nil {
		w.Fatalf("the source has neither an address nor a file: %s", source)
	}
	path := filepath.Join(w.TempDir(), "later")
	w.change(strings.ReplaceAll(source, found[1], path))
	return func() {
		raw, err := os.ReadFile(found[1])
		if err == nil {
			err = os.WriteFile(path, raw, 0o600)
		}
		if err != nil {
			w.Fatal(err)
		}
	}, func() { _ = os.Remove(path) }, nil
}

// change lets the source be another one from now on.
func (w *world) change(source string) {
	w.Helper()
	w.source = nil
	if err := json.Unmarshal([]byte(source), &w.source); err != nil {
		w.Fatal(err)
	}
}

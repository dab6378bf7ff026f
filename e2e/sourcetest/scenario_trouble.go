package sourcetest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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
	raw, err := json.Marshal(w.source)
	if err != nil {
		w.Fatal(err)
	}
	text, start, stop := w.needs(string(raw))
	source := w.source
	w.source = nil
	if err := json.Unmarshal([]byte(text), &w.source); err != nil {
		w.Fatal(err)
	}
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
	w.source = source
}

var (
	address = regexp.MustCompile(`(?:127\.0\.0\.1|localhost):(\d+)`)
	file    = regexp.MustCompile(`"file":"([^"]+)"`)
)

// needs gives the source with another address, where nobody is yet, or with a file that is
// not there, if it has no address; and what lets it be there, and takes it away.
func (w *world) needs(source string) (text string, start, stop func()) {
	w.Helper()
	if found := address.FindString(source); found != "" {
		f := newForwarder(w, found)
		return strings.ReplaceAll(source, found, f.addr), f.start, f.stop
	}
	found := file.FindStringSubmatch(source)
	if found == nil {
		w.Fatalf("the source has neither an address nor a file: %s", source)
	}
	path := filepath.Join(w.TempDir(), "later")
	return strings.ReplaceAll(source, found[1], path), func() {
		raw, err := os.ReadFile(found[1])
		if err == nil {
			err = os.WriteFile(path, raw, 0o600)
		}
		if err != nil {
			w.Fatal(err)
		}
	}, func() { _ = os.Remove(path) }
}

package sourcetest

import (
	"bytes"
	"net/http"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// poisoned is how many events cannot be used.
const poisoned = 3

// poison: events that cannot be used are kept as they are, and the source goes on. They
// are tried again, in vain and when the source was mended, or dropped.
func poison(w *world) {
	w.look()
	w.run()
	for range poisoned {
		w.publish(w.producer.next(100))
		w.broker.Poison(w, w.node)
	}
	w.settles()
	letters := w.letters()
	if len(letters) != poisoned {
		w.Fatalf("there are %d dead letters, not %d: %v\nthe source: %s", len(letters), poisoned, letters, w.statuses.text())
	}
	for _, m := range letters {
		if !bytes.Contains(m.GetValue(), []byte(w.connector.Poison)) || m.GetReason() == "" || m.GetMessage() == "" || m.GetAttempts() != 1 || m.GetTopic() == "" {
			w.Errorf("a dead letter without %q in its bytes, a reason, a message, a topic, or one attempt: %v", w.connector.Poison, m)
		}
		if m.GetPosition() == "" && m.GetEventId() == "" {
			w.Errorf("a dead letter without a position and an id: %v", m)
		}
	}
	w.eventually("the status counts them", func() bool {
		s := w.status()
		return s.GetDeadLetters() == poisoned && s.GetEvents() == s.GetChanges()+poisoned
	})

	first := letters[0].GetDeadletterId()
	w.replay(first)
	w.eventually("it was tried twice", func() bool {
		m := new(watchroutev1.DeadLetter)
		w.read(w.must(http.MethodGet, deadlettersOf+"/"+first, nil).resource, m)
		return m.GetAttempts() == 2 && !m.GetReplay() && bytes.Equal(m.GetValue(), letters[0].GetValue())
	})

	// As bytes anything can be read.
	w.write(paused, func(source map[string]any) {
		source["decoding"] = map[string]any{"format": "BYTES"}
		source["mappings"] = []any{map[string]any{"collection": "mended", "id": "'all'", "put": "{'size': size(data)}"}}
	})
	w.becomes(isPaused)
	for _, m := range letters[1:] {
		w.replay(m.GetDeadletterId())
	}
	w.eventually("only the first is left", func() bool { return len(w.letters()) == 1 })
	if a := w.must(http.MethodGet, "mended/all", nil); !bytes.Contains(a.Data, []byte(`"size"`)) {
		w.Errorf("replayed: %s", a.Data)
	}
	w.must(http.MethodDelete, deadlettersOf+"/"+first, nil)
	if left := w.letters(); len(left) != 0 {
		w.Errorf("dropped, and still there: %v", left)
	}

	w.write()
	w.becomes(running)
	w.publish(w.producer.next(100))
	w.settles()
	if left := w.letters(); len(left) != 0 {
		w.Errorf("they have come again: %v", left)
	}
}

// replay asks for a dead letter to be tried again.
func (w *world) replay(id string) {
	w.Helper()
	w.must(http.MethodPut, deadlettersOf+"/"+id, map[string]any{"data": map[string]any{"replay": true}})
}

func (w *world) status() *watchroutev1.SourceStatus {
	w.Helper()
	m := new(watchroutev1.SourceStatus)
	w.read(w.must(http.MethodGet, statusOf+"/"+w.id, nil).resource, m)
	return m
}

// eventually waits until something holds that the node is asked for.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			w.Fatalf("it does not come to this in %v: %s; the source: %s", patience, what, w.statuses.text())
		}
		<-time.After(again)
	}
}

package sourcetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/watchroute/watchroute/e2e/process"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

const (
	// patience is how long anything may take.
	patience = time.Minute
	// keys is how many things there are.
	keys = 20
	// seed is the thing by which the collection comes into being.
	seed = "seed"
	// ahead is how many events a producer may be ahead of what was seen, and chunk how many
	// it publishes at a time.
	ahead = 500
	chunk = 50
	// pace is how long it rests between two of these.
	pace = 10 * time.Millisecond
)

// The states, for short.
const (
	running    = watchroutev1.SourceStatus_RUNNING
	backingOff = watchroutev1.SourceStatus_BACKING_OFF
	isPaused   = watchroutev1.SourceStatus_PAUSED
)

// world is one scenario's broker, node, source and producer.
type world struct {
	*testing.T
	connector Connector
	broker    Broker
	node      *process.Server
	conn      *grpc.ClientConn
	id        string         // of the source
	source    map[string]any // as the fixture wants it
	producer  *producer
	chance    *rand.Rand // when something happens
	statuses  *statuses
	journal   *journal // nil: it does not look
	live      *follower
}

// newWorld starts a node. There is no source yet.
func newWorld(t *testing.T, c Connector, b Broker, variant process.Variant) *world {
	t.Helper()
	w := &world{T: t, connector: c, broker: b, source: b.Source(t)}
	w.id = strings.ToLower(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:])
	if id, ok := w.source["source_id"].(string); ok {
		w.id = id
	}
	w.source["source_id"] = w.id
	s := rand.Uint64()
	w.producer, w.chance = newProducer(s, keys), rand.New(rand.NewPCG(s, 1))
	w.place(variant)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the random numbers began with %d; the status was %s", s, w.statuses.text())
		}
	})
	return w
}

// beside gives another node with the same source, and a log of its own.
func (w *world) beside(variant process.Variant) *world {
	w.Helper()
	other := *w
	other.place(variant)
	return &other
}

func (w *world) place(variant process.Variant) {
	w.Helper()
	w.node = process.Start(w, process.Options{Variant: variant, Args: []string{"--auto-create"}})
	w.conn = w.node.Dial()
	w.must(http.MethodPut, things+"/"+seed, map[string]any{"data": map[string]any{"n": 0}})
	w.statuses = &statuses{id: w.id}
	follow(w, &follower{conn: w.conn, parent: statusOf, take: w.statuses.take, wrong: w.statuses.bad})
}

// look begins to check what happens to things.
func (w *world) look() {
	w.Helper()
	w.journal = newJournal()
	w.live = follow(w, &follower{conn: w.conn, parent: things, take: w.journal.take, wrong: w.journal.bad})
}

// run writes the source and waits until it runs.
func (w *world) run() {
	w.Helper()
	w.write()
	w.becomes(running)
}

// becomes waits until the source is in a state.
func (w *world) becomes(state watchroutev1.SourceStatus_State) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !w.statuses.wait(ctx, func() bool {
		return len(w.statuses.wrong) > 0 || w.statuses.lastLocked().GetState() == state && w.statuses.lastLocked() != nil
	}) || len(w.statuses.wrong) > 0 {
		w.Fatalf("the source does not become %v: %s %v", state, w.statuses.text(), w.statuses.wrong)
	}
}

// says waits until the source has been in a state behind a mark.
func (w *world) says(mark int, state watchroutev1.SourceStatus_State) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !w.statuses.said(mark, state) {
		n := w.statuses.mark()
		if !w.statuses.wait(ctx, func() bool { return len(w.statuses.all) > n }) {
			w.Fatalf("the source does not say that it is %v: %s", state, w.statuses.text())
		}
	}
}

// publish publishes events.
func (w *world) publish(events []Event) {
	w.Helper()
	w.broker.Publish(w, w.node, events)
	w.sound()
}

// publishing publishes events in the background, not too fast and not too far ahead of
// what is seen, until it is ended, which waits for it.
func (w *world) publishing() (end func()) { return w.publishingBefore(w.journal) }

func (w *world) publishingBefore(seen *journal) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		base := seen.events() - w.producer.count()
		for ctx.Err() == nil && !w.Failed() {
			w.broker.Publish(w, w.node, w.producer.next(chunk))
			made := w.producer.count()
			seen.wait(ctx, func() bool { return seen.count-base >= made-ahead || len(seen.wrong) > 0 })
			select {
			case <-time.After(pace):
			case <-ctx.Done():
			}
		}
	}()
	w.Cleanup(cancel)
	return func() {
		w.Helper()
		cancel()
		select {
		case <-over:
		case <-time.After(patience):
			w.Fatalf("publishing does not end; %d events are seen\nthe source: %s", w.journal.events(), w.statuses.text())
		}
		w.sound()
	}
}

// soon gives a number of events that are seen before long.
func (w *world) soon() int { return w.journal.events() + 50 + w.chance.IntN(300) }

// sound ends the test if something is wrong.
func (w *world) sound() {
	w.Helper()
	if w.Failed() {
		w.FailNow()
	}
	if w.journal == nil {
		return
	}
	if faults := w.journal.faults(nil); faults != "" {
		w.Fatalf("%s\nthe source: %s", faults, w.statuses.text())
	}
}

// reaches waits until so many events are seen.
func (w *world) reaches(count int) {
	w.Helper()
	w.until(fmt.Sprintf("%d events are seen", count), func() bool { return w.journal.count >= count })
}

// until waits until something of the journal holds, as long as nothing is wrong.
func (w *world) until(what string, holds func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	held := w.journal.wait(ctx, func() bool { return holds() || len(w.journal.wrong) > 0 || w.Failed() })
	w.sound()
	if !held {
		w.Fatalf("it does not come to this in %v: %s; %d events are seen\n%s\nthe source: %s\nthe watch: %v", patience, what, w.journal.events(),
			w.journal.faults(w.producer.lasts()), w.statuses.text(), w.live.why())
	}
}

// settles gives each key one event more, and compares what was published with what the
// watch says, the history, and the state.
func (w *world) settles() {
	w.Helper()
	w.publish(w.producer.each())
	last := w.producer.lasts()
	w.until("all that was published is seen", func() bool { return w.journal.hasLocked(last) })
	if faults := w.journal.faults(last); faults != "" {
		w.Fatalf("%s\nthe source: %s", faults, w.statuses.text())
	}
	w.becomes(running)

	history := newJournal()
	history.first, history.sharp = w.journal.first, w.journal.sharp
	follow(w, &follower{conn: w.conn, parent: things, take: history.take, wrong: history.bad, token: w.live.beginning()})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	history.wait(ctx, func() bool { return history.hasLocked(last) || len(history.wrong) > 0 })
	if faults := history.faults(last); faults != "" {
		w.Fatalf("the history: %s\nthe source: %s", faults, w.statuses.text())
	}
	if seen, kept := w.journal.events(), history.events(); seen != kept {
		w.Errorf("the watch saw %d events, the history has %d", seen, kept)
	}
	state := w.state()
	if seeds := len(state) - len(last); seeds != 1 {
		w.Errorf("there are %d things besides those that were published", seeds-1)
	}
	for key, n := range last {
		if got := state[things+"/"+key]; got != n {
			w.Errorf("things/%s is n %d, not %d", key, got, n)
		}
	}
}

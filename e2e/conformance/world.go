package conformance

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/process"
)

// settleTime is how long a client may take to come back from a fault: longer than the
// 30 s that it waits for `started` on a connection that was dead from the beginning.
const settleTime = 50 * time.Second

// World is a node, a proxy before it, a client's driver and a writer. When the test ends,
// all its watches are checked.
type World struct {
	T      *testing.T
	Client *Client
	Node   *process.Server
	Proxy  *Proxy
	Driver *Driver
	*Writer

	// Clock is the driver's time of day. nil: that of the machine.
	Clock *WallClock
	// Heartbeat is what watches ask for; silence_limit is twice as long.
	Heartbeat string
	// Secrets must not be in the driver's log.
	Secrets []string
	watches []*Watch
	drivers int
}

// Setup says how a world is made; the zero value is a good one.
type Setup struct {
	Args       []string // of the node
	Flags      []string // of the driver
	Collection string   // Default: notes
	Heartbeat  string   // that watches ask for. Default: 1s
	Node       *process.Server
	Clock      *WallClock
	Later      bool // the driver is started by the scenario
}

// NewWorld makes one.
func NewWorld(t *testing.T, c *Client, s Setup) *World {
	t.Helper()
	c.driver(t) // before all else
	if s.Collection == "" {
		s.Collection = "notes"
	}
	if s.Heartbeat == "" {
		s.Heartbeat = "1s"
	}
	if s.Node == nil {
		s.Node = process.Start(t, process.Options{Args: append([]string{"--heartbeat", "1s"}, s.Args...)})
	}
	to := s.Node.GRPC
	if c.HTTP {
		to = s.Node.HTTP
	}
	w := &World{T: t, Client: c, Node: s.Node, Proxy: NewProxy(t, to), Writer: NewWriter(t, s.Node.URL(""), s.Collection), Clock: s.Clock, Heartbeat: s.Heartbeat}
	if !s.Later {
		w.StartDriver(s.Flags...)
	}
	return w
}

// StartDriver starts the driver, or another one after it.
func (w *World) StartDriver(flags ...string) {
	w.T.Helper()
	if w.Driver != nil {
		w.finish()
	}
	w.drivers++
	w.Driver = w.Client.Start(w.T, w.Clock, w.Proxy.Address, append([]string{"--first", "20ms", "--most", "200ms", "--ladder", "300ms"}, flags...)...)
	if w.drivers == 1 {
		w.T.Cleanup(w.finish)
	}
}

// finish ends the driver and checks what it has reported.
func (w *World) finish() {
	w.T.Helper()
	w.Driver.End()
	for _, watch := range w.watches {
		if err := Legal(watch.Reports(), watch.Allowed); err != nil {
			w.T.Errorf("%s: the states are not legal: %v\n%s", watch.ID, err, watch.tail())
		}
		if !watch.Unchecked {
			if err := watch.check(); err != nil {
				w.T.Errorf("%s: %v\n%s", watch.ID, err, watch.tail())
			}
		}
	}
	for _, secret := range append([]string{Marker}, w.Secrets...) {
		if w.Driver.logHas(secret) {
			w.T.Errorf("the driver's log has a value or a credential: %.40q", secret)
		}
	}
	w.watches = nil
}

// Watch is a watch or a mirror in the driver.
type Watch struct {
	ID     string
	Via    string
	Mirror bool
	// Ledger checks what it is told.
	Ledger *Ledger
	// Allowed are steps between states that only this scenario allows.
	Allowed Exceptions
	// Dumped says that what it showed all the time is compared with the journal.
	Dumped bool
	// Unchecked says that its events are not checked.
	Unchecked bool
	driver    *Driver
	told      int // reports that the ledger has
	failed    error
	changes   map[string]string // of a mirror, folded
	last      uint64            // that a mirror told
}

// Options say what is watched.
type Options struct {
	Via     string
	Mirror  bool
	Every   bool
	Delta   bool
	Type    string
	Store   string
	From    *uint64
	Request map[string]any // more fields of the request
	Journal *Journal       // Default: the writer's
}

// Open opens a watch.
func (w *World) Open(id string, o Options) *Watch {
	w.T.Helper()
	request := map[string]any{"parent": w.Collection, "heartbeat": w.Heartbeat}
	if o.Every {
		request["delivery"] = "EVERY_CHANGE"
	}
	if o.Delta {
		request["delta"] = true
	}
	if o.From != nil {
		request["afterRevision"] = fmt.Sprint(*o.From)
	}
	maps.Copy(request, o.Request)
	if o.Journal == nil {
		o.Journal = w.Journal
	}
	watch := &Watch{ID: id, Via: o.Via, Mirror: o.Mirror, driver: w.Driver, changes: map[string]string{},
		Ledger: &Ledger{Journal: o.Journal, Every: o.Every, From: o.From}, Allowed: Exceptions{}}
	if o.Via == "ladder" {
		watch.Allowed[[2]string{"LIVE", "CONNECTING"}], watch.Allowed[[2]string{"LIVE", "RESUMING"}], watch.Allowed[[2]string{"LIVE", "LIVE"}] = true, true, true
	}
	command := map[string]any{"op": "watch", "id": id, "request": request, "via": o.Via}
	if o.Mirror {
		command["op"] = "mirror"
	}
	if o.Type != "" {
		command["type"] = o.Type
	}
	if o.Store != "" {
		command["store"] = o.Store
		maps.Copy(watch.Allowed, fromStore)
	}
	w.watches = append(w.watches, watch)
	w.Driver.Send(command)
	return watch
}

// OpenAll opens, on each transport: a watch of every change, one of the latest, one by
// deltas and a mirror.
func (w *World) OpenAll() (all []*Watch) {
	w.T.Helper()
	for _, via := range w.Client.Via {
		all = append(all,
			w.Open("every-"+via, Options{Via: via, Every: true}),
			w.Open("latest-"+via, Options{Via: via}),
			w.Open("delta-"+via, Options{Via: via, Delta: true, Every: true}),
			w.Open("mirror-"+via, Options{Via: via, Mirror: true}))
	}
	return all
}

// Reports gives what the driver has reported of it.
func (w *Watch) Reports() []Report {
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	return slices.Clone(w.driver.reports[w.ID])
}

// Events gives what it was told.
func (w *Watch) Events() (events []*Event) {
	for _, r := range w.Reports() {
		if r.Event != nil {
			events = append(events, r.Event)
		}
	}
	return events
}

// States gives the states that it went through.
func (w *Watch) States() (states []string) {
	for _, r := range w.Reports() {
		if r.State != "" {
			states = append(states, r.State)
		}
	}
	return states
}

// Course gives the states that it went through, each with its cause.
func (w *Watch) Course() (course []string) {
	for i, r := range w.Reports() {
		if r.State != "" {
			course = append(course, fmt.Sprintf("%d %s (%s)", i, r.State, r.Cause))
		}
	}
	return course
}

// Has says whether it ever was in a state.
func (w *Watch) Has(state string) bool { return slices.Contains(w.States(), state) }

// Await waits until the reports of a watch are so.
func (w *World) Await(watch *Watch, limit time.Duration, what string, is func([]Report) bool) {
	w.T.Helper()
	if !watch.driver.wait(limit, func() bool { return is(watch.driver.reports[watch.ID]) }) {
		w.T.Fatalf("%s: within %v there was no %s\n%s\nthe driver said:\n%s", watch.ID, limit, what, watch.tail(), w.Driver.Log())
	}
}

// Live waits until each watch is live for the nth time.
func (w *World) Live(watches []*Watch, limit time.Duration) {
	w.T.Helper()
	for _, watch := range watches {
		w.Await(watch, limit, "LIVE", func(reports []Report) bool { return lastState(reports) == "LIVE" })
	}
}

// Ended waits until a watch has ended, and says why.
func (w *World) Ended(watch *Watch, limit time.Duration) Failure {
	w.T.Helper()
	var f *Failure
	w.Await(watch, limit, "end", func(reports []Report) bool {
		for _, r := range reports {
			if r.Ended != nil {
				f = r.Ended
			}
		}
		return f != nil
	})
	return *f
}

// Pause lets the programs rest, and waits until the driver has taken it.
func (w *World) Pause(watches []*Watch) {
	w.T.Helper()
	for _, watch := range watches {
		w.Driver.Send(map[string]any{"op": "pause", "id": watch.ID})
	}
	w.Driver.Call(map[string]any{"op": "list", "parent": w.Collection}) // commands are taken in order
}

func lastState(reports []Report) string {
	for i := len(reports) - 1; i >= 0; i-- {
		if reports[i].State != "" {
			return reports[i].State
		}
	}
	return ""
}

// Settle waits until all watches know what the node has. The writer must have stopped.
func (w *World) Settle(watches []*Watch) {
	w.T.Helper()
	state, _ := w.List()
	if want := at(w.Changes(), w.Last()); !same(state, want) {
		w.T.Fatalf("the node's List is not what it has acknowledged: %s", difference(state, want))
	}
	w.settle(watches)
}

// settle waits until all watches know what their journals have. None may tell nothing for
// settleTime before it does.
func (w *World) settle(watches []*Watch) {
	w.T.Helper()
	for _, watch := range watches {
		var err error
		ok := watch.driver.progress(settleTime, watch.ID, func() bool {
			err = watch.take(watch.driver.reports[watch.ID])
			return err != nil || watch.whole() == nil
		})
		if err == nil && !ok {
			err = watch.wholeOrGone()
		}
		if err != nil {
			w.T.Fatalf("%s: %v\n%s\nthe driver said:\n%s", watch.ID, err, watch.tail(), w.Driver.Log())
		}
		if watch.Mirror {
			w.compareDump(watch)
			for _, r := range watch.Reports() {
				if r.Dump != nil && watch.Dumped && !w.consistent(watch, r.Dump) {
					break
				}
			}
		}
	}
}

// Poll asks each mirror again and again what it shows, until the function that it gives is
// called. Settle compares each answer with the state at its revision.
func (w *World) Poll(watches []*Watch, every time.Duration) (stop func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-time.After(every):
			case <-done:
				return
			}
			for _, watch := range watches {
				if watch.Mirror {
					watch.Dumped = true
					w.Driver.Send(map[string]any{"op": "dump", "id": watch.ID})
				}
			}
			// A driver that is slow is not given more than it can do.
			if _, ok := w.Driver.call(map[string]any{"op": "asked"}); !ok {
				return // the scenario finds out
			}
		}
	}()
	return func() {
		close(done)
		<-over
	}
}

func (w *Watch) wholeOrGone() error {
	if err := w.whole(); err != nil {
		return err
	}
	return fmt.Errorf("the driver is gone")
}

// take gives the ledger what it has not had.
func (w *Watch) take(reports []Report) error {
	for ; w.told < len(reports) && w.failed == nil; w.told++ {
		e := reports[w.told].Event
		if e == nil {
			continue
		}
		if w.Mirror {
			w.failed = w.change(e)
		} else {
			w.failed = w.Ledger.Tell(e)
		}
		if w.failed != nil {
			w.failed = fmt.Errorf("report %d: %w", w.told, w.failed)
		}
	}
	return w.failed
}

// change takes what a mirror's callback was told: the value before must be what was told
// last, and what is told must be a change that was written.
func (w *Watch) change(e *Event) error {
	before, after := w.Ledger.Journal.plain(e.Before), w.Ledger.Journal.plain(e.Data)
	if e.Kind == "SYNCED" {
		return nil // its first state is complete
	}
	if e.Kind != "PRESENT" && e.Kind != "ABSENT" {
		return fmt.Errorf("a callback of a mirror was told %v", e)
	}
	if held := w.changes[e.Name]; held != before {
		return fmt.Errorf("%v with %q before, and what was told before is %q", e, before, held)
	}
	if (after == "") != (e.Kind == "ABSENT") {
		return fmt.Errorf("%v", e)
	}
	if before == after {
		return fmt.Errorf("%v is no difference", e)
	}
	if w.last = max(w.last, e.Revision); after == "" {
		delete(w.changes, e.Name)
	} else {
		w.changes[e.Name] = after
	}
	return nil
}

// whole says whether it knows all of its journal.
func (w *Watch) whole() error {
	if !w.Mirror {
		return w.Ledger.Whole()
	}
	last := w.Ledger.Journal.Last()
	if w.last < last {
		return fmt.Errorf("the callbacks of the mirror were told nothing behind revision %d, and the last is %d", w.last, last)
	}
	want := at(w.Ledger.Journal.Changes(), last)
	for name, v := range want {
		if w.changes[name] != v.Data {
			return fmt.Errorf("the callbacks of the mirror were told that %s is %q, and it is %q", name, w.changes[name], v.Data)
		}
	}
	if len(w.changes) != len(want) {
		return fmt.Errorf("the callbacks of the mirror know %d names, and there are %d", len(w.changes), len(want))
	}
	return nil
}

// check looks at all that it was told, at the end.
func (w *Watch) check() error { return w.take(w.Reports()) }

// Dump asks a mirror what it holds.
func (w *World) Dump(watch *Watch) *Dump {
	w.T.Helper()
	count := func(reports []Report) (n int, last *Dump) {
		for _, r := range reports {
			if r.Dump != nil {
				n, last = n+1, r.Dump
			}
		}
		return n, last
	}
	before, _ := count(watch.Reports())
	w.Driver.Send(map[string]any{"op": "dump", "id": watch.ID})
	var dump *Dump
	w.Await(watch, readyTime, "dump", func(reports []Report) bool {
		n := 0
		n, dump = count(reports)
		return n > before
	})
	return dump
}

// compareDump compares what a mirror holds with the state at its revision.
func (w *World) compareDump(watch *Watch) {
	w.T.Helper()
	dump := w.Dump(watch)
	if dump.Revision < watch.Ledger.Journal.Last() {
		w.T.Errorf("%s: the mirror is at revision %d, the collection at %d", watch.ID, dump.Revision, watch.Ledger.Journal.Last())
	}
	w.consistent(watch, dump)
}

// consistent says that a mirror shows the state at its revision, no other.
func (w *World) consistent(watch *Watch, dump *Dump) bool {
	w.T.Helper()
	held := map[string]Value{}
	for name, r := range dump.Resources {
		held[name] = Value{r.Revision, watch.Ledger.Journal.plain(r.Data)}
	}
	want := at(watch.Ledger.Journal.Changes(), dump.Revision)
	if !same(held, want) {
		w.T.Errorf("%s: what the mirror shows is not the state at its revision %d: %s", watch.ID, dump.Revision, difference(held, want))
		return false
	}
	return true
}

// tail shows the last reports.
func (w *Watch) tail() string {
	reports := w.Reports()
	var b strings.Builder
	from := max(0, min(len(reports), w.told)-12)
	if from > 0 {
		fmt.Fprintf(&b, "... %d reports before\n", from)
	}
	for i, r := range reports[from:min(len(reports), from+30)] {
		switch {
		case r.State != "":
			fmt.Fprintf(&b, "  %d %s (%s) %s\n", from+i, r.State, r.Cause, r.Via)
		case r.Event != nil:
			fmt.Fprintf(&b, "  %d %.120v\n", from+i, r.Event)
		case r.Ended != nil:
			fmt.Fprintf(&b, "  %d ended: %+v\n", from+i, *r.Ended)
		}
	}
	return b.String()
}

// until gives how many of the changes have at most a revision.
func until(changes []Change, revision uint64) int {
	return sort.Search(len(changes), func(i int) bool { return changes[i].Revision > revision })
}

package transporttest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// seed is taken from WATCHROUTE_SEED, or chosen; it is printed either way.
func seed(t testing.TB) *rand.Rand {
	n := rand.Uint64()
	if text := os.Getenv("WATCHROUTE_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal("WATCHROUTE_SEED: ", err)
		}
	}
	t.Logf("seed: WATCHROUTE_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// change is what the writer did to one name.
type written struct {
	name     string
	revision uint64
	old, new *Value
}

// wish is a random way to watch, and what it amounts to.
type wish struct {
	request *watchroutev1.WatchRequest
	has     func(name string, v *Value) bool
	paths   []string
}

func (w *wish) in(name string, v *Value) bool { return v != nil && w.has(name, v) }

// tells says whether a change is an event.
func (w *wish) tells(ch *written) bool {
	old, new := w.in(ch.name, ch.old), w.in(ch.name, ch.new)
	if !old && !new {
		return false
	}
	return !old || !new || w.paths == nil || fmt.Sprint(ch.old.Labels) != fmt.Sprint(ch.new.Labels) ||
		ch.old.JSON(ch.name, w.paths...) != ch.new.JSON(ch.name, w.paths...)
}

const propertyIDs = 10

func propertyID(i int) string { return "t" + strconv.Itoa(i) }

func (c *Case) wish(r *rand.Rand) wish {
	w := wish{request: c.Request(heartbeat(time.Second)), has: func(string, *Value) bool { return true }}
	switch r.IntN(6) {
	case 0:
		w.request.Filter, w.has = ofCustomer("7"), func(_ string, v *Value) bool { return v.Customer == "7" }
	case 1:
		w.request.Filter, w.has = "data.total.units > 5", func(_ string, v *Value) bool { return v.Units > 5 }
	case 2:
		w.request.Filter, w.has = "labels.k == 'x'", func(_ string, v *Value) bool { return v.Labels["k"] == "x" }
	case 3:
		list := []string{c.name(propertyID(r.IntN(propertyIDs)))}
		if c.Collection == thingsCollection {
			list = append(list, c.name(propertyID(r.IntN(propertyIDs))), c.name("never"))
		}
		w.request.Parent, w.request.Names = "", list
		w.has = func(name string, _ *Value) bool { return slices.Contains(list, name) }
	}
	switch r.IntN(4) {
	case 0:
		w.paths = []string{statusPath}
	case 1:
		w.paths = []string{unitsPath, "customer_id"}
	}
	if w.paths != nil {
		mask(w.paths...)(w.request)
	}
	w.request.Delta = r.IntN(2) == 0
	if r.IntN(2) == 0 {
		everyChange(w.request)
	}
	switch r.IntN(4) {
	case 0:
		minInterval(20 * time.Millisecond)(w.request)
	case 1:
		minInterval(300 * time.Millisecond)(w.request)
	}
	return w
}

func randomValue(r *rand.Rand) *Value {
	v := &Value{Customer: strconv.Itoa(7 + r.IntN(2)), Status: shopv1.OrderStatus(r.IntN(3)), Units: r.IntN(10)}
	if r.IntN(3) == 0 {
		v.Labels = map[string]string{"k": string("xy"[r.IntN(2)])}
	}
	if r.IntN(8) == 0 {
		v.Place = pad(r.IntN(3000))
	}
	return v
}

// RunProperty checks P1 to P9 at random: writers write, watches of random kinds are
// read on every transport, are cut off anywhere and go on with their last token on
// another transport; the log is compacted meanwhile, and the node restarts once. At
// the end each fold is what List says, and whoever asked for every change was told
// each.
func RunProperty(t *testing.T, kits []Kit) {
	r := seed(t)
	o := retained
	o.RingBytes = 1 << (8 + r.IntN(12))
	n := StartNode(t, o)
	p := &property{t: t, node: n, kits: kits, final: map[string]uint64{}, history: map[string][]written{}, done: make(chan struct{})}
	for _, kit := range kits {
		p.transports = append(p.transports, kit.New(t, n, Dialer{}))
	}
	collections := []string{ordersCollection, thingsCollection}
	cases := map[string]*Case{}
	for _, collection := range collections {
		cases[collection] = NewCase(t, n, kits[0], collection)
		cases[collection].exists()
	}
	var readers, writers sync.WaitGroup
	var watches []*watcher
	for i, kit := range kits {
		for _, collection := range collections {
			if kit.Typed && collection != ordersCollection {
				continue
			}
			c, own := cases[collection], rand.New(rand.NewPCG(r.Uint64(), 1))
			w := &watcher{p: p, c: c, wish: c.wish(own), rand: own, at: i}
			watches = append(watches, w)
			readers.Go(w.run)
		}
	}
	for _, collection := range collections {
		own := rand.New(rand.NewPCG(r.Uint64(), 2))
		writers.Go(func() { p.write(cases[collection], own) })
	}
	writers.Wait()
	close(p.done)
	readers.Wait()
	var messages, events, hops, resets int
	for _, w := range watches {
		w.check()
		if w.rd != nil {
			messages, events, hops, resets = messages+w.rd.Messages, events+len(w.rd.Events), hops+len(w.way), resets+len(w.rd.Resets)
		}
	}
	t.Logf("%d watches: %d messages, %d events, %d connections, %d resets", len(watches), messages, events, hops, resets)
}

type property struct {
	t          *testing.T
	node       *Node
	kits       []Kit
	transports []Transport
	restarting atomic.Bool

	// Of the writers, to be read after done.
	mu      sync.Mutex
	final   map[string]uint64
	history map[string][]written
	done    chan struct{}
}

// write is the only writer of a collection.
func (p *property) write(c *Case, r *rand.Rand) {
	const writes = 220
	state := map[string]*Value{}
	var history []written
	var last uint64
	for i := range writes {
		var ops []Op
		var changes []written
		for _, k := range r.Perm(propertyIDs)[:1+r.IntN(3)] {
			id, old := propertyID(k), state[propertyID(k)]
			var v *Value
			switch {
			case old != nil && r.IntN(5) == 0: // delete
			case old != nil && r.IntN(5) == 0:
				same := *old
				v = &same // changes nothing
			case old == nil && r.IntN(8) == 0: // delete of nothing
			default:
				v = randomValue(r)
			}
			ops = append(ops, Op{id, v})
			if old == nil && v == nil || old != nil && v != nil && fmt.Sprint(*old) == fmt.Sprint(*v) {
				continue
			}
			changes = append(changes, written{name: c.name(id), old: old, new: v})
			state[id] = v
		}
		revision, err := p.writeBatch(c, fmt.Sprintf("%s-%d", c.Collection, i), ops)
		if err != nil {
			c.Error(err)
			break
		}
		for _, ch := range changes {
			ch.revision = revision
			history = append(history, ch)
		}
		last = revision
		switch {
		case r.IntN(60) == 0:
			p.node.Clock.Forward(2 * time.Hour)
			if err := p.node.Log.Compact(c.ctx); err != nil && !p.restarting.Load() {
				c.Error(err)
			}
		case i == writes/2 && c.Collection == ordersCollection:
			p.restarting.Store(true)
			p.node.Restart()
			p.restarting.Store(false)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.final[c.Collection], p.history[c.Collection] = last, history
}

func (p *property) writeBatch(c *Case, requestID string, ops []Op) (uint64, error) {
	r := &watchroutev1.WriteRequest{Parent: c.Collection, RequestId: requestID}
	for _, op := range ops {
		r.Operations = append(r.Operations, c.operation(op))
	}
	for deadline := time.Now().Add(patience); ; {
		ctx, cancel := c.callContext()
		out, err := p.node.Service().Write(ctx, r, grpc.WaitForReady(true))
		cancel()
		if err == nil {
			return out.GetRevision(), nil
		}
		if !unavailable(fromGRPC(err)) || time.Now().After(deadline) {
			return 0, err
		}
	}
}

// watcher is one watch, wherever it goes.
type watcher struct {
	p    *property
	c    *Case
	wish wish
	rand *rand.Rand
	at   int // the transport
	way  []string
	rd   *Reader
	// broken: it could not be read to the end.
	broken bool
}

// go on with another transport, or the same one.
func (w *watcher) open() bool {
	for deadline := time.Now().Add(patience); ; {
		next := w.rand.IntN(len(w.p.kits))
		if kit := w.p.kits[next]; kit.Typed && w.c.Collection != ordersCollection || next == w.at && w.rd != nil {
			continue
		}
		if w.rd != nil {
			w.at = next
		}
		var err error
		if w.rd == nil {
			rd := &Reader{Fold: NewFold(w.wish.request), c: w.c}
			if err = rd.open(w.p.transports[w.at], w.wish.request); err == nil {
				w.rd = rd
			}
		} else {
			if w.rand.IntN(20) == 0 { // all is forgotten
				w.rd.Cut()
				w.rd.Token = ""
			}
			err = w.rd.TryResume(w.p.transports[w.at])
		}
		w.way = append(w.way, w.p.kits[w.at].Name)
		if err == nil {
			return true
		}
		if time.Now().After(deadline) || !w.p.restarting.Load() && !unavailable(err) {
			w.broken = true
			w.c.Errorf("{%v} cannot be opened on %s: %v", w.wish.request, w.p.kits[w.at].Name, err)
			return false
		}
	}
}

func (w *watcher) run() {
	if !w.open() {
		return
	}
	reached := func() bool {
		select {
		case <-w.p.done:
			return w.rd.Token != "" && w.rd.Revision >= w.p.final[w.c.Collection]
		default:
			return false
		}
	}
	for !reached() {
		_, err := w.rd.Try()
		switch {
		case err == nil && w.rand.IntN(25) > 0:
			continue
		case err != nil && !errors.Is(err, io.EOF) && !unavailable(err) && !w.p.restarting.Load():
			w.broken = true
			w.c.Errorf("{%v} on %s ends with %v; it had said %v", w.wish.request, w.p.kits[w.at].Name, err, tail(w.rd.said))
			return
		}
		if !w.open() {
			return
		}
	}
	w.rd.Close()
}

// check compares with the truth.
func (w *watcher) check() {
	if w.rd == nil {
		return
	}
	faults := len(w.rd.Faults)
	w.rd.Report()
	if !w.broken && !w.c.WantTruth(w.rd) {
		faults++
	}
	if !w.broken && w.rd.request.GetDelivery() == watchroutev1.Delivery_EVERY_CHANGE {
		history := w.p.history[w.c.Collection]
		for i := range history {
			ch := &history[i]
			if ch.revision <= w.rd.From {
				continue
			}
			key := fmt.Sprintf("%s@%d", ch.name, ch.revision)
			if told, want := w.rd.Told[key], w.wish.tells(ch); told != want {
				faults++
				w.c.Errorf("P3: {%v} was told of %s (%v), since its snapshot at %d: %v", w.wish.request, key, ch, w.rd.From, told)
			}
			delete(w.rd.Told, key)
		}
		for key := range w.rd.Told {
			faults++
			w.c.Errorf("P3: {%v} was told of %s, which did not happen", w.wish.request, key)
		}
	}
	if faults > 0 || w.broken {
		w.c.Logf("{%v} went over %v", w.wish.request, w.way)
	}
}

// unavailable says whether a call may be made again.
func unavailable(err error) bool {
	e := asError(err)
	return e != nil && (e.Code == 14 || e.Reason == "DRAINING")
}

package transporttest

import (
	"crypto/rand"
	"errors"
	"io"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/resource"
)

// asked is a random rule: as CEL, and as what it amounts to.
type asked struct {
	text string
	says func(p *person, v *Value) bool
}

// randomRule makes a rule. All that the writers write has what it asks for, so that it
// never fails.
func randomRule(r *mrand.Rand, collection string, depth int) asked {
	if depth > 0 {
		a, b := randomRule(r, collection, depth-1), randomRule(r, collection, depth-1)
		switch r.IntN(5) {
		case 0:
			return asked{"(" + a.text + ") && (" + b.text + ")", func(p *person, v *Value) bool { return a.says(p, v) && b.says(p, v) }}
		case 1, 2:
			return asked{"(" + a.text + ") || (" + b.text + ")", func(p *person, v *Value) bool { return a.says(p, v) || b.says(p, v) }}
		case 3:
			return asked{"!(" + a.text + ")", func(p *person, v *Value) bool { return !a.says(p, v) }}
		}
	}
	status := `"SHIPPED"`
	if collection == ordersCollection {
		status = "OrderStatus.SHIPPED"
	}
	atoms := []asked{
		{"data.customer_id == auth.sub", func(p *person, v *Value) bool { return v.Customer == p.Subject }},
		{`"warehouse" in auth.roles`, func(p *person, _ *Value) bool { return slices.Contains(p.Roles, "warehouse") }},
		{"data.status == " + status, func(_ *person, v *Value) bool { return v.Status == shipped }},
		{"data.total.units > 5", func(_ *person, v *Value) bool { return v.Units > 5 }},
		{`labels.for == auth.sub`, func(p *person, v *Value) bool { return v.Labels["for"] == p.Subject }},
		{`auth.sub == "ann"`, func(p *person, _ *Value) bool { return p.Subject == "ann" }},
		{`auth.tenant == "acme"`, func(p *person, _ *Value) bool { return p.Tenant == "acme" }},
		{"true", func(*person, *Value) bool { return true }},
	}
	return atoms[r.IntN(len(atoms))]
}

// hiding is a random redaction.
type hiding struct {
	path, mask string
	unless     *asked
}

// randomPolicy is what is in force for a collection, and what it amounts to.
type randomPolicy struct {
	access           *watchroutev1.CollectionAccess
	get, list, watch asked
	hides            []hiding
}

func newPolicy(r *mrand.Rand, collection string) *randomPolicy {
	p := &randomPolicy{get: randomRule(r, collection, r.IntN(3))}
	p.list = p.get
	rules := &watchroutev1.AccessRules{Get: p.get.text, Write: "true"}
	if r.IntN(3) == 0 {
		p.list = randomRule(r, collection, r.IntN(2))
		rules.List = p.list.text
	}
	if p.watch = p.list; r.IntN(3) == 0 {
		p.watch = randomRule(r, collection, r.IntN(3))
		rules.Watch = p.watch.text
	}
	p.access = &watchroutev1.CollectionAccess{Collection: collection, Rules: rules}
	for range r.IntN(3) {
		h := hiding{path: []string{"location", placePath, "customer_id"}[r.IntN(3)]}
		if r.IntN(2) == 0 && h.path != "location" {
			h.mask = hiddenPlace
		}
		m := &watchroutev1.Redaction{Fields: &fieldmaskpb.FieldMask{Paths: []string{h.path}}, Mask: h.mask}
		if r.IntN(2) == 0 {
			rule := randomRule(r, collection, r.IntN(2))
			h.unless, m.Unless = &rule, rule.text
		}
		p.hides, p.access.Redactions = append(p.hides, h), append(p.access.Redactions, m)
	}
	return p
}

// shown is what somebody sees of a value that is visible.
func (p *randomPolicy) shown(who *person, v *Value) *Value {
	out := *v
	hides := func(path, mask string) bool {
		return slices.ContainsFunc(p.hides, func(h hiding) bool {
			return h.path == path && h.mask == mask && (h.unless == nil || !h.unless.says(who, v))
		})
	}
	// What is removed by one is not masked by another.
	switch {
	case hides("customer_id", ""):
		out.Customer = ""
	case hides("customer_id", hiddenPlace):
		out.Customer = hiddenPlace
	}
	switch {
	case hides("location", ""):
		out.Place = ""
	case hides(placePath, ""):
		out.Place, out.bare = "", true
	case hides(placePath, hiddenPlace):
		out.Place = hiddenPlace
	}
	return &out
}

// tells says whether the policy shows somebody a secret of a value, by whatever verb.
func (p *randomPolicy) tells(who *person, v *Value, s secretKind) bool {
	if !p.get.says(who, v) && !p.list.says(who, v) && !p.watch.says(who, v) {
		return false
	}
	shown := p.shown(who, v)
	return s.of(shown) == s.of(v)
}

// secretKind is a place where a value has a text that nothing else has.
type secretKind int

const (
	inPlace secretKind = iota
	inLabel
	inCustomer
	secretKinds
)

func (s secretKind) of(v *Value) string {
	switch s {
	case inPlace:
		return v.Place
	case inLabel:
		return v.Labels["note"]
	}
	return v.Customer
}

// wrote is a value that was written.
type wrote struct {
	of     place
	value  *Value
	policy int // the number of the one in force
}

// place is a tenant's collection.
type place struct{ tenant, collection string }

// RunHidden checks P10 at random, on the bytes that clients receive: writers write values
// with unique texts, an operator changes the rules, and people watch, get, list and fail
// to write, on all transports in turn. What the rules hide from somebody is nowhere in
// what that one's connections have received; what they show is what watches hold.
func RunHidden(t *testing.T, kits []Kit) {
	t.Parallel()
	r := seed(t)
	h := &hidden{t: t, kits: kits, policies: map[string][]*randomPolicy{}, state: map[place]map[string]*Value{}, final: map[place]uint64{},
		changed: make(chan struct{}), done: make(chan struct{})}
	guard := &Guard{}
	for _, collection := range []string{ordersCollection, thingsCollection} {
		p := newPolicy(r, collection)
		h.policies[collection] = []*randomPolicy{p}
		guard.Collections = append(guard.Collections, p.access)
	}
	h.node = StartNode(t, Options{Guard: guard, RingBytes: 1 << (8 + r.IntN(12))})
	acme := ann.of("acme")
	for _, p := range []person{ann, warehouse, eve, acme} {
		who := &client{person: p}
		for _, kit := range kits {
			tap := &Tap{}
			who.taps = append(who.taps, tap)
			who.transports = append(who.transports, kit.New(t, h.node, Dialer{Presented: Presented{Credential: p.token()}, Tap: tap}))
		}
		h.people = append(h.people, who)
	}
	h.places = []place{{"", ordersCollection}, {"", thingsCollection}, {"acme", ordersCollection}, {"acme", thingsCollection}}
	for _, at := range h.places {
		h.state[at] = map[string]*Value{}
		h.write(h.at(at), at, []Op{{"t0", h.value(r)}})
	}
	var readers, writer sync.WaitGroup
	var watches []*peeper
	for i := range kits {
		for range 2 {
			own := mrand.New(mrand.NewPCG(r.Uint64(), 1))
			w := &peeper{h: h, rand: own, at: i, who: h.people[own.IntN(len(h.people))]}
			collection := []string{ordersCollection, thingsCollection}[own.IntN(2)]
			if kits[i].Typed {
				collection = ordersCollection
			}
			w.place = place{w.who.Tenant, collection}
			w.c = NewCase(t, h.node, kits[0], collection)
			w.wish = w.c.peek(own)
			watches = append(watches, w)
			readers.Go(w.run)
		}
		own := mrand.New(mrand.NewPCG(r.Uint64(), 3))
		readers.Go(func() { h.call(i, own) })
	}
	own := mrand.New(mrand.NewPCG(r.Uint64(), 2))
	writer.Go(func() { h.run(own) })
	writer.Wait()
	close(h.done)
	readers.Wait()
	for _, w := range watches {
		w.check()
	}
	h.check()
}

// client is somebody with connections of its own, on each transport.
type client struct {
	person
	transports []Transport
	taps       []*Tap // of each
}

type hidden struct {
	t      *testing.T
	node   *Node
	kits   []Kit
	people []*client
	places []place
	done   chan struct{}

	// Of the writer, to be read after done.
	mu       sync.Mutex
	policies map[string][]*randomPolicy // of a collection, the last one is in force
	history  []wrote
	state    map[place]map[string]*Value
	final    map[place]uint64
	changed  chan struct{} // closed with each change of rules
}

func (h *hidden) at(at place) *Case {
	c := NewCase(h.t, h.node, h.kits[0], at.collection)
	if at.tenant != "" {
		c = c.in(at.tenant)
	}
	return c
}

func (h *hidden) value(r *mrand.Rand) *Value {
	v := &Value{Customer: []string{"ann", "wim", "eve", rand.Text()}[r.IntN(4)], Status: shopv1.OrderStatus(1 + r.IntN(3)), Units: 1 + r.IntN(10), Place: rand.Text(),
		Labels: map[string]string{"for": []string{"ann", "eve", "nobody"}[r.IntN(3)], "note": rand.Text()}}
	return v
}

// write writes, and takes note of it.
func (h *hidden) write(c *Case, at place, ops []Op) {
	out, err := c.write(ops)
	if err != nil {
		h.t.Error(err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range ops {
		delete(h.state[at], op.ID)
		if op.Value != nil {
			h.state[at][op.ID] = op.Value
			h.history = append(h.history, wrote{at, op.Value, len(h.policies[at.collection]) - 1})
		}
	}
	h.final[at] = out.GetRevision()
}

// run writes, and changes the rules now and then.
func (h *hidden) run(r *mrand.Rand) {
	const writes = 160
	cases := map[place]*Case{}
	for _, at := range h.places {
		cases[at] = h.at(at)
	}
	for i := range writes {
		at := h.places[r.IntN(len(h.places))]
		if i >= writes-len(h.places) {
			at = h.places[writes-1-i]
		}
		var ops []Op
		for _, k := range r.Perm(propertyIDs)[:1+r.IntN(3)] {
			op := Op{ID: propertyID(k)}
			if old := h.state[at][op.ID]; old == nil || r.IntN(6) > 0 {
				op.Value = h.value(r)
				if old != nil && r.IntN(3) == 0 { // of which some see nothing
					v := *old
					v.Place, v.Labels = op.Value.Place, old.Labels
					op.Value = &v
				}
			}
			ops = append(ops, op)
		}
		h.write(cases[at], at, ops)
		if i%30 == 15 {
			collection := h.places[r.IntN(2)].collection
			p := newPolicy(r, collection)
			h.mu.Lock()
			h.policies[collection] = append(h.policies[collection], p)
			h.mu.Unlock()
			cases[place{"", collection}].control(access.CollectionsCollection, collection, p.access)
			h.mu.Lock()
			close(h.changed)
			h.changed = make(chan struct{})
			h.mu.Unlock()
		}
	}
}

// call makes unary calls on a transport, whoever's, until the writer is done.
func (h *hidden) call(kit int, r *mrand.Rand) {
	for {
		select {
		case <-h.done:
			return
		default:
		}
		who := h.people[r.IntN(len(h.people))]
		caller := who.transports[kit].Caller()
		collection := []string{ordersCollection, thingsCollection}[r.IntN(2)]
		if h.kits[kit].Typed {
			collection = ordersCollection
		}
		c := NewCase(h.t, h.node, h.kits[kit], collection)
		name := c.name(propertyID(r.IntN(propertyIDs)))
		ctx, cancel := c.callContext()
		never := &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Revision{Revision: 1 << 40}}
		var err error
		switch r.IntN(5) {
		case 0, 1:
			_, err = caller.Get(ctx, &watchroutev1.GetRequest{Name: name})
		case 2:
			_, err = caller.List(ctx, &watchroutev1.ListRequest{Parent: collection, PageSize: int32(1 + r.IntN(20))})
		case 3:
			_, err = caller.Put(ctx, &watchroutev1.PutRequest{Resource: Value{Customer: "ann"}.resource(name), Precondition: never})
		case 4:
			_, err = caller.Delete(ctx, &watchroutev1.DeleteRequest{Name: name, Precondition: never})
		}
		cancel()
		if e := asError(err); err != nil && (e == nil || !slices.Contains([]string{resource.NotFound.String(), resource.PermissionDenied.String(), resource.PreconditionFailed.String()}, e.Reason)) {
			h.t.Errorf("a call of %s on %s: %v", who.Subject, h.kits[kit].Name, err)
		}
	}
}

// check looks for what is hidden in all that was received.
func (h *hidden) check() {
	searched, hid, found := 0, 0, 0
	for _, who := range h.people {
		all := ""
		for i, tap := range who.taps {
			text := strings.Join(tap.received(), "\n")
			// Of HTTP/2 and of gRPC's headers the tap has what they say.
			if !strings.Contains(strings.ToLower(text), "content-type: ") && !strings.Contains(text, "HTTP/1.1 101 ") {
				h.t.Errorf("what %s has received on %s has no headers", who.Subject, h.kits[i].Name)
			}
			all += text
		}
		searched += len(all)
		told := map[string]bool{} // of each text, by whatever value
		for i := range h.history {
			w := &h.history[i]
			for s := range secretKinds {
				text := s.of(w.value)
				told[text] = told[text] || w.of.tenant == who.Tenant && slices.ContainsFunc(h.policies[w.of.collection][w.policy:],
					func(p *randomPolicy) bool { return p.tells(&who.person, w.value, s) })
			}
		}
		for text, told := range told {
			came := strings.Contains(all, text)
			switch {
			case len(text) < 16: // a name, which is no secret
			case told && came:
				found++
			case came:
				at := strings.Index(all, text)
				h.t.Errorf("P10: %s of %q has received %q, which all rules since it was written hide: ...%q", who.Subject, who.Tenant, text, all[max(0, at-300):at+len(text)])
			case !told:
				hid++
			}
		}
	}
	h.t.Logf("%d bytes have none of %d hidden texts, and %d others", searched, hid, found)
	if found == 0 || hid == 0 {
		h.t.Error("nothing was told, or nothing hidden")
	}
}

// peeper is one watch of somebody, wherever it goes.
type peeper struct {
	h      *hidden
	c      *Case
	who    *client
	place  place
	wish   wish
	rand   *mrand.Rand
	at     int
	rd     *Reader
	denied bool // at the end
	broken bool
}

// peek is a wish, of which filters and masks are also about what may be hidden.
func (c *Case) peek(r *mrand.Rand) wish {
	w := c.wish(r)
	switch w.request.Filter {
	case ofCustomer("7"):
		w.request.Filter, w.has = ofCustomer("ann"), func(_ string, v *Value) bool { return v.Customer == "ann" }
	case "labels.k == 'x'":
		w.request.Filter, w.has = `data.location.description > "N"`, func(_ string, v *Value) bool { return v.Place > "N" }
	}
	if r.IntN(4) == 0 {
		w.paths = []string{placePath, "customer_id"}
		mask(w.paths...)(w.request)
	}
	return w
}

func (w *peeper) fail(format string, args ...any) {
	w.broken = true
	w.h.t.Errorf("{%v} of %s on %s: "+format, append([]any{w.wish.request, w.who.Subject, w.h.kits[w.at].Name}, args...)...)
}

// open opens the watch, or goes on with it on another transport; false: it is over.
func (w *peeper) open() bool {
	for {
		w.h.mu.Lock()
		changed := w.h.changed
		w.h.mu.Unlock()
		next := w.rand.IntN(len(w.h.kits))
		if w.h.kits[next].Typed && w.place.collection != ordersCollection {
			continue
		}
		w.at = next
		var err error
		if w.rd == nil {
			rd := &Reader{Fold: NewFold(w.wish.request), c: w.c}
			rd.partial = true
			if err = rd.open(w.who.transports[w.at], w.wish.request); err == nil {
				w.rd = rd
			}
		} else {
			err = w.rd.TryResume(w.who.transports[w.at])
		}
		if err == nil {
			return true
		}
		if !deniedBy(err) {
			w.fail("cannot be opened: %v", err)
			return false
		}
		select {
		case <-changed:
		case <-w.h.done:
			select {
			case <-changed: // and yet it changed
			default:
				w.denied = true
				return false
			}
		}
	}
}

func deniedBy(err error) bool {
	e := asError(err)
	return e != nil && e.Reason == resource.PermissionDenied.String()
}

func (w *peeper) run() {
	if !w.open() {
		return
	}
	reached := func() bool {
		select {
		case <-w.h.done:
			return w.rd.Token != "" && w.rd.Revision >= w.h.final[w.place]
		default:
			return false
		}
	}
	for !reached() {
		_, err := w.rd.Try()
		switch {
		case err == nil && w.rand.IntN(20) > 0:
			continue
		case err != nil && !errors.Is(err, io.EOF) && !deniedBy(err):
			w.fail("ends with %v; it had said %v", err, tail(w.rd.said))
			return
		}
		if !w.open() {
			return
		}
	}
	w.rd.Close()
}

// check compares what is held with what the rules show.
func (w *peeper) check() {
	if w.broken {
		return
	}
	policies := w.h.policies[w.place.collection]
	last := policies[len(policies)-1]
	if w.rd != nil {
		w.rd.Report()
	}
	want := map[string]Value{}
	for id, v := range w.h.state[w.place] {
		if !last.watch.says(&w.who.person, v) {
			continue
		}
		if shown := last.shown(&w.who.person, v); w.wish.has(w.c.name(id), shown) {
			want[id] = *shown
		}
	}
	if w.denied {
		if len(want) > 0 {
			w.fail("is denied, and is to hold %v; the rules: %v", want, last.access)
		}
		return
	}
	if failed := len(w.rd.Faults); !w.rd.holds(want) || failed > 0 {
		w.fail("went wrong under %v", last.access)
	}
}

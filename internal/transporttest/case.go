package transporttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/contract"
)

// Scenario is what must hold on every transport.
type Scenario struct {
	// Name is a sentence that begins with the promise.
	Name string
	Run  func(*Case)
	// Both: it is run for the typed collection and for the one without a schema.
	// Otherwise the transports take turns.
	Both bool
	// On says which transports it is for. Default: all.
	On func(Kit) bool
	// Options are the node's.
	Options Options
}

// Case is one scenario on one transport, with a node of its own.
type Case struct {
	testing.TB
	Kit       Kit
	Node      *Node
	Transport Transport
	// Collection is what the scenario is about.
	Collection string

	ctx context.Context
}

// Run runs scenarios against transports.
func Run(t *testing.T, kits []Kit, scenarios []Scenario) {
	contracts, err := contract.Load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			for j, kit := range kits {
				if s.On != nil && !s.On(kit) {
					continue
				}
				for _, collection := range s.collections(kit, i+j) {
					t.Run(kit.Name+" of "+collection, func(t *testing.T) {
						t.Parallel()
						o := s.Options
						o.Contracts = contracts
						s.Run(NewCase(t, StartNode(t, o), kit, collection))
					})
				}
			}
		})
	}
}

func (s *Scenario) collections(kit Kit, turn int) []string {
	both := []string{ordersCollection, thingsCollection}
	switch {
	case kit.Typed:
		return both[:1]
	case s.Both:
		return both
	}
	return both[turn%2 : turn%2+1]
}

// NewCase makes a case. The collection exists from the beginning.
func NewCase(t testing.TB, n *Node, kit Kit, collection string) *Case {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	c := &Case{TB: t, Kit: kit, Node: n, Collection: collection, ctx: ctx, Transport: kit.New(t, n, Dialer{})}
	return c
}

// On gives the case with another transport.
func (c *Case) On(kit Kit, t Transport) *Case {
	other := *c
	other.Kit, other.Transport = kit, t
	return &other
}

// At gives the case at another node.
func (c *Case) At(n *Node) *Case {
	return NewCase(c.TB, n, c.Kit, c.Collection)
}

// name gives the name of an id in the case's collection.
func (c *Case) name(id string) string { return c.Collection + "/" + id }

// Op is one part of a batch; without a Value it deletes.
type Op struct {
	ID    string
	Value *Value
}

func put(id string, v Value) Op { return Op{id, &v} }
func del(id string) Op          { return Op{ID: id} }

// Write writes a batch beside the transport that is tested, and gives its revision.
func (c *Case) Write(ops ...Op) uint64 {
	c.Helper()
	out, err := c.write(ops)
	if err != nil {
		c.Fatal(err)
	}
	return out.GetRevision()
}

func (c *Case) write(ops []Op) (*watchroutev1.WriteBatchResponse, error) {
	r := &watchroutev1.WriteRequest{Parent: c.Collection}
	for _, op := range ops {
		r.Operations = append(r.Operations, c.operation(op))
	}
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	return c.Node.Service().Write(ctx, r)
}

func (c *Case) operation(op Op) *watchroutev1.Operation {
	if op.Value == nil {
		return &watchroutev1.Operation{Action: &watchroutev1.Operation_Delete{Delete: c.name(op.ID)}}
	}
	return &watchroutev1.Operation{Action: &watchroutev1.Operation_Put{Put: op.Value.resource(c.name(op.ID))}}
}

// Put writes one resource and gives the revision.
func (c *Case) Put(id string, v Value) uint64 {
	c.Helper()
	return c.Write(put(id, v))
}

// Delete deletes one resource and gives the revision.
func (c *Case) Delete(id string) uint64 {
	c.Helper()
	return c.Write(del(id))
}

// Request makes a request to watch the whole collection.
func (c *Case) Request(changes ...func(*watchroutev1.WatchRequest)) *watchroutev1.WatchRequest {
	r := &watchroutev1.WatchRequest{Parent: c.Collection}
	for _, change := range changes {
		change(r)
	}
	return r
}

type requestChange = func(*watchroutev1.WatchRequest)

func filter(text string) requestChange {
	return func(r *watchroutev1.WatchRequest) { r.Filter = text }
}
func mask(paths ...string) requestChange {
	return func(r *watchroutev1.WatchRequest) { r.ReadMask = &fieldmaskpb.FieldMask{Paths: paths} }
}
func everyChange(r *watchroutev1.WatchRequest) { r.Delivery = watchroutev1.Delivery_EVERY_CHANGE }
func delta(r *watchroutev1.WatchRequest)       { r.Delta = true }
func failExpired(r *watchroutev1.WatchRequest) { r.OnExpired = watchroutev1.OnExpired_FAIL }
func heartbeat(d time.Duration) requestChange {
	return func(r *watchroutev1.WatchRequest) { r.Heartbeat = durationpb.New(d) }
}
func minInterval(d time.Duration) requestChange {
	return func(r *watchroutev1.WatchRequest) { r.MinInterval = durationpb.New(d) }
}
func fromNow(r *watchroutev1.WatchRequest) {
	r.Start = &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}
}
func after(revision uint64) requestChange {
	return func(r *watchroutev1.WatchRequest) {
		r.Start = &watchroutev1.WatchRequest_AfterRevision{AfterRevision: revision}
	}
}
func token(text string) requestChange {
	return func(r *watchroutev1.WatchRequest) {
		r.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: text}
	}
}
func minRevision(revision uint64) requestChange {
	return func(r *watchroutev1.WatchRequest) { r.MinRevision = revision }
}

// names watches names, by themselves.
func names(names ...string) requestChange {
	return func(r *watchroutev1.WatchRequest) { r.Parent, r.Names = "", names }
}

func cloneRequest(r *watchroutev1.WatchRequest) *watchroutev1.WatchRequest { return proto.CloneOf(r) }

// Try opens a watch; the error is the server's.
func (c *Case) Try(r *watchroutev1.WatchRequest) (*Reader, error) {
	rd := &Reader{Fold: NewFold(cloneRequest(r)), c: c}
	return rd, rd.open(c.Transport, r)
}

// Watch opens a watch.
func (c *Case) Watch(changes ...requestChange) *Reader {
	c.Helper()
	r := c.Request(changes...)
	rd, err := c.Try(r)
	if err != nil {
		c.Fatalf("%v: %v", r, err)
	}
	return rd
}

// List gives all pages of a list, masked, beside the transport that is tested.
func (c *Case) List(r *watchroutev1.WatchRequest) (state map[string]Held, revision uint64) {
	c.Helper()
	state, revision, err := listAll(c.ctx, stub{c.Node.Service()}, r, 100)
	if err != nil {
		c.Fatal(err)
	}
	return state, revision
}

// listAll lists what a watch shows at its snapshot_end, in pages.
func listAll(ctx context.Context, caller Caller, r *watchroutev1.WatchRequest, pageSize int32) (state map[string]Held, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	state = map[string]Held{}
	in := &watchroutev1.ListRequest{Parent: r.GetParent(), Filter: r.GetFilter(), PageSize: pageSize, MinRevision: r.GetMinRevision()}
	if in.Parent == "" {
		in.Parent, _, _ = strings.Cut(r.GetNames()[0], "/")
	}
	last := ""
	for {
		p, err := caller.List(ctx, in)
		switch {
		case err != nil:
			return nil, 0, err
		case revision != 0 && p.Revision != revision:
			return nil, 0, fmt.Errorf("a page is of revision %d, one before of %d", p.Revision, revision)
		case len(p.Resources) > int(pageSize):
			return nil, 0, fmt.Errorf("a page has %d resources, more than the %d that were asked for", len(p.Resources), pageSize)
		}
		revision = p.Revision
		for _, res := range p.Resources {
			if res.Name <= last {
				return nil, 0, fmt.Errorf("%s comes after %s", res.Name, last)
			}
			last = res.Name
			if len(r.GetNames()) == 0 || slices.Contains(r.GetNames(), res.Name) {
				state[res.Name] = Held{Revision: res.Revision, Labels: res.Labels, Type: res.Type, Data: maskedJSON(res, r.GetReadMask().GetPaths())}
			}
		}
		if in.PageToken = p.Next; p.Next == "" {
			return state, revision, nil
		}
	}
}

// Same says how two states differ, of which a mask may have hidden revisions.
func diff(got, want map[string]Held, revisions bool) string {
	var b strings.Builder
	all := maps.Clone(got)
	maps.Copy(all, want)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		g, inGot := got[name]
		w, inWant := want[name]
		if !revisions {
			g.Revision, w.Revision = 0, 0
		}
		if inGot != inWant || g.Revision != w.Revision || g.Type != w.Type || g.Data != w.Data || !maps.Equal(g.Labels, w.Labels) {
			fmt.Fprintf(&b, "\n%s: held (%v) %+v\n    want (%v) %+v", name, inGot, g, inWant, w)
		}
	}
	return b.String()
}

// WantTruth checks that a reader holds what List says.
func (c *Case) WantTruth(rd *Reader) (ok bool) {
	c.Helper()
	want, revision := c.List(rd.request)
	d := diff(rd.State, want, rd.request.GetReadMask() == nil)
	if d != "" {
		c.Errorf("the reader of {%v} at %d does not hold what List says at %d:%s", rd.request, rd.Revision, revision, d)
	}
	return d == ""
}

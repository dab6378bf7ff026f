package transporttest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/types/known/structpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// Writes are the scenarios about writes and what is read after them. Those that are
// about the calls themselves are run once for each way to call.
var Writes = []Scenario{
	{Name: "P9 reads with min_revision never answer from before a write", Run: readYourWrites, Both: true},
	{Name: "P9 a revision that does not come is an error, not a wait for ever", Run: revisionNotReached},
	{Name: "P1 a put that changes nothing is no event", Run: noChange, Both: true, On: callers},
	{Name: "contract: a write says what it did", Run: writesTell, Both: true, On: callers},
	{Name: "contract: a request_id makes a write apply once", Run: requestIDs, Both: true, On: callers},
	{Name: "contract: a precondition that fails tells the current revision", Run: preconditions, Both: true, On: callers},
	{Name: "P4 a batch with a precondition that fails writes nothing", Run: batchPrecondition, Both: true, On: func(k Kit) bool { return callers(k) && !k.Typed }},
	{Name: "P1 P2 writers that race are told in the order in which they are numbered", Run: racingWriters, On: callers},
	{Name: "contract: numbers, texts and nested values come as they were written", Run: valuesSurvive},
}

// callers are the transports that call in different ways.
func callers(k Kit) bool {
	return slices.ContainsFunc([]string{"gRPC", "gRPC typed", "gRPC-Web", "gRPC-Web WebSocket", "NDJSON"}, k.is)
}

func (c *Case) callContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.ctx, patience)
}

// call makes a call that must succeed.
func call[In, Out any](c *Case, f func(context.Context, In) (*Out, error), in In) *Out {
	c.Helper()
	ctx, cancel := c.callContext()
	defer cancel()
	out, err := f(ctx, in)
	if err != nil {
		c.Fatalf("{%v}: %v", in, err)
	}
	return out
}

// callFails makes a call that must fail for a reason.
func callFails[In, Out any](c *Case, f func(context.Context, In) (*Out, error), in In, reason resource.Reason, metadata ...string) {
	c.Helper()
	ctx, cancel := c.callContext()
	defer cancel()
	out, err := f(ctx, in)
	if err == nil {
		c.Errorf("{%.300v} is answered with %+v", in, out)
		return
	}
	c.wantError(fmt.Sprintf("{%.300v}", in), err, reason, metadata...)
}

func (c *Case) putRequest(id string, v Value) *watchroutev1.PutRequest {
	return &watchroutev1.PutRequest{Resource: v.resource(c.name(id))}
}

func readYourWrites(c *Case) {
	caller := c.Transport.Caller()
	for i := range 8 {
		v := Value{Units: i + 1}
		revision := c.Put("a", v)
		want := v.JSON(c.name("a"))
		got := call(c, caller.Get, &watchroutev1.GetRequest{Name: c.name("a"), MinRevision: revision})
		if got.Data != want || got.Revision < revision {
			c.Errorf("P9: after revision %d Get says %s at %d", revision, got.Data, got.Revision)
		}
		revision = c.Put("b", v)
		list := call(c, caller.List, &watchroutev1.ListRequest{Parent: c.Collection, MinRevision: revision})
		if list.Revision < revision || len(list.Resources) < 2 || list.Resources[1].Data != v.JSON(c.name("b")) {
			c.Errorf("P9: after revision %d List says %+v", revision, list)
		}
		revision = c.Put("a", Value{Units: -i - 1})
		rd := c.Watch(minRevision(revision))
		if end := rd.UntilKind(SnapshotEnd); end.Revision < revision {
			c.Errorf("P9: after revision %d a snapshot is of %d", revision, end.Revision)
		}
		if got, want := rd.State[c.name("a")].Data, (Value{Units: -i - 1}).JSON(c.name("a")); got != want {
			c.Errorf("P9: after revision %d a watch says %s", revision, got)
		}
		rd.Close()
		// The same on one name, and by one's own write.
		if c.Kit.Session || c.Kit.Poll || c.Kit.URL {
			continue // they write as NDJSON does
		}
		written := call(c, caller.Put, c.putRequest("c", v))
		rd = c.Watch(names(c.name("c")), minRevision(written.Revision))
		rd.UntilKind(SnapshotEnd)
		if held := rd.State[c.name("c")]; held.Revision != written.Revision {
			c.Errorf("P9: after revision %d a watch holds %+v", written.Revision, held)
		}
		rd.Close()
	}
}

func revisionNotReached(c *Case) {
	revision := c.Put("a", Value{Units: 1})
	// At the same time: each takes as long as the server waits.
	var all sync.WaitGroup
	caller := c.Transport.Caller()
	all.Go(func() {
		callFails(c, caller.Get, &watchroutev1.GetRequest{Name: c.name("a"), MinRevision: revision + 5}, resource.RevisionNotReached, "field", "min_revision")
	})
	all.Go(func() {
		callFails(c, caller.List, &watchroutev1.ListRequest{Parent: c.Collection, MinRevision: revision + 5}, resource.RevisionNotReached, "field", "min_revision")
	})
	c.refused(c.Request(minRevision(revision+5)), resource.RevisionNotReached, "field", "min_revision")
	all.Wait()
	// One that comes while the server waits is waited for.
	next := make(chan uint64, 1)
	all.Go(func() { next <- c.Put("a", Value{Units: 2}) })
	rd := c.Watch(minRevision(revision + 1))
	rd.UntilRevision(<-next)
	all.Wait()
	c.WantTruth(rd)
}

func noChange(c *Case) {
	v := Value{Units: 1, Labels: map[string]string{"k": "v"}}
	caller := c.Transport.Caller()
	first := call(c, caller.Put, c.putRequest("a", v))
	rd := c.Watch(everyChange)
	rd.UntilRevision(first.Revision)
	again := call(c, caller.Put, c.putRequest("a", v))
	if again.Changed || again.Revision != first.Revision || again.Resource.Revision != first.Revision || again.Resource.ETag != first.Resource.ETag {
		c.Errorf("a put that changes nothing says %+v after %+v", again, first)
	}
	var next uint64
	if c.Kit.Typed {
		next = c.Write(put("a", v), put("b", v))
	} else {
		batch := call(c, caller.Write, &watchroutev1.WriteRequest{Parent: c.Collection, Operations: []*watchroutev1.Operation{
			{Action: &watchroutev1.Operation_Put{Put: v.resource(c.name("a"))}}, {Action: &watchroutev1.Operation_Delete{Delete: c.name("none")}}, {Action: &watchroutev1.Operation_Put{Put: v.resource(c.name("b"))}}}})
		next = batch.Revision
		if len(batch.Results) != 3 || batch.Results[0].Changed || batch.Results[1].Changed || !batch.Results[2].Changed {
			c.Errorf("a batch of which one part changes something says %+v", batch)
		}
	}
	rd.UntilRevision(next)
	rd.Want(startedSnapshot, did(entered, "a", first.Revision), "snapshot_end", did(created, "b", next))
	c.WantTruth(rd)
}

func writesTell(c *Case) {
	caller := c.Transport.Caller()
	v := Value{Customer: "7", Status: pending, Units: 1, Labels: map[string]string{"k": "v"}}
	first := call(c, caller.Put, c.putRequest("a", v))
	r := first.Resource
	if !first.Changed || r.Revision != first.Revision || r.CreateRevision != first.Revision || r.Name != c.name("a") || r.Data != v.JSON(c.name("a")) || r.Labels["k"] != "v" || r.UID == "" || r.ETag == "" || !r.UpdateTime.Equal(r.CreateTime) {
		c.Errorf("a put says %+v", first)
	}
	got := call(c, caller.Get, &watchroutev1.GetRequest{Name: c.name("a")})
	if fmt.Sprint(*got) != fmt.Sprint(r) {
		c.Errorf("a put says %+v, Get says %+v", r, got)
	}
	v.Units = 2
	second := call(c, caller.Put, c.putRequest("a", v))
	if !second.Changed || second.Revision <= first.Revision || second.Resource.CreateRevision != first.Revision || second.Resource.UID != r.UID || second.Resource.ETag == r.ETag {
		c.Errorf("a second put says %+v after %+v", second, first)
	}
	gone := call(c, caller.Delete, &watchroutev1.DeleteRequest{Name: c.name("a")})
	if !gone.Changed || gone.Revision <= second.Revision || gone.Resource.Name != c.name("a") || gone.Resource.Data != "" {
		c.Errorf("a delete says %+v", gone)
	}
	callFails(c, caller.Get, &watchroutev1.GetRequest{Name: c.name("a")}, resource.NotFound)
	callFails(c, caller.Delete, &watchroutev1.DeleteRequest{Name: c.name("a")}, resource.NotFound)
	missing := call(c, caller.Delete, &watchroutev1.DeleteRequest{Name: c.name("a"), AllowMissing: true})
	if missing.Changed || missing.Revision != gone.Revision {
		c.Errorf("a delete of what is not there says %+v", missing)
	}
}

func requestIDs(c *Case) {
	caller := c.Transport.Caller()
	in := c.putRequest("a", Value{Units: 1})
	in.RequestId = "9b2f6c1e-put"
	first := call(c, caller.Put, in)
	between := call(c, caller.Put, c.putRequest("a", Value{Units: 2}))
	again := call(c, caller.Put, in)
	if again.Revision != first.Revision || again.Resource.Revision != first.Revision || !again.Changed || again.Resource.Data != first.Resource.Data {
		c.Errorf("the same request says %+v, and at first %+v", again, first)
	}
	if got := call(c, caller.Get, &watchroutev1.GetRequest{Name: c.name("a")}); got.Revision != between.Revision {
		c.Errorf("the same request was applied again: %+v", got)
	}
	other := c.putRequest("a", Value{Units: 3})
	other.RequestId = in.RequestId
	callFails(c, caller.Put, other, resource.RequestIDReused)
	remove := &watchroutev1.DeleteRequest{Name: c.name("a"), RequestId: "9b2f6c1e-delete"}
	gone := call(c, caller.Delete, remove)
	if again := call(c, caller.Delete, remove); again.Revision != gone.Revision || !again.Changed {
		c.Errorf("the same delete says %+v, and at first %+v", again, gone)
	}
	long := c.putRequest("a", Value{Units: 1})
	long.RequestId = strings.Repeat("r", 129)
	callFails(c, caller.Put, long, resource.InvalidField, "field", "request_id")
	if c.Kit.Typed {
		return
	}
	batch := &watchroutev1.WriteRequest{Parent: c.Collection, RequestId: "9b2f6c1e-batch", Operations: []*watchroutev1.Operation{
		{Action: &watchroutev1.Operation_Put{Put: (Value{Units: 5}).resource(c.name("a"))}}, {Action: &watchroutev1.Operation_Put{Put: (Value{Units: 5}).resource(c.name("b"))}}}}
	one := call(c, caller.Write, batch)
	call(c, caller.Delete, &watchroutev1.DeleteRequest{Name: c.name("b")})
	if two := call(c, caller.Write, batch); two.Revision != one.Revision || len(two.Results) != 2 || !two.Results[1].Changed {
		c.Errorf("the same batch says %+v, and at first %+v", two, one)
	}
	callFails(c, caller.Get, &watchroutev1.GetRequest{Name: c.name("b")}, resource.NotFound)
}

func mustNotExist() *watchroutev1.Precondition {
	return &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}}
}
func ifRevision(n uint64) *watchroutev1.Precondition {
	return &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Revision{Revision: n}}
}
func ifETag(text string) *watchroutev1.Precondition {
	return &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Etag{Etag: text}}
}

func preconditions(c *Case) {
	c.exists()
	caller := c.Transport.Caller()
	units := 0
	request := func(p *watchroutev1.Precondition) *watchroutev1.PutRequest {
		units++
		r := c.putRequest("a", Value{Units: units})
		r.Precondition = p
		return r
	}
	callFails(c, caller.Put, request(ifRevision(7)), resource.PreconditionFailed, "revision", "0")
	callFails(c, caller.Put, request(ifETag("abc")), resource.PreconditionFailed, "revision", "0")
	callFails(c, caller.Delete, &watchroutev1.DeleteRequest{Name: c.name("a"), Precondition: ifRevision(7)}, resource.PreconditionFailed, "revision", "0")
	first := call(c, caller.Put, request(mustNotExist()))
	now := []string{"revision", strconv.FormatUint(first.Revision, 10), "etag", first.Resource.ETag}
	callFails(c, caller.Put, request(mustNotExist()), resource.PreconditionFailed, now...)
	callFails(c, caller.Put, request(ifRevision(first.Revision+1)), resource.PreconditionFailed, now...)
	callFails(c, caller.Put, request(ifETag(first.Resource.ETag+"x")), resource.PreconditionFailed, now...)
	callFails(c, caller.Delete, &watchroutev1.DeleteRequest{Name: c.name("a"), Precondition: ifETag("x")}, resource.PreconditionFailed, now...)
	second := call(c, caller.Put, request(ifRevision(first.Revision)))
	third := call(c, caller.Put, request(ifETag(second.Resource.ETag)))
	callFails(c, caller.Delete, &watchroutev1.DeleteRequest{Name: c.name("a"), Precondition: ifRevision(second.Revision)}, resource.PreconditionFailed,
		"revision", strconv.FormatUint(third.Revision, 10))
	call(c, caller.Delete, &watchroutev1.DeleteRequest{Name: c.name("a"), Precondition: ifRevision(third.Revision)})
	call(c, caller.Put, request(mustNotExist()))
}

func batchPrecondition(c *Case) {
	caller := c.Transport.Caller()
	at := c.Put("a", Value{Units: 1})
	rd := c.Watch(everyChange)
	rd.UntilRevision(at)
	rd.said = nil
	batch := &watchroutev1.WriteRequest{Parent: c.Collection, Operations: []*watchroutev1.Operation{
		{Action: &watchroutev1.Operation_Put{Put: (Value{Units: 2}).resource(c.name("b"))}},
		{Action: &watchroutev1.Operation_Put{Put: (Value{Units: 2}).resource(c.name("a"))}, Precondition: mustNotExist()},
	}}
	callFails(c, caller.Write, batch, resource.PreconditionFailed, "revision", strconv.FormatUint(at, 10))
	callFails(c, caller.Get, &watchroutev1.GetRequest{Name: c.name("b")}, resource.NotFound)
	batch.Operations[1].Precondition = ifRevision(at)
	out := call(c, caller.Write, batch)
	rd.UntilRevision(out.Revision)
	rd.Want(did(updated, "a", out.Revision), did(created, "b", out.Revision))
}

func racingWriters(c *Case) {
	c.exists()
	rd := c.Watch(everyChange)
	rd.UntilKind(SnapshotEnd)
	rd.Events = nil
	caller := c.Transport.Caller()
	const writers, each = 4, 15
	var mu sync.Mutex
	wrote := map[uint64]string{}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				v := Value{Customer: fmt.Sprint(w), Units: i + 1}
				id := fmt.Sprintf("w%d", (w+i)%3)
				ctx, cancel := c.callContext()
				out, err := caller.Put(ctx, c.putRequest(id, v))
				cancel()
				if err != nil {
					c.Error(err)
					return
				}
				mu.Lock()
				if other, twice := wrote[out.Revision]; twice {
					c.Errorf("revision %d is both %s and %s", out.Revision, other, id)
				}
				wrote[out.Revision] = c.name(id) + " " + v.JSON(c.name(id))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	var last uint64
	for revision := range wrote {
		last = max(last, revision)
	}
	rd.UntilRevision(last)
	if len(rd.Events) != writers*each {
		c.Errorf("P3: %d writes, %d events", writers*each, len(rd.Events))
	}
	for i := range rd.Events {
		r := &rd.Events[i].Resource
		if got := r.Name + " " + r.Data; got != wrote[r.Revision] {
			c.Errorf("the event of %d is %s, written was %s", r.Revision, got, wrote[r.Revision])
		}
	}
	c.WantTruth(rd)
}

func valuesSurvive(c *Case) {
	if c.Collection == ordersCollection {
		c.Collection = thingsCollection
		if c.Kit.Typed {
			return
		}
	}
	text := `{"": [], "n": -1.5e-7, "big": 9007199254740991, "deep": {"a": [1, {"b": null}, "x\u0000y"], "t": true}, "s": "\"\\\n\u2028 \ud83d\ude00 <tag>&", "e": {}}`
	fields := &structpb.Struct{}
	if err := fields.UnmarshalJSON([]byte(text)); err != nil {
		c.Fatal(err)
	}
	want, err := canonical([]byte(text))
	if err != nil {
		c.Fatal(err)
	}
	caller := c.Transport.Caller()
	one := call(c, caller.Put, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: c.name("json"), Data: mustAny(&watchroutev1.Json{Text: text})}})
	two := call(c, caller.Put, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: c.name("struct"), Data: mustAny(fields)}})
	rd := c.Watch()
	rd.UntilRevision(two.Revision)
	for what, got := range map[string]string{"put": one.Resource.Data, "put of a Struct": two.Resource.Data,
		"get":   call(c, caller.Get, &watchroutev1.GetRequest{Name: c.name("json")}).Data,
		"watch": rd.State[c.name("json")].Data, "watch of a Struct": rd.State[c.name("struct")].Data} {
		if got != want {
			c.Errorf("%s: got  %s\nwant %s", what, got, want)
		}
	}
}

package transporttest

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/resource"
)

// own is the rule of the shop: customers see their orders, the warehouse all of them.
const own = `data.customer_id == auth.sub || "warehouse" in auth.roles`

// guarded is a node with the shop's rules for both collections.
var guarded = Options{Guard: &Guard{Collections: bothCollections(shopRules)}}

func shopRules(collection string) *watchroutev1.CollectionAccess {
	return &watchroutev1.CollectionAccess{Collection: collection,
		Rules: &watchroutev1.AccessRules{Get: own, Write: `"orders-service" in auth.roles`}}
}

// redacted is a node where the warehouse sees neither the total of an order nor, but for
// that there is one, its place.
var redacted = Options{Guard: &Guard{Collections: bothCollections(func(collection string) *watchroutev1.CollectionAccess {
	p := shopRules(collection)
	mine := `data.customer_id == auth.sub`
	p.Redactions = []*watchroutev1.Redaction{
		{Fields: &fieldmaskpb.FieldMask{Paths: []string{placePath}}, Unless: mine, Mask: hiddenPlace},
		{Fields: &fieldmaskpb.FieldMask{Paths: []string{"total"}}, Unless: mine},
	}
	return p
})}}

const (
	placePath   = "location.description"
	hiddenPlace = "***"
)

// toWarehouse is what the warehouse sees of a value.
func toWarehouse(v Value) Value {
	v.Units = 0
	if v.Place != "" {
		v.Place = hiddenPlace
	}
	return v
}

func bothCollections(policy func(string) *watchroutev1.CollectionAccess) []*watchroutev1.CollectionAccess {
	return []*watchroutev1.CollectionAccess{policy(ordersCollection), policy(thingsCollection)}
}

// Visibility are the scenarios about who sees which change.
var Visibility = []Scenario{
	{Name: "P10 a customer sees its own orders, the warehouse all, a stranger nothing", Run: ownOrders, Options: guarded, Both: true},
	{Name: "P10 what changes hands is LEFT for the one and ENTERED for the other", Run: changesHands, Options: guarded, Both: true},
	{Name: "P10 P5 what changes hands while nobody reads is told on resume", Run: changesHandsOnResume, Options: guarded},
	{Name: "P10 hidden fields are hidden in each shape, and a change of nothing else is no event", Run: hiddenFields, Options: redacted, Both: true},
	{Name: "P10 the etag of a redacted value serves its reader as that of all does", Run: hiddenFromETag, Options: redacted, Both: true, On: func(k Kit) bool { return k.URL }},
	{Name: "P10 a write by somebody who may not is refused, and tells nothing", Run: refusedWrites, Options: guarded},
	{Name: "P10 tenants share names, and nothing else", Run: tenantWalls, Options: guarded, Both: true},
	{Name: "P10 a change of rules resets those whom it concerns, in the middle of a stream", Run: rulesChange, Options: guarded, Both: true},
	{Name: "P10 a watch route that is switched off ends its streams", Run: routeOff, Options: guarded},
	{Name: "P10 a watch route may be limited to transports", Run: routeTransports, Options: guarded},
	{Name: "P10 a watch waits for an approval, and ends when that is taken back", Run: approval, Options: Options{Guard: &Guard{Collections: bothCollections(func(collection string) *watchroutev1.CollectionAccess {
		p := shopRules(collection)
		p.WatchRoute = &watchroutev1.WatchRoute{Approval: true}
		return p
	})}}},
	{Name: "contract: a projection is another shape, of what its reader sees, by field or by media type", Run: projections, Both: true, On: func(k Kit) bool { return !k.Typed },
		Options: Options{Guard: &Guard{Collections: bothCollections(func(collection string) *watchroutev1.CollectionAccess {
			p := shopRules(collection)
			p.Redactions = []*watchroutev1.Redaction{{Fields: &fieldmaskpb.FieldMask{Paths: []string{placePath}}, Mask: hiddenPlace, Unless: `data.customer_id == auth.sub`}}
			p.Projections = []*watchroutev1.Projection{{Version: "summary.v1", Fields: map[string]string{"who": "data.customer_id", "where": "data.location.description", "dear": "data.total.units > 10"}}}
			return p
		})}}},
}

// holds checks what a reader holds, as its mask selects it, bar the revisions.
func (r *Reader) holds(want map[string]Value) (ok bool) {
	r.c.Helper()
	held := map[string]Held{}
	for id, v := range want {
		name := r.c.name(id)
		text, err := canonical([]byte(v.JSON(name, r.request.GetReadMask().GetPaths()...)))
		if err != nil {
			r.c.Fatal(err)
		}
		held[name] = Held{Labels: v.Labels, Data: text}
		if r.c.Collection == ordersCollection {
			held[name] = Held{Labels: v.Labels, Data: text, Type: orderType}
		}
	}
	d := diff(r.State, held, false)
	if d != "" {
		r.c.Errorf("the reader of {%v}:%s", r.request, d)
	}
	return d == ""
}

// get reads one resource on the case's transport.
func (c *Case) get(id string) (*Resource, error) {
	ctx, cancel := c.callContext()
	defer cancel()
	return c.Transport.Caller().Get(ctx, &watchroutev1.GetRequest{Name: c.name(id)})
}

// sees checks that exactly these ids can be read by name, and are listed.
func (c *Case) sees(of []string, want ...string) {
	c.Helper()
	for _, id := range of {
		if _, err := c.get(id); slices.Contains(want, id) {
			if err != nil {
				c.Errorf("%s: %v", id, err)
			}
		} else {
			c.wantError(id, err, resource.NotFound)
		}
	}
	listed, _, err := listAll(c.ctx, c.Transport.Caller(), c.Request(), 100)
	if err != nil {
		c.Error(err)
		return
	}
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		ids = append(ids, idOf(name))
	}
	if !slices.Equal(ids, want) {
		c.Errorf("listed %q, want %q", ids, want)
	}
}

func ownOrders(c *Case) {
	a := c.Put("a", Value{Customer: "ann", Units: 1})
	b := c.Put("b", Value{Customer: "ben", Units: 2})
	people := map[string]*Case{}
	readers := map[string]*Reader{}
	for _, p := range []person{ann, eve, warehouse} {
		people[p.Subject] = c.as(p)
		readers[p.Subject] = people[p.Subject].Watch(everyChange)
	}
	for who, rd := range readers {
		rd.UntilKind(SnapshotEnd)
		rd.Want(map[string][]string{
			"ann": {startedSnapshot, did(entered, "a", a), "snapshot_end"},
			"eve": {startedSnapshot, "snapshot_end"},
			"wim": {startedSnapshot, did(entered, "a", a), did(entered, "b", b), "snapshot_end"},
		}[who]...)
	}
	all := []string{"a", "b"}
	people["ann"].sees(all, "a")
	people["eve"].sees(all)
	people["wim"].sees(all, "a", "b")
	more := c.Put("a", Value{Customer: "ann", Units: 3})
	gone := c.Delete("b")
	batch := c.Write(put("c", Value{Customer: "ann", Units: 4}), put("d", Value{Customer: "ben", Units: 4}), put("e", Value{Customer: "eve", Units: 4}))
	for who, rd := range readers {
		rd.UntilRevision(batch)
		rd.Want(map[string][]string{
			"ann": {did(updated, "a", more), did(created, "c", batch)},
			"eve": {did(created, "e", batch)},
			"wim": {did(updated, "a", more), did(deleted, "b", gone), did(created, "c", batch), did(created, "d", batch), did(created, "e", batch)},
		}[who]...)
	}
	readers["ann"].holds(map[string]Value{"a": {Customer: "ann", Units: 3}, "c": {Customer: "ann", Units: 4}})
	readers["eve"].holds(map[string]Value{"e": {Customer: "eve", Units: 4}})
	c.WantTruth(readers["wim"])
	// Names that one may not see are as those that do not exist.
	foreign := people["ann"].Watch(names(c.name("d")))
	foreign.UntilKind(SnapshotEnd)
	foreign.Want(startedSnapshot, "snapshot_end")
	got := c.Put("d", Value{Customer: "ann"})
	foreign.UntilRevision(got)
	foreign.Want(did(entered, "d", got))
}

func changesHands(c *Case) {
	a := c.Put("a", Value{Customer: "ann", Units: 1})
	hers, his, all := c.as(ann).Watch(everyChange), c.as(ben).Watch(everyChange, delta), c.as(warehouse).Watch(everyChange)
	for _, rd := range []*Reader{hers, his, all} {
		rd.UntilKind(SnapshotEnd)
	}
	moved := c.Put("a", Value{Customer: "ben", Units: 2})
	changed := c.Put("a", Value{Customer: "ben", Units: 3})
	back := c.Put("a", Value{Customer: "ann", Units: 4})
	gone := c.Delete("a")
	last := c.Write(put("hers", Value{Customer: "ann"}), put("his", Value{Customer: "ben"}))
	hers.UntilRevision(last)
	hers.Want(startedSnapshot, did(entered, "a", a), "snapshot_end", did(exited, "a", moved), did(entered, "a", back), did(deleted, "a", gone), did(created, "hers", last))
	his.UntilRevision(last)
	his.Want(startedSnapshot, "snapshot_end", did(entered, "a", moved), did(updated, "a", changed), did(exited, "a", back), did(created, "his", last))
	all.UntilRevision(last)
	all.Want(startedSnapshot, did(entered, "a", a), "snapshot_end", did(updated, "a", moved), did(updated, "a", changed), did(updated, "a", back),
		did(deleted, "a", gone), did(created, "hers", last), did(created, "his", last))
	c.WantTruth(all)
}

func changesHandsOnResume(c *Case) {
	at := c.Write(put("a", Value{Customer: "ann"}), put("b", Value{Customer: "ben"}), put("c", Value{Customer: "ann"}))
	hers, latest := c.as(ann).Watch(everyChange), c.as(ann).Watch()
	for _, rd := range []*Reader{hers, latest} {
		rd.UntilRevision(at)
		rd.Cut()
		rd.said = nil
	}
	moved := c.Put("a", Value{Customer: "ben"})
	came := c.Put("b", Value{Customer: "ann", Units: 1})
	c.Put("c", Value{Customer: "ben"}) // is LEFT, and what comes then nobody tells her
	last := c.Delete("c")
	end := c.Put("d", Value{Customer: "ann"})
	hers.Resume(hers.c.Transport)
	hers.UntilRevision(end)
	hers.Want(startedResumed, did(exited, "a", moved), did(entered, "b", came), did(exited, "c", last-1), did(created, "d", end))
	latest.Resume(latest.c.Transport)
	latest.UntilRevision(end)
	for _, rd := range []*Reader{hers, latest} {
		rd.holds(map[string]Value{"b": {Customer: "ann", Units: 1}, "d": {Customer: "ann"}})
	}
	if _, ok := latest.State[c.name("c")]; ok || len(latest.Resets) > 0 {
		c.Errorf("said %q", latest.said)
	}
}

func hiddenFields(c *Case) {
	v := Value{Customer: "ann", Units: 100, Place: "at the blue door", Status: pending}
	a := c.Put("a", v)
	wim := c.as(warehouse)
	hers := c.as(ann).Watch(everyChange)
	readers := []*Reader{wim.Watch(everyChange), wim.Watch(everyChange, delta), wim.Watch(everyChange, mask(unitsPath, placePath, statusPath)), wim.Watch()}
	for _, rd := range readers {
		rd.partial = true
		rd.UntilKind(SnapshotEnd)
		rd.Want(startedSnapshot, did(entered, "a", a), "snapshot_end")
		rd.holds(map[string]Value{"a": toWarehouse(v)})
	}
	hers.UntilKind(SnapshotEnd)
	hers.holds(map[string]Value{"a": v})
	// Filters know no more than what is shown.
	for _, text := range []string{"data.total.units > 50", `data.location.description == "at the blue door"`} {
		rd := wim.Watch(filter(text))
		rd.UntilKind(SnapshotEnd)
		rd.holds(nil)
		rd.Close()
		listed, _, err := listAll(c.ctx, wim.Transport.Caller(), c.Request(filter(text)), 10)
		if err != nil || len(listed) > 0 {
			c.Errorf("%s lists %v, %v", text, listed, err)
		}
	}
	cut := readers[3]
	cut.Cut()
	cut.said = nil
	v.Units, v.Place = 200, "at the green door"
	hidden := c.Put("a", v) // nothing that they see
	v.Status = shipped
	shown := c.Put("a", v)
	b := c.Put("b", Value{Customer: "ben", Units: 7, Place: "upstairs"})
	cut.Resume(wim.Transport)
	for i, rd := range readers {
		rd.UntilRevision(b)
		if rd.holds(map[string]Value{"a": toWarehouse(v), "b": toWarehouse(Value{Customer: "ben", Units: 7, Place: "upstairs"})}); rd == cut {
			rd.Want(startedResumed, did(updated, "a", shown), did(created, "b", b))
			continue
		}
		rd.Want(did(updated, "a", shown), did(created, "b", b))
		if e := rd.Events[1]; i == 1 && !slices.Equal(e.Updated, []string{"status"}) {
			c.Errorf("the delta is of %q", e.Updated)
		}
	}
	hers.UntilRevision(shown)
	hers.Want(startedSnapshot, did(entered, "a", a), "snapshot_end", did(updated, "a", hidden), did(updated, "a", shown))
	if r, err := wim.get("a"); err != nil || r.Data != readers[0].State[c.name("a")].Data {
		c.Errorf("Get: %+v, %v", r, err)
	}
	listed, _, err := listAll(c.ctx, wim.Transport.Caller(), c.Request(), 10)
	if err != nil {
		c.Fatal(err)
	}
	if d := diff(listed, readers[0].State, false); d != "" {
		c.Errorf("List:%s", d)
	}
}

// ask makes a GET with If-None-Match, and gives the status and the ETag.
func (c *Case) ask(id, etag, query string) (status int, now string) {
	c.Helper()
	w := c.Transport.Caller().(rest)
	ctx, cancel := c.callContext()
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/v1/"+c.name(id)+query, nil)
	if err != nil {
		c.Fatal(err)
	}
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	answer, err := w.http.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body) // its end lets the connection be used again
	return answer.StatusCode, answer.Header.Get("ETag")
}

func hiddenFromETag(c *Case) {
	v := Value{Customer: "ann", Units: 100, Place: "at the blue door", Status: pending}
	c.Put("a", v)
	wim, hers := c.as(warehouse), c.as(ann)
	_, shown := wim.ask("a", "", "")
	_, whole := hers.ask("a", "", "")
	if shown != whole || shown == "" {
		c.Errorf("the etag is %q of what is shown and %q of all", shown, whole)
	}
	for _, who := range []*Case{wim, hers} {
		for _, query := range []string{"", "?wait=50ms"} {
			if status, _ := who.ask("a", shown, query); status != http.StatusNotModified {
				c.Errorf("HTTP %d where nothing has changed", status)
			}
		}
	}
	v.Units = 200
	c.Put("a", v)
	status, now := wim.ask("a", shown, "")
	if status != http.StatusOK || now == shown {
		c.Errorf("HTTP %d %s after a change", status, now)
	}
	answered := make(chan int, 1)
	go func() {
		status, _ := wim.ask("a", now, "?wait=20s")
		answered <- status
	}()
	c.Node.AwaitWatches(1)
	v.Units = 300
	c.Put("a", v) // is nothing that it waits for
	v.Status = shipped
	c.Put("a", v)
	if status := <-answered; status != http.StatusOK {
		c.Errorf("HTTP %d to who waited", status)
	}
	if status, _ := c.as(eve).ask("a", now, ""); status != http.StatusNotFound {
		c.Errorf("HTTP %d to a stranger with an etag", status)
	}
}

func refusedWrites(c *Case) {
	c.Put("a", Value{Customer: "ben", Units: 1})
	for _, p := range []person{ann, ben} {
		caller := c.as(p).Transport.Caller()
		ctx, cancel := c.callContext()
		defer cancel()
		for what, condition := range map[string]*watchroutev1.Precondition{
			"a write": nil, "a write of what must not exist": {Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}},
			"a write of a revision": {Condition: &watchroutev1.Precondition_Revision{Revision: 1 << 40}}} {
			_, err := caller.Put(ctx, &watchroutev1.PutRequest{Resource: Value{Customer: p.Subject}.resource(c.name("a")), Precondition: condition})
			c.wantError(what, err, resource.PermissionDenied)
			if e := asError(err); e != nil && (e.Metadata["revision"] != "" || e.Metadata["etag"] != "") {
				c.Errorf("%s tells %v", what, e.Metadata)
			}
		}
		_, err := caller.Delete(ctx, &watchroutev1.DeleteRequest{Name: c.name("a")})
		c.wantError("a delete", err, resource.PermissionDenied)
		_, err = caller.Delete(ctx, &watchroutev1.DeleteRequest{Name: c.name("nothing"), AllowMissing: true})
		c.wantError("a delete of nothing", err, resource.PermissionDenied)
	}
	// Who writes and may not read learns the name of what it has written.
	caller := c.as(service).Transport.Caller()
	ctx, cancel := c.callContext()
	defer cancel()
	out, err := caller.Put(ctx, &watchroutev1.PutRequest{Resource: Value{Customer: "ben", Units: 2}.resource(c.name("a"))})
	if err != nil {
		c.Fatal(err)
	}
	if !out.Changed || out.Resource.Data != "" || out.Resource.ETag != "" || out.Resource.Name != c.name("a") {
		c.Errorf("the writer is told %+v", out)
	}
}

func tenantWalls(c *Case) {
	acme, globex := c.in("acme"), c.in("globex")
	acme.Write(put("a", Value{Customer: "ann", Units: 1}), put("b", Value{Customer: "ben"}))
	globex.Put("other", Value{Customer: "ben"})
	g := globex.Put("a", Value{Customer: "ann", Units: 2})
	here, there := c.as(ann.of("acme")), c.as(ann.of("globex"))
	rd := here.Watch(everyChange)
	rd.UntilKind(SnapshotEnd)
	rd.holds(map[string]Value{"a": {Customer: "ann", Units: 1}})
	here.sees([]string{"a", "b", "other"}, "a")
	other := there.Watch(everyChange)
	other.UntilKind(SnapshotEnd)
	other.holds(map[string]Value{"a": {Customer: "ann", Units: 2}})
	// A token of the one is worth nothing in the other.
	crossed := there.Watch(everyChange, token(rd.Token))
	crossed.UntilKind(SnapshotEnd)
	crossed.Want(startedSnapshot, "reset SCOPE", did(entered, "a", g), "snapshot_end")
	crossed.holds(map[string]Value{"a": {Customer: "ann", Units: 2}})
	// Nor is a write.
	at := acme.Put("a", Value{Customer: "ann", Units: 3})
	rd.UntilRevision(at)
	next := globex.Put("c", Value{Customer: "ann"})
	other.UntilRevision(next)
	other.Want(startedSnapshot, did(entered, "a", g), "snapshot_end", did(created, "c", next))
	other.holds(map[string]Value{"a": {Customer: "ann", Units: 2}, "c": {Customer: "ann"}})
	// An operator names the tenant, and nobody else does.
	ways := []Presented{{Credential: operator.token(), Tenant: "acme"}}
	if onHTTP(c.Kit) {
		ways = append(ways, Presented{Parameter: operator.token(), Tenant: "acme"}) // as pages that can set no header
	}
	for _, way := range ways {
		all := c.dial(Dialer{Presented: way}).Watch()
		all.UntilKind(SnapshotEnd)
		acme.WantTruth(all)
		if len(all.State) != 2 {
			c.Errorf("the operator holds %v", all.State)
		}
	}
	curious := c.dial(Dialer{Presented: Presented{Credential: ann.of("globex").token(), Tenant: "acme"}})
	_, err := curious.Try(c.Request())
	c.wantError("a tenant that is not the caller's", err, resource.PermissionDenied)
	_, err = curious.get("a")
	c.wantError("a tenant that is not the caller's", err, resource.PermissionDenied)
	mine := c.dial(Dialer{Presented: Presented{Credential: ann.of("globex").token(), Tenant: "globex"}})
	mine.sees([]string{"a", "c", "other"}, "a", "c")
}

// control writes a resource that controls access, as an operator does; nil deletes it.
func (c *Case) control(collection, id string, m proto.Message) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	var err error
	if m == nil {
		_, err = c.Node.Service().Delete(ctx, &watchroutev1.DeleteRequest{Name: collection + "/" + id})
	} else {
		_, err = c.Node.Service().Put(ctx, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: collection + "/" + id, Data: mustAny(m)}})
	}
	if err != nil {
		c.Fatal(err)
	}
}

// rules changes who may do what with the case's collection.
func (c *Case) rules(change func(*watchroutev1.CollectionAccess)) {
	c.Helper()
	p := shopRules(c.Collection)
	change(p)
	c.control(access.CollectionsCollection, c.Collection, p)
}

// wantReset is Want of a watch that began anew as its access has changed. A poll that
// comes later has a token of another scope.
func (r *Reader) wantReset(said ...string) {
	r.c.Helper()
	if r.c.Kit.Poll && len(r.said) > 0 && r.said[0] == "reset SCOPE" {
		r.said[0] = "reset ACCESS"
	}
	r.Want(append([]string{"reset ACCESS"}, said...)...)
}

func rulesChange(c *Case) {
	c.Put("a", Value{Customer: "ann", Units: 1})
	at := c.Put("b", Value{Customer: "ben", Units: 2, Place: "upstairs"})
	hers, all := c.as(ann).Watch(everyChange), c.as(warehouse).Watch(everyChange)
	hers.UntilKind(SnapshotEnd)
	all.UntilRevision(at)
	hers.said, all.said = nil, nil
	before := hers.Token
	// More, and less, and something else of the same.
	c.rules(func(p *watchroutev1.CollectionAccess) { p.Rules.Get = `true` })
	hers.UntilKind(SnapshotEnd)
	hers.wantReset(did(entered, "a", at-1), did(entered, "b", at), "snapshot_end")
	c.WantTruth(hers)
	c.rules(func(p *watchroutev1.CollectionAccess) {
		p.Rules.Get = `true`
		p.Redactions = []*watchroutev1.Redaction{{Fields: &fieldmaskpb.FieldMask{Paths: []string{placePath}}, Mask: hiddenPlace, Unless: `"warehouse" in auth.roles`}}
	})
	hers.UntilKind(SnapshotEnd)
	hers.wantReset(did(entered, "a", at-1), did(entered, "b", at), "snapshot_end")
	hers.holds(map[string]Value{"a": {Customer: "ann", Units: 1}, "b": {Customer: "ben", Units: 2, Place: hiddenPlace}})
	c.rules(func(*watchroutev1.CollectionAccess) {})
	hers.UntilKind(SnapshotEnd)
	hers.wantReset(did(entered, "a", at-1), "snapshot_end")
	hers.holds(map[string]Value{"a": {Customer: "ann", Units: 1}})
	// Those who see the same as before go on.
	more := c.Put("b", Value{Customer: "ben", Units: 3})
	all.UntilRevision(more)
	all.Want(did(updated, "b", more))
	// A token of before counts again under the same rules, and under others resets.
	again := hers.c.Watch(everyChange, token(before))
	c.Put("a", Value{Customer: "ann", Units: 4})
	if m := again.Next(); m.Mode != watchroutev1.Started_RESUMED {
		c.Errorf("the token of before is answered with %v", m)
	}
	again.Close()
	hers.Cut()
	c.rules(func(p *watchroutev1.CollectionAccess) { p.Rules.Get = `auth.sub == "ann"` })
	hers.said = nil
	hers.Resume(hers.c.Transport)
	hers.UntilKind(SnapshotEnd)
	if len(hers.Resets) != 4 || len(hers.State) != 2 {
		c.Errorf("the token of other rules is answered with %q", hers.said)
	}
	c.WantTruth(hers)
	// Nothing at all ends the watch.
	c.rules(func(p *watchroutev1.CollectionAccess) { p.Rules.Get = `auth.sub == "ben"` })
	c.wantError("rules that let nobody in", hers.untilError(), resource.PermissionDenied)
	_, err := hers.c.Try(c.Request())
	c.wantError("rules that let nobody in", err, resource.PermissionDenied)
}

func routeOff(c *Case) {
	a := c.Put("a", Value{Customer: "ann", Units: 1})
	hers, root := c.as(ann), c.as(operator)
	readers := []*Reader{hers.Watch(), root.Watch()}
	for _, rd := range readers {
		rd.UntilRevision(a)
	}
	c.rules(func(p *watchroutev1.CollectionAccess) { p.WatchRoute = &watchroutev1.WatchRoute{Off: true} })
	for _, rd := range readers {
		c.wantError("the route is off", rd.untilError(), resource.Unsupported)
		_, err := rd.c.Try(c.Request())
		c.wantError("the route is off", err, resource.Unsupported)
	}
	hers.sees([]string{"a"}, "a")
	c.rules(func(*watchroutev1.CollectionAccess) {})
	rd := hers.Watch()
	rd.UntilRevision(a)
	rd.holds(map[string]Value{"a": {Customer: "ann", Units: 1}})
}

// routeName is what rules call a transport.
func (k Kit) routeName() string {
	for _, of := range []struct{ kit, name string }{{"gRPC", "grpc"}, {"gRPC typed", "grpc"}, {"gRPC Session", "session"}, {"gRPC-Web", "grpc-web"},
		{"gRPC-Web WebSocket", "grpc-web"}, {"NDJSON", "ndjson"}, {"SSE", "sse"}, {"WebSocket JSON", "websocket"}, {"WebSocket binary", "websocket"},
		{"WebSocket Session JSON", "websocket-session"}, {"WebSocket Session binary", "websocket-session"}, {"long-poll", "long-poll"}} {
		if k.is(of.kit) {
			return of.name
		}
	}
	return ""
}

func routeTransports(c *Case) {
	a := c.Put("a", Value{Customer: "ann", Units: 1})
	name := c.Kit.routeName()
	others := slices.DeleteFunc(slices.Clone(access.Transports), func(t string) bool { return t == name })
	hers := c.as(ann)
	rd := hers.Watch()
	rd.UntilRevision(a)
	c.rules(func(p *watchroutev1.CollectionAccess) {
		p.WatchRoute = &watchroutev1.WatchRoute{Transports: []string{name}}
	})
	b := c.Put("b", Value{Customer: "ann", Units: 1})
	rd.UntilRevision(b)
	if len(rd.Resets) > 0 {
		c.Errorf("a rule about other transports resets: %q", rd.said)
	}
	c.rules(func(p *watchroutev1.CollectionAccess) { p.WatchRoute = &watchroutev1.WatchRoute{Transports: others} })
	c.wantError("another transport's route", rd.untilError(), resource.Unsupported)
	_, err := hers.Try(c.Request())
	c.wantError("another transport's route", err, resource.Unsupported)
}

func approval(c *Case) {
	c.exists()
	hers := c.as(ann)
	id := access.GrantID(c.Collection, "", "ann")
	_, err := hers.Try(c.Request())
	c.wantError("a watch without approval", err, resource.ApprovalRequired, "grant", access.GrantsCollection+"/"+id, "collection", c.Collection)
	hers.sees(nil) // that needs none
	grant := &watchroutev1.Grant{Collection: c.Collection, Subject: "ann", State: watchroutev1.Grant_REQUESTED, Note: "please"}
	ask := func(p person) error {
		ctx, cancel := c.callContext()
		defer cancel()
		_, err := stub{c.calls(p)}.Put(ctx, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: access.GrantsCollection + "/" + id, Data: mustAny(grant)}})
		return err
	}
	c.wantError("a request by somebody else", ask(ben), resource.PermissionDenied)
	if err := ask(ann); err != nil {
		c.Fatal(err)
	}
	_, err = hers.Try(c.Request())
	c.wantError("a request that nobody has answered", err, resource.ApprovalRequired, "grant", access.GrantsCollection+"/"+id)
	grant.State = watchroutev1.Grant_APPROVED
	c.wantError("an approval of her own", ask(ann), resource.PermissionDenied)
	c.control(access.GrantsCollection, id, grant)
	rd := hers.Watch()
	rd.UntilKind(SnapshotEnd)
	at := c.Put("a", Value{Customer: "ann"})
	rd.UntilRevision(at)
	rd.holds(map[string]Value{"a": {Customer: "ann"}})
	_, err = c.as(ben).Try(c.Request())
	c.wantError("a watch with somebody else's approval", err, resource.ApprovalRequired)
	grant.State = watchroutev1.Grant_REFUSED
	c.control(access.GrantsCollection, id, grant)
	c.wantError("an approval that was taken back", rd.untilError(), resource.ApprovalRequired)
}

// calls gives a gRPC client of somebody, beside the transport that is tested.
func (c *Case) calls(p person) watchroutev1.ResourceServiceClient {
	return watchroutev1.NewResourceServiceClient(Dialer{Presented: Presented{Credential: p.token()}}.connect(c.TB, c.Node))
}

func projections(c *Case) {
	const version = "summary.v1"
	projected := func(r *watchroutev1.WatchRequest) { r.Projection = version }
	at := c.Write(put("a", Value{Customer: "ann", Units: 20, Place: "at the blue door"}), put("b", Value{Customer: "ben", Units: 2, Place: "upstairs"}))
	readers := map[string]*Reader{"ann": c.as(ann).Watch(projected, everyChange), "wim": c.as(warehouse).Watch(projected, everyChange)}
	shapes := func(rd *Reader, want map[string]string) {
		c.Helper()
		got := map[string]string{}
		for name, h := range rd.State {
			got[idOf(name)] = h.Data
		}
		if !maps.Equal(got, want) {
			c.Errorf("the reader of {%v} holds %v, want %v", rd.request, got, want)
		}
	}
	for _, rd := range readers {
		rd.partial, rd.shaped = true, true
		rd.UntilRevision(at)
		rd.said = nil
	}
	a := `{"dear":true,"where":"at the blue door","who":"ann"}`
	masked, b := `{"dear":true,"where":"***","who":"ann"}`, `{"dear":false,"where":"***","who":"ben"}`
	shapes(readers["ann"], map[string]string{"a": a})
	shapes(readers["wim"], map[string]string{"a": masked, "b": b})
	// What the shape does not show is no change, for some.
	c.Put("b", Value{Customer: "ben", Units: 3, Place: "downstairs"})
	moved := c.Put("a", Value{Customer: "ann", Units: 5, Place: "at the red door"})
	for _, rd := range readers {
		rd.UntilRevision(moved)
		rd.Want(did(updated, "a", moved))
		rd.Cut()
	}
	c.Put("a", Value{Customer: "ann", Units: 6, Place: "at the red door"})
	last := c.Put("c", Value{Customer: "ann", Units: 1, Place: "downstairs"})
	for _, rd := range readers {
		rd.Resume(rd.c.Transport)
		rd.UntilRevision(last)
		rd.Want(startedResumed, did(created, "c", last))
	}
	_, err := c.as(ann).Try(c.Request(func(r *watchroutev1.WatchRequest) { r.Projection = "nothing.v1" }))
	c.wantError("a projection that there is none of", err, resource.InvalidField, "field", "projection")
	if c.Kit.URL {
		byMediaType(c, version)
	}
}

// byMediaType asks for a projection in Accept.
func byMediaType(c *Case, version string) {
	w := c.as(ann).Transport.Caller().(rest)
	ask := func(path, accept string) *http.Response {
		r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, w.url+"/v1/"+path, nil)
		if err != nil {
			c.Fatal(err)
		}
		r.Header.Set("Accept", accept+"; projection="+version)
		answer, err := w.http.Do(r)
		if err != nil {
			c.Fatal(err)
		}
		c.Cleanup(func() { _ = answer.Body.Close() })
		return answer
	}
	const want = `{"dear":false,"where":"at the red door","who":"ann"}`
	for _, path := range []string{c.Collection + ":watch?wait=1s", c.name("a"), c.Collection, c.name("a") + "/watch?wait=1s"} {
		answer := ask(path, "application/json")
		body, err := io.ReadAll(answer.Body)
		if err != nil || !strings.Contains(string(body), want) {
			c.Errorf("%s: HTTP %d %s, %v", path, answer.StatusCode, body, err)
		}
	}
	for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
		lines := bufio.NewScanner(ask(c.Collection+":watch", accept).Body)
		for lines.Scan() && !strings.Contains(lines.Text(), want) {
			if strings.Contains(lines.Text(), "snapshotEnd") {
				c.Errorf("%s has no %s", accept, want)
			}
		}
		if lines.Err() != nil {
			c.Error(lines.Err())
		}
	}
}

package transporttest

import (
	"fmt"
	"strings"
	"time"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

func untyped(k Kit) bool { return !k.Typed }

// Errors are the scenarios about bad input: the documented error, on every
// transport.
var Errors = []Scenario{
	{Name: "errors: a collection that does not exist", Run: unknownCollection, On: untyped},
	{Name: "errors: a name that is malformed", Run: malformedName, Both: true},
	{Name: "errors: parent and names that contradict each other", Run: contradictoryNames, On: untyped},
	{Name: "errors: a filter that does not compile", Run: badFilter, Both: true},
	{Name: "errors: a mask with an unknown path", Run: badMask, Both: true},
	{Name: "errors: a token that is garbage", Run: garbageToken},
	{Name: "errors: times and choices out of their range", Run: outOfRange},
	{Name: "errors: a value that does not fit", Run: badValue, Both: true, On: callers},
	{Name: "errors: a value that is too large", Run: tooLarge, Both: true, On: callers, Options: Options{MaxValueBytes: 64 << 10}},
	{Name: "errors: labels that are too many or too long", Run: badLabels, On: callers},
	{Name: "errors: a precondition that cannot be meant", Run: badPrecondition, On: callers},
	{Name: "errors: a batch that is malformed", Run: badBatch, On: func(k Kit) bool { return callers(k) && !k.Typed }},
	{Name: "errors: a list that is malformed", Run: badList, On: callers},
	{Name: "errors: a collection that does not come into being by itself", Run: noAutoCreate, On: func(k Kit) bool { return callers(k) && !k.Typed },
		Options: Options{NoAutoCreate: true}},
}

func unknownCollection(c *Case) {
	c.refused(&watchroutev1.WatchRequest{Parent: "system.nowhere"}, resource.CollectionNotFound, "field", "parent", "collection", "system.nowhere")
	c.refused(&watchroutev1.WatchRequest{Names: []string{"system.nowhere/1"}}, resource.CollectionNotFound, "field", "names[0]", "collection", "system.nowhere")
	caller := c.Transport.Caller()
	callFails(c, caller.List, &watchroutev1.ListRequest{Parent: "system.nowhere"}, resource.CollectionNotFound, "field", "parent")
	callFails(c, caller.Get, &watchroutev1.GetRequest{Name: "system.nowhere/1"}, resource.CollectionNotFound, "field", "name")
	callFails(c, caller.Delete, &watchroutev1.DeleteRequest{Name: "system.nowhere/1"}, resource.CollectionNotFound, "field", "name")
}

func malformedName(c *Case) {
	c.exists()
	field := "names[0]"
	if c.Kit.Typed {
		field = "order_id"
	}
	ids := []string{"a!", "a:b", strings.Repeat("x", 129), "ü"}
	if !c.Kit.URL { // where these mean something else
		ids = append(ids, "watch", "..", "", "a/b")
	}
	for _, id := range ids {
		c.refused(c.Request(names(c.name(id))), resource.InvalidName, "field", field)
	}
	if c.Kit.Typed {
		return
	}
	for _, parent := range []string{"Orders", "9lives", "a!", strings.Repeat("x", 64)} {
		c.refused(&watchroutev1.WatchRequest{Parent: parent}, resource.InvalidName, "field", "parent")
	}
	if !c.Kit.URL {
		c.refused(&watchroutev1.WatchRequest{}, resource.InvalidName, "field", "parent")
		c.refused(&watchroutev1.WatchRequest{Names: []string{"things"}}, resource.InvalidName, "field", "names[0]")
	}
}

func contradictoryNames(c *Case) {
	c.exists()
	of := func(list ...string) requestChange {
		return func(r *watchroutev1.WatchRequest) { r.Names = list }
	}
	c.refused(c.Request(of("others/a")), resource.InvalidName, "field", "names[0]")
	c.refused(c.Request(of(c.name("a"), "others/a")), resource.InvalidName, "field", "names[1]")
	c.refused(c.Request(of("a")), resource.InvalidName, "field", "names[0]")
	c.refused(&watchroutev1.WatchRequest{Names: []string{c.name("a"), "others/a"}}, resource.InvalidName, "field", "names[1]")
	many := make([]string, 1001)
	for i := range many {
		many[i] = c.name(fmt.Sprint(i))
	}
	c.refused(c.Request(of(many...)), resource.InvalidField, "field", "names")
	// The same name twice is once, and the limit is allowed.
	at := c.Put("a", Value{Units: 1})
	rd := c.Watch(of(append(many[:999:999], c.name("a"))...))
	rd.UntilRevision(at)
	rd.Want(startedSnapshot, did(entered, "a", at), "snapshot_end")
	rd = c.Watch(of(c.name("a"), c.name("a")))
	rd.UntilRevision(at)
	rd.Want(startedSnapshot, did(entered, "a", at), "snapshot_end")
}

func badFilter(c *Case) {
	c.exists()
	for _, bad := range []struct{ filter, line, column string }{
		{"data.total.units >", "1", "19"},
		{"nonsense == 1", "1", "1"},
		{"true &&\n  nonsense", "2", "3"},
		{"data.total.units > 1 &&\n\n no_function(data)", "3", "13"},
		{`data.customer_id + "x"`, "1", "1"}, // no bool

		{"'ünïcode' == id && ?", "1", "20"},
	} {
		c.refused(c.Request(filter(bad.filter)), resource.InvalidFilter, "field", "filter", "line", bad.line, "column", bad.column)
	}
	c.refused(c.Request(filter("id != '"+strings.Repeat("x", 5000)+"'")), resource.InvalidFilter, "field", "filter")
	callFails(c, c.Transport.Caller().List, &watchroutev1.ListRequest{Parent: c.Collection, Filter: "nonsense"}, resource.InvalidFilter, "field", "filter", "line", "1", "column", "1")
	if c.Collection == ordersCollection {
		c.refused(c.Request(filter("data.no_such_field == 1")), resource.InvalidFilter, "field", "filter", "line", "1")
		c.refused(c.Request(filter("data.customer_id == 1")), resource.InvalidFilter, "field", "filter", "line", "1")
	}
}

func badMask(c *Case) {
	c.exists()
	if c.Collection == ordersCollection {
		c.refused(c.Request(mask("status", "no_such")), resource.InvalidMask, "field", "read_mask", "path", "no_such")
		c.refused(c.Request(mask("total.no_such")), resource.InvalidMask, "field", "read_mask", "path", "total.no_such")
		c.refused(c.Request(mask("items.sku")), resource.InvalidMask, "field", "read_mask", "path", "items.sku")
	} else {
		// Where there is no schema any path may exist one day.
		at := c.Put("a", Value{Status: pending})
		rd := c.Watch(mask("no_such"))
		rd.UntilRevision(at)
		if got := rd.State[c.name("a")].Data; got != "{}" {
			c.Errorf("what is left is %s", got)
		}
	}
	if c.Kit.is("WebSocket Session JSON") {
		return // there is no JSON for such a mask
	}
	c.refused(c.Request(mask("status..x")), resource.InvalidMask, "field", "read_mask", "path", "status..x")
}

func garbageToken(c *Case) {
	c.Put("a", Value{Units: 1})
	rd := c.Watch()
	rd.UntilKind(SnapshotEnd)
	good := rd.Token
	for _, bad := range []string{"garbage", "AAAA", good[1:], good[:len(good)-1], good + "A", strings.ToUpper(good), good[:10] + "A" + good[11:] + "A", strings.Repeat("A", 4000)} {
		c.refused(c.Request(token(bad)), resource.InvalidToken, "field", "resume_token")
		c.refused(c.Request(token(bad), failExpired), resource.InvalidToken, "field", "resume_token")
	}
}

func outOfRange(c *Case) {
	c.exists()
	for _, d := range []time.Duration{-time.Second, time.Hour + time.Second} {
		c.refused(c.Request(minInterval(d)), resource.InvalidField, "field", "min_interval")
	}
	for _, d := range []time.Duration{0, -time.Second, 999 * time.Millisecond, 10*time.Minute + time.Second} {
		c.refused(c.Request(heartbeat(d)), resource.InvalidField, "field", "heartbeat")
	}
	if !c.Kit.Poll { // whose wait is the heartbeat
		rd := c.Watch(minInterval(time.Hour), heartbeat(10*time.Minute))
		rd.UntilKind(SnapshotEnd)
	}
	c.refused(c.Request(func(r *watchroutev1.WatchRequest) { r.Delivery = 99 }), resource.InvalidField, "field", "delivery")
	c.refused(c.Request(func(r *watchroutev1.WatchRequest) { r.OnExpired = 99 }), resource.InvalidField, "field", "on_expired")
	c.refused(c.Request(func(r *watchroutev1.WatchRequest) { r.Start = &watchroutev1.WatchRequest_From{From: 99} }), resource.InvalidField, "field", "from")
}

// text makes the value of JSON text.
func text(name, json string) *watchroutev1.PutRequest {
	return &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: name, Data: mustAny(&watchroutev1.Json{Text: json})}}
}

func badValue(c *Case) {
	caller := c.Transport.Caller()
	name := c.name("a")
	fails := func(json, path string) {
		c.Helper()
		callFails(c, caller.Put, text(name, json), resource.InvalidValue, "path", path)
	}
	switch {
	case c.Kit.Typed: // its messages cannot but fit
		ctx, cancel := c.callContext()
		defer cancel()
		_, err := c.Transport.(typed).client.PutOrder(ctx, &shopv1.PutOrderRequest{OrderId: "a", Resource: &shopv1.OrderResource{Data: &shopv1.Order{OrderId: "b"}}})
		c.wantError("an order with another id", fromGRPC(err), resource.InvalidValue, "path", "order_id")
		_, err = c.Transport.(typed).client.PutOrder(ctx, &shopv1.PutOrderRequest{OrderId: "a", Resource: &shopv1.OrderResource{Name: "orders/b", Data: &shopv1.Order{}}})
		c.wantError("an order with another name", fromGRPC(err), resource.InvalidName)
	case c.Collection == ordersCollection:
		fails(`{"items": [{"sku": "x"}, {"quantity": "many"}]}`, "items[1].quantity")
		fails(`{"total": {"units": {}}}`, "total.units")
		fails(`{"status": "LOST"}`, "status")
		fails(`{"no_such": 1}`, "no_such")
		fails(`{"total": {"nope": 1}}`, "total.nope")
		fails(`{"placeTime": "yesterday"}`, "placeTime")
		fails(`{"orderId": "b"}`, "order_id")
		callFails(c, caller.Put, text(name, `[]`), resource.InvalidValue)
		if !c.Kit.is("NDJSON") {
			callFails(c, caller.Put, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: name, Data: mustAny(&shopv1.Money{})}}, resource.InvalidValue)
		}
	default:
		for _, bad := range []string{`[]`, `1`, `"x"`} {
			callFails(c, caller.Put, text(name, bad), resource.InvalidValue)
		}
		fails(`{"a": {"b": [1, {"c": 1, "c": 2}]}}`, "a.b[1].c")
		callFails(c, caller.Put, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: name}}, resource.InvalidValue)
		if !c.Kit.is("NDJSON") { // where such a body is no JSON at all
			callFails(c, caller.Put, text(name, `{"a": 1`), resource.InvalidValue)
			callFails(c, caller.Put, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: name, Data: mustAny(&shopv1.Order{})}}, resource.InvalidValue)
		}
	}
	for _, id := range []string{"a!", strings.Repeat("x", 129)} {
		callFails(c, caller.Put, c.putRequest(id, Value{Units: 1}), resource.InvalidName)
		callFails(c, caller.Get, &watchroutev1.GetRequest{Name: c.name(id)}, resource.InvalidName)
		callFails(c, caller.Delete, &watchroutev1.DeleteRequest{Name: c.name(id)}, resource.InvalidName)
	}
	c.Put("b", Value{Units: 1})
	callFails(c, caller.Get, &watchroutev1.GetRequest{Name: name}, resource.NotFound) // nothing of it was written
}

func tooLarge(c *Case) {
	caller := c.Transport.Caller()
	const limit = 64 << 10
	fits := c.putRequest("fits", Value{Place: pad(limit - 200)})
	at := call(c, caller.Put, fits)
	for _, size := range []int{limit, 1500 << 10} {
		ctx, cancel := c.callContext()
		_, err := caller.Put(ctx, c.putRequest("a", Value{Place: pad(size)}))
		cancel()
		c.wantError("a large value", err, resource.TooLarge, "limit", fmt.Sprint(limit))
	}
	rd := c.Watch()
	rd.UntilRevision(at.Revision)
	c.WantTruth(rd)
}

func badLabels(c *Case) {
	c.exists()
	caller := c.Transport.Caller()
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprint(i)] = ""
	}
	for _, bad := range []map[string]string{many, {"": "x"}, {strings.Repeat("k", 64): ""}, {"k": strings.Repeat("v", 257)}} {
		callFails(c, caller.Put, c.putRequest("a", Value{Labels: bad}), resource.InvalidField)
	}
	delete(many, "0")
	call(c, caller.Put, c.putRequest("a", Value{Labels: many}))
}

func badPrecondition(c *Case) {
	c.exists()
	caller := c.Transport.Caller()
	for _, bad := range []*watchroutev1.Precondition{ifRevision(0), ifETag("")} {
		r := c.putRequest("a", Value{Units: 1})
		r.Precondition = bad
		callFails(c, caller.Put, r, resource.InvalidField)
	}
}

func badBatch(c *Case) {
	c.exists()
	caller := c.Transport.Caller()
	op := func(name string) *watchroutev1.Operation {
		return &watchroutev1.Operation{Action: &watchroutev1.Operation_Put{Put: (Value{Units: 1}).resource(name)}}
	}
	del := func(name string) *watchroutev1.Operation {
		return &watchroutev1.Operation{Action: &watchroutev1.Operation_Delete{Delete: name}}
	}
	many := make([]*watchroutev1.Operation, 1001)
	for i := range many {
		many[i] = del(c.name(fmt.Sprint(i)))
	}
	for _, bad := range []struct {
		ops    []*watchroutev1.Operation
		reason resource.Reason
		field  string
	}{
		{nil, resource.InvalidField, "operations"},
		{many, resource.InvalidField, "operations"},
		{[]*watchroutev1.Operation{op(c.name("a")), {}}, resource.InvalidField, "operations[1]"},
		{[]*watchroutev1.Operation{op(c.name("a")), del(c.name("a"))}, resource.InvalidField, "operations[1]"},
		{[]*watchroutev1.Operation{op(c.name("a")), op("others/a")}, resource.InvalidName, "operations[1].put.name"},
		{[]*watchroutev1.Operation{del("others/a")}, resource.InvalidName, "operations[0].delete"},
		{[]*watchroutev1.Operation{op(c.name("a!"))}, resource.InvalidName, "operations[0].put.name"},
	} {
		callFails(c, caller.Write, &watchroutev1.WriteRequest{Parent: c.Collection, Operations: bad.ops}, bad.reason, "field", bad.field)
	}
	callFails(c, caller.Write, &watchroutev1.WriteRequest{Parent: "Bad", Operations: []*watchroutev1.Operation{op("Bad/a")}}, resource.InvalidName, "field", "parent")
	if state, _ := c.List(c.Request()); len(state) != 0 {
		c.Errorf("a batch that was refused wrote %v", state)
	}
}

func badList(c *Case) {
	c.Write(put("a", Value{Units: 1}), put("b", Value{Units: 1}))
	caller := c.Transport.Caller()
	page := call(c, caller.List, &watchroutev1.ListRequest{Parent: c.Collection, PageSize: 1})
	callFails(c, caller.List, &watchroutev1.ListRequest{Parent: c.Collection, PageSize: -1}, resource.InvalidField, "field", "page_size")
	callFails(c, caller.List, &watchroutev1.ListRequest{Parent: c.Collection, PageToken: "garbage"}, resource.InvalidToken, "field", "page_token")
	callFails(c, caller.List, &watchroutev1.ListRequest{Parent: c.Collection, PageToken: page.ResumeToken}, resource.InvalidToken, "field", "page_token")
	callFails(c, caller.List, &watchroutev1.ListRequest{Parent: c.Collection, PageToken: page.Next, Filter: "id == 'a'"}, resource.InvalidToken, "field", "page_token")
	second := call(c, caller.List, &watchroutev1.ListRequest{Parent: c.Collection, PageToken: page.Next, PageSize: 5})
	if len(second.Resources) != 1 || second.Resources[0].Name != c.name("b") || second.Next != "" {
		c.Errorf("the second page is %+v", second)
	}
}

func noAutoCreate(c *Case) {
	caller := c.Transport.Caller()
	callFails(c, caller.Put, (&watchroutev1.PutRequest{Resource: (Value{Units: 1}).resource("things/a")}), resource.CollectionNotFound, "collection", "things")
	call(c, caller.Put, &watchroutev1.PutRequest{Resource: (Value{Units: 1}).resource("orders/a")})
}

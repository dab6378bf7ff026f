package schema

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

func newMapping(t testing.TB, r *Registry, kind EventKind, desc protoreflect.MessageDescriptor, m *watchroutev1.Mapping) *Mapping {
	t.Helper()
	out, err := r.Mapping("mappings[0]", kind, desc, m)
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return out
}

func putMapping(collection, id, expr string) *watchroutev1.Mapping {
	return &watchroutev1.Mapping{Collection: collection, Id: id, Action: &watchroutev1.Mapping_Put{Put: expr}}
}

func mergeMapping(collection, id, expr string) *watchroutev1.Mapping {
	return &watchroutev1.Mapping{Collection: collection, Id: id, Action: &watchroutev1.Mapping_Merge{Merge: expr}}
}

func deleteMapping(collection, id, expr string) *watchroutev1.Mapping {
	return &watchroutev1.Mapping{Collection: collection, Id: id, Action: &watchroutev1.Mapping_Delete{Delete: expr}}
}

func jsonEvent(t testing.TB, text string) *Event {
	t.Helper()
	compact, err := CompactJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &Event{Data: EventData{JSON: compact}}
}

// changesText gives changes as one text, in which labels are in order.
func changesText(changes []Mapped) string {
	var out []string
	for _, c := range changes {
		verb := "put"
		switch {
		case c.Delete && c.Merge:
			verb = "delete and merge"
		case c.Delete:
			verb = "delete"
		case c.Merge:
			verb = "merge"
		}
		text := verb + " " + c.String()
		if c.Value != nil {
			text += " " + string(c.Value)
		}
		for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
			text += " " + key + "=" + c.Labels[key]
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestMapping_EveryKindOfData(t *testing.T) {
	r := shopRegistry(t)
	order := (&shopv1.Order{}).ProtoReflect().Descriptor()
	text := "héllo"
	message := EventData{Message: benchOrder()}
	for _, c := range []struct {
		kind EventKind
		desc protoreflect.MessageDescriptor
		data EventData
		put  string
		want string
	}{
		{EventJSON, nil, EventData{JSON: []byte(`{"b":1.50,"a":[12345678901234567890,"\u00e9"]}`)}, `data`, `{"b":1.50,"a":[12345678901234567890,"\u00e9"]}`},
		{EventJSON, nil, EventData{JSON: []byte(`{"o":{"b":1.50,"a":null}}`)}, `data.o`, `{"b":1.50,"a":null}`},
		{EventJSON, nil, EventData{JSON: []byte(`{"o":{"b":1.50,"a":null}}`)}, `{"x": data.o, "n": data.o.b * 2.0}`, `{"n":3,"x":{"a":null,"b":1.5}}`},
		{EventJSON, nil, EventData{JSON: []byte(`[1,[2,{"k":"v"}]]`)}, `{"n": size(data), "first": data[0], "inner": data[1][1].k, "all": data}`, `{"all":[1,[2,{"k":"v"}]],"first":1,"inner":"v","n":2}`},
		{EventJSON, nil, EventData{JSON: []byte(`"x"`)}, `{"s": data + "y"}`, `{"s":"xy"}`},
		{EventJSON, nil, EventData{JSON: []byte(`true`)}, `{"b": !data}`, `{"b":false}`},
		{EventJSON, nil, EventData{JSON: []byte(`-1.5e2`)}, `{"n": data}`, `{"n":-150}`},
		{EventJSON, nil, EventData{JSON: []byte(`9007199254740993`)}, `{"n": data}`, `{"n":"9007199254740993"}`},
		{EventJSON, nil, EventData{JSON: []byte(`null`)}, `{"n": data, "is": data == null}`, `{"is":true,"n":null}`},
		{EventJSON, nil, EventData{}, `{"n": data, "is": data == null}`, `{"is":true,"n":null}`},
		{EventMessage, order, message, `data`, string(storedOrder(t, r, "", benchOrder()).JSON())},
		{EventMessage, order, message, `{"who": data.customer_id, "shipped": data.status == OrderStatus.SHIPPED, "at": data.place_time, "price": data.items[0].price}`,
			`{"at":"2024-05-06T07:08:09Z","price":{"currencyCode":"USD","units":"12"},"shipped":true,"who":"42"}`},
		{EventText, nil, EventData{Text: &text}, `{"text": data, "n": size(data), "big": data.startsWith("h")}`, `{"big":true,"n":5,"text":"héllo"}`},
		{EventBytes, nil, EventData{Bytes: []byte{0, 0xff}}, `{"bytes": data, "n": size(data), "same": data == b"\x00\xff"}`, `{"bytes":"AP8=","n":2,"same":true}`},
		{EventBytes, nil, EventData{Bytes: []byte{}}, `{"bytes": data}`, `{"bytes":""}`},
		{EventAny, order, message, `{"who": data.customer_id}`, `{"who":"42"}`},
		{EventAny, order, EventData{JSON: []byte(`{"customer_id":"7"}`)}, `{"who": data.customer_id}`, `{"who":"7"}`},
		{EventAny, nil, EventData{Text: &text}, `{"text": data}`, `{"text":"héllo"}`},
		{EventAny, nil, EventData{Bytes: []byte("b")}, `type(data) == bytes ? {"n": size(data)} : data`, `{"n":1}`},
	} {
		m := newMapping(t, r, c.kind, c.desc, putMapping("notes", `"1"`, c.put))
		got, err := m.Changes(&Event{Data: c.data})
		if want := "put notes/1 " + c.want; err != nil || changesText(got) != want {
			t.Errorf("%s: got %s %v, want %s", c.put, changesText(got), err, want)
		}
	}
}

func TestMapping_EveryFieldOfAnEvent(t *testing.T) {
	r := shopRegistry(t)
	m := newMapping(t, r, EventJSON, nil, putMapping("notes", `"1"`, `{"id": event.id, "type": event.type, "source": event.source, "topic": event.topic, "partition": event.partition,
		"position": event.position, "key": event.key, "subject": event.subject, "headers": event.headers, "attributes": event.attributes, "time": event.time,
		"trace": has(event.headers.trace) ? event.headers.trace : "none", "level": has(event.attributes.level) ? event.attributes.level + 1 : 0}`))
	full := &Event{
		ID: "i", Type: "t", Source: "s", Topic: "o", Partition: "p", Position: "n", Key: "k", Subject: "j", Headers: map[string]string{"trace": "00-1"},
		Attributes: map[string]any{"level": int32(3), "ok": true, "name": "x"}, Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)),
	}
	for want, e := range map[string]*Event{
		`{"attributes":{"level":3,"name":"x","ok":true},"headers":{"trace":"00-1"},"id":"i","key":"k","level":4,"partition":"p","position":"n","source":"s","subject":"j","time":"2026-01-02T02:04:05.000000006Z","topic":"o","trace":"00-1","type":"t"}`: full,
		`{"attributes":{},"headers":{},"id":"","key":"","level":0,"partition":"","position":"","source":"","subject":"","time":"1970-01-01T00:00:00Z","topic":"","trace":"none","type":""}`:                                                               {},
	} {
		if got, err := m.Changes(e); err != nil || changesText(got) != "put notes/1 "+want {
			t.Errorf("got %s %v, want %s", changesText(got), err, want)
		}
	}
}

func TestMapping_EveryFieldOfAMapping(t *testing.T) {
	r := shopRegistry(t)
	const event = `{"op":"put","id":7,"gone":true,"at":"2026-01-02T03:04:05.5Z","n":3,"big":9007199254740993,"tags":["a","b"],"lines":[{"sku":"x","n":1},{"sku":"y","n":0}],"v":{"a":1}}`
	with := func(m *watchroutev1.Mapping, change func(m *watchroutev1.Mapping)) *watchroutev1.Mapping {
		change(m)
		return m
	}
	for _, c := range []struct {
		m    *watchroutev1.Mapping
		want string // empty: no changes
	}{
		{putMapping("notes", `data.id`, `data.v`), `put notes/7 {"a":1}`},
		{putMapping("notes", `"o-" + string(data.n)`, `data.v`), `put notes/o-3 {"a":1}`},
		{putMapping("notes", `1`, `data.v`), `put notes/1 {"a":1}`},
		{putMapping("notes", `2u`, `data.v`), `put notes/2 {"a":1}`},
		{putMapping("notes", `-0.0`, `data.v`), `put notes/0 {"a":1}`},
		{putMapping("notes", `data.big`, `data.v`), `put notes/9007199254740993 {"a":1}`},
		{putMapping("a.b-c_1", `"1"`, `{}`), `put a.b-c_1/1 {}`},
		{mergeMapping("notes", `"1"`, `{"a": null, "b": data.n}`), `merge notes/1 {"a":null,"b":3}`},
		{mergeMapping("notes", `"1"`, `data.v`), `merge notes/1 {"a":1}`},
		{deleteMapping("notes", `"1"`, `data.gone`), `delete notes/1`},
		{deleteMapping("notes", `"1"`, `!data.gone`), ``},
		{deleteMapping("notes", `"1"`, `data.n`), ``},
		{with(putMapping("notes", `"1"`, `{}`), func(m *watchroutev1.Mapping) { m.When = `data.op == "put"` }), `put notes/1 {}`},
		{with(putMapping("notes", `data.nope`, `{}`), func(m *watchroutev1.Mapping) { m.When = `data.op == "no"` }), ``},
		{with(putMapping("notes", `"1"`, `{}`), func(m *watchroutev1.Mapping) { m.When = `data.op` }), ``},
		{with(putMapping("notes", `"1"`, `{}`), func(m *watchroutev1.Mapping) { m.Labels = map[string]string{"b": `"x"`, "a": `string(data.n)`} }), `put notes/1 {} a=3 b=x`},
		{with(putMapping("notes", `"1"`, `{}`), func(m *watchroutev1.Mapping) { m.EventTime = `timestamp(data.at)` }), `put notes/1 {} event-time=2026-01-02T03:04:05.5Z`},
		{with(putMapping("notes", `"1"`, `{}`), func(m *watchroutev1.Mapping) { m.EventTime = `event.time` }), `put notes/1 {} event-time=1970-01-01T00:00:00Z`},
		{with(putMapping("notes", `"1"`, `{}`), func(m *watchroutev1.Mapping) { m.Order = `data.n` }), `put notes/1 {} event-order=3`},
		{with(putMapping("notes", `"1"`, `{}`), func(m *watchroutev1.Mapping) { m.Order = `18446744073709551615u` }), `put notes/1 {} event-order=18446744073709551615`},
		{with(putMapping("notes", `"1"`, `{}`), func(m *watchroutev1.Mapping) { m.Order = `timestamp(data.at)` }), `put notes/1 {} event-order=2026-01-02T03:04:05.500000000Z`},
		{with(putMapping("notes", `"1"`, `{}`), func(m *watchroutev1.Mapping) { m.Order = `data.at` }), `put notes/1 {} event-order=2026-01-02T03:04:05.5Z`},
		{with(deleteMapping("notes", `"1"`, `true`), func(m *watchroutev1.Mapping) { m.Order = `data.n` }), `delete notes/1 event-order=3`},
		{with(putMapping("notes", `item`, `{"tag": item, "n": data.n}`), func(m *watchroutev1.Mapping) { m.ForEach = `data.tags` }), `put notes/a {"n":3,"tag":"a"}; put notes/b {"n":3,"tag":"b"}`},
		{with(putMapping("notes", `item.sku`, `item`), func(m *watchroutev1.Mapping) { m.ForEach = `data.lines` }), `put notes/x {"sku":"x","n":1}; put notes/y {"sku":"y","n":0}`},
		{with(deleteMapping("notes", `item.sku`, `item.n == 0.0`), func(m *watchroutev1.Mapping) { m.ForEach = `data.lines` }), `delete notes/y`},
		{with(putMapping("notes", `item`, `{"n": item}`), func(m *watchroutev1.Mapping) { m.ForEach = `[1, 2]`; m.Labels = map[string]string{"n": `string(item)`} }), `put notes/1 {"n":1} n=1; put notes/2 {"n":2} n=2`},
		{with(putMapping("notes", `item`, `{}`), func(m *watchroutev1.Mapping) { m.ForEach = `[]` }), ``},
		{with(putMapping("notes", `item.sku`, `{}`), func(m *watchroutev1.Mapping) { m.ForEach = `data.lines.filter(l, l.n > 0.0)` }), `put notes/x {}`},
		{with(putMapping("notes", `item`, `{"v": data.v[item]}`), func(m *watchroutev1.Mapping) { m.ForEach = `data.v.map(k, k)` }), `put notes/a {"v":1}`},
	} {
		m := newMapping(t, r, EventJSON, nil, c.m)
		got, err := m.Changes(jsonEvent(t, event))
		if err != nil || changesText(got) != c.want {
			t.Errorf("%v: got %s %v, want %s", c.m, changesText(got), err, c.want)
		}
		for _, change := range got {
			if change.Order != change.Labels[EventOrderLabel] {
				t.Errorf("%v: the order is %q", c.m, change.Order)
			}
		}
	}
}

func TestMapping_ForEachKnowsTheTypeOfItem(t *testing.T) {
	r := shopRegistry(t)
	order := (&shopv1.Order{}).ProtoReflect().Descriptor()
	m := putMapping("notes", `item.sku`, `item`)
	m.ForEach = `data.items`
	got, err := newMapping(t, r, EventMessage, order, m).Changes(&Event{Data: EventData{Message: benchOrder()}})
	const want = `put notes/cd-1 {"sku":"cd-1","quantity":2,"price":{"currencyCode":"USD","units":"12"}}; put notes/cd-2 {"sku":"cd-2","quantity":1,"price":{"currencyCode":"USD","units":"9"}}`
	if err != nil || changesText(got) != want {
		t.Errorf("got %s %v, want %s", changesText(got), err, want)
	}
	m.Id = `item.skuu`
	if _, err := r.Mapping("m", EventMessage, order, m); err == nil || !strings.Contains(err.Error(), "undefined field 'skuu'") {
		t.Errorf("got %v", err)
	}
	m.Id, m.ForEach = `item`, `[1, 2]`
	m.Labels = map[string]string{"x": `item`}
	if _, err := r.Mapping("m", EventJSON, nil, m); err == nil || !strings.Contains(err.Error(), "the expression yields int, expected map or message") {
		t.Errorf("got %v", err)
	}
}

func TestMapping_WritesMessages(t *testing.T) {
	r := shopRegistry(t)
	const event = `{"order_id":"42","customer":"c","lines":[{"sku":"a","n":2}],"units":9007199254740993,"at":"2026-01-02T03:04:05Z","order":{"customer_id":"x","total":{"currency_code":"USD"},"items":[{"price":{"currency_code":"EUR"}}]}}`
	placed := benchOrder()
	placed.OrderId = "42"
	for put, want := range map[string]*shopv1.Order{
		`{}`: {},
		`{"customer_id": data.customer, "status": "SHIPPED", "placeTime": data.at}`:                        {CustomerId: "c", Status: shopv1.OrderStatus_SHIPPED, PlaceTime: timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))},
		`{"customerId": data.customer, "status": 3, "place_time": timestamp(data.at)}`:                     {CustomerId: "c", Status: shopv1.OrderStatus_SHIPPED, PlaceTime: timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))},
		`{"items": data.lines.map(l, {"sku": l.sku, "quantity": l.n})}`:                                    {Items: []*shopv1.Item{{Sku: "a", Quantity: 2}}},
		`{"total": {"units": data.units, "currency_code": null}}`:                                          {Total: &shopv1.Money{Units: 9007199254740993}},
		`{"total": {"units": "12"}, "location": {"latitude": 1}, "items": [{"price": {"units": 1u}}, {}]}`: {Total: &shopv1.Money{Units: 12}, Location: &shopv1.Location{Latitude: 1}, Items: []*shopv1.Item{{Price: &shopv1.Money{Units: 1}}, {}}},
		`data.order`: {CustomerId: "x", Total: &shopv1.Money{CurrencyCode: "USD"}, Items: []*shopv1.Item{{Price: &shopv1.Money{CurrencyCode: "EUR"}}}},
		`has(data.nope) ? {"customer_id": "no"} : {"customer_id": "yes"}`: {CustomerId: "yes"},
		`{"order_id": data.order_id}`:                                     {},
	} {
		got, err := newMapping(t, r, EventJSON, nil, putMapping("orders", "data.order_id", put)).Changes(jsonEvent(t, event))
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %s %v", put, changesText(got), err)
			continue
		}
		checkOrder(t, put, r, &got[0], want)
	}
	order := (&shopv1.Order{}).ProtoReflect().Descriptor()
	for put, want := range map[string]*shopv1.Order{
		`data`: placed,
		`{"status": data.status, "items": data.items, "total": data.total, "place_time": data.place_time}`: {Status: placed.Status, Items: placed.Items, Total: placed.Total, PlaceTime: placed.PlaceTime},
		`{"status": OrderStatus.DELIVERED, "items": [data.items[1]], "location": null}`:                    {Status: shopv1.OrderStatus_DELIVERED, Items: placed.Items[1:]},
	} {
		got, err := newMapping(t, r, EventMessage, order, putMapping("orders", `"42"`, put)).Changes(&Event{Data: EventData{Message: benchOrder()}})
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %s %v", put, changesText(got), err)
			continue
		}
		checkOrder(t, put, r, &got[0], want)
	}
}

// checkOrder checks what a change stores; want is without its id.
func checkOrder(t *testing.T, name string, r *Registry, c *Mapped, want *shopv1.Order) {
	t.Helper()
	typ, data, err := c.Encode(r.Schema("orders"))
	want = proto.CloneOf(want)
	want.OrderId = c.ID
	var got shopv1.Order
	if err != nil || typ != "shop.v1.Order" || proto.Unmarshal(data, &got) != nil || !proto.Equal(&got, want) {
		t.Errorf("%s: got %s %v %v, want %v", name, typ, &got, err, want)
	}
}

func TestMapping_CompileErrorsSayWhereAndWhat(t *testing.T) {
	r := shopRegistry(t)
	kinds := kindsSchema(t)
	order := (&shopv1.Order{}).ProtoReflect().Descriptor()
	base := func(change func(m *watchroutev1.Mapping)) *watchroutev1.Mapping {
		m := putMapping("notes", `"1"`, `{}`)
		change(m)
		return m
	}
	type m = watchroutev1.Mapping
	for _, c := range []struct {
		m                   *m
		reason              resource.Reason
		field, line, column string
		want                string
	}{
		{base(func(m *m) { m.Collection = "" }), resource.InvalidName, "collection", "", "", "the collection is missing"},
		{base(func(m *m) { m.Collection = "Notes" }), resource.InvalidName, "collection", "", "", "lower-case"},
		{base(func(m *m) { m.Collection = "system.sources" }), resource.InvalidField, "collection", "", "", "system.sources is the server's own"},
		{base(func(m *m) { m.Action = nil }), resource.InvalidField, "", "", "", "put, merge or delete"},
		{base(func(m *m) { m.Id = "" }), resource.InvalidField, "id", "", "", "the expression is missing"},
		{putMapping("notes", `"1"`, ""), resource.InvalidField, "put", "", "", "the expression is missing"},
		{mergeMapping("notes", `"1"`, ""), resource.InvalidField, "merge", "", "", "the expression is missing"},
		{deleteMapping("notes", `"1"`, ""), resource.InvalidField, "delete", "", "", "the expression is missing"},
		{base(func(m *m) { m.Labels = map[string]string{"a": ""} }), resource.InvalidField, "labels[a]", "", "", "the expression is missing"},
		{base(func(m *m) {
			m.When, m.Labels = strings.Repeat(" ", MaxMapping-16), map[string]string{"a": strings.Repeat(" ", 12)}
		}), resource.InvalidField, "", "", "", "have 16385 bytes, 16384 are allowed"},

		{base(func(m *m) { m.When = "data.a ==\n  )" }), resource.InvalidFilter, "when", "2", "3", "Syntax error"},
		{base(func(m *m) { m.Id = "event.foo" }), resource.InvalidFilter, "id", "1", "6", "undeclared reference to 'event.foo'"},
		{base(func(m *m) { m.Id = "item" }), resource.InvalidFilter, "id", "1", "1", "undeclared reference to 'item'"},
		{base(func(m *m) { m.ForEach, m.When = "[1]", "item == 1" }), resource.InvalidFilter, "when", "1", "1", "undeclared reference to 'item'"},
		{base(func(m *m) { m.Id = "1 +\n event.key" }), resource.InvalidFilter, "id", "1", "3", "found no matching overload for '_+_' applied to '(int, string)'"},
		{base(func(m *m) { m.When = "event.key" }), resource.InvalidFilter, "when", "1", "1", "the expression yields string, expected bool"},
		{base(func(m *m) { m.ForEach = "event.headers" }), resource.InvalidFilter, "for_each", "1", "1", "the expression yields map(string, string), expected list"},
		{base(func(m *m) { m.Id = "event.time" }), resource.InvalidFilter, "id", "1", "1", "the expression yields timestamp, expected string or int or uint or double"},
		{base(func(m *m) { m.Labels = map[string]string{"ok": `"x"`, "n": "1"} }), resource.InvalidFilter, "labels[n]", "1", "1", "the expression yields int, expected string"},
		{base(func(m *m) { m.EventTime = "event.key" }), resource.InvalidFilter, "event_time", "1", "1", "the expression yields string, expected timestamp"},
		{base(func(m *m) { m.Order = "true" }), resource.InvalidFilter, "order", "1", "1", "the expression yields bool, expected int or uint or double or timestamp or string"},
		{deleteMapping("notes", `"1"`, `"yes"`), resource.InvalidFilter, "delete", "1", "1", "the expression yields string, expected bool"},
		{putMapping("notes", `"1"`, `[1]`), resource.InvalidFilter, "put", "1", "1", "the expression yields list(int), expected map or message"},
		{mergeMapping("notes", `"1"`, `event.key`), resource.InvalidFilter, "merge", "1", "1", "the expression yields string, expected map or message"},
		{putMapping("notes", `"1"`, `{"x": type(1)}.x`), resource.InvalidFilter, "put", "1", "1", "the expression yields type"},
		{base(func(m *m) { m.When = "event.key.matches(event.id)" }), resource.InvalidFilter, "when", "1", "1", "the pattern of matches must be a constant"},
		{base(func(m *m) { m.When = strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100) }), resource.InvalidFilter, "when", "1", "", "recursion limit exceeded"},

		{putMapping("orders", `"1"`, "{\n  \"custmer_id\": \"1\"}"), resource.InvalidFilter, "put", "2", "3", `shop.v1.Order has no field "custmer_id"; the nearest is "customer_id"`},
		{mergeMapping("orders", `"1"`, `{"total": {"unitz": 1}}`), resource.InvalidFilter, "merge", "1", "12", `shop.v1.Money has no field "unitz"; the nearest is "units"`},
		{putMapping("orders", `"1"`, `{"items": [{}, {"price": {"x": 1}}]}`), resource.InvalidFilter, "put", "1", "27", `shop.v1.Money has no field "x"`},
		{putMapping("orders", `"1"`, `{"customer_id": 7}`), resource.InvalidFilter, "put", "1", "17", "the field customer_id is string, not int"},
		{putMapping("orders", `"1"`, `{"customer_id": event.headers}`), resource.InvalidFilter, "put", "1", "22", "the field customer_id is string, not map(string, string)"},
		{putMapping("orders", `"1"`, `{"status": true}`), resource.InvalidFilter, "put", "1", "12", "the field status is shop.v1.OrderStatus, not bool"},
		{putMapping("orders", `"1"`, `{"total": 1}`), resource.InvalidFilter, "put", "1", "11", "the field total is shop.v1.Money, not int"},
		{putMapping("orders", `"1"`, `{"total": {"nanos": b"1"}}`), resource.InvalidFilter, "put", "1", "21", "the field nanos is int32, not bytes"},
		{putMapping("orders", `"1"`, `{"items": {}}`), resource.InvalidFilter, "put", "1", "11", "the field items is repeated shop.v1.Item, not map(dyn, dyn)"},
		{putMapping("orders", `"1"`, `{"items": [{}, "x"]}`), resource.InvalidFilter, "put", "1", "16", "the field items is repeated shop.v1.Item, not string"},
		{putMapping("orders", `"1"`, `{"items": [{"quantity": false}]}`), resource.InvalidFilter, "put", "1", "25", "the field quantity is int32, not bool"},
		{putMapping("orders", `"1"`, `{"items": ["x"].map(i, i)}`), resource.InvalidFilter, "put", "1", "20", "the field items is repeated shop.v1.Item, not list(string)"},
		{putMapping("orders", `"1"`, `{1: "x"}`), resource.InvalidFilter, "put", "1", "2", "the name of a field is a string"},
		{putMapping("orders", `"1"`, `{"order_id": "1", "orderId": "1"}`), resource.InvalidFilter, "put", "1", "19", "the field order_id stands there twice"},
		{putMapping("orders", `"1"`, `event.key == "" ? {} : {"x": 1}`), resource.InvalidFilter, "put", "1", "25", `shop.v1.Order has no field "x"`},
		{putMapping("orders", `"1"`, `{"total": event.key == "" ? {} : {"units": true}}`), resource.InvalidFilter, "put", "1", "44", "the field units is int64, not bool"},
	} {
		_, err := r.Mapping("f", EventJSON, nil, c.m)
		checkMappingError(t, c.m, err, c.reason, c.field, c.line, c.column, c.want)
	}
	for _, c := range []struct{ put, column, want string }{
		{`data.custmer_id`, "5", "undefined field 'custmer_id'"},
		{`data.total`, "5", "shop.v1.Order is expected, not shop.v1.Money"},
		{`{"total": data}`, "11", "shop.v1.Money is expected, not shop.v1.Order"},
		{`{"items": [data.items[0], data.total]}`, "31", "shop.v1.Item is expected, not shop.v1.Money"},
		{`{"customer_id": data.total.units}`, "27", "the field customer_id is string, not int"},
		{`Order{}`, "1", "a mapping cannot make a message (shop.v1.Order)"},
	} {
		in := putMapping("orders", `"1"`, c.put)
		_, err := r.Mapping("f", EventMessage, order, in)
		checkMappingError(t, in, err, resource.InvalidFilter, "put", "1", c.column, c.want)
	}
	kr := &Registry{schemas: map[string]*Schema{"kinds": kinds}}
	for _, c := range []struct{ put, column, want string }{
		{`{"by_name": []}`, "13", "the field by_name is a map, not list(dyn)"},
		{`{"by_name": {"a": "RED", "b": true}}`, "31", "the field by_name is a map, not bool"},
		{`{"by_name": {"a": true}.map(k, true)}`, "28", "the field by_name is a map, not list(bool)"},
		{`{"floats": ["1", 2, 3.5, b"x"]}`, "26", "the field floats is repeated float, not bytes"},
		{`{"b": 1}`, "7", "the field b is bytes, not int"},
		{`{"kid": {"kid": {"i": {}}}}`, "23", "the field i is int64, not map(dyn, dyn)"},
	} {
		in := putMapping("kinds", `"1"`, c.put)
		_, err := kr.Mapping("f", EventJSON, nil, in)
		checkMappingError(t, in, err, resource.InvalidFilter, "put", "1", c.column, c.want)
	}
	for _, put := range []string{
		`{"by_name": {"a": "RED", "b": 1}, "by_number": {1: "x"}, "floats": [1, 2u, 3.5, "NaN", null], "b": "AA==", "wait": duration("1s"), "any": {"@type": "x"}, "free": [1, {"x": true}], "maybe": 5, "kid": {"u": 1}}`,
		`{"wait": 1, "free": true, "by_name": event.headers, "kid": null, "f": data.x, "floats": data.x, "by_number": data.y, "kid": data.z}`,
		`{event.key: data}`, `data`, `{"i": "1", "colours": ["RED", 1]}`,
	} {
		in := putMapping("kinds", `"1"`, put)
		if _, err := kr.Mapping("f", EventJSON, nil, in); err != nil != strings.Contains(put, `"kid": null`) { // the second has a name twice
			t.Errorf("%s: %v", put, err)
		}
	}
}

func checkMappingError(t *testing.T, m *watchroutev1.Mapping, err error, reason resource.Reason, field, line, column, want string) {
	t.Helper()
	full := "f"
	if field != "" {
		full += "." + field
	}
	e := resource.AsError(err)
	if e == nil || e.Reason != reason || e.Metadata["field"] != full || e.Metadata["line"] != line || column != "" && e.Metadata["column"] != column ||
		!strings.Contains(e.Message, want) || strings.Contains(e.Message, "\n") {
		t.Errorf("%.120v: got %v %v, want %v in %s %s:%s %s", m, err, e, reason, full, line, column, want)
	}
}

func TestMapping_RunTimeErrorsNameTheField(t *testing.T) {
	r := shopRegistry(t)
	base := func(change func(m *watchroutev1.Mapping)) *watchroutev1.Mapping {
		m := putMapping("notes", `"1"`, `{}`)
		change(m)
		return m
	}
	type m = watchroutev1.Mapping
	deep := `{"deep":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `,`
	event := deep + `"n":1.5,"s":"x","t":"soon","l":[1,2],"empty":"","nothing":null,"long":"` + strings.Repeat("x", 2000) + `","many":[` + strings.Repeat("1,", MaxMapped) + `1],"twice":{"orderId":"1","order_id":"2"}}`
	for _, c := range []struct {
		m     *m
		field string
		want  string
	}{
		{base(func(m *m) { m.When = `data.nope` }), "when", "no such key: nope"},
		{base(func(m *m) { m.ForEach = `data.nope` }), "for_each", "no such key: nope"},
		{base(func(m *m) { m.ForEach = `data.s` }), "for_each", "it yields string, expected a list"},
		{base(func(m *m) { m.ForEach = `data.nothing` }), "for_each", "it yields null_type, expected a list"},
		{base(func(m *m) { m.ForEach = `data.many`; m.Id = `"1"` }), "for_each", "more than 1000 elements"},
		{base(func(m *m) { m.Id = `data.a.b` }), "id", "no such key: a"},
		{base(func(m *m) { m.Id = `data.empty` }), "id", "the id is missing"},
		{base(func(m *m) { m.Id = `"a/b"` }), "id", `the id "a/b" holds '/'`},
		{base(func(m *m) { m.Id = `".."` }), "id", `".." cannot be an id`},
		{base(func(m *m) { m.Id = `data.long` }), "id", "the id has 2000 characters"},
		{base(func(m *m) { m.Id = `data.n` }), "id", "it yields double, expected a string or an integer"},
		{base(func(m *m) { m.Id = `data.nothing` }), "id", "it yields null_type, expected a string or an integer"},
		{base(func(m *m) { m.Id = `data.l` }), "id", "it yields list, expected a string or an integer"},
		{putMapping("notes", `"1"`, `data.l`), "put", "a JSON object is expected, not [1,2]"},
		{putMapping("notes", `"1"`, `data.nothing`), "put", "a JSON object is expected, not null"},
		{putMapping("notes", `"1"`, `data.s`), "put", `a JSON object is expected, not "x"`},
		{mergeMapping("notes", `"1"`, `data.n`), "merge", "a JSON object is expected, not 1.5"},
		{putMapping("notes", `"1"`, `{"x": 1 / 0}`), "put", "division by zero"},
		{putMapping("notes", `"1"`, `{"x": [type(1)]}`), "put", "cannot be JSON"},
		{putMapping("notes", `"1"`, `{1.5: 1}`), "put", ""},
		{putMapping("notes", `"1"`, `{"x": {"y": data.deep}}`), "put", "cannot be JSON"},
		{mergeMapping("orders", `"1"`, `data.twice`), "merge", "the field order_id stands there twice"},
		{putMapping("orders", `"1"`, `data.twice`), "put", "the field order_id stands there twice"},
		{deleteMapping("notes", `"1"`, `data.nope`), "delete", "no such key: nope"},
		{base(func(m *m) { m.Labels = map[string]string{"a": `"x"`, "b": `data.nope`} }), "labels[b]", "no such key: nope"},
		{base(func(m *m) { m.Labels = map[string]string{"a": `"x"`, "b": `data.n`} }), "labels[b]", "it yields double, expected a string"},
		{base(func(m *m) { m.EventTime = `timestamp(data.t)` }), "event_time", ""},
		{base(func(m *m) { m.EventTime = `data.t` }), "event_time", "it yields string, expected a timestamp"},
		{base(func(m *m) { m.Order = `data.n` }), "order", "it yields double, expected an integer, a timestamp or a string"},
		{base(func(m *m) { m.Order = `data.nope` }), "order", "no such key: nope"},
		{base(func(m *m) { m.Order = `data.empty` }), "order", "it is empty"},
	} {
		got, err := newMapping(t, r, EventJSON, nil, c.m).Changes(jsonEvent(t, event))
		if e := resource.AsError(err); got != nil || e == nil || e.Reason != resource.InvalidValue || e.Metadata["field"] != c.field || !strings.Contains(e.Message, c.want) || len(e.Message) > 500 {
			t.Errorf("%.120v: got %s %v, want %s in %s", c.m, changesText(got), err, c.want, c.field)
		}
	}
	// What only the contract knows is found where the change becomes a value.
	for put, path := range map[string]string{
		`{"customer_id": data.n}`: "customerId", `{"total": {"units": data.n}}`: "total.units", `{"status": data.s}`: "status", `{"order_id": "other"}`: "order_id",
		`{"items": [{}, data.l]}`: "items[1]", `{data.s: 1}`: "x",
	} {
		changes, err := newMapping(t, r, EventJSON, nil, putMapping("orders", `"1"`, put)).Changes(jsonEvent(t, event))
		if err != nil {
			t.Errorf("%s: %v", put, err)
			continue
		}
		_, _, err = changes[0].Encode(r.Schema("orders"))
		if e := resource.AsError(err); e == nil || e.Reason != resource.InvalidValue || e.Metadata["field"] != "put" || e.Metadata["path"] != path {
			t.Errorf("%s: got %v %v, want the path %s", put, err, e, path)
		}
	}
}

func TestMapping_ManyChangesAreBounded(t *testing.T) {
	m := deleteMapping("notes", `"1"`, `item`)
	m.ForEach = `data`
	most := newMapping(t, shopRegistry(t), EventJSON, nil, m)
	for text, want := range map[string]int{
		"[" + strings.Repeat("true,", MaxMapped-1) + "true]":                                      MaxMapped,
		"[" + strings.Repeat("true,", MaxMapped-1) + strings.Repeat("false,", 1000) + "true]":     MaxMapped,
		"[" + strings.Repeat("false,", 2*MaxMapped) + "1]":                                        0,
		"[" + strings.Repeat("true,", MaxMapped) + strings.Repeat("false,", 1000) + "true, true]": -1,
	} {
		got, err := most.Changes(jsonEvent(t, text))
		if len(got) != max(want, 0) || (err != nil) != (want < 0) {
			t.Errorf("%d changes, %v, want %d", len(got), err, want)
		}
	}
}

// TestMapping_NoEventCostsMuch: expressions are metered, as filters are.
func TestMapping_NoEventCostsMuch(t *testing.T) {
	r := shopRegistry(t)
	var members strings.Builder
	for i := range 30000 {
		fmt.Fprintf(&members, `,"%d":1`, i)
	}
	e := jsonEvent(t, `{"items":[`+strings.Repeat("1,", 30000)+`1],"m":{"k":1`+members.String()+`}}`)
	for put, ok := range map[string]bool{
		`data`:                                 true,
		`data.m`:                               true,
		`{"m": data.m, "n": size(data.items)}`: true,
		`{"x": data.m["29999"], "y": has(data.m.nope)}`:                   true,
		`{"x": data.items.all(x, data.items.all(y, x == y))}`:             false,
		`{"x": data.m.map(k, data.m[k])}`:                                 false,
		`{"x": data.m == data.m}`:                                         true,
		`{"x": [data.items]` + strings.Repeat(`.map(a,[a,a,a])`, 8) + `}`: false, // 16 MiB and more
	} {
		start := time.Now()
		got, err := newMapping(t, r, EventJSON, nil, putMapping("notes", `"1"`, put)).Changes(e)
		if (err == nil) != ok || err != nil && got != nil {
			t.Errorf("%s: %v", put, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", put, took)
		}
	}
}

// TestMapping_IsForManyAtOnce: what is lazy is the event's.
func TestMapping_IsForManyAtOnce(t *testing.T) {
	m := newMapping(t, shopRegistry(t), EventJSON, nil, putMapping("notes", "data.order_id", `{"city": data.warehouse.city, "skus": data.items.map(i, i.sku)}`))
	e := benchEvent(t)
	done := make(chan string)
	for range 4 {
		go func() {
			got, err := m.Changes(e)
			done <- fmt.Sprint(changesText(got), err)
		}()
	}
	for range 4 {
		if got := <-done; got != `put notes/42 {"city":"Rotterdam","skus":["cd-1","cd-2","lp-9"]}<nil>` {
			t.Error(got)
		}
	}
}

func TestMapped_OrderKeepsTheLast(t *testing.T) {
	r := shopRegistry(t)
	s := r.Schema("notes")
	at := func(text string) string { return `timestamp("` + text + `")` }
	for _, c := range []struct {
		there, now string // expressions
		late       bool
	}{
		{`1`, `2`, false}, {`2`, `1`, true}, {`2`, `2`, false}, {`9`, `10`, false}, {`10`, `9`, true}, {`-1`, `-2`, true}, {`-2`, `-1`, false}, {`0`, `-1`, true},
		{`9`, `18446744073709551615u`, false}, {`18446744073709551615u`, `9`, true}, {`9223372036854775807`, `9223372036854775808u`, false}, {`9223372036854775808u`, `9223372036854775807`, true},
		{at("2026-01-02T03:04:05Z"), at("2026-01-02T03:04:05.1Z"), false}, {at("2026-01-02T03:04:05.1Z"), at("2026-01-02T03:04:05Z"), true},
		{at("2026-01-02T03:04:05Z"), at("2026-01-02T04:04:05+01:00"), false}, {at("2026-01-02T03:04:05Z"), at("2026-01-02T04:04:05+02:00"), true},
		{at("0999-12-31T00:00:00Z"), at("2026-01-01T00:00:00Z"), false},
		{`"a"`, `"b"`, false}, {`"b"`, `"a"`, true}, {`"b"`, `"b"`, false}, {`"0/1A"`, `"0/1B"`, false}, {`"9"`, `"10"`, false}, {`"123456789012345678901234567890"`, `"99"`, true}, {`"-"`, `"1"`, false}, {`"1-2"`, `"1-1"`, true},
	} {
		for _, m := range []*watchroutev1.Mapping{putMapping("notes", `"1"`, `{"n":"new"}`), mergeMapping("notes", `"1"`, `{"n":"new"}`), deleteMapping("notes", `"1"`, `true`)} {
			first := putMapping("notes", `"1"`, `{"n":"old"}`)
			first.Order, m.Order = c.there, c.now
			old := applied(t, s, nil, change(t, r, first, &Event{}))
			now := change(t, r, m, &Event{})
			op, late := over(t, s, old, now)
			if late != c.late {
				t.Errorf("%s after %s: out of date is %v", c.now, c.there, late)
			}
			if late && (op.Delete || string(op.Data) != `{"n":"old"}` || op.Labels[EventOrderLabel] != old.Labels[EventOrderLabel]) {
				t.Errorf("%s after %s: it changes what is there: %+v", c.now, c.there, op)
			}
			if !late && (op.Delete != now.Delete || !op.Delete && string(op.Data) != `{"n":"new"}` || op.Labels[EventOrderLabel] != now.Order) {
				t.Errorf("%s after %s: it is not applied: %+v", c.now, c.there, op)
			}
		}
	}
	// What has no order is never late, and nothing is late where nothing is.
	ordered, plain := putMapping("notes", `"1"`, `{}`), putMapping("notes", `"1"`, `{"n":"new"}`)
	ordered.Order = "5"
	old := applied(t, s, nil, change(t, r, ordered, &Event{}))
	if op, late := over(t, s, old, change(t, r, plain, &Event{})); late || string(op.Data) != `{"n":"new"}` || op.Labels != nil {
		t.Errorf("got %+v %v", op, late)
	}
	ordered.Order = "4"
	for _, none := range []*changelog.Record{nil, {ID: "1", Absent: true}, applied(t, s, nil, change(t, r, plain, &Event{}))} {
		if op, late := over(t, s, none, change(t, r, ordered, &Event{})); late || op.Labels[EventOrderLabel] != "4" {
			t.Errorf("got %+v %v", op, late)
		}
	}
}

// change gives the one change that a mapping of JSON makes of an event.
func change(t testing.TB, r *Registry, m *watchroutev1.Mapping, e *Event) *Mapped {
	t.Helper()
	changes, err := newMapping(t, r, EventJSON, nil, m).Changes(e)
	if err != nil || len(changes) != 1 {
		t.Fatalf("%v: %s %v", m, changesText(changes), err)
	}
	return &changes[0]
}

// over gives the op of a change, as a source makes it.
func over(t testing.TB, s *Schema, old *changelog.Record, c *Mapped) (op changelog.Op, late bool) {
	t.Helper()
	op = changelog.Op{ID: c.ID, Delete: c.Delete, Labels: c.Labels}
	var err error
	if !c.Delete && !c.Merge {
		if op.Type, op.Data, err = c.Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	if late, err = c.Over(s, old, &op); err != nil {
		t.Fatal(err)
	}
	return op, late
}

func applied(t testing.TB, s *Schema, old *changelog.Record, c *Mapped) *changelog.Record {
	t.Helper()
	op, _ := over(t, s, old, c)
	return &changelog.Record{ID: op.ID, Absent: op.Delete, Labels: op.Labels, Type: op.Type, Data: op.Data}
}

// TestMapped_SharesNothingWithTheEvent: what is stored outlives the bytes of an event,
// which are the caller's again.
func TestMapped_SharesNothingWithTheEvent(t *testing.T) {
	r := shopRegistry(t)
	const event = `{"id":"42","customer_id":"c-1","label":"eu","n":12345,"sub":{"customer_id":"c-2"},"l":[{"customer_id":"c-3"}]}`
	for _, collection := range []string{"notes", "orders"} {
		s := r.Schema(collection)
		put := func(expr string) *watchroutev1.Mapping { return putMapping(collection, "data.id", expr) }
		merge := func(expr string) *watchroutev1.Mapping { return mergeMapping(collection, "data.id", expr) }
		mappings := []*watchroutev1.Mapping{
			put(`data.sub`), merge(`data.sub`), put(`data.l[0]`), merge(`data.l[0]`), put(`{"customer_id": data.customer_id}`), merge(`{"customer_id": data.customer_id}`),
		}
		if collection == "notes" {
			mappings = append(mappings, put(`data`), merge(`data`), put(`{"x": data}`), merge(`{"x": [data.sub]}`))
		}
		for _, m := range mappings {
			m.Labels, m.Order = map[string]string{"region": "data.label"}, "data.customer_id"
			for _, old := range []*changelog.Record{nil, applied(t, s, nil, change(t, r, putMapping(collection, `"42"`, `{"customer_id": "old"}`), &Event{}))} {
				e := jsonEvent(t, event)
				c := change(t, r, m, e)
				op, _ := over(t, s, old, c)
				data, id, order, labels := bytes.Clone(op.Data), strings.Clone(c.ID), strings.Clone(c.Order), strings.Clone(op.Labels["region"])
				for i := range e.Data.JSON {
					e.Data.JSON[i] = '#'
				}
				if !bytes.Equal(op.Data, data) || c.ID != id || id != "42" || c.Order != order || order != "c-1" || op.Labels["region"] != labels || labels != "eu" {
					t.Errorf("%v: it changes with the event: %s %s %s %v", m, op.Data, c.ID, c.Order, op.Labels)
				}
			}
		}
	}
	raw := []byte{1, 2, 3}
	c, err := newMapping(t, r, EventBytes, nil, putMapping("notes", `"1"`, `{"b": data}`)).Changes(&Event{Data: EventData{Bytes: raw}})
	if raw[0] = 9; err != nil || changesText(c) != `put notes/1 {"b":"AQID"}` {
		t.Errorf("got %s %v", changesText(c), err)
	}
	// Nor does a merge change what is there.
	old := applied(t, r.Schema("notes"), nil, change(t, r, putMapping("notes", `"1"`, `{"a": 1}`), &Event{}))
	old.Labels = map[string]string{"a": "1"}
	m := mergeMapping("notes", `"1"`, `{"a": null}`)
	m.Labels = map[string]string{"a": `"2"`}
	if op, _ := over(t, r.Schema("notes"), old, change(t, r, m, &Event{})); string(op.Data) != `{}` || op.Labels["a"] != "2" || string(old.Data) != `{"a":1}` || old.Labels["a"] != "1" {
		t.Errorf("got %+v, and %+v is there", op, old)
	}
}

func TestCompactJSON_TakesAnyValue(t *testing.T) {
	for in, want := range map[string]string{
		` { "a" : [ 1 , 2.50 ] } `: `{"a":[1,2.50]}`, "\t[ ]\r\n": `[]`, ` "a b" `: `"a b"`, ` -0.0e1`: `-0.0e1`, `true `: `true`, `null`: `null`, `false`: `false`,
	} {
		if got, err := CompactJSON([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%q: got %q %v, want %q", in, got, err, want)
		}
	}
	for in, c := range map[string]struct{ path, want string }{
		``:                         {"", "a JSON value is expected, not the end"},
		`nul`:                      {"", "a JSON value is expected, not 'n'"},
		`1 2`:                      {"", "'2' follows the value"},
		`{} {}`:                    {"", "'{' follows the object"},
		`[1,]`:                     {"[1]", "a JSON value is expected, not ']'"},
		`[{"a":[1,{"b":tru}]}]`:    {"[0].a[1].b", "a JSON value is expected, not 't'"},
		`[{"a":1,"a":2}]`:          {"[0].a", `the name "a" stands there twice`},
		"\"\xff\"":                 {"", "the text is not UTF-8"},
		"\xef\xbb\xbf{}":           {"", "a JSON value is expected, not '\\ufeff'"},
		strings.Repeat("[", 1<<20): {strings.Repeat("[0]", MaxDepth), "the value is nested more than 100 deep"},
		`{"a":` + "\"\x01\"" + `}`: {"a", "the control character '\\x01' stands in a string"},
	} {
		got, err := CompactJSON([]byte(in))
		if e := resource.AsError(err); got != nil || e == nil || e.Reason != resource.InvalidValue || e.Metadata["path"] != c.path || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: got %s %v, want %s at %s", clip(in), got, err, c.want, c.path)
		}
	}
	in := []byte(`{"a":1}`)
	got, _ := CompactJSON(in)
	if in[1] = '#'; string(got) != `{"a":1}` {
		t.Error("it shares its bytes with what it was given")
	}
}

// benchEvent has 1.2 KB of JSON.
func benchEvent(t testing.TB) *Event {
	t.Helper()
	text := `{"event":"OrderShipped","order_id":"42","customer":{"id":"c-7","name":"Ada Lovelace","email":"ada@example.com","address":{"street":"12 St James's Square","city":"London","postcode":"SW1Y 4JH","country":"GB"}},` +
		`"carrier":"DHL","tracking":"00340434161094042557","shipped_at":"2026-01-02T03:04:05Z","weight_kg":2.75,"insured":true,"notes":null,"items":[` +
		`{"sku":"cd-1","title":"Kind of Blue","quantity":2,"price":{"currency":"USD","units":12,"nanos":990000000}},` +
		`{"sku":"cd-2","title":"A Love Supreme","quantity":1,"price":{"currency":"USD","units":9,"nanos":490000000}},` +
		`{"sku":"lp-9","title":"Bitches Brew (2 LP)","quantity":1,"price":{"currency":"USD","units":34,"nanos":0}}],` +
		`"total":{"currency":"USD","units":69,"nanos":470000000},"warehouse":{"id":"w-3","city":"Rotterdam","gate":"B12"},"trace":"` + strings.Repeat("0af7651916cd43dd", 6) + `"}`
	compact, err := CompactJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &Event{ID: "e1", Topic: "orders", Partition: "0", Position: "17", Key: "42", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Data: EventData{JSON: compact}}
}

// FuzzMapping: any mapping compiles or is refused with its place; what it makes is what
// may be written, and can be laid over anything.
func FuzzMapping(f *testing.F) {
	const event = `{"id":"1","n":1,"s":"aa","o":{"b":{"c":[1,{"x":null}]}},"items":[{"sku":"a","quantity":2}],"big":9007199254740993,"at":"2026-01-02T03:04:05Z"}`
	for _, s := range [][4]string{
		{`true`, `data.id`, `data`, event}, {`data.n == 1.0`, `event.key + "x"`, `data.o`, event}, {`has(data.x)`, `data.big`, `{"items": data.items, "total": {"units": data.n}}`, event},
		{``, `"1"`, `{"customer_id": data.s, "status": "SHIPPED"}`, event}, {``, `data[0]`, `{"x": data}`, `["1"]`}, {``, `data`, `{}`, `"1"`}, {``, `"1"`, `data`, `{"orderId":"1","order_id":"1"}`},
		{``, `"1"`, `data.o.map(k, k)`, event}, {``, `1.5`, `{"location": null, "items": [{}, null]}`, `null`}, {``, `"1"`, `{"place_time": timestamp(data.at), "items": [data.items[0]]}`, event},
		{`data`, `event.id`, `{"status": 3, "total": {"nope": 1}}`, `{"a":1}`}, {``, `"1"`, `n ? {} : {"total": {"currency_code": "USD"}}`, event},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	r := shopRegistry(f)
	olds := map[string]*changelog.Record{"notes": storedJSON(f, r, "1", event).rec, "orders": storedOrder(f, r, "1", benchOrder()).rec}
	f.Fuzz(func(t *testing.T, when, id, value, text string) {
		compact, err := CompactJSON([]byte(text))
		if err != nil {
			return
		}
		start := time.Now()
		for collection, old := range olds {
			s := r.Schema(collection)
			for _, m := range []*watchroutev1.Mapping{putMapping(collection, id, value), mergeMapping(collection, id, value)} {
				m.When, m.Order, m.Labels = when, id, map[string]string{"a": `"b"`}
				mapping, err := r.Mapping("f", EventJSON, nil, m)
				if err != nil {
					e := resource.AsError(err)
					if e.Reason != resource.InvalidFilter && e.Reason != resource.InvalidField || (e.Metadata["line"] == "") != (e.Reason == resource.InvalidField) || !strings.HasPrefix(e.Metadata["field"], "f") {
						t.Fatalf("%v: %v", m, err)
					}
					continue
				}
				changes, err := mapping.Changes(&Event{ID: "i", Key: "k", Data: EventData{JSON: bytes.Clone(compact)}})
				if err != nil {
					if e := resource.AsError(err); e.Reason != resource.InvalidValue || e.Metadata["field"] == "" {
						t.Fatalf("%v: %v", m, err)
					}
					continue
				}
				for i := range changes {
					c := &changes[i]
					if again, bad := compactObject(string(c.Value)); bad != nil || !bytes.Equal(again, c.Value) || resource.CheckID("", c.ID) != nil {
						t.Fatalf("%v: %s: %v", m, c.Value, bad)
					}
					op := changelog.Op{ID: c.ID}
					if !c.Merge {
						op.Type, op.Data, err = c.Encode(s)
					} else {
						old.Labels = map[string]string{"x": "y"}
						_, err = c.Over(s, old, &op)
						if op.Labels["x"] != "y" || op.Labels["a"] != "b" {
							t.Fatalf("%v: labels %v", m, op.Labels)
						}
					}
					if err != nil && !resource.HasReason(err, resource.InvalidValue) {
						t.Fatalf("%v: %v", m, err)
					}
					if err == nil && collection == "notes" {
						if _, bad := compactObject(string(op.Data)); bad != nil {
							t.Fatalf("%v: %s: %v", m, op.Data, bad)
						}
					}
				}
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("%q %q %q took %v", when, id, value, took)
		}
	})
}

func BenchmarkMapping(b *testing.B) {
	r := shopRegistry(b)
	e := benchEvent(b)
	const literal = `{"status": "SHIPPED", "customer_id": data.customer.id, "status_time": data.shipped_at, "total": {"units": data.total.units, "currency_code": data.total.currency}, "city": data.warehouse.city}`
	const typed = `{"status": "SHIPPED", "customer_id": data.customer.id, "status_time": data.shipped_at, "total": {"units": data.total.units, "currency_code": data.total.currency}, "location": {"description": data.warehouse.city}}`
	old := func(collection, text string) *changelog.Record {
		return stored(b, r.Schema(collection), "42", jsonAny(text)).rec
	}
	for _, c := range []struct {
		name string
		m    *watchroutev1.Mapping
		old  *changelog.Record
	}{
		{"put data", &watchroutev1.Mapping{Collection: "notes", Id: "data.order_id", Action: &watchroutev1.Mapping_Put{Put: "data"}}, nil},
		{"put data by key", &watchroutev1.Mapping{Collection: "notes", Id: "event.key", Action: &watchroutev1.Mapping_Put{Put: "data"}}, nil},
		{"put literal", &watchroutev1.Mapping{Collection: "notes", Id: "data.order_id", Action: &watchroutev1.Mapping_Put{Put: literal}}, nil},
		{"put literal typed", &watchroutev1.Mapping{Collection: "orders", Id: "data.order_id", Action: &watchroutev1.Mapping_Put{Put: typed}}, nil},
		{"put literal when ordered", &watchroutev1.Mapping{Collection: "notes", When: `data.event == "OrderShipped"`, Id: "data.order_id", Action: &watchroutev1.Mapping_Put{Put: literal}, EventTime: "timestamp(data.shipped_at)", Order: "event.time"}, nil},
		{"merge literal", &watchroutev1.Mapping{Collection: "notes", Id: "data.order_id", Action: &watchroutev1.Mapping_Merge{Merge: literal}}, old("notes", string(e.Data.JSON))},
		{"merge data", &watchroutev1.Mapping{Collection: "notes", Id: "data.order_id", Action: &watchroutev1.Mapping_Merge{Merge: "data"}}, old("notes", string(e.Data.JSON))},
		{"merge literal typed", &watchroutev1.Mapping{Collection: "orders", Id: "data.order_id", Action: &watchroutev1.Mapping_Merge{Merge: typed}}, storedOrder(b, r, "42", benchOrder()).rec},
		{"for each", &watchroutev1.Mapping{Collection: "notes", ForEach: "data.items", Id: "item.sku", Action: &watchroutev1.Mapping_Put{Put: "item"}}, nil},
	} {
		m, err := r.Mapping("", EventJSON, nil, c.m)
		if err != nil {
			b.Fatal(err)
		}
		s := r.Schema(c.m.GetCollection())
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				changes, err := m.Changes(e)
				if err != nil || len(changes) == 0 {
					b.Fatal(err)
				}
				for i := range changes {
					if !changes[i].Merge {
						if _, _, err := changes[i].Encode(s); err != nil {
							b.Fatal(err)
						}
						continue
					}
					var op changelog.Op
					if _, err := changes[i].Over(s, c.old, &op); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	raw := []byte(" " + strings.ReplaceAll(string(e.Data.JSON), ",", ", "))
	b.Run("CompactJSON", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := CompactJSON(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestMapping_PartsOfTopics: a topic's level is an id.
func TestMapping_PartsOfTopics(t *testing.T) {
	r, err := NewRegistry(nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Mapping("m", EventJSON, nil, &watchroutev1.Mapping{Collection: "things", Id: "event.topic.split('/')[1]", Action: &watchroutev1.Mapping_Put{Put: "data"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Changes(&Event{Topic: "plant/7/temperature", Data: EventData{JSON: []byte(`{}`)}}); err != nil || len(got) != 1 || got[0].ID != "7" {
		t.Errorf("%v, %v", got, err)
	}
}

package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

func TestMergePatch_IsRFC7396(t *testing.T) {
	for _, c := range []struct{ what, value, patch, want string }{
		// The cases of its appendix A, in its order.
		{"a member is replaced", `{"status":"PLACED"}`, `{"status":"SHIPPED"}`, `{"status":"SHIPPED"}`},
		{"a member is new", `{"status":"PLACED"}`, `{"carrier":"DHL"}`, `{"status":"PLACED","carrier":"DHL"}`},
		{"the only member goes", `{"status":"PLACED"}`, `{"status":null}`, `{}`},
		{"a member goes, another stays", `{"status":"PLACED","carrier":"DHL"}`, `{"status":null}`, `{"carrier":"DHL"}`},
		{"a list becomes a string", `{"tags":["new"]}`, `{"tags":"old"}`, `{"tags":"old"}`},
		{"a string becomes a list", `{"tags":"old"}`, `{"tags":["new"]}`, `{"tags":["new"]}`},
		{"an object is merged", `{"total":{"units":1}}`, `{"total":{"units":2,"nanos":null}}`, `{"total":{"units":2}}`},
		{"a list is replaced, whatever is in it", `{"items":[{"sku":"a"}]}`, `{"items":[1]}`, `{"items":[1]}`},
		{"a list by a list", `["a","b"]`, `["c","d"]`, `["c","d"]`},
		{"an object by a list", `{"status":"PLACED"}`, `["c"]`, `["c"]`},
		{"an object by null", `{"status":"PLACED"}`, `null`, `null`},
		{"an object by a string", `{"status":"PLACED"}`, `"gone"`, `"gone"`},
		{"a null that is there stays", `{"note":null}`, `{"units":1}`, `{"note":null,"units":1}`},
		{"an object takes a list's place", `[1,2]`, `{"status":"PLACED","note":null}`, `{"status":"PLACED"}`},
		{"nulls in what is new go", `{}`, `{"total":{"tax":{"rate":null}}}`, `{"total":{"tax":{}}}`},
		// More.
		{"nothing changes nothing", `{"b":1.50,"a":"\u00e9"}`, `{}`, `{"b":1.50,"a":"\u00e9"}`},
		{"of nothing", ``, `{"a":{"b":null,"c":1},"d":null}`, `{"a":{"c":1}}`},
		{"names keep their places", `{"c":1,"a":2,"b":3}`, `{"z":0,"a":9,"y":0}`, `{"c":1,"a":9,"b":3,"z":0,"y":0}`},
		{"a name is what it stands for", `{"\u0061":1,"b":2}`, `{"a":3,"\u0062":4}`, `{"\u0061":3,"b":4}`},
		{"a backslash is no escape", `{"a\\n":1}`, `{"a\n":2}`, `{"a\\n":1,"a\n":2}`},
		{"nulls in a list stay", `{}`, `{"l":[null,{"a":null}]}`, `{"l":[null,{"a":null}]}`},
		{"an object over a number", `{"a":1}`, `{"a":{"b":{"c":null}}}`, `{"a":{"b":{}}}`},
		{"a null for what is not there", `{"a":1}`, `{"b":null}`, `{"a":1}`},
		{"the empty name", `{"":{"":1}}`, `{"":{"":2}}`, `{"":{"":2}}`},
		{"the text null", `{"a":1}`, `{"a":"null"}`, `{"a":"null"}`},
	} {
		value, patch := bytes.Clone([]byte(c.value)), bytes.Clone([]byte(c.patch))
		got := mergePatch(nil, value, patch)
		if string(got) != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
		if string(value) != c.value || string(patch) != c.patch {
			t.Errorf("%s: it changes what it is given", c.what)
		}
		if got := mergePatch([]byte("x"), value, patch); string(got) != "x"+c.want {
			t.Errorf("%s: appended it is %s", c.what, got)
		}
	}
}

// mergeReference is the RFC's own description.
func mergeReference(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out, ok := target.(map[string]any)
	if !ok {
		out = map[string]any{}
	}
	out = maps.Clone(out)
	for name, value := range changes {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = mergeReference(out[name], value)
		}
	}
	return out
}

func parsed(t rapid.TB, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func checkMerge(t rapid.TB, value, patch []byte) {
	t.Helper()
	got := mergePatch(nil, value, patch)
	if again, bad := compactJSON(string(got)); bad != nil || !bytes.Equal(again, got) {
		t.Fatalf("%s over %s: %s: %v", patch, value, got, bad)
	}
	if want := mergeReference(parsed(t, value), parsed(t, patch)); !reflect.DeepEqual(parsed(t, got), want) {
		t.Fatalf("%s over %s: got %s, want %v", patch, value, got, want)
	}
	if again := mergePatch(nil, got, patch); !bytes.Equal(again, got) {
		t.Fatalf("%s over %s: twice it is %s, not %s", patch, value, again, got)
	}
}

func TestMergePatch_AgreesWithTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkMerge(t, []byte(drawJSON(t, 3)), []byte(drawJSON(t, 3)))
		checkMerge(t, []byte(drawObject(t, 3)), []byte(drawObject(t, 3)))
	})
	many := func(t *rapid.T, name string) []byte {
		var members []string
		for _, k := range rapid.SliceOfNDistinct(rapid.IntRange(0, 99), 0, 99, rapid.ID[int]).Draw(t, name) {
			members = append(members, fmt.Sprintf(`"k%d":%s`, k, rapid.SampledFrom([]string{"null", "1", `{"a":1}`, `{"a":null,"b":[null]}`}).Draw(t, "value")))
		}
		return []byte("{" + strings.Join(members, ",") + "}")
	}
	rapid.Check(t, func(t *rapid.T) { checkMerge(t, many(t, "value"), many(t, "patch")) })
}

// FuzzMergePatch: any two values merge as RFC 7396 has it.
func FuzzMergePatch(f *testing.F) {
	for _, s := range [][2]string{{`{"a":1}`, `{"a":null,"b":{"c":null}}`}, {`[1]`, `{"\u0061":{}}`}, {`{"a":{"b":{"c":1}}}`, `{"a":{"b":{"d":[]}}}`}, {`1`, `2`}, {`{"a\\n":1}`, `{"a\n":2}`}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, value, patch string) {
		v, err := CompactJSON([]byte(value))
		if err != nil {
			return
		}
		if p, err := CompactJSON([]byte(patch)); err == nil {
			checkMerge(t, v, p)
		}
	})
}

// TestMapped_MergesMessages: both names of a field are the same one, and an event says
// only what is new.
func TestMapped_MergesMessages(t *testing.T) {
	r := shopRegistry(t)
	s := r.Schema("orders")
	old := storedOrder(t, r, "42", benchOrder()).rec
	with := func(change func(o *shopv1.Order)) *shopv1.Order {
		o := benchOrder()
		change(o)
		return o
	}
	for _, c := range []struct {
		event string
		merge string
		want  *shopv1.Order
	}{
		{`{"status":"DELIVERED"}`, `data`, with(func(o *shopv1.Order) { o.Status = shopv1.OrderStatus_DELIVERED })},
		{`{}`, `data`, benchOrder()},
		{`{"customer_id":"7","total":{"currency_code":"EUR"}}`, `data`, with(func(o *shopv1.Order) { o.CustomerId, o.Total.CurrencyCode = "7", "EUR" })},
		{`{"customerId":"7","total":{"currencyCode":"EUR"}}`, `data`, with(func(o *shopv1.Order) { o.CustomerId, o.Total.CurrencyCode = "7", "EUR" })},
		{`{"customer_id":null,"total":{"nanos":null},"place_time":null}`, `data`, with(func(o *shopv1.Order) { o.CustomerId, o.Total.Nanos, o.PlaceTime = "", 0, nil })},
		{`{"total":null,"location":{"description":"here"}}`, `data`, with(func(o *shopv1.Order) { o.Total, o.Location = nil, &shopv1.Location{Description: "here"} })},
		{`{"items":[{"sku":"x","price":{"currency_code":"EUR"}}]}`, `data`, with(func(o *shopv1.Order) {
			o.Items = []*shopv1.Item{{Sku: "x", Price: &shopv1.Money{CurrencyCode: "EUR"}}}
		})},
		{`{"by":"9"}`, `{"customer_id": data.by, "total": {"currencyCode": "EUR", "units": 9007199254740993}}`, with(func(o *shopv1.Order) {
			o.CustomerId, o.Total.CurrencyCode, o.Total.Units = "9", "EUR", 9007199254740993
		})},
		{`{"at":"2024-05-06T07:08:09Z"}`, `{"status": "SHIPPED", "place_time": timestamp(data.at), "order_id": "42"}`, benchOrder()},
	} {
		m := change(t, r, mergeMapping("orders", `"42"`, c.merge), jsonEvent(t, c.event))
		for range 2 { // and again, as what is delivered twice
			op, late := over(t, s, old, m)
			var got shopv1.Order
			c.want.OrderId = "42"
			if late || op.Type != "shop.v1.Order" || proto.Unmarshal(op.Data, &got) != nil || !proto.Equal(&got, c.want) {
				t.Errorf("%s, %s: got %v, want %v", c.event, c.merge, &got, c.want)
			}
			old := &changelog.Record{ID: "42", Type: op.Type, Data: op.Data, Labels: op.Labels}
			if again, _ := over(t, s, old, m); !bytes.Equal(again.Data, op.Data) || !maps.Equal(again.Labels, op.Labels) {
				t.Errorf("%s, %s: again it is %x, not %x", c.event, c.merge, again.Data, op.Data)
			}
		}
		// Where nothing is, the patch is all there is.
		if op, _ := over(t, s, nil, m); op.Type != "shop.v1.Order" {
			t.Errorf("%s, %s: got %+v", c.event, c.merge, op)
		}
	}
	for patch, c := range map[string]struct{ path, want string }{
		`{"custmer_id":"1"}`:          {"custmer_id", "unknown field"},
		`{"total":{"units":"x"}}`:     {"total.units", "invalid value"},
		`{"order_id":"43"}`:           {"order_id", `the name says "42"`},
		`{"items":[{"quantity":[]}]}`: {"items[0].quantity", "invalid value"},
	} {
		m := change(t, r, mergeMapping("orders", `"42"`, "data"), jsonEvent(t, patch))
		for _, old := range []*changelog.Record{old, nil} {
			_, err := m.Over(s, old, &changelog.Op{})
			if e := resource.AsError(err); e == nil || e.Reason != resource.InvalidValue || e.Metadata["field"] != "merge" || e.Metadata["path"] != c.path || !strings.Contains(e.Message, c.want) {
				t.Errorf("%s: got %v, want %s", patch, err, c.want)
			}
		}
	}
	// A message of another collection's event is as good.
	m := newMapping(t, r, EventMessage, s.desc, mergeMapping("orders", "data.order_id", "data"))
	changes, err := m.Changes(&Event{Data: EventData{Message: &shopv1.Order{OrderId: "42", CustomerId: "7"}}})
	if err != nil {
		t.Fatal(err)
	}
	var got shopv1.Order
	if op, _ := over(t, s, old, &changes[0]); proto.Unmarshal(op.Data, &got) != nil || got.GetCustomerId() != "7" || got.GetTotal().GetUnits() != 33 {
		t.Errorf("got %v", &got)
	}
}

// TestJSONNames: names in messages are ProtoJSON's, others are what they were.
func TestJSONNames(t *testing.T) {
	kinds := kindsSchema(t)
	for in, want := range map[string]string{
		`{"by_name":{"by_name":"RED"},"by_number":{"1":"by_name"}}`:             `{"byName":{"by_name":"RED"},"byNumber":{"1":"by_name"}}`,
		`{"kid":{"by_name":null,"kid":{"by_number":{}}}}`:                       `{"kid":{"byName":null,"kid":{"byNumber":{}}}}`,
		`{"free":{"by_name":1},"any":{"@type":"x","by_name":1},"floats":[1,2]}`: `{"free":{"by_name":1},"any":{"@type":"x","by_name":1},"floats":[1,2]}`,
		`{"nope":{"by_name":1},"by\u005fname":{}}`:                              `{"nope":{"by_name":1},"byName":{}}`,
		`{"kid":[{"by_name":{}},1,[]],"by_name":[1],"colours":"x"}`:             `{"kid":[{"byName":{}},1,[]],"byName":[1],"colours":"x"}`,
		`{}`: `{}`,
	} {
		n := &jsonNamer{}
		if n.value(kinds.desc, []byte(in)); string(n.out) != want || n.twice != "" {
			t.Errorf("%s: got %s %s, want %s", in, n.out, n.twice, want)
		}
	}
	for _, in := range []string{`{"by_name":{},"byName":{}}`, `{"byName":{},"by_name":null}`, `{"kid":{"kid":{"by_name":{},"by\u004eame":{}}}}`} {
		n := &jsonNamer{}
		if n.value(kinds.desc, []byte(in)); n.twice != "by_name" {
			t.Errorf("%s: got %s %s", in, n.out, n.twice)
		}
	}
}

func TestMapped_MergeKeepsLabels(t *testing.T) {
	r := shopRegistry(t)
	s := r.Schema("notes")
	m := mergeMapping("notes", `"1"`, `{"n": 2}`)
	for _, c := range []struct{ there, sets, want map[string]string }{
		{nil, nil, nil},
		{nil, map[string]string{"a": "1"}, map[string]string{"a": "1"}},
		{map[string]string{"a": "1"}, nil, map[string]string{"a": "1"}},
		{map[string]string{"a": "1", "b": "2"}, map[string]string{"b": "3", "c": "4"}, map[string]string{"a": "1", "b": "3", "c": "4"}},
		{map[string]string{"a": ""}, map[string]string{"a": "1"}, map[string]string{"a": "1"}},
	} {
		m.Labels = nil
		for _, key := range slices.Sorted(maps.Keys(c.sets)) {
			if m.Labels == nil {
				m.Labels = map[string]string{}
			}
			m.Labels[key] = `"` + c.sets[key] + `"`
		}
		old := &changelog.Record{ID: "1", Data: []byte(`{"n":1,"m":1}`), Labels: maps.Clone(c.there)}
		op, _ := over(t, s, old, change(t, r, m, &Event{}))
		if !maps.Equal(op.Labels, c.want) || string(op.Data) != `{"n":2,"m":1}` || !maps.Equal(old.Labels, c.there) {
			t.Errorf("%v over %v: got %v, want %v", c.sets, c.there, op.Labels, c.want)
		}
		// A put has only its own.
		put := putMapping("notes", `"1"`, `{}`)
		put.Labels = m.Labels
		if op, _ := over(t, s, old, change(t, r, put, &Event{})); !maps.Equal(op.Labels, c.sets) {
			t.Errorf("put: got %v, want %v", op.Labels, c.sets)
		}
	}
}

func TestMapped_MergeStaysInItsBounds(t *testing.T) {
	r := shopRegistry(t)
	s := r.Schema("notes")
	deep := strings.Repeat(`{"a":`, MaxDepth-1) + "{}" + strings.Repeat("}", MaxDepth-1)
	old := &changelog.Record{ID: "1", Data: []byte(deep)}
	op, _ := over(t, s, old, change(t, r, mergeMapping("notes", `"1"`, "data"), jsonEvent(t, deep)))
	if string(op.Data) != deep {
		t.Errorf("got %s", op.Data)
	}
	// A value that was a message before is merged with its JSON.
	order := storedOrder(t, r, "1", &shopv1.Order{CustomerId: "c"}).rec
	if op, _ := over(t, s, order, change(t, r, mergeMapping("notes", `"1"`, `{"n": 1}`), &Event{})); op.Type != "" || string(op.Data) != `{"orderId":"1","customerId":"c","n":1}` {
		t.Errorf("got %+v", op)
	}
	for _, m := range []*watchroutev1.Mapping{deleteMapping("notes", `"1"`, "true"), putMapping("notes", `"1"`, "{}")} {
		op := changelog.Op{Data: []byte("kept")}
		if late, err := change(t, r, m, &Event{}).Over(s, old, &op); late || err != nil || string(op.Data) != "kept" || op.Delete != (m.GetDelete() != "") {
			t.Errorf("%v: got %+v %v %v", m, op, late, err)
		}
	}
}

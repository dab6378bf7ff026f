package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

func newProjection(t testing.TB, s *Schema, shape map[string]string) *Projection {
	t.Helper()
	p, err := s.Projection("projections[0].fields", shape)
	if err != nil {
		t.Fatalf("%v: %v", shape, err)
	}
	return p
}

// kindsSchema is of a message that has fields of many kinds.
func kindsSchema(t testing.TB) *Schema {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, typ string) *descriptorpb.FieldDescriptorProto {
		fd := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
		if typ != "" {
			fd.TypeName = &typ
		}
		return fd
	}
	const (
		tInt32, tInt64, tUint64  = descriptorpb.FieldDescriptorProto_TYPE_INT32, descriptorpb.FieldDescriptorProto_TYPE_INT64, descriptorpb.FieldDescriptorProto_TYPE_UINT64
		tFloat, tDouble, tString = descriptorpb.FieldDescriptorProto_TYPE_FLOAT, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, descriptorpb.FieldDescriptorProto_TYPE_STRING
		tBytes, tEnum, tMessage  = descriptorpb.FieldDescriptorProto_TYPE_BYTES, descriptorpb.FieldDescriptorProto_TYPE_ENUM, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	repeated := func(fd *descriptorpb.FieldDescriptorProto) *descriptorpb.FieldDescriptorProto {
		fd.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		return fd
	}
	message := &descriptorpb.DescriptorProto{
		Name: proto.String("Kinds"),
		Field: []*descriptorpb.FieldDescriptorProto{
			field("f", 1, tFloat, ""), field("d", 2, tDouble, ""), field("i", 3, tInt64, ""), field("u", 4, tUint64, ""), field("b", 5, tBytes, ""),
			field("colour", 6, tEnum, ".k.Colour"), repeated(field("colours", 7, tEnum, ".k.Colour")), repeated(field("floats", 8, tFloat, "")),
			repeated(field("by_name", 9, tMessage, ".k.Kinds.ByNameEntry")), repeated(field("by_number", 10, tMessage, ".k.Kinds.ByNumberEntry")),
			field("wait", 11, tMessage, ".google.protobuf.Duration"), field("any", 12, tMessage, ".google.protobuf.Any"), field("free", 13, tMessage, ".google.protobuf.Value"),
			field("maybe", 14, tMessage, ".google.protobuf.Int64Value"), field("kid", 15, tMessage, ".k.Kinds"), field("perhaps", 16, tInt32, ""),
		},
		NestedType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("ByNameEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)}, Field: []*descriptorpb.FieldDescriptorProto{field("key", 1, tString, ""), field("value", 2, tEnum, ".k.Colour")}},
			{Name: proto.String("ByNumberEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)}, Field: []*descriptorpb.FieldDescriptorProto{field("key", 1, tInt32, ""), field("value", 2, tString, "")}},
		},
		OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("_perhaps")}},
		Options:   &descriptorpb.MessageOptions{},
	}
	last := message.Field[len(message.Field)-1]
	last.Proto3Optional, last.OneofIndex = proto.Bool(true), proto.Int32(0)
	proto.SetExtension(message.Options, watchroutev1.E_Resource, &watchroutev1.ResourceOptions{Collection: "kinds"})
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("k/kinds.proto"), Package: proto.String("k"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/any.proto", "google/protobuf/duration.proto", "google/protobuf/struct.proto", "google/protobuf/wrappers.proto", "watchroute/v1/options.proto"},
		EnumType: []*descriptorpb.EnumDescriptorProto{{Name: proto.String("Colour"), Value: []*descriptorpb.EnumValueDescriptorProto{
			{Name: proto.String("NONE"), Number: proto.Int32(0)}, {Name: proto.String("RED"), Number: proto.Int32(1)}}}},
		MessageType: []*descriptorpb.DescriptorProto{message},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	files := new(protoregistry.Files)
	if err := files.RegisterFile(fd); err != nil {
		t.Fatal(err)
	}
	return newRegistry(t, files).Schema("kinds")
}

func TestProjection_Shapes(t *testing.T) {
	r := shopRegistry(t)
	order := storedOrder(t, r, "42", benchOrder())
	note := storedJSON(t, r, "42", `{"n":1.50,"big":9007199254740993,"neg":-9007199254740993,"exact":9007199254740992,"huge":1e300,"s":"é\"\n","l":[1,"a",{"k":true,"j":null}],"o":{"z":{"q":null},"a":2},"nothing":null}`)
	kinds := stored(t, kindsSchema(t), "1", jsonAny(`{"f":0.1,"d":0.1,"i":"9007199254740993","u":"18446744073709551615","b":"AP8=","colour":"RED","colours":["RED","NONE",7],"floats":[0.1,3],`+
		`"byName":{"z":"RED","a":"NONE"},"byNumber":{"10":"x","9":"y"},"wait":"1.5s","any":{"@type":"type.googleapis.com/k.Kinds","colour":"RED"},"free":{"b":[1],"a":null},"maybe":"5","kid":{"i":"3","colour":"RED"}}`))
	bare := stored(t, kinds.schema, "2", jsonAny(`{"free":null}`))
	for _, c := range []struct {
		v    *Value
		expr string
		want string // empty: left out
	}{
		{order, `data.customer_id`, `"42"`},
		{order, `data.status`, `"SHIPPED"`},
		{order, `(data).status`, `"SHIPPED"`},
		{order, `data.status + 0`, `3`},
		{order, `data.status == OrderStatus.SHIPPED`, `true`},
		{order, `double(data.total.units) + double(data.total.nanos) / 1e9`, `33.5`},
		{order, `size(data.items)`, `2`},
		{order, `data.items.map(i, i.sku)`, `["cd-1","cd-2"]`},
		{order, `data.items.filter(i, i.quantity > 1)`, `[{"sku":"cd-1","quantity":2,"price":{"currencyCode":"USD","units":"12"}}]`},
		{order, `data.items[1].price`, `{"currencyCode":"USD","units":"9"}`},
		{order, `data.items[1].price.units`, `9`},
		{order, `data.items[2]`, ``},
		{order, `data.items[2].price`, ``},
		{order, `data.total`, `{"currencyCode":"USD","units":"33","nanos":500000000}`},
		{order, `data.location`, ``},
		{order, `data.location.latitude`, `0`},
		{order, `has(data.location)`, `false`},
		{order, `has(data.location) ? data.location : null`, `null`},
		{order, `data.place_time`, `"2024-05-06T07:08:09Z"`},
		{order, `data.status_time`, ``},
		{order, `update_time - data.place_time`, `"52343756s"`},
		{order, `update_time`, `"2026-01-02T03:04:05Z"`},
		{order, `update_time + duration("1ms")`, `"2026-01-02T03:04:05.001Z"`},
		{order, `[name, id, labels, revision]`, `["orders/42","42",{"region":"eu"},7]`},
		{order, `labels.nope`, ``},
		{order, `{"b": data.items, "a": {1: id, 2u: id, true: null}}`, `{"a":{"1":"42","2":"42","true":null},"b":[{"sku":"cd-1","quantity":2,"price":{"currencyCode":"USD","units":"12"}},{"sku":"cd-2","quantity":1,"price":{"currencyCode":"USD","units":"9"}}]}`},
		{order, `{"1": 1, 1: 2}`, ``},
		{order, `[type(1)]`, ``},
		{order, `1 / 0`, ``},
		{order, `[1.0/0.0, -1.0/0.0, 0.0/0.0, 1e21, -0.5]`, `["Infinity","-Infinity","NaN",1e+21,-0.5]`},
		{order, `b"\x00\xff"`, `"AP8="`},
		{order, `duration("-1.5s")`, `"-1.500s"`},
		{order, `9007199254740992`, `9007199254740992`},
		{order, `[-9007199254740993, 9007199254740993, 5u, 18446744073709551615u]`, `["-9007199254740993","9007199254740993",5,"18446744073709551615"]`},
		{order, `timestamp("9999-12-31T23:59:59Z")`, `"9999-12-31T23:59:59Z"`},
		{note, `data.n`, `1.5`},
		{note, `[data.big, data.neg, data.exact, data.huge]`, `["9007199254740993","-9007199254740993",9007199254740992,1e+300]`},
		{note, `data.s`, `"é\"\n"`},
		{note, `data.l`, `[1,"a",{"j":null,"k":true}]`},
		{note, `data.o`, `{"a":2,"z":{"q":null}}`},
		{note, `data.nothing`, `null`},
		{note, `data.missing`, ``},
		{note, `data.o.missing.more`, ``},
		{note, `has(data.missing) ? data.missing : "none"`, `"none"`},
		{note, `data.s.missing`, ``},
		{note, `data.o.map(k, k)`, `["a","z"]`},
		{note, `data.o.map(k, data.o[k])`, `[2,{"q":null}]`},
		{note, `{"é": 1, "b": 2, "a\"": 3}`, `{"a\"":3,"b":2,"é":1}`},
		{note, `[[], {}, "", null]`, `[[],{},"",null]`},
		{kinds, `data.f`, `0.1`},
		{kinds, `data.d`, `0.1`},
		{kinds, `data.floats`, `[0.1,3]`},
		{kinds, `data.i`, `"9007199254740993"`},
		{kinds, `data.u`, `"18446744073709551615"`},
		{kinds, `data.b`, `"AP8="`},
		{kinds, `data.colours`, `["RED","NONE",7]`},
		{kinds, `data.by_name`, `{"a":"NONE","z":"RED"}`},
		{kinds, `data.by_number`, `{"10":"x","9":"y"}`},
		{kinds, `data.by_number.map(k, k)`, `[9,10]`},
		{kinds, `data.by_number[9]`, `"y"`},
		{kinds, `data.wait`, `"1.500s"`},
		{kinds, `data.any`, `{"@type":"type.googleapis.com/k.Kinds","colour":"RED"}`},
		{kinds, `data.free`, `{"a":null,"b":[1]}`},
		{kinds, `data.maybe`, `5`},
		{kinds, `data.kid`, `{"i":"3","colour":"RED"}`},
		{kinds, `data.kid.kid.kid.colour`, `"NONE"`},
		{kinds, `data.perhaps`, ``},
		{bare, `data.maybe`, ``},
		{bare, `data.free`, `null`},
		{bare, `data.colour`, `"NONE"`},
		{bare, `data.colours`, `[]`},
		{bare, `data.by_name`, `{}`},
	} {
		p, err := c.v.schema.Projection("", map[string]string{"x": c.expr})
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		want := "{}"
		if c.want != "" {
			want = `{"x":` + c.want + `}`
		}
		if got := string(p.Apply(c.v).JSON()); got != want {
			t.Errorf("%s: got %s, want %s", c.expr, got, want)
		}
	}
}

func TestProjection_GivesAValueLikeAnyOther(t *testing.T) {
	r := shopRegistry(t)
	shape := map[string]string{"status": "data.status", "total": "double(data.total.units)", "item_count": "size(data.items)", "missing": `labels["x"]`}
	order := storedOrder(t, r, "42", benchOrder())
	order.rec.UID, order.rec.CreateRevision = "u", 3
	p := newProjection(t, order.schema, shape)
	const want = `{"item_count":2,"status":"SHIPPED","total":33}`
	form := func(get func(v *Value) string) string { return get(p.Apply(order)) }
	for name, got := range map[string]string{
		"JSON":   form(func(v *Value) string { return string(v.JSON()) }),
		"record": form(func(v *Value) string { return string(v.Record().Data) }),
		"Struct": form(func(v *Value) string {
			var st structpb.Struct
			url, wire := v.Wire()
			if err := proto.Unmarshal(wire, &st); err != nil || url != "type.googleapis.com/google.protobuf.Struct" {
				t.Errorf("%s %v", url, err)
			}
			text, _ := structJSON(&st)
			return string(text)
		}),
		"a record behind a part": form(func(v *Value) string {
			_, part := Delta(v, v)
			return string(part.Record().Data)
		}),
		"another projection": form(func(v *Value) string {
			again := newProjection(t, v.schema, map[string]string{"status": "data.status", "total": "data.total", "item_count": "data.item_count"})
			return string(again.Apply(v).JSON())
		}),
		"a redaction": form(func(v *Value) string { return string(newRedaction(t, v.schema, "nope", "").Apply(v).Record().Data) }),
	} {
		if got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	v := p.Apply(order)
	rec, was := *v.Record(), *order.Record()
	was.Type, was.Data = "", rec.Data
	if fmt.Sprint(rec) != fmt.Sprint(was) || v.Schema().Collection() != "orders" || v.Schema().Type() != "" || order.rec.Type == "" {
		t.Errorf("the record is %v, of %v", rec, was)
	}
	for expr, want := range map[string]bool{`data.item_count == 2 && id == "42"`: true, `has(data.customer_id)`: false} {
		f, err := v.schema.Filter("", expr)
		if err != nil || f.Matches(p.Apply(order)) != want {
			t.Errorf("%s: not %v %v", expr, want, err)
		}
	}
	if !newRule(t, order.schema, `data.customer_id == auth.sub`, false).For(&Auth{Subject: "42"}).Matches(p.Apply(order)) {
		t.Error("a rule does not see the value")
	}

	changed := benchOrder()
	changed.CustomerId = "43"
	if same := p.Apply(storedOrder(t, r, "42", changed)); !same.Equal(v) {
		t.Error("what is not shown tells two values apart")
	}
	changed.Status = shopv1.OrderStatus_DELIVERED
	other := p.Apply(storedOrder(t, r, "42", changed))
	if paths, part := Delta(v, other); v.Equal(other) || fmt.Sprint(paths) != "[status]" || string(part.JSON()) != `{"status":"DELIVERED"}` {
		t.Errorf("the delta has %v %s", paths, part.JSON())
	}
	foreign := p.Apply(v)
	if got := string(foreign.JSON()); got != "{}" {
		t.Errorf("of a value without its schema: %s", got)
	}
	var none *Projection
	if none.Apply(order) != order || none.String() != "" {
		t.Error("no projection is one")
	}
}

func TestProjection_SeesNoMoreThanItIsGiven(t *testing.T) {
	r := shopRegistry(t)
	shape := map[string]string{"who": "data.customer_id", "total": "data.total", "all": "data", "has": "has(data.total)"}
	for _, v := range []*Value{storedOrder(t, r, "1", benchOrder()), storedJSON(t, r, "1", benchJSON)} {
		p := newProjection(t, v.schema, shape)
		hidden := newRedaction(t, v.schema, "customer_id,total", "*").Apply(v)
		mask, err := v.schema.Mask("", []string{"status"})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(p.Apply(hidden).JSON()); !strings.Contains(got, `"has":false`) || strings.Contains(got, "42") || strings.Contains(got, "33") {
			t.Errorf("what was hidden comes out: %s", got)
		}
		if got, want := string(p.Apply(mask.Apply(v)).JSON()), `{"all":{"status":"SHIPPED"},"has":false}`; strings.Replace(got, `,"who":""`, "", 1) != want {
			t.Errorf("what a mask left out comes out: %s", got)
		}
	}
}

func TestProjection_OfAMessageAgreesWithItsJSON(t *testing.T) {
	mt := (&watchroutev1.WatchRequest{}).ProtoReflect().Type()
	s := &Schema{collection: "x", desc: mt.Descriptor(), msgType: mt, types: NewTypes(nil), filters: &filters{desc: mt.Descriptor()}}
	shape := map[string]string{"whole": "data"}
	fields := mt.Descriptor().Fields()
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); fields.Get(i).Kind() != protoreflect.Uint64Kind {
			shape[name] = "data." + name
		}
	}
	p := newProjection(t, s, shape)
	rapid.Check(t, func(t *rapid.T) {
		rec := recordOf("1", s.Type(), nil)
		rec.Data, _ = marshalWire(drawMessage(t, mt, 3))
		v := s.Value(rec)
		got := map[string]json.RawMessage{}
		if err := json.Unmarshal(p.Apply(v).JSON(), &got); err != nil {
			t.Fatal(err)
		}
		if string(got["whole"]) != string(v.JSON()) {
			t.Fatalf("got %s, want %s", got["whole"], v.JSON())
		}
		whole, single := map[string]json.RawMessage{}, mt.New()
		if err := json.Unmarshal(v.JSON(), &whole); err != nil {
			t.Fatal(err)
		}
		for i := range fields.Len() {
			fd := fields.Get(i)
			text, ok := got[string(fd.Name())]
			if want, set := whole[fd.JSONName()]; set && ok {
				if string(text) != string(want) {
					t.Fatalf("%s is %s, want %s", fd.Name(), text, want)
				}
			} else if ok { // its default
				if err := protojson.Unmarshal([]byte(`{"`+fd.JSONName()+`":`+string(text)+`}`), single.Interface()); err != nil || single.Has(fd) {
					t.Fatalf("%s is %s where it is not set: %v", fd.Name(), text, err)
				}
			} else if set && shape[string(fd.Name())] != "" {
				t.Fatalf("%s is missing, want %s", fd.Name(), want)
			}
		}
	})
}

// TestProjection_GivesTheSameBytesEachTime: Go's maps do not.
func TestProjection_GivesTheSameBytesEachTime(t *testing.T) {
	r := shopRegistry(t)
	var members []string
	for i := range 50 {
		members = append(members, fmt.Sprintf(`"k%02d":%d`, (i*31)%50, i))
	}
	v := storedJSON(t, r, "1", `{"m":{`+strings.Join(members, ",")+`}}`)
	p := newProjection(t, v.schema, map[string]string{
		"m": "data.m", "keys": "data.m.map(k, k)", "some": "data.m.filter(k, data.m[k] > 20.0)", "nested": "[data.m].map(m, m.map(k, m[k]))",
		"literal": `{"b": 1, 2: 2, true: 3, 1u: 4}.map(k, k)`, "none": "data.m.all(k, data.m[k] > 100.0 || data.m[k + 'x'] > 1.0)",
	})
	want := string(p.Apply(v).JSON())
	if !strings.Contains(want, `"literal":[true,2,"b",1]`) || !strings.Contains(want, `"keys":["k00","k01",`) {
		t.Errorf("got %s", want)
	}
	f, err := v.schema.Filter("", `data.m.map(k, k)[0] == "k00"`)
	if err != nil {
		t.Fatal(err)
	}
	rule := newRule(t, v.schema, `auth.claims.map(c, c)[0] == "a" && data.m.exists(k, auth.claims.map(c, c)[1] == "b")`, false)
	for range 30 {
		if again := p.Apply(again(v)); string(again.JSON()) != want || !again.Equal(p.Apply(v)) {
			t.Fatalf("got %s, want %s", again.JSON(), want)
		}
		if !f.Matches(v) || !rule.For(&Auth{Claims: map[string]any{"b": 1, "a": 2, "c": 3, "d": 4}}).Matches(v) {
			t.Fatal("a filter or a rule depends on the order of a map")
		}
	}
}

func TestProjection_ErrorsSayWhereAndWhat(t *testing.T) {
	r := shopRegistry(t)
	many := map[string]string{}
	for i := range MaxProjectionFields {
		many[fmt.Sprintf("f%d", i)] = strings.Repeat(" ", MaxProjection/MaxProjectionFields-1) + "1"
	}
	newProjection(t, r.Schema("notes"), many)
	more := maps.Clone(many)
	more["f0"] += " "
	long := maps.Clone(many)
	long["g"] = ""
	for _, c := range []struct {
		collection                string
		shape                     map[string]string
		field, line, column, want string
	}{
		{"orders", map[string]string{"b": "data.custmer_id", "c": "nope"}, "f[b]", "1", "5", "undefined field 'custmer_id'"},
		{"orders", map[string]string{"b": "1", "c": "1 +\n nope"}, "f[c]", "2", "2", "undeclared reference to 'nope'"},
		{"orders", map[string]string{"b": ""}, "f[b]", "1", "", "Syntax error"},
		{"orders", map[string]string{"b": "Money{units: 1}"}, "f[b]", "1", "1", "a projection cannot make a message (shop.v1.Money)"},
		{"notes", map[string]string{"b": "type(data)"}, "f[b]", "1", "1", "the projection yields a type"},
		{"notes", map[string]string{"b": "data.s.matches(data.p)"}, "f[b]", "1", "1", "the pattern of matches must be a constant"},
		{"notes", map[string]string{"b": `data.s.matches("(")`}, "f[b]", "1", "1", "error parsing regexp"},
		{"notes", map[string]string{"b": strings.Repeat("(", 100) + "1" + strings.Repeat(")", 100)}, "f[b]", "1", "", "recursion limit exceeded"},
		{"notes", nil, "f", "", "", "the projection has no fields"},
		{"notes", map[string]string{"": "1"}, "f", "", "", `the field's name "" is not an identifier`},
		{"notes", map[string]string{"a.b": "1"}, "f", "", "", `the field's name "a.b" is not an identifier`},
		{"notes", map[string]string{"1a": "1"}, "f", "", "", `the field's name "1a" is not an identifier`},
		{"notes", map[string]string{"a\n": "1"}, "f", "", "", `the field's name "a\n" is not an identifier`},
		{"notes", map[string]string{strings.Repeat("a", 65): "1"}, "f", "", "", "is not an identifier of 1 to 64"},
		{"notes", more, "f", "", "", "have 16385 bytes, 16384 are allowed"},
		{"notes", long, "f", "", "", "the projection has 65 fields, 64 are allowed"},
	} {
		_, err := r.Schema(c.collection).Projection("f", c.shape)
		e := resource.AsError(err)
		if e == nil || e.Reason != resource.InvalidFilter || e.Metadata["field"] != c.field || e.Metadata["line"] != c.line ||
			c.column != "" && e.Metadata["column"] != c.column || !strings.Contains(e.Message, c.want) || strings.Contains(e.Message, "\n") {
			t.Errorf("%.80v: got %v %v, want %s %s:%s %s", c.shape, err, e, c.field, c.line, c.column, c.want)
		}
	}
	a, b := newProjection(t, r.Schema("notes"), map[string]string{"x": "1", "y": `"a" + id`}), newProjection(t, r.Schema("notes"), map[string]string{"y": `"a" + id`, "x": "1"})
	if a.String() != b.String() || a.String() != `x="1" y="\"a\" + id"` {
		t.Errorf("got %s and %s", a, b)
	}
}

// TestProjection_NoFieldCostsMuch: what would is left out, the rest is there.
func TestProjection_NoFieldCostsMuch(t *testing.T) {
	r := shopRegistry(t)
	var members strings.Builder
	for i := range 30000 {
		fmt.Fprintf(&members, `,"%d":1`, i)
	}
	v := storedJSON(t, r, "1", `{"items":[`+strings.Repeat("1,", 99999)+`1],"s":"`+strings.Repeat("a", 700000)+`","m":{"k":1`+members.String()+
		`},"deep":`+strings.Repeat("[", 97)+strings.Repeat("]", 97)+`}`)
	for expr, fits := range map[string]bool{
		`data`:                           false, // 1.3 MB
		`data.s`:                         true,
		`data.items`:                     true,
		`[data.s, data.s]`:               false,
		`{"a": data.s, "b": data.items}`: true,
		`[[data.m, data.m], data.m, data.m, data.m]`: false,
		`bytes(data.s)`:                                          true,
		`[bytes(data.s), bytes(data.s)]`:                         false,
		`data.m.map(k, k)`:                                       false, // dearer than a filter may be
		`data.items.map(x, data.m.exists(k, true))`:              false,
		`data.items.all(x, data.items.all(y, x == y))`:           false,
		`[data.s]` + strings.Repeat(`.map(a,a+a)`, 9):            false,
		`[data]` + strings.Repeat(`.map(a,[a,a])`, 8):            false,
		`[1]` + strings.Repeat(`.map(a,[a,a,a,a,a,a,a,a])`, 8):   true, // one element of 8 each time, shared
		`[[1]]` + strings.Repeat(`.map(a,[a,a,a,a,a,a,a,a])`, 8): true,
		`data.deep`:       true,
		`[data.deep]`:     true,
		`[[[data.deep]]]`: false, // more than 100 deep
	} {
		p := newProjection(t, v.schema, map[string]string{"a": "1", "x": expr, "z": "2"})
		start := time.Now()
		got := p.Apply(again(v))
		fields := map[string]json.RawMessage{}
		if err := json.Unmarshal(got.JSON(), &fields); err != nil || string(fields["a"]) != "1" || string(fields["z"]) != "2" || len(got.JSON()) > maxProjected {
			t.Errorf("%s: %.100s, %v", clip(expr), got.JSON(), err)
		}
		if _, ok := fields["x"]; ok != fits && !strings.Contains(expr, "a,a,a") {
			t.Errorf("%s: is there: %v", clip(expr), ok)
		}
		if _, bad := compactObject(string(got.JSON())); bad != nil {
			t.Errorf("%s: %v", clip(expr), bad)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v", clip(expr), took)
		}
	}
	// What comes first has the room.
	p := newProjection(t, v.schema, map[string]string{"a": "data.s", "b": "data.s", "c": "id"})
	if got := p.Apply(v).JSON(); !strings.HasPrefix(string(got), `{"a":"aaa`) || !strings.HasSuffix(string(got), `a","c":"1"}`) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestProjection_IsMadeOnceAndByManyAtOnce(t *testing.T) {
	r := shopRegistry(t)
	v := storedOrder(t, r, "1", benchOrder())
	p := newProjection(t, v.schema, map[string]string{"status": "data.status", "skus": "data.items.map(i, i.sku)"})
	seen := p.Apply(v)
	if seen.rec.Data != nil || seen.json != nil {
		t.Error("it is made before anybody asks")
	}
	mask, err := seen.schema.Mask("", []string{"status"})
	if err != nil {
		t.Fatal(err)
	}
	part := mask.Apply(seen)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			switch i % 4 {
			case 0:
				seen.Wire()
			case 1:
				part.Record()
			case 2:
				p.Apply(seen).JSON()
			}
			if !seen.Equal(p.Apply(v)) || string(part.JSON()) != `{"status":"SHIPPED"}` || string(part.Record().Data) != `{"skus":["cd-1","cd-2"],"status":"SHIPPED"}` {
				t.Errorf("got %s and %s", seen.JSON(), part.JSON())
			}
		})
	}
	wg.Wait()
}

// FuzzProjection: any shape compiles or is refused with its place; what it makes is an
// object as one could be written, the same each time, and tells nothing of what is
// hidden.
func FuzzProjection(f *testing.F) {
	for _, s := range []string{
		`data.customer_id`, `data.status`, `data.items.map(i, i.price)`, `{"a": [data], "b": labels}`, `double(data.total.units) / 3.0`, `data.place_time`, `update_time - data.place_time`,
		`data.o.map(k, k)`, `[1u, -1, 1.5, null, b"x", "\u0000"]`, `{1: {true: {2u: {}}}}`, `data["customer_id"]`, `has(data.total) ? data.total : null`, `bytes(data.s)`, `type(1)`, `data.l + data.l`,
		`data.o.filter(k, data.o[k])`, `string(data.n)`, `0.0/0.0`, `data.total.`, `(data).status // c`, `{"a": data}.a.status`, `OrderStatus.SHIPPED`, `labels.region`, `size(data.s)`, `data == data`,
	} {
		f.Add("x", s)
	}
	f.Add("a b", "1")
	r := shopRegistry(f)
	type pair struct{ v, other *Value } // they differ in what is hidden
	var pairs []pair
	for i, text := range []string{"42", "secret"} {
		o := benchOrder()
		o.CustomerId, o.Total.Units = text, int64(i)
		for at, v := range []*Value{
			storedOrder(f, r, "1", o),
			storedJSON(f, r, "1", fmt.Sprintf(`{"n":1,"s":"aa","l":[1,2,{"x":null}],"items":[{"sku":"a"}],"customer_id":%q,"total":{"units":%d,"c":9007199254740993},"o":{"b":true,"a":{"b":true}}}`, text, i)),
		} {
			v = newRedaction(f, v.schema, "customer_id,total.units", "*").Apply(v)
			if i == 0 {
				pairs = append(pairs, pair{v: v})
			} else {
				pairs[at].other = v
			}
		}
	}
	f.Fuzz(func(t *testing.T, name, expr string) {
		for _, pair := range pairs {
			start := time.Now()
			p, err := pair.v.schema.Projection("f", map[string]string{name: expr, "zz": "id"})
			if err != nil {
				e := resource.AsError(err)
				if e.Reason != resource.InvalidFilter || (e.Metadata["line"] == "") != (e.Metadata["field"] == "f") {
					t.Fatalf("%q: %v", expr, err)
				}
				continue
			}
			got := p.Apply(pair.v)
			text, bad := compactObject(string(got.JSON()))
			if bad != nil || string(text) != string(got.JSON()) || len(text) > maxProjected {
				t.Fatalf("%q: %s: %v", expr, got.JSON(), bad)
			}
			if name != "zz" && !strings.HasSuffix(string(text), `"zz":"1"}`) && name < "zz" {
				t.Fatalf("%q: %s", expr, text)
			}
			var st structpb.Struct
			if _, wire := got.Wire(); proto.Unmarshal(wire, &st) != nil {
				t.Fatalf("%q: %s is no Struct", expr, text)
			}
			if other := p.Apply(pair.other); string(other.JSON()) != string(text) || !other.Equal(got) {
				t.Fatalf("%q: %s and %s", expr, text, other.JSON())
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Fatalf("%q took %v", expr, took)
			}
		}
	})
}

func BenchmarkProjection(b *testing.B) {
	typed, free := benchValues(b)
	for _, c := range []struct {
		name  string
		v     *Value
		shape map[string]string
	}{
		{"typed/paths", typed, map[string]string{"status": "data.status", "customer": "data.customer_id", "placed": "data.place_time"}},
		{"typed/summary", typed, map[string]string{"status": "data.status", "total": "double(data.total.units) + double(data.total.nanos) / 1e9", "item_count": "size(data.items)"}},
		{"typed/map", typed, map[string]string{"skus": "data.items.map(i, i.sku)"}},
		{"schemaless/paths", free, map[string]string{"status": "data.status", "customer": "data.customer_id", "placed": "data.place_time"}},
		{"schemaless/summary", free, map[string]string{"status": "data.status", "total": "data.total.units + data.total.nanos / 1e9", "item_count": "size(data.items)"}},
		{"schemaless/map", free, map[string]string{"skus": "data.items.map(i, i.sku)"}},
	} {
		p := newProjection(b, c.v.schema, c.shape)
		c.v.celData()
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Apply(c.v).JSON()
			}
		})
		b.Run(c.name+"+decode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Apply(again(c.v)).JSON()
			}
		})
	}
	p := newProjection(b, typed.schema, map[string]string{"status": "data.status"})
	b.Run("lazy", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Apply(typed)
		}
	})
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			newProjection(b, typed.schema, map[string]string{"status": "data.status", "total": "double(data.total.units) + double(data.total.nanos) / 1e9", "item_count": "size(data.items)"})
		}
	})
}

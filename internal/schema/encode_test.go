package schema

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

func TestEncode_KeepsAnObjectAsItWasWritten(t *testing.T) {
	s := shopRegistry(t).Schema("notes")
	for in, want := range map[string]string{
		`{}`:                                  `{}`,
		" {\t\"b\" :\r\n1 , \"a\": [ ] } \n ": `{"b":1,"a":[]}`,
		`{"n":[1.0,1e2,-0,0.10,12345678901234567890]}`:                    `{"n":[1.0,1e2,-0,0.10,12345678901234567890]}`,
		`{"s":" a\u00e9\/\n\ud83d\ude00 ","é":"\""}`:                      `{"s":" a\u00e9\/\n\ud83d\ude00 ","é":"\""}`,
		`{"":{"":{}},"t":true,"f":false,"z":null}`:                        `{"":{"":{}},"t":true,"f":false,"z":null}`,
		`{"a":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`: `{"a":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`,
	} {
		typ, got, err := s.Encode("resource.data", "1", jsonAny(in))
		if err != nil || typ != "" || string(got) != want {
			t.Errorf("%s: got %q %s %v, want %s", in, typ, got, err, want)
		}
	}
}

func TestEncode_RefusesWhatIsNoObject(t *testing.T) {
	s := shopRegistry(t).Schema("notes")
	many := `{"k0":0`
	for i := range 100 {
		many += `,"k` + strings.Repeat("x", i) + `":0`
	}
	for _, c := range []struct{ in, path, want string }{
		{``, "", "a JSON object is expected, not the end"},
		{`[1]`, "", "a JSON object is expected, not '['"},
		{`null`, "", "a JSON object is expected, not 'n'"},
		{`{"a":1}x`, "", "'x' follows the object"},
		{`{"a":1,}`, "", "a name in quotes is expected, not '}'"},
		{`{"a" 1}`, "a", "':' is expected, not '1'"},
		{`{"a":{"b":[1,2 3]}}`, "a.b[1]", "',' or ']' is expected, not '3'"},
		{`{"a":{"b":[1,nul]}}`, "a.b[1]", "a JSON value is expected, not 'n'"},
		{`{"a":[{},{"b":1,"b":2}]}`, "a[1].b", `the name "b" stands there twice`},
		{`{"b":1,"\u0062":2}`, "b", `the name "b" stands there twice`},
		{many + `,"k0":1}`, "k0", `the name "k0" stands there twice`},
		{`{"a":01}`, "a", "',' or '}' is expected, not '1'"},
		{`{"a":1.}`, "a", "a digit is expected, not '}'"},
		{`{"a":-}`, "a", "a digit is expected, not '}'"},
		{`{"a":1e}`, "a", "a digit is expected, not '}'"},
		{`{"a":1e999}`, "a", "the number 1e999 is out of the range of a double"},
		{`{"a":"\x"}`, "a", `the string "\\x" has an escape that stands for no character`},
		{`{"a":"\ud800"}`, "a", `the string "\\ud800" has an escape that stands for no character`},
		{`{"a":"\udc00\ud800"}`, "a", `the string "\\udc00\\ud800" has an escape that stands for no character`},
		{"{\"a\":\"x\ny\"}", "a", `the control character '\n' stands in a string`},
		{`{"a":"x`, "a", "a string does not end"},
		{"{\"a\":\"\xff\"}", "", "not a watchroute.v1.Json: "},
		{`{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "a" + strings.Repeat("[0]", 99), "the value is nested more than 100 deep"},
		{`{`, "", "a name in quotes is expected, not the end"},
	} {
		data := jsonAny(c.in)
		_, _, err := s.Encode("resource.data", "1", data)
		e := resource.AsError(err)
		if e == nil || e.Reason != resource.InvalidValue || e.Metadata["field"] != "resource.data" || e.Metadata["path"] != c.path || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: got %v (path %q), want %s (path %q)", clip(c.in), err, e.Metadata["path"], c.want, c.path)
		}
	}
	for _, data := range []*anypb.Any{nil, {}, anyOf(&shopv1.Order{})} {
		if _, _, err := s.Encode("resource.data", "1", data); !resource.HasReason(err, resource.InvalidValue) {
			t.Errorf("%v: got %v", data, err)
		}
	}
}

func TestEncode_WritesAStructSorted(t *testing.T) {
	s := shopRegistry(t).Schema("notes")
	st, err := structpb.NewStruct(map[string]any{"b": []any{1, 1.5, 1e21, 1e-7, -0.5, true, nil}, "a": map[string]any{"é\"\\\n\x01<": "\u2028"}, "": 123456789})
	if err != nil {
		t.Fatal(err)
	}
	_, got, err := s.Encode("", "1", anyOf(st))
	if want := `{"":123456789,"a":{"é\"\\\n\u0001<":"` + "\u2028" + `"},"b":[1,1.5,1e+21,1e-07,-0.5,true,null]}`; err != nil || string(got) != want {
		t.Errorf("got %s %v, want %s", got, err, want)
	}
	for path, v := range map[string]*structpb.Value{
		"x[1].y": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewNullValue(), structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"y": structpb.NewNumberValue(math.NaN())}})}}),
		"x":      {},
	} {
		_, _, err := s.Encode("", "1", anyOf(&structpb.Struct{Fields: map[string]*structpb.Value{"x": v}}))
		if got := resource.AsError(err); got == nil || got.Reason != resource.InvalidValue || got.Metadata["path"] != path {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestEncode_ChecksAMessage(t *testing.T) {
	s := shopRegistry(t).Schema("orders")
	want, err := proto.MarshalOptions{Deterministic: true}.Marshal(&shopv1.Order{OrderId: "42", CustomerId: "c", Total: &shopv1.Money{Units: 5}})
	if err != nil {
		t.Fatal(err)
	}
	st, _ := structpb.NewStruct(map[string]any{"customerId": "c", "total": map[string]any{"units": 5}})
	for name, data := range map[string]*anypb.Any{
		"the message":             anyOf(&shopv1.Order{CustomerId: "c", Total: &shopv1.Money{Units: 5}}),
		"with its id":             anyOf(&shopv1.Order{OrderId: "42", CustomerId: "c", Total: &shopv1.Money{Units: 5}}),
		"JSON":                    jsonAny(`{"customerId": "c", "total": {"units": "5"}}`),
		"JSON with proto's names": jsonAny(`{"customer_id": "c", "order_id": "42", "total": {"units": 5}}`),
		"a Struct":                anyOf(st),
	} {
		typ, got, err := s.Encode("resource.data", "42", data)
		if err != nil || typ != "shop.v1.Order" || !bytes.Equal(got, want) {
			t.Errorf("%s: got %s %x %v, want %x", name, typ, got, err, want)
		}
	}
	if typ, got, err := s.Encode("", "42", nil); err != nil || typ != "shop.v1.Order" || string(got) != "\n\x0242" {
		t.Errorf("nothing: got %s %q %v", typ, got, err)
	}
	unknown := append(bytes.Clone(want), 0xf8, 0x07, 1) // field 127
	if _, got, err := s.Encode("", "42", &anypb.Any{TypeUrl: "x.example/shop.v1.Order", Value: unknown}); err != nil || !bytes.Equal(got, unknown) {
		t.Errorf("unknown fields: got %x %v", got, err)
	}
}

func TestEncode_NamesThePathOfWhatDoesNotFit(t *testing.T) {
	s := shopRegistry(t).Schema("orders")
	badText := append(protowire.AppendTag(nil, 2, protowire.BytesType), 1, 0xff)
	for _, c := range []struct {
		name string
		data *anypb.Any
		path string
		want string
	}{
		{"another id", anyOf(&shopv1.Order{OrderId: "43"}), "order_id", `order_id: order_id is "43", the name says "42"`},
		{"unknown field", jsonAny(`{"items":[{"sku":"a"},{"é":1,"colour":"x"}]}`), "items[1].é", `items[1].é: unknown field "é"`},
		{"wrong type", jsonAny(`{"items":[{"sku":"a","quantity":"many"}]}`), "items[0].quantity", `items[0].quantity: invalid value for int32 field quantity: "many"`},
		{"wrong type, after umlauts", jsonAny(`{"customerId":"äöü","total":{"units":1.5}}`), "total.units", `total.units: invalid value for int64 field units: 1.5`},
		{"an object for a list", jsonAny(`{"items":{"a":1}}`), "items", `items: unexpected token {`},
		{"no time", jsonAny(`{"placeTime":"yesterday"}`), "placeTime", `placeTime: invalid google.protobuf.Timestamp value "yesterday"`},
		{"no status", jsonAny(`{"status":"LOST"}`), "status", `status: invalid value for enum field status: "LOST"`},
		{"twice", jsonAny(`{"customerId":"a","customer_id":"b"}`), "customer_id", `customer_id: duplicate field "customer_id"`},
		{"no JSON", jsonAny(`{"items":[1,}`), "items[1]", "items[1]: a JSON value is expected, not '}'"},
		{"time out of range", anyOf(&shopv1.Order{PlaceTime: &timestamppb.Timestamp{Seconds: 1 << 60}}), "place_time", `place_time: google.protobuf.Timestamp: seconds out of range 1152921504606846976`},
		{"not UTF-8", &anypb.Any{TypeUrl: urlPrefix + "shop.v1.Order", Value: badText}, "", `not a shop.v1.Order: `},
		{"cut off", &anypb.Any{TypeUrl: urlPrefix + "shop.v1.Order", Value: []byte{0x0a, 9}}, "", `not a shop.v1.Order: `},
		{"another message", anyOf(&shopv1.Money{}), "", `the collection orders holds shop.v1.Order, not shop.v1.Money`},
		{"no type", &anypb.Any{Value: []byte{1}}, "", `the value has no type_url; shop.v1.Order is expected`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := s.Encode("resource.data", "42", c.data)
			e := resource.AsError(err)
			if e == nil || e.Reason != resource.InvalidValue || e.Metadata["path"] != c.path || e.Metadata["field"] != "resource.data" || !strings.HasPrefix(e.Message, c.want) {
				t.Errorf("got %v, want %s (path %s)", err, c.want, c.path)
			}
		})
	}
}

// FuzzEncodeJSON: what is stored is the same JSON, and comes out again in every
// form; what is refused, others refuse too, or one of our rules says why.
func FuzzEncodeJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { "a" : [ 1 , {"b":null} ] } `, `{"a":1e999}`, `{"a":"\ud83d\ude00"}`, `{"a":1,"a":2}`, `{"é":"\u00e9"}`, benchJSON,
		`{"a":-0.0e-1,"b":123456789012345678901234567890}`, `{"customerId":"x","items":[{"quantity":"1"}],"placeTime":"2020-01-01T00:00:00Z"}`,
		`{"`, `{"a":"\`, `{"a":"\u12`, `[{]}`, "{\"a\":\"\xed\xa0\x80\"}",
	} {
		f.Add(s)
	}
	r := shopRegistry(f)
	free, orders := r.Schema("notes"), r.Schema("orders")
	filter, err := free.Filter("", `data.a == data.b || data.a == 1 || "x" in data.c`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		data := jsonAny(text)
		_, stored, err := free.Encode("", "1", data)
		if err == nil {
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(text)); err != nil || !bytes.Equal(compact.Bytes(), stored) {
				t.Fatalf("stored %s, encoding/json says %s %v", stored, compact.Bytes(), err)
			}
			checkForms(t, free.Value(recordOf("1", "", stored)))
		} else if e := resource.AsError(err); e.Reason != resource.InvalidValue {
			t.Fatal(err)
		} else if utf8.ValidString(text) && json.Valid([]byte(text)) && strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") &&
			!strings.Contains(e.Message, "twice") && !strings.Contains(e.Message, "nested") && !strings.Contains(e.Message, "out of the range") && !strings.Contains(e.Message, "no character") {
			t.Fatalf("%s is refused: %v", text, err)
		}
		if typ, stored, err := orders.Encode("", "1", data); err == nil {
			v := orders.Value(recordOf("1", typ, stored))
			if _, again, err := orders.Encode("", "1", jsonAny(string(v.JSON()))); err != nil || !bytes.Equal(again, stored) {
				t.Fatalf("%s became %x, which is %s, which became %x %v", text, stored, v.JSON(), again, err)
			}
		}
		// A record with anything at all in it.
		for _, v := range []*Value{free.Value(recordOf("1", "", []byte(text))), orders.Value(recordOf("1", "", []byte(text))),
			orders.Value(recordOf("1", "shop.v1.Order", []byte(text))), orders.Value(recordOf("1", "gone.v1.Order", []byte(text))),
			free.Value(recordOf("1", "shop.v1.Money", []byte(text))), free.Value(recordOf("1", "gone.v1.Order", []byte(text)))} {
			v.JSON()
			v.Wire()
			if v.schema == free {
				filter.Matches(v)
			}
			mask, _ := v.schema.Mask("", []string{"total.units"})
			mask.Apply(v).JSON()
			Delta(v, mask.Apply(v))
			v.Equal(mask.Apply(v))
		}
	})
}

// checkForms compares the forms of a schemaless value with what others make of it.
func checkForms(t *testing.T, v *Value) {
	t.Helper()
	var want map[string]any
	if err := json.Unmarshal(v.JSON(), &want); err != nil {
		t.Fatal(err)
	}
	st, err := structpb.NewStruct(want)
	if err != nil {
		t.Fatal(err)
	}
	var got structpb.Struct
	_, wire := v.Wire()
	if err := proto.Unmarshal(wire, &got); err != nil || !proto.Equal(&got, st) {
		t.Fatalf("%s on the wire is %v %v, want %v", v.JSON(), &got, err, st)
	}
	// Sorted by structpb, it is the same value, and so it is written again.
	_, stored, err := v.schema.Encode("", "1", anyOf(&got))
	if err != nil {
		t.Fatal(err)
	}
	var again map[string]any
	if err := json.Unmarshal(stored, &again); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(again)
	if !bytes.Equal(a, b) {
		t.Fatalf("%s, as Struct and back, is %s", v.JSON(), stored)
	}
	if !sameJSON(v.JSON(), v.JSON()) {
		t.Fatalf("%s is not the same as itself", v.JSON())
	}
}

func TestEncode_TakesEveryFormAsDeepAsAnother(t *testing.T) {
	s := shopRegistry(t).Schema("notes")
	for _, text := range []string{
		strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
		`{"a":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + "}",
	} {
		v := stored(t, s, "1", jsonAny(text))
		url, wire := v.Wire()
		_, again, err := s.Encode("", "1", &anypb.Any{TypeUrl: url, Value: wire})
		if err != nil || string(again) != text {
			t.Errorf("got %s %v, want %s", again, err, text)
		}
	}
}

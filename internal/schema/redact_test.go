package schema

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

func newRedaction(t testing.TB, s *Schema, paths, mask string) *Redaction {
	t.Helper()
	r, err := s.Redaction("rules[0].hide", strings.Split(paths, ","), mask)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRedaction_Hides(t *testing.T) {
	r := shopRegistry(t)
	order := storedOrder(t, r, "1", &shopv1.Order{CustomerId: "42", Status: shopv1.OrderStatus_SHIPPED, Items: []*shopv1.Item{{Sku: "a"}}, Total: &shopv1.Money{CurrencyCode: "USD", Units: 33}})
	note := storedJSON(t, r, "1", `{"customer":{"email":"a@b.c","name":"Ann","age":7},"list":[{"email":"x","n":1},[{"email":"y"}],"s",2],"foo_bar":"s","fooBar":{"a":1},"\u0073ecret":5,"tags":["a"],"n":null}`)
	for _, c := range []struct {
		v                 *Value
		paths, mask, want string
	}{
		{order, "customer_id", "", `{"orderId":"1","status":"SHIPPED","items":[{"sku":"a"}],"total":{"currencyCode":"USD","units":"33"}}`},
		{order, "customerId,status,items", "***", `{"orderId":"1","customerId":"***","total":{"currencyCode":"USD","units":"33"}}`},
		{order, "total.currency_code,total.units", "-", `{"orderId":"1","customerId":"42","status":"SHIPPED","items":[{"sku":"a"}],"total":{"currencyCode":"-"}}`},
		{order, "total.units,total", "-", `{"orderId":"1","customerId":"42","status":"SHIPPED","items":[{"sku":"a"}]}`},
		{order, "location.latitude,place_time", "x", ""},
		{note, "customer.email", "", `{"customer":{"name":"Ann","age":7},"list":[{"email":"x","n":1},[{"email":"y"}],"s",2],"foo_bar":"s","fooBar":{"a":1},"\u0073ecret":5,"tags":["a"],"n":null}`},
		{note, "list.email,secret,tags,n,customer", `"`, `{"list":[{"email":"\"","n":1},[{"email":"\""}],"s",2],"foo_bar":"s","fooBar":{"a":1}}`},
		{note, "foo_bar,customer,list", "*", `{"foo_bar":"*","\u0073ecret":5,"tags":["a"],"n":null}`},
		{note, "customer.email,list.n", "*", `{"customer":{"email":"*","name":"Ann","age":7},"list":[{"email":"x"},[{"email":"y"}],"s",2],"foo_bar":"s","fooBar":{"a":1},"\u0073ecret":5,"tags":["a"],"n":null}`},
		{note, "nope,foo_bar.x,customer.email.x,tags.a", "*", ""},
	} {
		red := newRedaction(t, c.v.schema, c.paths, c.mask)
		got := red.Apply(c.v)
		if c.want == "" {
			if got != c.v {
				t.Errorf("%s: nothing is hidden, got %s", c.paths, got.JSON())
			}
			continue
		}
		if string(got.JSON()) != c.want {
			t.Errorf("%s: got %s, want %s", c.paths, got.JSON(), c.want)
		}
		// Its record is that of a value which never had more.
		if again := c.v.schema.Value(got.Record()); string(again.JSON()) != c.want || !again.Equal(got) || got.Record().Revision != 7 || c.v.rec == got.rec {
			t.Errorf("%s: the record has %s", c.paths, again.JSON())
		}
		if red.Apply(got).Equal(got) != true {
			t.Errorf("%s: again hides something else: %s", c.paths, red.Apply(got).JSON())
		}
	}
	if r, err := order.schema.Redaction("", nil, "x"); r != nil || err != nil || r.Apply(order) != order || r.String() != "" {
		t.Errorf("no paths: %v %v", r, err)
	}
	if _, err := order.schema.Redaction("rules[0].hide", []string{"items.sku"}, ""); err == nil || resource.AsError(err).Reason != resource.InvalidMask || resource.AsError(err).Metadata["field"] != "rules[0].hide" {
		t.Errorf("a path behind a list: %v", err)
	}
}

func TestRedaction_IsAWallForClientsAndNoneForRules(t *testing.T) {
	r := shopRegistry(t)
	order := storedOrder(t, r, "7", benchOrder())
	note := storedJSON(t, r, "7", `{"customer_id":"42","total":{"units":33},"secret":"s","status":"x"}`)
	for _, whole := range []*Value{order, note} {
		s := whole.schema
		v := newRedaction(t, s, "customer_id,total.units", "***").Apply(whole)
		mask, err := s.Mask("", []string{"status", "total"})
		if err != nil {
			t.Fatal(err)
		}
		for _, seen := range []*Value{v, mask.Apply(v), newRedaction(t, s, "customer_id,total.units", "***").Apply(mask.Apply(whole))} {
			for expr, want := range map[string]bool{`data.customer_id == "42"`: false, `data.customer_id == "***"`: true, `data.total.units > 5`: false, `has(data.total.units)`: false, `id == "7" && revision == 7`: true} {
				f, err := s.Filter("", expr)
				if err != nil {
					t.Fatal(err)
				}
				if f.Matches(seen) != want {
					t.Errorf("%s on %s: %v", expr, seen.JSON(), !want)
				}
				if term, ok := f.Term(); ok && strings.Contains(expr, "customer_id") {
					if key, _ := seen.Key(term.Path); (key == term.Key) != want {
						t.Errorf("%s: the key is %q", expr, key)
					}
				}
			}
			for expr, want := range map[string]bool{`data.customer_id == auth.sub`: true, `data.total.units > 5 && data.customer_id == auth.sub`: true, `data.customer_id == "***"`: false} {
				if newRule(t, s, expr, false).For(&Auth{Subject: "42"}).Matches(seen) != want {
					t.Errorf("%s on %s: %v", expr, seen.JSON(), !want)
				}
			}
		}
		if got := string(mask.Apply(v).JSON()); strings.Contains(got, "33") || !strings.Contains(got, "status") {
			t.Errorf("masked: %s", got)
		}
	}
}

func TestRedaction_ChangesOfWhatIsHiddenAreNone(t *testing.T) {
	r := shopRegistry(t)
	a, b := storedJSON(t, r, "1", `{"a":{"x":1,"y":1},"b":"p"}`), storedJSON(t, r, "1", `{"a":{"x":2,"y":1},"b":"q"}`)
	hide := newRedaction(t, a.schema, "a.x,b", "*")
	if !hide.Apply(a).Equal(hide.Apply(b)) || a.Equal(b) {
		t.Error("what is hidden tells two values apart")
	}
	if paths, delta := Delta(hide.Apply(a), hide.Apply(b)); len(paths) != 0 || string(delta.JSON()) != "{}" {
		t.Errorf("the delta has %v %s", paths, delta.JSON())
	}
	if x, y := hide.Apply(a).Record(), hide.Apply(b).Record(); x.ETag() != y.ETag() {
		t.Error("the etag tells what is hidden")
	}
}

func TestRedactions_Join(t *testing.T) {
	r := shopRegistry(t)
	note := storedJSON(t, r, "1", `{"a":"1","b":"2","c":"3","d":"4"}`)
	x, y, z := newRedaction(t, note.schema, "a,b", "*"), newRedaction(t, note.schema, "b,c", ""), newRedaction(t, note.schema, "a", "#")
	if got, want := string(Redactions(x, nil, y).Apply(note).JSON()), `{"a":"*","d":"4"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	one, other := Redactions(x, y, z), Redactions(z, Redactions(y, x, y), nil)
	if one.String() != other.String() || string(one.Apply(note).JSON()) != string(other.Apply(note).JSON()) || one.String() == Redactions(x, y).String() {
		t.Errorf("the order counts: %s, %s", one, other)
	}
	if Redactions() != nil || Redactions(nil, nil) != nil || Redactions(x).String() != x.String() {
		t.Error("joining nothing gives something")
	}
}

// TestRedaction_OldFormsOfAFieldDoNotShow: the field once had another type, the
// message another name, or the collection no schema.
func TestRedaction_OldFormsOfAFieldDoNotShow(t *testing.T) {
	s := shopRegistry(t).Schema("orders")
	other := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 4711) // customer_id
	other = protowire.AppendVarint(protowire.AppendTag(other, 100, protowire.VarintType), 1)
	text, err := proto.Marshal(&shopv1.Order{OrderId: "1", CustomerId: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	hide := newRedaction(t, s, "customer_id", "")
	for _, rec := range []*changelog.Record{recordOf("1", "shop.v1.Order", other), recordOf("1", "", []byte(`{"customerId":"secret"}`)), recordOf("1", "old.v1.Order", text)} {
		v := hide.Apply(s.Value(rec))
		_, wire := v.Wire()
		for _, form := range []string{string(wire), string(v.Record().Data), string(v.JSON())} {
			if strings.Contains(form, "secret") || strings.Contains(form, "\xe7\x24") {
				t.Errorf("%s shows %q", rec.Data, form)
			}
		}
		if rec.Data[0] == other[0] && !strings.Contains(string(wire), "\xa0\x06\x01") {
			t.Errorf("another unknown field is lost: %q", wire)
		}
	}
}

// TestRedaction_LeavesTheRest: what is hidden cannot be told from any form, all else
// is as it was.
func TestRedaction_LeavesTheRest(t *testing.T) {
	mt := (&watchroutev1.WatchRequest{}).ProtoReflect().Type()
	typed := &Schema{collection: "x", desc: mt.Descriptor(), msgType: mt, types: NewTypes(nil), filters: &filters{desc: mt.Descriptor()}}
	free := (&Registry{types: NewTypes(nil), free: &filters{}}).Schema("notes")
	paths := map[*Schema][]string{typed: {"parent", "names", "filter", "read_mask", "delta", "min_interval"}, free: {"a", "a.b", "b.c", "fooBar", "foo_bar.a", "c.b.a", "x y"}}
	rapid.Check(t, func(t *rapid.T) {
		for _, s := range []*Schema{typed, free} {
			rec := &changelog.Record{ID: "1", Revision: 3, Type: s.Type()}
			if s == typed {
				rec.Data, _ = marshalWire(drawMessage(t, mt, 3))
			} else {
				rec.Data = []byte(drawObject(t, 3))
			}
			v := s.Value(rec)
			chosen := rapid.SliceOfNDistinct(rapid.SampledFrom(paths[s]), 1, 3, rapid.ID[string]).Draw(t, "paths")
			hide, err := s.Redaction("", chosen, "")
			if err != nil {
				t.Fatal(err)
			}
			got := hide.Apply(v)
			if !json.Valid(got.JSON()) || hide.Apply(got) != got {
				t.Fatalf("%s of %s is %s", hide, v.JSON(), got.JSON())
			}
			mask, err := s.Mask("", chosen)
			if err != nil {
				t.Fatal(err)
			}
			if s == typed {
				if len(mask.Apply(got).JSON()) > 2 {
					t.Fatalf("%s of %s is %s", hide, v.JSON(), got.JSON())
				}
				merged := proto.Clone(got.message().Interface())
				proto.Merge(merged, mask.Apply(v).message().Interface())
				if !proto.Equal(merged, v.message().Interface()) {
					t.Fatalf("%s of %s is %s: something else is lost", hide, v.JSON(), got.JSON())
				}
			}
			if got == v && len(mask.Apply(v).JSON()) > 2 && s == typed {
				t.Fatalf("%s hides nothing of %s", hide, v.JSON())
			}
		}
	})
}

// FuzzRedaction: any paths and mask leave JSON, in which nothing is left to hide.
func FuzzRedaction(f *testing.F) {
	f.Add("a.b,foo_bar", "*", `{"a":{"b":"1"},"fooBar":[{"b":"x"}],"list":[[{"a":1}]]}`)
	f.Add("a", "\xff\"", `{"a":"\ud83d\ude00","b":""}`)
	s := shopRegistry(f).Schema("notes")
	f.Fuzz(func(t *testing.T, paths, mask, object string) {
		_, data, err := s.Encode("", "1", jsonAny(object))
		if err != nil {
			return
		}
		hide, err := s.Redaction("", strings.Split(paths, ","), mask)
		if err != nil {
			return
		}
		v := s.Value(recordOf("1", "", data))
		got := hide.Apply(v)
		if !json.Valid(got.JSON()) || !hide.Apply(got).Equal(got) {
			t.Fatalf("%s of %s is %s", hide, v.JSON(), got.JSON())
		}
		if _, again, err := s.Encode("", "1", jsonAny(string(got.JSON()))); err != nil || string(again) != string(got.JSON()) {
			t.Fatalf("%s of %s is %s: %v", hide, v.JSON(), got.JSON(), err)
		}
	})
}

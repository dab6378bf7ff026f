package watchroute

import (
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func TestMerge_ChangesWhatThePathsSay(t *testing.T) {
	old := &shopv1.Order{OrderId: "1", CustomerId: "7", Total: &shopv1.Money{CurrencyCode: "EUR", Units: 3, Nanos: 5},
		Items: []*shopv1.Item{{Sku: "a"}, {Sku: "b"}}, Location: &shopv1.Location{Description: "here"}}
	before := proto.CloneOf(old)
	for name, c := range map[string]struct {
		part  *shopv1.Order
		paths []string
		want  func(*shopv1.Order)
	}{
		"a field":                 {&shopv1.Order{CustomerId: "8"}, []string{"customer_id"}, func(o *shopv1.Order) { o.CustomerId = "8" }},
		"a field that is cleared": {&shopv1.Order{}, []string{"customer_id", "location"}, func(o *shopv1.Order) { o.CustomerId, o.Location = "", nil }},
		"further down":            {&shopv1.Order{Total: &shopv1.Money{Units: 4}}, []string{"total.units", "total.nanos"}, func(o *shopv1.Order) { o.Total.Units, o.Total.Nanos = 4, 0 }},
		"cleared further down":    {&shopv1.Order{}, []string{"total.units", "total.nanos", "total.currency_code"}, func(o *shopv1.Order) { o.Total = &shopv1.Money{} }},
		"a list":                  {&shopv1.Order{Items: []*shopv1.Item{{Sku: "c"}}}, []string{"items"}, func(o *shopv1.Order) { o.Items = []*shopv1.Item{{Sku: "c"}} }},
		"fields that are not known": {&shopv1.Order{CustomerId: "8", Total: &shopv1.Money{Units: 4}}, []string{"color", "color.hue", "total.tax", "location.floor", "customer_id"},
			func(o *shopv1.Order) { o.CustomerId = "8" }},
		"what is not listed": {&shopv1.Order{CustomerId: "8", OrderId: "9"}, []string{"customer_id"}, func(o *shopv1.Order) { o.CustomerId = "8" }},
	} {
		t.Run(name, func(t *testing.T) {
			part, err := anypb.New(c.part)
			if err != nil {
				t.Fatal(err)
			}
			want := proto.CloneOf(old)
			c.want(want)
			got, err := shapeOf[*shopv1.Order]().merge(old, part, c.paths)
			if err != nil || !proto.Equal(got.(proto.Message), want) {
				t.Errorf("got %v, %v; expected %v", got, err, want)
			}
			if !proto.Equal(old, before) {
				t.Errorf("the old value is now %v", old)
			}
		})
	}
	if other, _ := anypb.New(&shopv1.Money{}); other != nil {
		if _, err := shapeOf[*shopv1.Order]().merge(old, other, []string{"color"}); !HasReason(err, ReasonWrongType) {
			t.Errorf("of another message: got %v", err)
		}
	}
	part, _ := anypb.New(&shopv1.Order{})
	for _, path := range []string{"customer_id.x", "items.sku"} {
		if _, err := shapeOf[*shopv1.Order]().merge(old, part, []string{path}); !HasReason(err, ReasonWrongType) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestMerge_ChangesObjects(t *testing.T) {
	for name, c := range map[string]struct {
		old, part string
		paths     []string
		want      string
	}{
		"members":              {`{"a":1,"b":"<&>","c":1.50}`, `{"a":2}`, []string{"a", "d"}, `{"a":2,"b":"<&>","c":1.50}`},
		"cleared":              {`{"a":1,"b":2}`, `{}`, []string{"a"}, `{"b":2}`},
		"further down":         {`{"a":{"x":1,"y":{"z":1,"w":2}}}`, `{"a":{"y":{"z":9}}}`, []string{"a.x", "a.y.z"}, `{"a":{"y":{"w":2,"z":9}}}`},
		"an object that grows": {`{"a":{}}`, `{"a":{"x":[1,2]}}`, []string{"a.x"}, `{"a":{"x":[1,2]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			part, err := anypb.New(&watchroutev1.Json{Text: c.part})
			if err != nil {
				t.Fatal(err)
			}
			got, err := jsonForm{}.merge(json.RawMessage(c.old), part, c.paths)
			if text, ok := got.(json.RawMessage); err != nil || !ok || string(text) != c.want {
				t.Errorf("got %s, %v; expected %s", got, err, c.want)
			}
		})
	}
}

package schema

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	"github.com/watchroute/watchroute/internal/changelog"
)

func TestValue_Forms(t *testing.T) {
	r := shopRegistry(t)
	order := storedOrder(t, r, "42", benchOrder())
	const wantOrder = `{"orderId":"42","customerId":"42","status":"SHIPPED","items":[{"sku":"cd-1","quantity":2,"price":{"currencyCode":"USD","units":"12"}},{"sku":"cd-2","quantity":1,"price":{"currencyCode":"USD","units":"9"}}],"total":{"currencyCode":"USD","units":"33","nanos":500000000},"placeTime":"2024-05-06T07:08:09Z"}`
	if got := string(order.JSON()); got != wantOrder {
		t.Errorf("got %s, want %s", got, wantOrder)
	}
	url, wire := order.Wire()
	var back shopv1.Order
	if err := proto.Unmarshal(wire, &back); err != nil || url != "type.googleapis.com/shop.v1.Order" || back.GetOrderId() != "42" {
		t.Errorf("wire: %s %v %v", url, &back, err)
	}
	note := storedJSON(t, r, "1", `{"b":[1,{"x":null}],"a":"é"}`)
	url, wire = note.Wire()
	var st structpb.Struct
	if err := proto.Unmarshal(wire, &st); err != nil || url != "type.googleapis.com/google.protobuf.Struct" || st.GetFields()["a"].GetStringValue() != "é" {
		t.Errorf("wire: %s %v %v", url, &st, err)
	}
	long := storedJSON(t, r, "1", `{"s":"`+strings.Repeat("x", 20000)+`","o":{"p":{"q":["`+strings.Repeat("y", 300)+`"]}}}`)
	if _, wire := long.Wire(); proto.Unmarshal(wire, &st) != nil || len(st.GetFields()["s"].GetStringValue()) != 20000 ||
		len(st.GetFields()["o"].GetStructValue().GetFields()["p"].GetStructValue().GetFields()["q"].GetListValue().GetValues()[0].GetStringValue()) != 300 {
		t.Error("long fields are cut")
	}
}

func TestValue_JSONOfAMessageKeepsStringsWhole(t *testing.T) {
	r := shopRegistry(t)
	v := storedOrder(t, r, "1", &shopv1.Order{CustomerId: `a "b" \ c: d,  e` + "\n"})
	if got, want := string(v.JSON()), `{"orderId":"1","customerId":"a \"b\" \\ c: d,  e\n"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestValue_Equal(t *testing.T) {
	r := shopRegistry(t)
	a, b := storedJSON(t, r, "1", `{"a":1,"b":{"c":"é","d":[1]}}`), storedJSON(t, r, "1", `{"b":{"d":[1],"c":"\u00e9"},"a":1}`)
	if !a.Equal(b) || a.Equal(storedJSON(t, r, "1", `{"a":1.0,"b":{"c":"é","d":[1]}}`)) || a.Equal(storedJSON(t, r, "1", `{"a":1}`)) {
		t.Error("JSON is compared wrongly")
	}
	b.rec.Labels = map[string]string{"region": "us"}
	if a.Equal(b) {
		t.Error("labels do not count")
	}
	order := benchOrder()
	x := storedOrder(t, r, "1", order)
	order.Status = shopv1.OrderStatus_DELIVERED
	y := storedOrder(t, r, "1", order)
	mask, err := x.schema.Mask("", []string{"total", "customer_id"})
	if err != nil {
		t.Fatal(err)
	}
	if x.Equal(y) || !mask.Apply(x).Equal(mask.Apply(y)) {
		t.Error("messages are compared wrongly")
	}
}

func TestValue_ReadsWhatAnotherSchemaWrote(t *testing.T) {
	r := shopRegistry(t)
	raw, err := proto.Marshal(&shopv1.Order{OrderId: "1", CustomerId: "c"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, collection string
		rec              *changelog.Record
		want             string
	}{
		{"JSON, the schema came later", "orders", recordOf("1", "", []byte(`{"customerId":"c","colour":"red","items":[{"sku":"a","x":1}]}`)), `{"customerId":"c","items":[{"sku":"a"}]}`},
		{"JSON that does not fit", "orders", recordOf("1", "", []byte(`{"customerId":5}`)), `{}`},
		{"a message under another name", "orders", recordOf("1", "old.v1.Order", raw), `{"orderId":"1","customerId":"c"}`},
		{"another message", "orders", recordOf("1", "shop.v1.Location", nil), `{}`},
		{"damage", "orders", recordOf("1", "shop.v1.Order", []byte{0x0a, 0xff}), `{}`},
		{"a message, the schema went", "notes", recordOf("1", "shop.v1.Order", raw), `{"orderId":"1","customerId":"c"}`},
		{"a message that nobody knows", "notes", recordOf("1", "old.v1.Order", raw), `{}`},
		{"nothing", "notes", recordOf("1", "", nil), `{}`},
	} {
		v := r.Schema(c.collection).Value(c.rec)
		if got := string(v.JSON()); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		v.Wire()
	}
}

func TestValue_IsReadByManyAtOnce(t *testing.T) {
	r := shopRegistry(t)
	for _, v := range []*Value{storedOrder(t, r, "1", benchOrder()), storedJSON(t, r, "1", benchJSON)} {
		mask, err := v.schema.Mask("", []string{"status", "total.units"})
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%s %s", again(v).JSON(), mask.Apply(again(v)).JSON())
		part := mask.Apply(v)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				f, err := v.schema.Filter("", `data.customer_id == "42" && data.items.exists(i, i.sku == "cd-1")`)
				if err != nil || !f.Matches(v) {
					t.Errorf("does not match: %v", err)
				}
				v.Wire()
				part.Wire()
				Delta(v, part)
				if got := fmt.Sprintf("%s %s", v.JSON(), part.JSON()); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		}
		wg.Wait()
	}
}

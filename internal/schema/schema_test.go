package schema

import (
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	"github.com/watchroute/watchroute/internal/changelog"
)

// shopRegistry has the shop's contract as it is compiled in.
func shopRegistry(t testing.TB) *Registry {
	t.Helper()
	files := new(protoregistry.Files)
	if err := files.RegisterFile(shopv1.File_shop_v1_orders_proto); err != nil {
		t.Fatal(err)
	}
	return newRegistry(t, files)
}

func newRegistry(t testing.TB, files *protoregistry.Files) *Registry {
	t.Helper()
	r, err := NewRegistry(files)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func anyOf(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

// jsonAny makes a watchroute.v1.Json, even of what is not UTF-8.
func jsonAny(text string) *anypb.Any {
	return &anypb.Any{TypeUrl: urlPrefix + jsonType, Value: protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), text)}
}

// stored writes a value and reads it back.
func stored(t testing.TB, s *Schema, id string, data *anypb.Any) *Value {
	t.Helper()
	typ, b, err := s.Encode("resource.data", id, data)
	if err != nil {
		t.Fatal(err)
	}
	return s.Value(&changelog.Record{
		ID: id, Revision: 7, Type: typ, Data: b, Labels: map[string]string{"region": "eu"},
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	})
}

func storedOrder(t testing.TB, r *Registry, id string, o *shopv1.Order) *Value {
	t.Helper()
	return stored(t, r.Schema("orders"), id, anyOf(o))
}

func storedJSON(t testing.TB, r *Registry, id, text string) *Value {
	t.Helper()
	return stored(t, r.Schema("notes"), id, jsonAny(text))
}

func benchOrder() *shopv1.Order {
	return &shopv1.Order{
		CustomerId: "42",
		Status:     shopv1.OrderStatus_SHIPPED,
		Items: []*shopv1.Item{
			{Sku: "cd-1", Quantity: 2, Price: &shopv1.Money{CurrencyCode: "USD", Units: 12}},
			{Sku: "cd-2", Quantity: 1, Price: &shopv1.Money{CurrencyCode: "USD", Units: 9}},
		},
		Total:     &shopv1.Money{CurrencyCode: "USD", Units: 33, Nanos: 500000000},
		PlaceTime: timestamppb.New(time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)),
	}
}

func recordOf(id, typ string, data []byte) *changelog.Record {
	return &changelog.Record{ID: id, Revision: 7, Type: typ, Data: data}
}

package schema

import (
	"slices"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// changed gives the shop's files with a change.
func changed(t testing.TB, change func(*descriptorpb.FileDescriptorProto)) *protoregistry.Files {
	t.Helper()
	file := protodesc.ToFileDescriptorProto(shopv1.File_shop_v1_orders_proto)
	change(file)
	fd, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	files := new(protoregistry.Files)
	if err := files.RegisterFile(fd); err != nil {
		t.Fatal(err)
	}
	return files
}

func TestNewRegistry_FindsSchemas(t *testing.T) {
	r := shopRegistry(t)
	if got := r.Declared(); !slices.Equal(got, []string{"orders"}) {
		t.Errorf("collections %v", got)
	}
	s := r.Schema("orders")
	if s.Collection() != "orders" || s.Type() != "shop.v1.Order" || s.Descriptor() == nil || s.IDField().Name() != "order_id" {
		t.Errorf("got %+v", s)
	}
	s = r.Schema("notes")
	if s.Collection() != "notes" || s.Type() != "" || s.Descriptor() != nil || s.IDField() != nil {
		t.Errorf("got %+v", s)
	}
	if r := newRegistry(t, nil); len(r.Declared()) != 0 || r.Schema("orders").Descriptor() != nil {
		t.Error("a registry of nothing has schemas")
	}
}

func TestNewRegistry_NamesFileAndMessage(t *testing.T) {
	set := func(f *descriptorpb.FileDescriptorProto, message, collection, id string) {
		for _, m := range f.GetMessageType() {
			if m.GetName() == message {
				m.Options = &descriptorpb.MessageOptions{}
				proto.SetExtension(m.Options, watchroutev1.E_Resource, &watchroutev1.ResourceOptions{Collection: collection, IdField: id})
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*descriptorpb.FileDescriptorProto)
		want   string
	}{
		"no collection": {func(f *descriptorpb.FileDescriptorProto) { set(f, "Order", "", "order_id") },
			"shop/v1/orders.proto: shop.v1.Order: the option (watchroute.v1.resource): the collection is missing"},
		"two messages": {func(f *descriptorpb.FileDescriptorProto) { set(f, "Item", "orders", "sku") },
			`shop/v1/orders.proto: shop.v1.Item: the collection "orders" already has the schema shop.v1.Order of shop/v1/orders.proto`},
		"two faults": {func(f *descriptorpb.FileDescriptorProto) {
			set(f, "Item", "items", "quantity")
			set(f, "Order", "orders", "items")
		},
			"shop/v1/orders.proto: shop.v1.Order: the id_field \"items\" is repeated shop.v1.Item, expected string\n" +
				`shop/v1/orders.proto: shop.v1.Item: the id_field "quantity" is int32, expected string`},
		"part of a oneof": {func(f *descriptorpb.FileDescriptorProto) { set(f, "WatchOrderRequest", "watches", "resume_token") },
			`shop/v1/orders.proto: shop.v1.WatchOrderRequest: the id_field "resume_token" is part of the oneof "start"`},
	} {
		if _, err := NewRegistry(changed(t, c.change)); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// TestSchema_OfACopyOfWhatIsCompiledIn: a contract that began as a copy of one that
// is compiled in, under the same path and names, is its own.
func TestSchema_OfACopyOfWhatIsCompiledIn(t *testing.T) {
	r := newRegistry(t, changed(t, func(f *descriptorpb.FileDescriptorProto) {
		for _, m := range f.GetMessageType() {
			if m.GetName() == "Order" {
				m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{
					Name: proto.String("gift_note"), Number: proto.Int32(20), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
					Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
				})
			}
		}
	}))
	v := stored(t, r.Schema("orders"), "1", jsonAny(`{"giftNote":"hi","status":"SHIPPED","items":[{"quantity":2}],"placeTime":"2024-05-06T07:08:09Z","total":{"units":3}}`))
	const want = `{"orderId":"1","status":"SHIPPED","items":[{"quantity":2}],"total":{"units":"3"},"placeTime":"2024-05-06T07:08:09Z","giftNote":"hi"}`
	if got := string(v.JSON()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, expr := range []string{
		`data.gift_note == "hi" && data.status == OrderStatus.SHIPPED && data.items[0].quantity == 2`,
		`data.items.exists(i, i.quantity > 1) && data.total.units == 3 && data.place_time < update_time && data == data`,
	} {
		f, err := v.schema.Filter("", expr)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Matches(v) {
			t.Errorf("%s does not match", expr)
		}
	}
	m, err := v.schema.Mask("", []string{"gift_note", "total.units"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(m.Apply(v).JSON()), `{"total":{"units":"3"},"giftNote":"hi"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if paths, _ := Delta(v, m.Apply(v)); !slices.Equal(paths, []string{"items", "order_id", "place_time", "status"}) {
		t.Errorf("paths %v", paths)
	}
}

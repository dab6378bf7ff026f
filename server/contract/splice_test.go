package contract

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// splice turns the wire form of a generic message into that of a mirror: it puts
// the value of each Resource.data in the place of the google.protobuf.Any.
func splice(raw []byte, md protoreflect.MessageDescriptor) []byte {
	var out []byte
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeField(raw)
		_ = typ
		field := raw[:n]
		raw = raw[n:]
		fd := md.Fields().ByNumber(num)
		if fd == nil || fd.Message() == nil || fd.IsMap() {
			out = append(out, field...)
			continue
		}
		_, _, tag := protowire.ConsumeTag(field)
		body, _ := protowire.ConsumeBytes(field[tag:])
		if fd.Message().FullName() == anyName && md.FullName() == resourceDesc.FullName() {
			var a anypb.Any
			if err := proto.Unmarshal(body, &a); err != nil {
				panic(err)
			}
			body = a.GetValue()
		} else {
			body = splice(body, fd.Message())
		}
		out = protowire.AppendBytes(append(out, field[:tag]...), body)
	}
	return out
}

// TestResponse_IsWhatTheBytesSay: turning messages into mirrors, and turning their
// bytes, come to the same.
func TestResponse_IsWhatTheBytesSay(t *testing.T) {
	set := load(t)
	text := rapid.StringMatching(`[a-z]{0,5}`)
	order := rapid.Custom(func(t *rapid.T) *shopv1.Order {
		o := &shopv1.Order{OrderId: text.Draw(t, "id"), Status: shopv1.OrderStatus(rapid.IntRange(0, 9).Draw(t, "status"))}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			o.Items = append(o.Items, &shopv1.Item{Sku: text.Draw(t, "sku"), Price: &shopv1.Money{Units: rapid.Int64().Draw(t, "units")}})
		}
		if rapid.Bool().Draw(t, "placed") {
			o.PlaceTime = &timestamppb.Timestamp{Seconds: rapid.Int64().Draw(t, "time")}
		}
		return o
	})
	res := rapid.Custom(func(t *rapid.T) *watchroutev1.Resource {
		r := &watchroutev1.Resource{
			Name: text.Draw(t, "name"), Revision: rapid.Uint64().Draw(t, "revision"),
			Labels: rapid.MapOfN(text, text, 0, 3).Draw(t, "labels"), UpdateTime: timestamppb.Now(),
		}
		if rapid.Bool().Draw(t, "data") {
			r.Data, _ = anypb.New(order.Draw(t, "order"))
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		var generic proto.Message
		method := "GetOrder"
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			generic = res.Draw(t, "resource")
		case 1:
			method = "ListOrders"
			generic = &watchroutev1.ListResponse{Resources: rapid.SliceOfN(res, 0, 3).Draw(t, "resources"), Revision: 3}
		case 2:
			method = "PutOrder"
			generic = &watchroutev1.WriteResponse{Resource: res.Draw(t, "resource"), Changed: true}
		default:
			method = "WatchOrders"
			w := &watchroutev1.WatchResponse{Revision: 7, Body: &watchroutev1.WatchResponse_Bookmark{Bookmark: &watchroutev1.Bookmark{}}}
			if rapid.Bool().Draw(t, "events") {
				b := &watchroutev1.EventBatch{}
				for range rapid.IntRange(1, 3).Draw(t, "events") {
					b.Events = append(b.Events, &watchroutev1.Event{State: 1, Resource: res.Draw(t, "resource"), Coalesced: 2, UpdatedFields: &fieldmaskpb.FieldMask{Paths: []string{"a"}}})
				}
				w.Body = &watchroutev1.WatchResponse_Events{Events: b}
			}
			generic = w
		}
		m := set.Method("/shop.v1.OrderService/" + method)
		got, err := m.Response(generic)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := proto.Marshal(generic)
		if err != nil {
			t.Fatal(err)
		}
		want := m.NewOutput()
		if err := proto.Unmarshal(splice(raw, generic.ProtoReflect().Descriptor()), want); err != nil {
			t.Fatal(err)
		}
		if len(want.GetUnknown()) > 0 || !proto.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

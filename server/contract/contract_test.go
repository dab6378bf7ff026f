package contract

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a contract to be changed: the shop's under other names.
type source struct {
	testing.TB
	*descriptorpb.FileDescriptorProto
}

// mine gives the shop's contract as mine/v1/mine.proto, with the collection mine.
func mine(t testing.TB) source {
	t.Helper()
	text := prototext.Format(protodesc.ToFileDescriptorProto(shopv1.File_shop_v1_orders_proto))
	text = strings.NewReplacer("shop.v1", "mine.v1", "shop/v1/orders.proto", "mine/v1/mine.proto", "/v1/orders", "/v1/mine", `"orders"`, `"mine"`).Replace(text)
	f := &descriptorpb.FileDescriptorProto{}
	if err := prototext.Unmarshal([]byte(text), f); err != nil {
		t.Fatal(err)
	}
	return source{t, f}
}

func (s source) set() *descriptorpb.FileDescriptorSet {
	return &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{s.FileDescriptorProto}}
}

func (s source) message(name string) *descriptorpb.DescriptorProto {
	s.Helper()
	for _, m := range s.GetMessageType() {
		if m.GetName() == name {
			return m
		}
	}
	s.Fatalf("no message %s", name)
	return nil
}

// field gives a field of message.field.
func (s source) field(path string) *descriptorpb.FieldDescriptorProto {
	s.Helper()
	message, name, _ := strings.Cut(path, ".")
	for _, f := range s.message(message).GetField() {
		if f.GetName() == name {
			return f
		}
	}
	s.Fatalf("no field %s", path)
	return nil
}

func (s source) method(name string) *descriptorpb.MethodDescriptorProto {
	s.Helper()
	for _, m := range s.GetService()[0].GetMethod() {
		if m.GetName() == name {
			return m
		}
	}
	s.Fatalf("no method %s", name)
	return nil
}

func (s source) http(method string) *annotations.HttpRule {
	return proto.GetExtension(s.method(method).GetOptions(), annotations.E_Http).(*annotations.HttpRule)
}

func (s source) options(message string) *watchroutev1.ResourceOptions {
	return proto.GetExtension(s.message(message).GetOptions(), watchroutev1.E_Resource).(*watchroutev1.ResourceOptions)
}

// add puts a field into a message: of a scalar type, or of the message that typ
// names.
func (s source) add(message, name string, number int32, typ string) {
	f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	s.retype(f, typ)
	m := s.message(message)
	m.Field = append(m.Field, f)
}

func (s source) retype(f *descriptorpb.FieldDescriptorProto, typ string) {
	if n, ok := descriptorpb.FieldDescriptorProto_Type_value["TYPE_"+strings.ToUpper(typ)]; ok {
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_Type(n).Enum(), nil
		return
	}
	f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String("."+typ)
}

func (s source) drop(path string) {
	s.field(path)
	message, name, _ := strings.Cut(path, ".")
	m := s.message(message)
	m.Field = slices.DeleteFunc(m.GetField(), func(f *descriptorpb.FieldDescriptorProto) bool { return f.GetName() == name })
}

func repeated(f *descriptorpb.FieldDescriptorProto) {
	f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
}

func load(t testing.TB, sets ...*descriptorpb.FileDescriptorSet) *Set {
	t.Helper()
	s, err := New(protoregistry.GlobalFiles, sets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNew_BindsTheShopsContractAsItIsCompiledIn(t *testing.T) {
	set := load(t)
	want := []struct {
		name  string
		kind  Kind
		one   bool
		route string
	}{
		{"DeleteOrder", Delete, true, "DELETE /v1/orders/{order_id} order_id "},
		{"GetOrder", Get, true, "GET /v1/orders/{order_id} order_id "},
		{"ListOrders", List, false, "GET /v1/orders  "},
		{"PutOrder", Put, true, "PUT /v1/orders/{order_id} order_id resource"},
		{"WatchOrder", Watch, true, "GET /v1/orders/{order_id}/watch order_id "},
		{"WatchOrders", Watch, false, "GET /v1/orders/watch-all  "},
	}
	if len(set.Methods) != len(want) {
		t.Fatalf("%d methods, want %d", len(set.Methods), len(want))
	}
	for i, w := range want {
		m := set.Methods[i]
		if m.FullName != "/shop.v1.OrderService/"+w.name || m.Kind != w.kind || m.One != w.one || m.Collection != "orders" || !m.Typed {
			t.Errorf("got %+v, want %+v", m, w)
		}
		if len(m.Routes) != 1 {
			t.Errorf("%s: routes %v", w.name, m.Routes)
		} else if r := m.Routes[0]; r.Method+" "+r.Path+" "+strings.Join(r.Params, ",")+" "+r.Body != w.route {
			t.Errorf("%s: route %+v, want %s", w.name, r, w.route)
		}
		if set.Method(m.FullName) != m {
			t.Errorf("%s is not found", m.FullName)
		}
	}
	if set.Method("/shop.v1.OrderService/None") != nil {
		t.Error("found a method that is not there")
	}
	if got := set.Schemas.Declared(); !slices.Equal(got, []string{"orders", "system.collections", "system.deadletters", "system.grants", "system.keys", "system.revocations", "system.source-status", "system.sources"}) {
		t.Errorf("collections %v", got)
	}
}

func TestNew_BindsADescriptorSetBesideWhatIsCompiledIn(t *testing.T) {
	set := load(t, mine(t).set())
	if got := set.Schemas.Declared(); !slices.Equal(got, []string{"mine", "orders", "system.collections", "system.deadletters", "system.grants", "system.keys", "system.revocations", "system.source-status", "system.sources"}) {
		t.Errorf("collections %v", got)
	}
	if m := set.Method("/mine.v1.OrderService/WatchOrders"); m == nil || m.Collection != "mine" {
		t.Errorf("got %+v", m)
	}
	if _, err := set.Resolver().FindMessageByURL("type.googleapis.com/mine.v1.Order"); err != nil {
		t.Error(err)
	}
	if _, err := set.Resolver().FindFileByPath("mine/v1/mine.proto"); err != nil {
		t.Error(err)
	}
}

func TestNew_AcceptsOtherShapesOfContracts(t *testing.T) {
	for name, change := range map[string]func(source){
		"mirrors that leave out what is not needed": func(s source) {
			for _, f := range []string{"uid", "create_revision", "etag", "labels", "create_time", "update_time"} {
				s.drop("OrderResource." + f)
			}
			s.message("OrderResource").NestedType = nil
			s.drop("OrderEvent.cause")
			s.drop("PutOrderResponse.resource")
		},
		"a name in place of the id": func(s source) {
			s.drop("GetOrderRequest.order_id")
			s.add("GetOrderRequest", "name", 9, "string")
			s.http("GetOrder").Pattern = &annotations.HttpRule_Get{Get: "/v1/{name=mine/*}"}
		},
		"the order itself in place of a resource": func(s source) {
			s.drop("PutOrderRequest.resource")
			s.drop("PutOrderRequest.order_id")
			s.add("PutOrderRequest", "order", 9, "mine.v1.Order")
			s.http("PutOrder").Pattern = &annotations.HttpRule_Put{Put: "/v1/mine/{order.order_id}"}
			s.http("PutOrder").Body = "order"
		},
		"generic responses": func(s source) {
			s.method("PutOrder").OutputType = proto.String(".watchroute.v1.WriteResponse")
			s.method("DeleteOrder").OutputType = proto.String(".watchroute.v1.WriteResponse")
			s.method("WatchOrder").OutputType = proto.String(".watchroute.v1.WatchResponse")
		},
		"a parent": func(s source) {
			s.add("ListOrdersRequest", "parent", 9, "string")
			s.http("ListOrders").Pattern = &annotations.HttpRule_Get{Get: "/v1/{parent=mine}"}
		},
		"no HTTP": func(s source) { s.method("GetOrder").Options = nil },
		"two routes": func(s source) {
			s.http("GetOrder").AdditionalBindings = []*annotations.HttpRule{{Pattern: &annotations.HttpRule_Get{Get: "/v2/mine/{order_id=**}"}}}
		},
		"many names": func(s source) {
			s.add("WatchOrdersRequest", "names", 20, "string")
			repeated(s.field("WatchOrdersRequest.names"))
		},
		"a service that is about something else": func(s source) {
			s.Service = append(s.Service, &descriptorpb.ServiceDescriptorProto{
				Name: proto.String("Other"), Method: []*descriptorpb.MethodDescriptorProto{{
					Name: proto.String("Ring"), InputType: proto.String(".mine.v1.Money"), OutputType: proto.String(".mine.v1.Location"),
				}},
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := mine(t)
			change(s)
			set := load(t, s.set())
			for _, m := range set.Methods {
				if _, err := m.Request(m.NewInput()); m.One && err == nil {
					t.Errorf("%s: an empty request is accepted", m.FullName)
				}
			}
		})
	}
}

package contract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

func TestNew_RefusesWhatCannotBeBound(t *testing.T) {
	get := func(path string) *annotations.HttpRule_Get { return &annotations.HttpRule_Get{Get: path} }
	for _, c := range []struct {
		name   string
		change func(source)
		want   string // what follows the file's path
	}{
		{"a method of no kind", func(s source) { s.method("GetOrder").Name = proto.String("FetchOrder") },
			`mine.v1.OrderService.FetchOrder: its name does not begin with Get, List, Watch, Put or Delete`},
		{"a kind that only begins a word", func(s source) { s.method("GetOrder").Name = proto.String("Getting") },
			`mine.v1.OrderService.Getting: its name does not begin with Get, List, Watch, Put or Delete`},
		{"a Watch that does not stream", func(s source) { s.method("WatchOrder").ServerStreaming = nil },
			`mine.v1.OrderService.WatchOrder: the response is not a stream`},
		{"a Get that streams", func(s source) { s.method("GetOrder").ServerStreaming = proto.Bool(true) },
			`mine.v1.OrderService.GetOrder: the response is a stream, which only those of Watch are`},
		{"a request that streams", func(s source) { s.method("PutOrder").ClientStreaming = proto.Bool(true) },
			`mine.v1.OrderService.PutOrder: the request is a stream`},
		{"a field of another type", func(s source) { s.retype(s.field("OrderResource.revision"), "int32") },
			`mine.v1.OrderService.GetOrder: the response mine.v1.OrderResource is not a mirror of watchroute.v1.Resource: field 3 "revision" has type int32, expected uint64`},
		{"a field of another number", func(s source) { s.field("OrderEvent.coalesced").Number = proto.Int32(9) },
			`mine.v1.OrderService.WatchOrder: the response mine.v1.OrderEvent is not a mirror of watchroute.v1.Event: field 9 "coalesced" has the number 6 there`},
		{"a field of another name", func(s source) { s.field("OrderResource.revision").Name = proto.String("rev") },
			`mine.v1.OrderService.GetOrder: the response mine.v1.OrderResource is not a mirror of watchroute.v1.Resource: it has no field "rev"`},
		{"a field of another JSON name", func(s source) { s.field("ListOrdersResponse.revision").JsonName = proto.String("rev") },
			`mine.v1.OrderService.ListOrders: the response mine.v1.ListOrdersResponse is not a mirror of watchroute.v1.ListResponse: field 3 "revision" has the JSON name "rev", expected "revision"`},
		{"a missing field", func(s source) { s.drop("WatchOrdersResponse.reset") },
			`mine.v1.OrderService.WatchOrders: the response mine.v1.WatchOrdersResponse is not a mirror of watchroute.v1.WatchResponse: it lacks the field 7 "reset"`},
		{"deltas that cannot be told", func(s source) { s.drop("OrderEvent.base_revision") },
			`mine.v1.OrderService.WatchOrder: the response mine.v1.OrderEvent is not a mirror of watchroute.v1.Event: it lacks the field 5 "base_revision"`},
		{"a list that is none", func(s source) {
			s.field("OrderEventBatch.events").Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
		}, `mine.v1.OrderService.WatchOrder: the response mine.v1.OrderEventBatch is not a mirror of watchroute.v1.EventBatch: field 1 "events" has type mine.v1.OrderEvent, expected repeated a mirror of watchroute.v1.Event`},
		{"Any in the mirror", func(s source) {
			s.Dependency = append(s.Dependency, "google/protobuf/any.proto")
			s.retype(s.field("OrderResource.data"), "google.protobuf.Any")
			s.retype(s.field("PutOrderRequest.resource"), "mine.v1.Order")
		}, `mine.v1.OrderService.GetOrder: the response mine.v1.OrderResource is not a mirror of watchroute.v1.Resource: field 9 "data" has type google.protobuf.Any, expected mine.v1.Order`},
		{"another message as the value", func(s source) {
			s.retype(s.field("OrderResource.data"), "mine.v1.Money")
			s.retype(s.field("PutOrderRequest.resource"), "mine.v1.Order")
		}, `mine.v1.OrderService.GetOrder: the response mine.v1.OrderResource is not a mirror of watchroute.v1.Resource: field 9 "data" has type mine.v1.Money, expected mine.v1.Order`},
		{"the generic message within a mirror", func(s source) {
			s.retype(s.field("WatchOrdersResponse.events"), "watchroute.v1.EventBatch")
		}, `mine.v1.OrderService.WatchOrder: the response mine.v1.WatchOrdersResponse is not a mirror of watchroute.v1.WatchResponse: field 4 "events" has type watchroute.v1.EventBatch, which holds google.protobuf.Any, expected a mirror of watchroute.v1.EventBatch with mine.v1.Order`},
		{"another well-known type", func(s source) { s.retype(s.field("OrderResource.create_time"), "google.protobuf.Duration") },
			`mine.v1.OrderService.GetOrder: the response mine.v1.OrderResource is not a mirror of watchroute.v1.Resource: field 7 "create_time" has type google.protobuf.Duration, expected google.protobuf.Timestamp`},
		{"the value itself as the response", func(s source) { s.method("GetOrder").OutputType = proto.String(".mine.v1.Order") },
			`mine.v1.OrderService.GetOrder: the response is mine.v1.Order itself, expected a mirror of watchroute.v1.Resource`},
		{"a request without an id", func(s source) { s.drop("GetOrderRequest.order_id"); s.method("GetOrder").Options = nil },
			`mine.v1.OrderService.GetOrder: the request mine.v1.GetOrderRequest has no field for the id, nor "order_id" or "name"`},
		{"an id that is a number", func(s source) { s.retype(s.field("GetOrderRequest.order_id"), "int64") },
			`mine.v1.OrderService.GetOrder: the request mine.v1.GetOrderRequest: field 1 "order_id" has type int64, expected string`},
		{"a request field that nobody knows", func(s source) { s.add("ListOrdersRequest", "colour", 12, "string") },
			`mine.v1.OrderService.ListOrders: the request mine.v1.ListOrdersRequest: field 12 "colour" is not one of watchroute.v1.ListRequest`},
		{"a request field of another type", func(s source) { s.retype(s.field("ListOrdersRequest.page_size"), "int64") },
			`mine.v1.OrderService.ListOrders: the request mine.v1.ListOrdersRequest: field 2 "page_size" has type int64, expected int32`},
		{"an id in a list", func(s source) { s.add("ListOrdersRequest", "order_id", 12, "string") },
			`mine.v1.OrderService.ListOrders: the request mine.v1.ListOrdersRequest: field 12 "order_id" is not one of watchroute.v1.ListRequest`},
		{"one and many", func(s source) {
			s.add("WatchOrderRequest", "names", 20, "string")
			repeated(s.field("WatchOrderRequest.names"))
		}, `mine.v1.OrderService.WatchOrder: the request mine.v1.WatchOrderRequest has a field for one resource and field 20 "names"`},
		{"the generic request", func(s source) { s.method("GetOrder").InputType = proto.String(".watchroute.v1.GetRequest") },
			`mine.v1.OrderService.GetOrder: the request is watchroute.v1.GetRequest itself, which can name any collection; declare one with the fields that are needed`},
		{"a put of nothing", func(s source) { s.drop("PutOrderRequest.resource"); s.http("PutOrder").Body = "" },
			`mine.v1.OrderService.PutOrder: the request mine.v1.PutOrderRequest has neither a field "resource" nor one of type mine.v1.Order`},
		{"a put of two things", func(s source) { s.add("PutOrderRequest", "order", 12, "mine.v1.Order") },
			`mine.v1.OrderService.PutOrder: the request mine.v1.PutOrderRequest: field 12 "order" is the second one with a value`},
		{"a put of many things", func(s source) { repeated(s.field("PutOrderRequest.resource")) },
			`mine.v1.OrderService.PutOrder: the request mine.v1.PutOrderRequest: field 1 "resource" has type repeated mine.v1.OrderResource, expected a mirror of watchroute.v1.Resource, or mine.v1.Order`},
		{"a watch that is POSTed", func(s source) {
			s.http("WatchOrder").Pattern = &annotations.HttpRule_Post{Post: "/v1/mine/{order_id}/watch"}
		}, `mine.v1.OrderService.WatchOrder: google.api.http: POST /v1/mine/{order_id}/watch: a watch must be a GET`},
		{"a path that is none", func(s source) { s.http("GetOrder").Pattern = get("/v1/{order_id") },
			`mine.v1.OrderService.GetOrder: google.api.http: the path "/v1/{order_id": `},
		{"a path with an unknown field", func(s source) { s.http("GetOrder").Pattern = get("/v1/mine/{id}") },
			`mine.v1.OrderService.GetOrder: google.api.http: the path "/v1/mine/{id}": mine.v1.GetOrderRequest has no field "id"`},
		{"a path with a message", func(s source) {
			s.http("PutOrder").Pattern = &annotations.HttpRule_Put{Put: "/v1/mine/{resource}"}
		}, `mine.v1.OrderService.PutOrder: google.api.http: the path "/v1/mine/{resource}": "resource" has type mine.v1.OrderResource, which no path can hold`},
		{"a body of no field", func(s source) { s.http("PutOrder").Body = "order" },
			`mine.v1.OrderService.PutOrder: google.api.http: the body "order" is not a field of mine.v1.PutOrderRequest`},
		{"a GET with a body", func(s source) { s.http("GetOrder").Body = "*" },
			`mine.v1.OrderService.GetOrder: google.api.http: GET /v1/mine/{order_id}: it has no body`},
		{"a part as the response", func(s source) { s.http("GetOrder").ResponseBody = "data" },
			`mine.v1.OrderService.GetOrder: google.api.http: GET /v1/mine/{order_id}: response_body is not supported`},
		{"a path that is taken", func(s source) { s.http("ListOrders").Pattern = get("/v1/orders") },
			`shop.v1.OrderService.ListOrders: google.api.http: GET /v1/orders is the path of mine.v1.OrderService.ListOrders too`},
		{"an id_field that is not there", func(s source) { s.options("Order").IdField = "order" },
			`mine.v1.Order: the id_field "order" is not one of its fields; the nearest is "order_id"`},
		{"an id_field that is a number", func(s source) { s.options("Order").IdField = "status" },
			`mine.v1.Order: the id_field "status" is mine.v1.OrderStatus, expected string`},
		{"a collection that cannot be", func(s source) { s.options("Order").Collection = "My Orders" },
			`mine.v1.Order: the option (watchroute.v1.resource): the collection "My Orders" does not begin with a lower-case letter`},
		{"a collection that is taken", func(s source) { s.options("Order").Collection = "orders" },
			`shop.v1.Order: the collection "orders" already has the schema mine.v1.Order of mine/v1/mine.proto`},
		{"an import that is not there", func(s source) { s.Dependency = append(s.Dependency, "your/v1/your.proto") },
			`imports your/v1/your.proto, which is neither compiled in nor in a descriptor set`},
		{"a type that is not there", func(s source) { s.retype(s.field("Order.total"), "mine.v1.Gold") },
			`cannot resolve type`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mine(t)
			c.change(s)
			set, err := New(protoregistry.GlobalFiles, s.set())
			if err == nil {
				t.Fatalf("bound %d methods", len(set.Methods))
			}
			file := "mine/v1/mine.proto: "
			if strings.HasPrefix(c.want, "shop.") {
				file = "shop/v1/orders.proto: "
			}
			for line := range strings.Lines(err.Error()) {
				line = strings.TrimSpace(line)
				rest, ok := strings.CutPrefix(line, file)
				if ok && (rest == c.want || strings.HasSuffix(c.want, ": ") && strings.HasPrefix(rest, c.want) || !strings.Contains(c.want, ": ") && strings.Contains(rest, c.want)) {
					return
				}
			}
			t.Errorf("got\n%v\nwant\n%s%s", err, file, c.want)
		})
	}
}

func TestNew_TellsAllProblemsAtOnce(t *testing.T) {
	s := mine(t)
	s.method("GetOrder").Name = proto.String("FetchOrder")
	s.drop("WatchOrdersResponse.reset")
	s.add("ListOrdersRequest", "colour", 12, "string")
	_, err := New(protoregistry.GlobalFiles, s.set())
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("got %v, want four lines", err)
	}
}

func TestNew_AmbiguousMethodsNeedAName(t *testing.T) {
	s := mine(t)
	item := s.message("Item")
	item.Options = proto.CloneOf(s.message("Order").GetOptions())
	o := s.options("Item")
	o.Collection, o.IdField = "items", "sku"
	// Every method that mentions an order mentions an item now.
	set := load(t, s.set())
	if m := set.Method("/mine.v1.OrderService/GetOrder"); m == nil || m.Collection != "mine" {
		t.Errorf("got %+v", m)
	}
	s.method("GetOrder").Name = proto.String("GetThing")
	_, err := New(protoregistry.GlobalFiles, s.set())
	const want = `mine/v1/mine.proto: mine.v1.OrderService.GetThing: it could be about any of mine.v1.Order, mine.v1.Item: name it after one of them, as in GetOrder`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNew_TellsWhichServicesItLeavesAlone(t *testing.T) {
	s := mine(t)
	s.retype(s.field("OrderResource.data"), "mine.v1.Money")
	if got := load(t, s.set()).Unbound; len(got) != 1 || got[0] != "mine.v1.OrderService" {
		t.Errorf("unbound: %v", got)
	}
	if got := load(t, mine(t).set()).Unbound; len(got) != 0 {
		t.Errorf("unbound: %v", got)
	}
}

func write(t *testing.T, set *descriptorpb.FileDescriptorSet) string {
	t.Helper()
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "contract.binpb")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad_ReadsDescriptorSets(t *testing.T) {
	bare := mine(t).set()
	// As buf writes it: with everything that it imports, comments and all.
	full := mine(t).set()
	for _, path := range []string{"google/api/annotations.proto", "google/protobuf/timestamp.proto", "watchroute/v1/watch.proto"} {
		fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil {
			t.Fatal(err)
		}
		file := protodesc.ToFileDescriptorProto(fd)
		file.SourceCodeInfo = &descriptorpb.SourceCodeInfo{Location: []*descriptorpb.SourceCodeInfo_Location{{Span: []int32{0, 0, 0}}}}
		full.File = append(full.File, file)
	}
	shop := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(shopv1.File_shop_v1_orders_proto)}}
	for _, f := range shop.File[0].MessageType[0].Field {
		f.JsonName = nil // as protoc leaves it
	}
	set, err := Load(t.Context(), []string{write(t, full), write(t, bare), write(t, shop)})
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Methods) != 12 {
		t.Errorf("%d methods, want 12", len(set.Methods))
	}
}

func TestLoad_RefusesConflictsAndWhatIsNoSet(t *testing.T) {
	other := mine(t)
	other.drop("Order.location")
	notes := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(notes, []byte("not a descriptor set"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		paths []string
		want  string
	}{
		{"two versions", []string{write(t, mine(t).set()), write(t, other.set())}, "mine/v1/mine.proto: two descriptor sets have different contents for it"},
		{"no set", []string{notes}, "not a descriptor set"},
		{"no file", []string{notes + "x"}, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Load(t.Context(), c.paths); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestNew_RefusesAnotherVersionOfWhatIsCompiledIn(t *testing.T) {
	shop := protodesc.ToFileDescriptorProto(shopv1.File_shop_v1_orders_proto)
	for _, m := range shop.GetMessageType() {
		if m.GetName() == "Location" {
			m.Field = m.Field[:1]
		}
	}
	_, err := New(protoregistry.GlobalFiles, &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{shop}})
	if want := "shop/v1/orders.proto: the file that is compiled in is another one"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	shop.Name = proto.String("orders.proto")
	_, err = New(protoregistry.GlobalFiles, &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{shop}})
	if err == nil || !strings.HasPrefix(err.Error(), "orders.proto: ") {
		t.Errorf("got %v", err)
	}
}

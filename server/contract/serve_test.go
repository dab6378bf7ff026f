package contract

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// memory is a small backend: no history, a watch is the state and its end.
type memory struct {
	mu       sync.Mutex
	revision uint64
	held     map[string]*watchroutev1.Resource
	last     proto.Message // the last request
}

func (b *memory) Get(_ context.Context, r *watchroutev1.GetRequest) (*watchroutev1.Resource, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = r
	if res := b.held[r.GetName()]; res != nil {
		return res, nil
	}
	return nil, resource.Errorf(resource.NotFound, "there is no %s", r.GetName()).In("name")
}

func (b *memory) List(_ context.Context, r *watchroutev1.ListRequest) (*watchroutev1.ListResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = r
	if r.GetFilter() != "" {
		return nil, resource.Errorf(resource.InvalidFilter, "no filters here").In("filter")
	}
	out := &watchroutev1.ListResponse{Revision: b.revision}
	for _, name := range slices.Sorted(maps.Keys(b.held)) {
		out.Resources = append(out.Resources, b.held[name])
	}
	return out, nil
}

func (b *memory) Put(_ context.Context, r *watchroutev1.PutRequest) (*watchroutev1.WriteResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = r
	if len(r.GetResource().GetLabels()) > 64 {
		return nil, resource.Errorf(resource.InvalidField, "too many labels").In("resource.labels")
	}
	b.revision++
	res := proto.CloneOf(r.GetResource())
	res.Revision = b.revision
	b.held[res.GetName()] = res
	return &watchroutev1.WriteResponse{Revision: b.revision, Resource: res, Changed: true}, nil
}

func (b *memory) Delete(_ context.Context, r *watchroutev1.DeleteRequest) (*watchroutev1.WriteResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = r
	delete(b.held, r.GetName())
	b.revision++
	return &watchroutev1.WriteResponse{Revision: b.revision, Resource: &watchroutev1.Resource{Name: r.GetName(), Revision: b.revision}, Changed: true}, nil
}

func (b *memory) ServeWatch(r *watchroutev1.WatchRequest, typed bool, stream grpc.ServerStream) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = r
	if r.GetFilter() != "" {
		return resource.Errorf(resource.InvalidFilter, "no filters here").In("filter")
	}
	if len(r.GetNames()) == 1 && b.held[r.GetNames()[0]] == nil {
		return resource.Errorf(resource.NotFound, "there is no %s", r.GetNames()[0]).In("names[0]")
	}
	messages := []*watchroutev1.WatchResponse{{Body: &watchroutev1.WatchResponse_Started{Started: &watchroutev1.Started{Mode: watchroutev1.Started_SNAPSHOT}}}}
	for _, name := range slices.Sorted(maps.Keys(b.held)) {
		if len(r.GetNames()) == 0 || slices.Contains(r.GetNames(), name) {
			messages = append(messages, &watchroutev1.WatchResponse{Revision: b.revision, Body: &watchroutev1.WatchResponse_Events{
				Events: &watchroutev1.EventBatch{Events: []*watchroutev1.Event{{State: 1, Resource: b.held[name]}}},
			}})
		}
	}
	for _, m := range messages {
		raw, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		if typed {
			raw = splice(raw, m.ProtoReflect().Descriptor())
		}
		if err := stream.SendMsg(dynamicBytes(raw)); err != nil {
			return err
		}
	}
	return nil
}

// dynamicBytes is a message with just these bytes.
func dynamicBytes(raw []byte) proto.Message {
	m := dynamicpb.NewMessage((*watchroutev1.SnapshotEnd)(nil).ProtoReflect().Descriptor())
	m.SetUnknown(raw)
	return m
}

// serve runs a set over an in-memory connection.
func serve(t *testing.T, set *Set, b Backend, opts ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(opts...)
	set.Register(srv, b)
	reflectionpb.RegisterServerReflectionServer(srv, reflection.NewServerV1(reflection.ServerOptions{
		Services: srv, DescriptorResolver: set.Resolver(), ExtensionResolver: set.Resolver(),
	}))
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		srv.Stop()
		wg.Wait()
	})
	return conn
}

// showReason turns errors into statuses that tell reason and field.
func showReason(err error) error {
	if err == nil {
		return nil
	}
	e := resource.AsError(err)
	return fmt.Errorf("%s in %q", e.Reason, e.Metadata["field"])
}

// calls are the methods that interceptors saw.
type calls struct {
	mu   sync.Mutex
	seen []string
}

func (c *calls) add(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, method)
}

func interceptors(seen *calls) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			seen.add(info.FullMethod)
			out, err := h(ctx, req)
			return out, showReason(err)
		}),
		grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			seen.add(info.FullMethod)
			return showReason(h(srv, s))
		}),
	}
}

func TestRegister_GeneratedStubsTalkToTheEngine(t *testing.T) {
	var seen calls
	b := &memory{held: map[string]*watchroutev1.Resource{}}
	shop := shopv1.NewOrderServiceClient(serve(t, load(t), b, interceptors(&seen)...))
	ctx := t.Context()
	order := &shopv1.Order{OrderId: "42", CustomerId: "7", Status: shopv1.OrderStatus_PENDING, Total: &shopv1.Money{Units: 5}}
	put, err := shop.PutOrder(ctx, &shopv1.PutOrderRequest{
		OrderId: "42", RequestId: "r1", Resource: &shopv1.OrderResource{Labels: map[string]string{"region": "eu"}, Data: order},
		Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if put.GetRevision() != 1 || !put.GetChanged() || put.GetResource().GetName() != "orders/42" || !proto.Equal(put.GetResource().GetData(), order) {
		t.Errorf("put: %v", put)
	}
	asked := b.last.(*watchroutev1.PutRequest)
	if asked.GetRequestId() != "r1" || !asked.GetPrecondition().GetMustNotExist() || asked.GetResource().GetLabels()["region"] != "eu" {
		t.Errorf("the engine was asked %v", asked)
	}
	got, err := shop.GetOrder(ctx, &shopv1.GetOrderRequest{OrderId: "42", MinRevision: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, put.GetResource()) || b.last.(*watchroutev1.GetRequest).GetMinRevision() != 1 {
		t.Errorf("get: %v", got)
	}
	list, err := shop.ListOrders(ctx, &shopv1.ListOrdersRequest{PageSize: 5})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.GetResources()) != 1 || !proto.Equal(list.GetResources()[0], got) {
		t.Errorf("list: %v", list)
	}
	if r := b.last.(*watchroutev1.ListRequest); r.GetParent() != "orders" || r.GetPageSize() != 5 {
		t.Errorf("the engine was asked %v", r)
	}
	one, err := shop.WatchOrder(ctx, &shopv1.WatchOrderRequest{OrderId: "42", Start: &shopv1.WatchOrderRequest_AfterRevision{AfterRevision: 0}, Delta: true})
	if err != nil {
		t.Fatal(err)
	}
	all, err := shop.WatchOrders(ctx, &shopv1.WatchOrdersRequest{Delivery: watchroutev1.Delivery_EVERY_CHANGE})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []grpc.ServerStreamingClient[shopv1.WatchOrdersResponse]{one, all} {
		if m, err := w.Recv(); err != nil || m.GetStarted().GetMode() != watchroutev1.Started_SNAPSHOT {
			t.Fatalf("started: %v %v", m, err)
		}
		m, err := w.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if e := m.GetEvents().GetEvents(); len(e) != 1 || !proto.Equal(e[0].GetResource(), got) {
			t.Errorf("event: %v", m)
		}
	}
	deleted, err := shop.DeleteOrder(ctx, &shopv1.DeleteOrderRequest{OrderId: "42", AllowMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	if deleted.GetResource().GetName() != "orders/42" || deleted.GetResource().GetData() != nil {
		t.Errorf("delete: %v", deleted)
	}
	if len(seen.seen) != 6 {
		t.Errorf("the interceptors saw %v", seen.seen)
	}
}

func TestRegister_ErrorsNameTheFieldsOfTheTypedRequest(t *testing.T) {
	var seen calls
	b := &memory{held: map[string]*watchroutev1.Resource{}}
	shop := shopv1.NewOrderServiceClient(serve(t, load(t), b, interceptors(&seen)...))
	ctx := t.Context()
	labels := map[string]string{}
	for i := range 65 {
		labels[fmt.Sprint(i)] = ""
	}
	for _, c := range []struct {
		name string
		call func() error
		want string
	}{
		{"no such order", func() error { _, err := shop.GetOrder(ctx, &shopv1.GetOrderRequest{OrderId: "9"}); return err }, `RESOURCE_NOT_FOUND in "order_id"`},
		{"no id", func() error { _, err := shop.GetOrder(ctx, &shopv1.GetOrderRequest{}); return err }, `INVALID_NAME in "order_id"`},
		{"bad id", func() error {
			_, err := shop.DeleteOrder(ctx, &shopv1.DeleteOrderRequest{OrderId: "a/b"})
			return err
		}, `INVALID_NAME in "order_id"`},
		{"bad filter", func() error {
			_, err := shop.ListOrders(ctx, &shopv1.ListOrdersRequest{Filter: "x"})
			return err
		}, `INVALID_FILTER in "filter"`},
		{"no value", func() error { _, err := shop.PutOrder(ctx, &shopv1.PutOrderRequest{OrderId: "1"}); return err }, `INVALID_FIELD in "resource"`},
		{"two ids", func() error {
			_, err := shop.PutOrder(ctx, &shopv1.PutOrderRequest{OrderId: "1", Resource: &shopv1.OrderResource{Name: "orders/2"}})
			return err
		}, `INVALID_NAME in "resource.name"`},
		{"foreign name", func() error {
			_, err := shop.PutOrder(ctx, &shopv1.PutOrderRequest{Resource: &shopv1.OrderResource{Name: "notes/2"}})
			return err
		}, `INVALID_NAME in "resource.name"`},
		{"too many labels", func() error {
			_, err := shop.PutOrder(ctx, &shopv1.PutOrderRequest{OrderId: "1", Resource: &shopv1.OrderResource{Labels: labels}})
			return err
		}, `INVALID_FIELD in "resource.labels"`},
		{"watch of none", func() error {
			w, err := shop.WatchOrder(ctx, &shopv1.WatchOrderRequest{OrderId: "9"})
			if err == nil {
				_, err = w.Recv()
			}
			return err
		}, `RESOURCE_NOT_FOUND in "order_id"`},
		{"watch without an id", func() error {
			w, err := shop.WatchOrder(ctx, &shopv1.WatchOrderRequest{})
			if err == nil {
				_, err = w.Recv()
			}
			return err
		}, `INVALID_NAME in "order_id"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.call(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestRegister_ServesAContractThatWasReadAtRunTime(t *testing.T) {
	s := mine(t)
	s.drop("PutOrderRequest.resource")
	s.drop("PutOrderRequest.order_id")
	s.add("PutOrderRequest", "order", 9, "mine.v1.Order")
	s.method("PutOrder").Options = nil
	set := load(t, s.set())
	b := &memory{held: map[string]*watchroutev1.Resource{}}
	var seen calls
	conn := serve(t, set, b, interceptors(&seen)...)
	call := func(method, request string) (string, error) {
		m := set.Method("/mine.v1.OrderService/" + method)
		in, out := m.NewInput(), m.NewOutput()
		if err := protojson.Unmarshal([]byte(request), in); err != nil {
			t.Fatal(err)
		}
		err := conn.Invoke(t.Context(), m.FullName, in, out)
		return strings.ReplaceAll(protojson.MarshalOptions{}.Format(out), " ", ""), err
	}
	if out, err := call("PutOrder", `{"order": {"orderId": "1", "customerId": "c"}}`); err != nil || out != `{"revision":"1","resource":{"name":"mine/1","revision":"1","data":{"orderId":"1","customerId":"c"}},"changed":true}` {
		t.Errorf("put: %s %v", out, err)
	}
	if out, err := call("GetOrder", `{"orderId": "1"}`); err != nil || out != `{"name":"mine/1","revision":"1","data":{"orderId":"1","customerId":"c"}}` {
		t.Errorf("get: %s %v", out, err)
	}
	if _, err := call("PutOrder", `{"order": {}}`); err == nil || !strings.Contains(err.Error(), `INVALID_NAME in "order.order_id"`) {
		t.Errorf("put without an id: %v", err)
	}
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "mine.v1.OrderService"}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil || len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("reflection: %v %v", answer, err)
	}
}

func TestRequest_TurnsEveryKindAround(t *testing.T) {
	s := mine(t)
	s.add("GetOrderRequest", "name", 9, "string")
	s.add("ListOrdersRequest", "parent", 9, "string")
	set := load(t, s.set())
	for _, c := range []struct{ method, in, want, err string }{
		{"GetOrder", `{"name":"mine/1"}`, `{"name":"mine/1"}`, ""},
		{"GetOrder", `{"name":"mine/1","orderId":"1","minRevision":"3"}`, `{"name":"mine/1","minRevision":"3"}`, ""},
		{"GetOrder", `{"name":"mine/1","orderId":"2"}`, "", `INVALID_NAME: order_id says "2", name says "1" (name)`},
		{"GetOrder", `{"name":"orders/1"}`, "", `INVALID_NAME: "orders/1" is not of the collection mine (name)`},
		{"ListOrders", `{"filter":"data.x"}`, `{"parent":"mine","filter":"data.x"}`, ""},
		{"ListOrders", `{"parent":"mine"}`, `{"parent":"mine"}`, ""},
		{"ListOrders", `{"parent":"orders"}`, "", `INVALID_NAME: the collection is mine (parent)`},
		{"WatchOrder", `{"orderId":"1","readMask":"status,total.units","afterRevision":"0","heartbeat":"2s","delta":true}`,
			`{"parent":"mine","names":["mine/1"],"readMask":"status,total.units","afterRevision":"0","heartbeat":"2s","delta":true}`, ""},
		{"WatchOrders", `{"resumeToken":"t","onExpired":"FAIL"}`, `{"parent":"mine","resumeToken":"t","onExpired":"FAIL"}`, ""},
		{"PutOrder", `{"resource":{"name":"mine/1","data":{"customerId":"c"}}}`, `{"resource":{"name":"mine/1","data":{"@type":"type.googleapis.com/mine.v1.Order","customerId":"c"}}}`, ""},
		{"PutOrder", `{"orderId":"1","resource":{}}`, `{"resource":{"name":"mine/1"}}`, ""},
		{"PutOrder", `{"resource":{"data":{"orderId":"1"}}}`, `{"resource":{"name":"mine/1","data":{"@type":"type.googleapis.com/mine.v1.Order","orderId":"1"}}}`, ""},
		{"PutOrder", `{"orderId":"1"}`, "", `INVALID_FIELD: the value is missing (resource)`},
		{"DeleteOrder", `{"orderId":"watch"}`, "", `INVALID_NAME: "watch" cannot be an id (order_id)`},
		{"DeleteOrder", `{"orderId":"1","precondition":{"revision":"7"}}`, `{"name":"mine/1","precondition":{"revision":"7"}}`, ""},
	} {
		m := set.Method("/mine.v1.OrderService/" + c.method)
		in := m.NewInput()
		if err := protojson.Unmarshal([]byte(c.in), in); err != nil {
			t.Fatal(err)
		}
		out, err := m.Request(in)
		if err != nil {
			if err.Error() != c.err {
				t.Errorf("%s %s: got %v, want %s", c.method, c.in, err, c.err)
			}
			continue
		}
		want := out.ProtoReflect().New().Interface()
		if err := (protojson.UnmarshalOptions{Resolver: set.Resolver()}).Unmarshal([]byte(c.want), want); err != nil {
			t.Fatalf("%s: %v", c.want, err)
		}
		if c.err != "" || !proto.Equal(out, want) {
			t.Errorf("%s %s: got %v, want %s %s", c.method, c.in, out, c.want, c.err)
		}
	}
}

func TestError_MapsFields(t *testing.T) {
	set := load(t)
	for _, c := range []struct{ method, generic, want string }{
		{"GetOrder", "name", "order_id"},
		{"WatchOrder", "names[0]", "order_id"},
		{"WatchOrders", "names[0]", "names[0]"},
		{"WatchOrder", "parent", ""},
		{"WatchOrders", "filter", "filter"},
		{"PutOrder", "resource.name", "order_id"},
		{"PutOrder", "resource.data", "resource.data"},
		{"PutOrder", "precondition", "precondition"},
	} {
		err := resource.Errorf(resource.InvalidField, "x").With("a", "b").In(c.generic)
		got := resource.AsError(set.Method("/shop.v1.OrderService/" + c.method).Error(err))
		if got.Metadata["field"] != c.want || got.Metadata["a"] != "b" {
			t.Errorf("%s: %s became %v, want %s", c.method, c.generic, got.Metadata, c.want)
		}
		if err.Metadata["field"] != c.generic {
			t.Errorf("%s: the error itself changed", c.method)
		}
	}
}

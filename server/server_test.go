package server_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server"
	"github.com/watchroute/watchroute/server/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a gRPC server over a log in memory, and a connection to it.
type node struct {
	watchroutev1.ResourceServiceClient
	orders shopv1.OrderServiceClient
	hub    *hub.Hub
	closed watchesClosed
	conn   *grpc.ClientConn
}

// watchesClosed gets the reason of each watch's end.
type watchesClosed chan string

func (watchesClosed) WatchOpened(string, string)                           {}
func (c watchesClosed) WatchClosed(_, _, reason string)                    { c <- reason }
func (watchesClosed) Meter(string, string) hub.Meter                       { return hub.Unmetered{} }
func (watchesClosed) WatchReset(string, string, watchroutev1.Reset_Reason) {}

func start(t *testing.T, change ...func(*hub.Config, *server.GRPCConfig)) *node {
	t.Helper()
	contracts, err := contract.Load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := changelogtest.NewMem(t)
	closed := make(watchesClosed, 100)
	cfg := hub.Config{Log: log, Schemas: contracts.Schemas, Observer: closed}
	serving := server.GRPCConfig{Contracts: contracts}
	for _, c := range change {
		c(&cfg, &serving)
	}
	h, err := hub.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	s, err := server.New(server.Config{Log: log, Hub: h, Schemas: contracts.Schemas, AutoCreate: true, MaxSessionWatches: 3})
	if err != nil {
		t.Fatal(err)
	}
	serving.Service = s
	gs, _ := server.NewGRPC(serving)
	l := bufconn.Listen(1 << 20)
	served := make(chan struct{})
	go func() { defer close(served); _ = gs.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); gs.Stop(); <-served })
	return &node{watchroutev1.NewResourceServiceClient(conn), shopv1.NewOrderServiceClient(conn), h, closed, conn}
}

func note(name, json string) *watchroutev1.Resource {
	data, err := anypb.New(&watchroutev1.Json{Text: json})
	if err != nil {
		panic(err)
	}
	return &watchroutev1.Resource{Name: name, Data: data}
}

func (n *node) put(t *testing.T, name, json string) *watchroutev1.WriteResponse {
	t.Helper()
	res, err := n.Put(t.Context(), &watchroutev1.PutRequest{Resource: note(name, json)})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// wantError checks code, reason and the field at fault.
func wantError(t *testing.T, err error, code codes.Code, reason, field string) {
	t.Helper()
	s := status.Convert(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && s.Code() == code && info.Reason == reason && info.Domain == "watchroute.dev" && info.Metadata["field"] == field {
			return
		}
	}
	t.Errorf("got %v %v, want %v %s (%s)", err, s.Details(), code, reason, field)
}

func TestService_WriteAndRead(t *testing.T) {
	n := start(t)
	first := n.put(t, "notes/1", `{"b":1,"a":[1,2.50]}`)
	if !first.Changed || first.Revision != 1 || first.Resource.Uid == "" || first.Resource.Etag == "" {
		t.Errorf("%v", first)
	}
	got, err := n.Get(t.Context(), &watchroutev1.GetRequest{Name: "notes/1", MinRevision: first.Revision})
	if err != nil || !proto.Equal(got, first.Resource) {
		t.Errorf("%v, %v", got, err)
	}
	var s structpb.Struct
	if err := got.Data.UnmarshalTo(&s); err != nil || s.Fields["a"].GetListValue().Values[1].GetNumberValue() != 2.5 {
		t.Errorf("%v, %v", &s, err)
	}
	if again := n.put(t, "notes/1", `{"b":1,"a":[1,2.50]}`); again.Changed || again.Revision != 1 {
		t.Errorf("a put that changes nothing: %v", again)
	}
	batch, err := n.Write(t.Context(), &watchroutev1.WriteRequest{Parent: "notes", Operations: []*watchroutev1.Operation{
		{Action: &watchroutev1.Operation_Put{Put: note("notes/2", `{}`)}},
		{Action: &watchroutev1.Operation_Delete{Delete: "notes/1"}, Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Etag{Etag: got.Etag}}},
		{Action: &watchroutev1.Operation_Delete{Delete: "notes/none"}},
	}})
	if err != nil || batch.Revision != 2 || len(batch.Results) != 3 || batch.Results[2].Changed || batch.Results[1].Resource.Name != "notes/1" {
		t.Errorf("%v, %v", batch, err)
	}
	_, err = n.Get(t.Context(), &watchroutev1.GetRequest{Name: "notes/1"})
	wantError(t, err, codes.NotFound, "RESOURCE_NOT_FOUND", "name")
	_, err = n.Delete(t.Context(), &watchroutev1.DeleteRequest{Name: "notes/1"})
	wantError(t, err, codes.NotFound, "RESOURCE_NOT_FOUND", "name")
	if res, err := n.Delete(t.Context(), &watchroutev1.DeleteRequest{Name: "notes/1", AllowMissing: true}); err != nil || res.Changed {
		t.Errorf("%v, %v", res, err)
	}
}

func TestService_RequestID(t *testing.T) {
	n := start(t)
	put := &watchroutev1.PutRequest{Resource: note("notes/1", `{"n":1}`), RequestId: "r1"}
	one, err := n.Put(t.Context(), put)
	if err != nil {
		t.Fatal(err)
	}
	n.put(t, "notes/1", `{"n":2}`)
	two, err := n.Put(t.Context(), put)
	if err != nil || two.Revision != one.Revision || !two.Changed {
		t.Errorf("%v, %v; first %v", two, err, one)
	}
	put.Resource = note("notes/1", `{"n":3}`)
	_, err = n.Put(t.Context(), put)
	wantError(t, err, codes.AlreadyExists, "REQUEST_ID_REUSED", "request_id")
}

func TestService_Preconditions(t *testing.T) {
	n := start(t)
	first := n.put(t, "notes/1", `{"n":1}`)
	for _, p := range []*watchroutev1.Precondition{
		{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}},
		{Condition: &watchroutev1.Precondition_Revision{Revision: 99}},
		{Condition: &watchroutev1.Precondition_Etag{Etag: "x"}},
	} {
		_, err := n.Put(t.Context(), &watchroutev1.PutRequest{Resource: note("notes/1", `{"n":2}`), Precondition: p})
		s := status.Convert(err)
		info, _ := s.Details()[0].(*errdetails.ErrorInfo)
		if s.Code() != codes.FailedPrecondition || info.GetReason() != "PRECONDITION_FAILED" || info.GetMetadata()["revision"] != fmt.Sprint(first.Revision) || info.GetMetadata()["etag"] != first.Resource.Etag {
			t.Errorf("%v: %v %v", p, err, info)
		}
	}
	if _, err := n.Put(t.Context(), &watchroutev1.PutRequest{Resource: note("notes/1", `{"n":2}`), Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Revision{Revision: first.Revision}}}); err != nil {
		t.Error(err)
	}
}

func TestService_BadInput(t *testing.T) {
	n := start(t)
	n.put(t, "notes/1", `{}`)
	put := func(r *watchroutev1.Resource) error {
		_, err := n.Put(t.Context(), &watchroutev1.PutRequest{Resource: r})
		return err
	}
	list := func(r *watchroutev1.ListRequest) error { _, err := n.List(t.Context(), r); return err }
	watch := func(r *watchroutev1.WatchRequest) error {
		st, err := n.Watch(t.Context(), r)
		if err == nil {
			_, err = st.Recv()
		}
		return err
	}
	order, _ := anypb.New(&shopv1.Order{OrderId: "2"})
	for name, c := range map[string]struct {
		err           error
		code          codes.Code
		reason, field string
	}{
		"no resource":         {put(nil), codes.InvalidArgument, "INVALID_FIELD", "resource"},
		"bad name":            {put(note("notes", "{}")), codes.InvalidArgument, "INVALID_NAME", "resource.name"},
		"not an object":       {put(note("notes/2", "[1]")), codes.InvalidArgument, "INVALID_VALUE", "resource.data"},
		"no data":             {put(&watchroutev1.Resource{Name: "notes/2"}), codes.InvalidArgument, "INVALID_VALUE", "resource.data"},
		"id contradicts":      {put(&watchroutev1.Resource{Name: "orders/1", Data: order}), codes.InvalidArgument, "INVALID_VALUE", "resource.data"},
		"does not fit":        {put(note("orders/1", `{"total":{"units":"x"}}`)), codes.InvalidArgument, "INVALID_VALUE", "resource.data"},
		"too large":           {put(note("notes/2", `{"x":"`+strings.Repeat("x", 1<<20)+`"}`)), codes.InvalidArgument, "TOO_LARGE", "resource.data"},
		"unknown collection":  {list(&watchroutev1.ListRequest{Parent: "system.nothing"}), codes.NotFound, "COLLECTION_NOT_FOUND", "parent"},
		"bad filter":          {list(&watchroutev1.ListRequest{Parent: "notes", Filter: "1 +"}), codes.InvalidArgument, "INVALID_FILTER", "filter"},
		"bad page token":      {list(&watchroutev1.ListRequest{Parent: "notes", PageToken: "x"}), codes.InvalidArgument, "INVALID_TOKEN", "page_token"},
		"negative page":       {list(&watchroutev1.ListRequest{Parent: "notes", PageSize: -1}), codes.InvalidArgument, "INVALID_FIELD", "page_size"},
		"watch unknown":       {watch(&watchroutev1.WatchRequest{Parent: "system.nothing"}), codes.NotFound, "COLLECTION_NOT_FOUND", "parent"},
		"watch nothing":       {watch(&watchroutev1.WatchRequest{}), codes.InvalidArgument, "INVALID_NAME", "parent"},
		"watch two":           {watch(&watchroutev1.WatchRequest{Names: []string{"notes/1", "orders/1"}}), codes.InvalidArgument, "INVALID_NAME", "names[1]"},
		"watch garbage token": {watch(&watchroutev1.WatchRequest{Parent: "notes", Start: &watchroutev1.WatchRequest_ResumeToken{ResumeToken: "x"}}), codes.InvalidArgument, "INVALID_TOKEN", "resume_token"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, c.err, c.code, c.reason, c.field) })
	}
}

func TestService_ListPagesAreOfOneRevision(t *testing.T) {
	n := start(t)
	for i := range 25 {
		n.put(t, fmt.Sprintf("notes/n%02d", i), `{"v":1}`)
	}
	var names []string
	r := &watchroutev1.ListRequest{Parent: "notes", PageSize: 10, Filter: "data.v == 1"}
	var revision uint64
	var token string
	for page := 0; ; page++ {
		res, err := n.List(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if page == 0 {
			revision, token = res.Revision, res.ResumeToken
		} else if res.Revision != revision || res.ResumeToken != token {
			t.Errorf("page %d is of revision %d, not %d", page, res.Revision, revision)
		}
		for _, x := range res.Resources {
			names = append(names, x.Name)
		}
		n.put(t, "notes/n24", `{"v":2}`) // does not concern the pages to come
		n.put(t, "notes/n23", fmt.Sprintf(`{"v":1,"p":%d}`, page))
		if r.PageToken = res.NextPageToken; r.PageToken == "" {
			break
		}
	}
	if len(names) != 25 || !slices.IsSorted(names) {
		t.Errorf("%d names: %v", len(names), names)
	}
	st, err := n.Watch(t.Context(), &watchroutev1.WatchRequest{Parent: "notes", Filter: "data.v == 1", Start: &watchroutev1.WatchRequest_ResumeToken{ResumeToken: token}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.Recv()
	if err != nil || m.GetStarted().GetMode() != watchroutev1.Started_RESUMED || m.Revision != revision {
		t.Errorf("%v, %v", m, err)
	}
	m, err = st.Recv()
	if err != nil || len(m.GetEvents().GetEvents()) == 0 {
		t.Errorf("%v, %v", m, err)
	}
}

func TestService_TypedMethodsAreBound(t *testing.T) {
	n := start(t)
	st, err := n.orders.WatchOrders(t.Context(), &shopv1.WatchOrdersRequest{Filter: `data.customer_id == "7"`})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"started", "snapshot_end"} {
		m, err := st.Recv()
		if err != nil || string(m.ProtoReflect().WhichOneof(m.ProtoReflect().Descriptor().Oneofs().ByName("body")).Name()) != want {
			t.Fatalf("%v, %v, want %s", m, err, want)
		}
	}
	put, err := n.orders.PutOrder(t.Context(), &shopv1.PutOrderRequest{OrderId: "42", Resource: &shopv1.OrderResource{Data: &shopv1.Order{CustomerId: "7", Status: shopv1.OrderStatus_PENDING}}})
	if err != nil || put.GetResource().GetData().GetOrderId() != "42" {
		t.Fatal(put, err)
	}
	m, err := st.Recv()
	if err != nil || !proto.Equal(m.GetEvents().GetEvents()[0].GetResource(), put.Resource) {
		t.Fatalf("%v, %v", m, err)
	}
	got, err := n.orders.GetOrder(t.Context(), &shopv1.GetOrderRequest{OrderId: "42"})
	if err != nil || !proto.Equal(got, put.Resource) {
		t.Fatal(got, err)
	}
	generic, err := n.Get(t.Context(), &watchroutev1.GetRequest{Name: "orders/42"})
	if err != nil || !generic.Data.MessageIs(&shopv1.Order{}) {
		t.Fatal(generic, err)
	}
	_, err = n.orders.GetOrder(t.Context(), &shopv1.GetOrderRequest{OrderId: "a b"})
	wantError(t, err, codes.InvalidArgument, "INVALID_NAME", "order_id")
}

// talk is a session under test.
type talk struct {
	t    *testing.T
	st   grpc.BidiStreamingClient[watchroutev1.SessionRequest, watchroutev1.SessionResponse]
	rest []*watchroutev1.SessionResponse // received, and not looked at yet
}

func (n *node) session(t *testing.T) *talk {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	st, err := n.Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &talk{t: t, st: st}
}

func (c *talk) open(id string, credit *uint32, r *watchroutev1.WatchRequest) {
	c.t.Helper()
	if err := c.st.Send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Open{Open: &watchroutev1.OpenWatch{WatchId: id, Watch: r, Credit: credit}}}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *talk) fence(id string) {
	c.t.Helper()
	if err := c.st.Send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Fence{Fence: &watchroutev1.Fence{FenceId: id}}}); err != nil {
		c.t.Fatal(err)
	}
}

// until receives until a message satisfies f and gives how many events came on
// each watch.
func (c *talk) until(f func(*watchroutev1.SessionResponse) bool) map[string]int {
	c.t.Helper()
	events := map[string]int{}
	for {
		for len(c.rest) > 0 {
			m := c.rest[0]
			c.rest = c.rest[1:]
			events[m.WatchId] += len(m.GetWatch().GetEvents().GetEvents())
			if f(m) {
				return events
			}
		}
		packed, err := c.st.Recv()
		if err != nil {
			c.t.Fatal(err)
		}
		c.rest = slices.AppendSeq(c.rest, resource.Unpack(packed))
	}
}

func fence(id string) func(*watchroutev1.SessionResponse) bool {
	return func(m *watchroutev1.SessionResponse) bool { return m.GetFence().GetFenceId() == id }
}

func TestSession_FenceMeansAllIsDelivered(t *testing.T) {
	n := start(t)
	for i := range 50 {
		n.put(t, fmt.Sprintf("notes/%d", i), `{"n":1}`)
	}
	c := n.session(t)
	c.open("all", nil, &watchroutev1.WatchRequest{Parent: "notes"})
	c.open("one", nil, &watchroutev1.WatchRequest{Names: []string{"notes/7"}})
	c.open("none", nil, &watchroutev1.WatchRequest{Parent: "notes", Filter: "data.n > 1"})
	c.fence("f1")
	if got := c.until(fence("f1")); got["all"] != 50 || got["one"] != 1 || got["none"] != 0 {
		t.Errorf("before the fence came %v", got)
	}
	n.put(t, "notes/7", `{"n":2}`)
	c.fence("f2")
	if got := c.until(fence("f2")); got["all"] != 1 || got["one"] != 1 || got["none"] != 1 {
		t.Errorf("before the second fence came %v", got)
	}
}

func TestSession_CreditHoldsEventsBack(t *testing.T) {
	n := start(t)
	for i := range 30 {
		n.put(t, fmt.Sprintf("notes/%d", i), `{"n":1}`)
	}
	c := n.session(t)
	c.open("w", proto.Uint32(10), &watchroutev1.WatchRequest{Parent: "notes"})
	c.fence("f")
	if got := c.until(fence("f")); got["w"] != 10 {
		t.Errorf("%d events came on a credit of 10", got["w"])
	}
	if err := c.st.Send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Credit{Credit: &watchroutev1.Credit{WatchId: "w", Events: 100}}}); err != nil {
		t.Fatal(err)
	}
	got := c.until(func(m *watchroutev1.SessionResponse) bool { return m.GetWatch().GetSnapshotEnd() != nil })
	if got["w"] != 20 {
		t.Errorf("%d more events came", got["w"])
	}
}

func TestSession_WhatIsWrongWithAWatchClosesTheWatch(t *testing.T) {
	n := start(t)
	n.put(t, "notes/1", `{}`)
	c := n.session(t)
	closed := func(id, reason string) {
		t.Helper()
		c.until(func(m *watchroutev1.SessionResponse) bool {
			if m.WatchId != id || m.GetClosed() == nil {
				return false
			}
			if reason == "" && m.GetClosed().Code != 0 || reason != "" && !strings.Contains(fmt.Sprint(m.GetClosed()), reason) && !hasReason(m.GetClosed().Details, reason) {
				t.Errorf("%s closed with %v, want %s", id, m.GetClosed(), reason)
			}
			return true
		})
	}
	c.open("bad", nil, &watchroutev1.WatchRequest{Parent: "notes", Filter: "1 +"})
	closed("bad", "INVALID_FILTER")
	for _, id := range []string{"a", "b", "c", "d"} {
		c.open(id, nil, &watchroutev1.WatchRequest{Parent: "notes"})
	}
	closed("d", "LIMIT_REACHED")
	if err := c.st.Send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Cancel{Cancel: &watchroutev1.CancelWatch{WatchId: "a"}}}); err != nil {
		t.Fatal(err)
	}
	closed("a", "")
	c.open("a", nil, &watchroutev1.WatchRequest{Parent: "notes"}) // the id is free again
	c.fence("f")
	c.until(fence("f"))
	c.open("a", nil, &watchroutev1.WatchRequest{Parent: "notes"}) // and now it is not
	for {
		if _, err := c.st.Recv(); err != nil {
			wantError(t, err, codes.InvalidArgument, "INVALID_WATCH_ID", "open.watch_id")
			break
		}
	}
	for range 4 { // a, which was cancelled; a, b and c, which the session's end closed
		select {
		case <-n.closed:
		case <-time.After(10 * time.Second):
			t.Fatal("watches outlive their session")
		}
	}
	if n.hub.Count() > 0 {
		t.Error("watches outlive their session")
	}
}

func hasReason(details []*anypb.Any, reason string) bool {
	return slices.ContainsFunc(details, func(a *anypb.Any) bool {
		var info errdetails.ErrorInfo
		return a.UnmarshalTo(&info) == nil && info.Reason == reason
	})
}

func TestSession_DrainEndsIt(t *testing.T) {
	n := start(t)
	n.put(t, "notes/1", `{}`)
	c := n.session(t)
	c.open("w", nil, &watchroutev1.WatchRequest{Parent: "notes"})
	c.until(func(m *watchroutev1.SessionResponse) bool { return m.GetWatch().GetSnapshotEnd() != nil })
	n.hub.Drain(time.Second)
	c.until(func(m *watchroutev1.SessionResponse) bool {
		return m.GetWatch().GetDrain() != nil && m.GetWatch().ResumeToken != ""
	})
	if _, err := c.st.Recv(); err == nil || status.Code(err) != codes.Unknown && err.Error() != "EOF" {
		t.Errorf("the session ends with %v", err)
	}
}

// TestService_ACollectionThatMayComeIntoBeing: it is empty, and who watches it sees its
// first write, also behind a token from before.
func TestService_ACollectionThatMayComeIntoBeing(t *testing.T) {
	n := start(t)
	if page, err := n.List(t.Context(), &watchroutev1.ListRequest{Parent: "fresh"}); err != nil || len(page.GetResources()) > 0 {
		t.Fatalf("its list: %v, %v", page, err)
	}
	_, err := n.Get(t.Context(), &watchroutev1.GetRequest{Name: "fresh/1"})
	wantError(t, err, codes.NotFound, "RESOURCE_NOT_FOUND", "name")
	open := func(r *watchroutev1.WatchRequest) grpc.ServerStreamingClient[watchroutev1.WatchResponse] {
		t.Helper()
		stream, err := n.Watch(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	next := func(stream grpc.ServerStreamingClient[watchroutev1.WatchResponse]) *watchroutev1.WatchResponse {
		t.Helper()
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := open(&watchroutev1.WatchRequest{Parent: "fresh"})
	next(first)
	end := next(first)
	if end.GetSnapshotEnd() == nil || end.GetResumeToken() == "" {
		t.Fatalf("the end of its state: %v", end)
	}
	n.put(t, "fresh/1", `{"x":1}`)
	later := open(&watchroutev1.WatchRequest{Parent: "fresh", Start: &watchroutev1.WatchRequest_ResumeToken{ResumeToken: end.GetResumeToken()}})
	if m := next(later); m.GetStarted().GetMode() != watchroutev1.Started_RESUMED {
		t.Fatalf("behind the token: %v", m)
	}
	for _, stream := range []grpc.ServerStreamingClient[watchroutev1.WatchResponse]{first, later} {
		if events := next(stream).GetEvents().GetEvents(); len(events) != 1 || events[0].GetResource().GetName() != "fresh/1" {
			t.Errorf("the first write: %v", events)
		}
	}
}

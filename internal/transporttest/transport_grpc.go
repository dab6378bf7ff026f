package transporttest

import (
	"context"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// connect opens a gRPC connection that ends with the test.
func (d Dialer) connect(t testing.TB, n *Node) *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///"+d.calls(n).address(), grpc.WithTransportCredentials(d.credentials()), grpc.WithPerRPCCredentials(d.Presented),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return d.Dial(ctx, address) }),
		// Static windows: a reader that does not read stops the writer after so much.
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// generated watches through the generated stub of ResourceService, on native gRPC
// or on gRPC-Web.
type generated struct {
	client watchroutev1.ResourceServiceClient
}

func newGRPC(t testing.TB, n *Node, d Dialer) Transport {
	return generated{watchroutev1.NewResourceServiceClient(d.connect(t, n))}
}

// Watch implements Transport.
func (g generated) Watch(ctx context.Context, r *watchroutev1.WatchRequest) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := g.client.Watch(ctx, r)
	if err != nil {
		cancel()
		return nil, fromGRPC(err)
	}
	return opened(rpcStream[*watchroutev1.WatchResponse]{stream.Recv, fromProto, cancel})
}

// Caller implements Transport.
func (g generated) Caller() Caller { return stub(g) }

// rpcStream is a stream of a gRPC stub.
type rpcStream[M any] struct {
	recv   func() (M, error)
	turn   func(M) (*Message, error)
	cancel context.CancelFunc
}

// Recv implements Stream.
func (s rpcStream[M]) Recv() (*Message, error) {
	r, err := s.recv()
	if err != nil {
		return nil, fromGRPC(err)
	}
	m, err := s.turn(r)
	if err == nil && m.Kind == Closed {
		return nil, fmt.Errorf("gRPC has a status of its own, and yet there is a message %v", m)
	}
	return m, err
}

// Close implements Stream.
func (s rpcStream[M]) Close() error {
	s.cancel()
	return nil
}

// typed watches through the generated stub of the shop's own service.
type typed struct {
	client shopv1.OrderServiceClient
}

func newTyped(t testing.TB, n *Node, d Dialer) Transport {
	return typed{shopv1.NewOrderServiceClient(d.connect(t, n))}
}

// Watch implements Transport.
func (g typed) Watch(ctx context.Context, r *watchroutev1.WatchRequest) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	var stream grpc.ServerStreamingClient[shopv1.WatchOrdersResponse]
	var err error
	switch {
	case len(r.GetNames()) == 1 && r.GetFilter() == "":
		in := &shopv1.WatchOrderRequest{OrderId: idOf(r.GetNames()[0]), ReadMask: r.GetReadMask(), MinRevision: r.GetMinRevision(),
			Delivery: r.GetDelivery(), MinInterval: r.GetMinInterval(), Heartbeat: r.GetHeartbeat(), Delta: r.GetDelta(), OnExpired: r.GetOnExpired()}
		switch start := r.GetStart().(type) {
		case *watchroutev1.WatchRequest_ResumeToken:
			in.Start = &shopv1.WatchOrderRequest_ResumeToken{ResumeToken: start.ResumeToken}
		case *watchroutev1.WatchRequest_AfterRevision:
			in.Start = &shopv1.WatchOrderRequest_AfterRevision{AfterRevision: start.AfterRevision}
		case *watchroutev1.WatchRequest_From:
			in.Start = &shopv1.WatchOrderRequest_From{From: start.From}
		}
		stream, err = g.client.WatchOrder(ctx, in)
	case len(r.GetNames()) == 0:
		in := &shopv1.WatchOrdersRequest{Filter: r.GetFilter(), ReadMask: r.GetReadMask(), MinRevision: r.GetMinRevision(),
			Delivery: r.GetDelivery(), MinInterval: r.GetMinInterval(), Heartbeat: r.GetHeartbeat(), Delta: r.GetDelta(), OnExpired: r.GetOnExpired()}
		switch start := r.GetStart().(type) {
		case *watchroutev1.WatchRequest_ResumeToken:
			in.Start = &shopv1.WatchOrdersRequest_ResumeToken{ResumeToken: start.ResumeToken}
		case *watchroutev1.WatchRequest_AfterRevision:
			in.Start = &shopv1.WatchOrdersRequest_AfterRevision{AfterRevision: start.AfterRevision}
		case *watchroutev1.WatchRequest_From:
			in.Start = &shopv1.WatchOrdersRequest_From{From: start.From}
		}
		stream, err = g.client.WatchOrders(ctx, in)
	default:
		err = fmt.Errorf("the shop's service has no such watch: %v", r)
	}
	if err != nil {
		cancel()
		return nil, fromGRPC(err)
	}
	return opened(rpcStream[*shopv1.WatchOrdersResponse]{stream.Recv, fromOrders, cancel})
}

// Caller implements Transport.
func (g typed) Caller() Caller { return typedStub(g) }

// session watches through the generated stub of ResourceService.Session.
type session struct {
	client watchroutev1.ResourceServiceClient
	first  string // the credential that its sessions begin with; empty: none
}

func newSession(t testing.TB, n *Node, d Dialer) Transport {
	return session{watchroutev1.NewResourceServiceClient(d.connect(t, n)), d.First}
}

// Watch implements Transport.
func (s session) Watch(ctx context.Context, r *watchroutev1.WatchRequest) (Stream, error) {
	x, err := s.Session(ctx)
	if err != nil {
		return nil, err
	}
	return watchIn(x, r)
}

// Caller implements Transport.
func (s session) Caller() Caller { return stub{s.client} }

// Session implements Sessions.
func (s session) Session(ctx context.Context) (Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := s.client.Session(ctx)
	if err != nil {
		cancel()
		return nil, fromGRPC(err)
	}
	return introduced(&rpcSession{stream: stream, cancel: cancel}, s.first)
}

type rpcSession struct {
	stream grpc.BidiStreamingClient[watchroutev1.SessionRequest, watchroutev1.SessionResponse]
	cancel context.CancelFunc
	unpacker
}

// Send implements Session.
func (s *rpcSession) Send(r *watchroutev1.SessionRequest) error { return fromGRPC(s.stream.Send(r)) }

// Recv implements Session.
func (s *rpcSession) Recv() (*SessionMessage, error) {
	return s.next(func() ([]*SessionMessage, error) {
		r, err := s.stream.Recv()
		if err != nil {
			return nil, fromGRPC(err)
		}
		return sessionFromProto(r)
	})
}

// Close implements Session.
func (s *rpcSession) Close() error {
	s.cancel()
	return nil
}

func idOf(name string) string {
	for i := range len(name) {
		if name[i] == '/' {
			return name[i+1:]
		}
	}
	return name
}

var _ = structpb.NullValue_NULL_VALUE // links google.protobuf.Struct, which values are sent as

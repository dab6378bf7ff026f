//go:build unix

package watchroute_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroute "github.com/watchroute/watchroute/clients/go"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// replay is a connection that gives the same encoded message again and again: what is
// left is the cost of decoding, and the client's own.
type replay struct{ first, then []byte }

func (r *replay) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	panic("there are no unary calls")
}

func (r *replay) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return &replayed{replay: r}, nil
}

type replayed struct {
	grpc.ClientStream
	*replay
	began bool
}

func (s *replayed) SendMsg(any) error { return nil }
func (s *replayed) CloseSend() error  { return nil }
func (s *replayed) RecvMsg(m any) error {
	b := s.then
	if !s.began {
		b, s.began = s.first, true
	}
	return proto.Unmarshal(b, m.(proto.Message))
}

// measure runs a benchmark's loop and reports the CPU time of the process for an event,
// which other load on the machine blurs less than the time that passed.
func measure(b *testing.B, loop func()) {
	b.ReportAllocs()
	b.ResetTimer()
	before := used()
	loop()
	b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op")
}

func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func encoded(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func order(n int) *shopv1.Order {
	return &shopv1.Order{OrderId: fmt.Sprint(n), CustomerId: "42", Status: shopv1.OrderStatus_SHIPPED,
		Items:     []*shopv1.Item{{Sku: "A-1", Quantity: 2, Price: &shopv1.Money{CurrencyCode: "EUR", Units: 12}}, {Sku: "B-7", Quantity: 1, Price: &shopv1.Money{CurrencyCode: "EUR", Units: 3}}},
		Total:     &shopv1.Money{CurrencyCode: "EUR", Units: 27},
		PlaceTime: timestamppb.Now(), StatusTime: timestamppb.Now()}
}

// orders is a message of n events.
func orders(n int) *watchroutev1.WatchResponse {
	m := events(9, "AX7c1mZB0wYAtokentoken")
	for i := range n {
		data, _ := anypb.New(order(i))
		m.GetEvents().Events = append(m.GetEvents().Events, &watchroutev1.Event{State: watchroutev1.State_PRESENT, Cause: watchroutev1.Cause_UPDATED,
			Resource: &watchroutev1.Resource{Name: fmt.Sprintf("orders/%d", i), Uid: "o2svohew6x32tniw", Revision: 9, CreateRevision: 3, Etag: "2z3ruzf5tuh2o",
				CreateTime: timestamppb.Now(), UpdateTime: timestamppb.Now(), Data: data}})
	}
	return m
}

// BenchmarkDecode is the client's CPU time for an event, without that of gRPC: of the
// generated stub, whose user unpacks the Any, of a contract's own stub, and of Watch.
func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{1, 16} {
		conn := &replay{encoded(started(resumed, "t")), encoded(orders(n))}
		b.Run(fmt.Sprintf("stub/%d", n), func(b *testing.B) {
			stream, err := watchroutev1.NewResourceServiceClient(conn).Watch(b.Context(), &watchroutev1.WatchRequest{})
			if err != nil {
				b.Fatal(err)
			}
			measure(b, func() { unpack(b, stream) })
		})
		b.Run(fmt.Sprintf("contract/%d", n), func(b *testing.B) {
			typed := &shopv1.WatchOrdersResponse{Revision: 9, ResumeToken: "AX7c1mZB0wYAtokentoken", Body: &shopv1.WatchOrdersResponse_Events{Events: &shopv1.OrderEventBatch{}}}
			for i, e := range orders(n).GetEvents().GetEvents() {
				r := e.GetResource()
				typed.GetEvents().Events = append(typed.GetEvents().Events, &shopv1.OrderEvent{State: e.State, Cause: e.Cause, Resource: &shopv1.OrderResource{
					Name: r.Name, Uid: r.Uid, Revision: 9, CreateRevision: 3, Etag: r.Etag, CreateTime: r.CreateTime, UpdateTime: r.UpdateTime, Data: order(i)}})
			}
			stream, err := shopv1.NewOrderServiceClient(&replay{encoded(&shopv1.WatchOrdersResponse{}), encoded(typed)}).WatchOrders(b.Context(), &shopv1.WatchOrdersRequest{})
			if err != nil {
				b.Fatal(err)
			}
			measure(b, func() {
				for i := 0; i < b.N; {
					m, err := stream.Recv()
					if err != nil {
						b.Fatal(err)
					}
					i += len(m.GetEvents().GetEvents())
				}
			})
		})
		b.Run(fmt.Sprintf("watch/%d", n), func(b *testing.B) {
			client := watchroute.New(conn)
			defer client.Close()
			measure(b, func() { watch(b, client) })
		})
	}
}

// unpack takes b.N events of a stub's stream.
func unpack(b *testing.B, stream grpc.ServerStreamingClient[watchroutev1.WatchResponse]) {
	for i := 0; i < b.N; {
		m, err := stream.Recv()
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range m.GetEvents().GetEvents() {
			o := &shopv1.Order{}
			if err := e.GetResource().GetData().UnmarshalTo(o); err != nil {
				b.Fatal(err)
			}
			i++
		}
	}
}

// watch takes b.N events of a watch.
func watch(b *testing.B, client *watchroute.Client) {
	i := 0
	for _, err := range watchroute.Watch[*shopv1.Order](b.Context(), client, "orders") {
		if err != nil {
			b.Fatal(err)
		}
		if i++; i >= b.N {
			return
		}
	}
}

// flood is a server whose watches tell the same message as fast as they are read.
type flood struct {
	watchroutev1.UnimplementedResourceServiceServer
	message *watchroutev1.WatchResponse
	idle    bool
}

func (f *flood) Watch(r *watchroutev1.WatchRequest, stream grpc.ServerStreamingServer[watchroutev1.WatchResponse]) error {
	if r.GetResumeToken() != "" {
		if err := stream.Send(started(resumed, "t1")); err != nil {
			return err
		}
		return stream.Send(f.message)
	}
	if err := stream.Send(started(snapshot, "")); err != nil {
		return err
	}
	if err := stream.Send(snapshotEnd(1, "t1")); err != nil {
		return err
	}
	var prepared grpc.PreparedMsg
	if err := prepared.Encode(stream, f.message); err != nil {
		return err
	}
	for !f.idle {
		if err := stream.SendMsg(&prepared); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

func (f *flood) Session(stream grpc.BidiStreamingServer[watchroutev1.SessionRequest, watchroutev1.SessionResponse]) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, m := range []*watchroutev1.WatchResponse{started(snapshot, ""), snapshotEnd(1, "t1")} {
			if open := r.GetOpen(); open != nil {
				if err := stream.Send(&watchroutev1.SessionResponse{WatchId: open.GetWatchId(), Body: &watchroutev1.SessionResponse_Watch{Watch: m}}); err != nil {
					return err
				}
			}
		}
	}
}

// BenchmarkStream is the time of an event over loopback, server and gRPC included, one
// event a message.
func BenchmarkStream(b *testing.B) {
	address := serve(b, &flood{message: orders(1)})
	b.Run("stub", func(b *testing.B) {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(4<<20))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		stream, err := watchroutev1.NewResourceServiceClient(conn).Watch(ctx, &watchroutev1.WatchRequest{})
		if err != nil {
			b.Fatal(err)
		}
		measure(b, func() { unpack(b, stream) })
	})
	b.Run("watch", func(b *testing.B) {
		client, err := watchroute.Dial(address)
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		measure(b, func() { watch(b, client) })
	})
}

// BenchmarkIdle is the memory of a watch that is live, on both sides of a loopback
// connection for streams of their own; the server's side is the same for the stub.
func BenchmarkIdle(b *testing.B) {
	const watches = 500
	address := serve(b, &flood{message: orders(1), idle: true})
	stub := func(ctx context.Context, live func()) {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Error(err)
			return
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		for range watches {
			stream, err := watchroutev1.NewResourceServiceClient(conn).Watch(ctx, &watchroutev1.WatchRequest{})
			if err != nil {
				b.Error(err)
				return
			}
			go func() {
				for {
					m, err := stream.Recv()
					if err != nil {
						return
					}
					if m.GetSnapshotEnd() != nil {
						live()
					}
				}
			}()
		}
	}
	client := func(options ...watchroute.Option) func(context.Context, func()) {
		return func(ctx context.Context, live func()) {
			client, err := watchroute.Dial(address, options...)
			if err != nil {
				b.Error(err)
				return
			}
			context.AfterFunc(ctx, func() { _ = client.Close() })
			for range watches {
				go func() {
					for e := range watchroute.Watch[json.RawMessage](ctx, client, "notes") {
						if e.Kind == watchroute.Synced {
							live()
						}
					}
				}()
			}
		}
	}
	for _, c := range []struct {
		name string
		open func(context.Context, func())
	}{{"stub", stub}, {"stream", client()}, {"session", client(watchroute.WithSession())}} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				before := inUse()
				ctx, cancel := context.WithCancel(b.Context())
				alive := make(chan struct{}, watches)
				c.open(ctx, func() { alive <- struct{}{} })
				for range watches {
					<-alive
				}
				b.ReportMetric(float64(inUse()-before)/watches/1024, "KiB/watch")
				cancel()
			}
		})
	}
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// BenchmarkLive is the time from opening a watch to the first thing that it tells, on a
// connection that is there: the end of an empty state, or the first change after a token.
func BenchmarkLive(b *testing.B) {
	address := serve(b, &flood{message: orders(1), idle: true})
	client, err := watchroute.Dial(address)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for _, c := range []struct {
		name   string
		option watchroute.WatchOption
	}{{"cold", watchroute.MinRevision(0)}, {"token", watchroute.ResumeToken("t1")}} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				for _, err := range watchroute.Watch[*shopv1.Order](b.Context(), client, "orders", c.option) {
					if err != nil {
						b.Fatal(err)
					}
					break
				}
			}
		})
	}
}

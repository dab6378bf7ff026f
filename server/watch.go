package server

import (
	"bytes"
	"context"
	"errors"
	"runtime/pprof"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
)

// OpenWatch opens a watch for a transport.
func (s *Service) OpenWatch(ctx context.Context, req hub.Request) (*hub.Watch, error) {
	r := req.Watch
	collection, _, err := hub.Names(r.GetParent(), r.GetNames())
	if err != nil {
		return nil, err
	}
	field := "parent"
	if r.GetParent() == "" {
		field = "names[0]"
	}
	if req.Tenant, err = s.tenant(ctx); err != nil {
		return nil, err
	}
	if key := resource.Of(req.Tenant, collection); !s.exists(key) {
		if _, _, err := s.cfg.Hub.Scope(ctx, hub.Call{Collection: key, Verb: hub.Watching, Transport: req.Transport, Projection: r.GetProjection()}); err != nil {
			return nil, err // who may not see it does not learn whether it is there
		}
		return nil, s.missing(field, collection)
	}
	return s.cfg.Hub.Open(ctx, req)
}

// Deliver lets the hub serve an open watch; see hub.Hub.Serve.
func (s *Service) Deliver(w *hub.Watch, out hub.Outlet) { s.cfg.Hub.Serve(w, out) }

// Forward hands the frames of a watch to send until the watch ends, and closes
// it. The frames that one wake-up brings come in one call. It returns nil when
// the watch was drained. send must not keep the frames.
func Forward(ctx context.Context, w *hub.Watch, send func([]hub.Frame) error) (err error) {
	defer func() { w.Close(err) }()
	var frames []hub.Frame
	for {
		var next error
		frames, next = w.Next(frames[:0], hub.Unlimited)
		if len(frames) > 0 {
			if err := send(frames); err != nil {
				return err
			}
		}
		if errors.Is(next, hub.ErrDrained) {
			w.Close(next)
			return nil
		}
		if next != nil {
			return next
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !w.More() {
			if err := w.Wait(ctx); err != nil {
				return err
			}
		}
		clear(frames)
	}
}

// Watch implements ResourceService.Watch.
func (s *Service) Watch(r *watchroutev1.WatchRequest, stream grpc.ServerStreamingServer[watchroutev1.WatchResponse]) error {
	return s.ServeWatch(r, false, stream)
}

// ServeWatch sends a watch on a gRPC stream; typed: with the resource's own
// message in place of google.protobuf.Any.
func (s *Service) ServeWatch(r *watchroutev1.WatchRequest, typed bool, stream grpc.ServerStream) error {
	ctx := stream.Context()
	codec := protoCodec(ctx)
	if typed {
		codec = wire.Typed
	}
	w, err := s.OpenWatch(ctx, hub.Request{Watch: r, Codec: codec, Transport: transportOf(ctx)})
	if err != nil {
		return err
	}
	pprof.SetGoroutineLabels(streamLabels)
	return Forward(ctx, w, func(frames []hub.Frame) error {
		for i := range frames {
			if err := stream.SendMsg(encoded(frames[i].Bytes)); err != nil {
				return err
			}
		}
		return nil
	})
}

// What profiles call the goroutines of streams and of sessions.
var (
	streamLabels  = pprof.WithLabels(context.Background(), pprof.Labels("part", "stream"))
	sessionLabels = pprof.WithLabels(context.Background(), pprof.Labels("part", "session"))
)

func protoCodec(ctx context.Context) hub.Codec {
	if wantsJSONText(ctx) {
		return wire.ProtoText
	}
	return wire.Proto
}

type transportKey struct{}

// WithTransport names the transport of a call, for metrics and logs. Default:
// grpc.
func WithTransport(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, transportKey{}, name)
}

func transportOf(ctx context.Context) string {
	if name, ok := ctx.Value(transportKey{}).(string); ok {
		return name
	}
	return "grpc"
}

// grpcSession is a Session's gRPC stream.
type grpcSession struct {
	grpc.BidiStreamingServer[watchroutev1.SessionRequest, watchroutev1.SessionResponse]
}

// Send copies: gRPC keeps a message until it is written.
func (c grpcSession) Send(message []byte) error { return c.SendMsg(encoded(bytes.Clone(message))) }

// ProtoForm is the form of sessions in protobuf.
var ProtoForm = SessionForm{
	Codec: wire.Proto,
	Wrap:  wire.SessionProto,
	More:  wire.SessionProtoMore,
	Control: func(m *watchroutev1.SessionResponse) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			panic("server: a session's message does not encode: " + err.Error()) // strings were checked when they came
		}
		return b
	},
}

// JSONForm is the form of sessions in JSON.
var JSONForm = SessionForm{
	Codec:   wire.JSON,
	Wrap:    wire.SessionJSON,
	More:    wire.SessionJSONMore,
	Control: func(m *watchroutev1.SessionResponse) []byte { return wire.AppendProtoJSON(nil, m) },
}

// Session implements ResourceService.Session.
func (s *Service) Session(stream grpc.BidiStreamingServer[watchroutev1.SessionRequest, watchroutev1.SessionResponse]) error {
	form := ProtoForm
	form.Codec = protoCodec(stream.Context())
	return s.RunSession(stream.Context(), grpcSession{stream}, form, "session")
}

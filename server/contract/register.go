package contract

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// Backend is what bound methods are served by.
type Backend interface {
	Get(context.Context, *watchroutev1.GetRequest) (*watchroutev1.Resource, error)
	List(context.Context, *watchroutev1.ListRequest) (*watchroutev1.ListResponse, error)
	Put(context.Context, *watchroutev1.PutRequest) (*watchroutev1.WriteResponse, error)
	Delete(context.Context, *watchroutev1.DeleteRequest) (*watchroutev1.WriteResponse, error)
	// ServeWatch sends a watch on a stream: as watchroute.v1.WatchResponse, or, where
	// typed is set, as a mirror of it, in whose Resource the bytes of the value's
	// message take the place of google.protobuf.Any.
	ServeWatch(req *watchroutev1.WatchRequest, typed bool, stream grpc.ServerStream) error
}

// Register registers all services of the set. Interceptors see the typed messages.
// The handlers' errors are the backend's, with the field of the typed request.
func (s *Set) Register(reg grpc.ServiceRegistrar, b Backend) {
	for _, svc := range s.services {
		desc := &grpc.ServiceDesc{ServiceName: string(svc.desc.FullName()), Metadata: svc.desc.ParentFile().Path()}
		for _, m := range svc.methods {
			if m.Kind == Watch {
				desc.Streams = append(desc.Streams, grpc.StreamDesc{StreamName: string(m.desc.Name()), ServerStreams: true, Handler: m.stream(b)})
			} else {
				desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: string(m.desc.Name()), Handler: m.unary(b)})
			}
		}
		reg.RegisterService(desc, nil)
	}
}

// Call runs a unary method: in is the typed request, the result the typed response.
// The error's field is one of the typed request.
func (m *Method) Call(ctx context.Context, b Backend, in proto.Message) (proto.Message, error) {
	req, err := m.Request(in)
	if err != nil {
		return nil, err
	}
	var out proto.Message
	switch r := req.(type) {
	case *watchroutev1.GetRequest:
		out, err = b.Get(ctx, r)
	case *watchroutev1.ListRequest:
		out, err = b.List(ctx, r)
	case *watchroutev1.PutRequest:
		out, err = b.Put(ctx, r)
	case *watchroutev1.DeleteRequest:
		out, err = b.Delete(ctx, r)
	default:
		err = resource.Errorf(resource.Unsupported, "%s is not a unary method", m.FullName)
	}
	if err != nil {
		return nil, m.Error(err)
	}
	return m.Response(out)
}

func (m *Method) unary(b Backend) grpc.MethodHandler {
	return func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := m.input.New().Interface()
		if err := decode(in); err != nil {
			return nil, err
		}
		handle := func(ctx context.Context, req any) (any, error) { return m.Call(ctx, b, req.(proto.Message)) }
		if interceptor == nil {
			return handle(ctx, in)
		}
		return interceptor(ctx, in, &grpc.UnaryServerInfo{FullMethod: m.FullName}, handle)
	}
}

func (m *Method) stream(b Backend) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		in := m.input.New().Interface()
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		req, err := m.Request(in)
		if err != nil {
			return err
		}
		return m.Error(b.ServeWatch(req.(*watchroutev1.WatchRequest), m.Typed, stream))
	}
}

// Error makes the field of a *resource.Error, which is one of the generic request,
// one of the typed request. Other errors stay as they are.
func (m *Method) Error(err error) error {
	var e *resource.Error
	if err == nil || !errors.As(err, &e) || e.Metadata["field"] == "" {
		return err
	}
	field := m.field(e.Metadata["field"])
	if field == e.Metadata["field"] {
		return err
	}
	e = e.With("field", field)
	if field == "" {
		delete(e.Metadata, "field")
	}
	return e
}

// field gives the typed request's name for a field of the generic one; empty where
// it has none.
func (m *Method) field(generic string) string {
	first := generic
	if i := strings.IndexAny(generic, ".["); i >= 0 {
		first = generic[:i]
	}
	rest := generic[len(first):]
	switch {
	case first == "name", generic == "resource.name", first == "names" && m.One:
		return m.idPath()
	case first == "parent":
		if m.request.parent == nil {
			return ""
		}
	case first == "resource" && m.request.value != nil:
		return string(m.request.value.Name()) + strings.TrimPrefix(rest, ".data")
	}
	return generic
}

// idPath gives the field that names the resource.
func (m *Method) idPath() string {
	r := &m.request
	switch {
	case r.id != nil:
		return string(r.id.Name())
	case r.name != nil:
		return string(r.name.Name())
	case r.resource != nil && r.resource.Message().Fields().ByName("name") != nil:
		return string(r.resource.Name()) + ".name"
	case r.resource != nil:
		return string(r.resource.Name()) + ".data." + string(m.Schema.IDField().Name())
	case r.value != nil:
		return string(r.value.Name()) + "." + string(m.Schema.IDField().Name())
	}
	return ""
}

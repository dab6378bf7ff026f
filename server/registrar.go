package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// registrar registers services whose calls go through Service.serve. A unary method is
// registered as a stream of one request and one answer, which it is on the wire: grpc-go
// reads the request of a unary method before anybody can ask who calls, that of a stream
// when its handler wants it.
type registrar struct {
	*grpc.Server
	service *Service
	timed   *timed
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	out := *desc
	out.Methods, out.Streams = nil, nil
	add := func(d grpc.StreamDesc) {
		method, handle := "/"+desc.ServiceName+"/"+d.StreamName, d.Handler
		d.Handler = func(impl any, stream grpc.ServerStream) error {
			return r.service.serve(method, &d, impl, stream, handle)
		}
		out.Streams = append(out.Streams, d)
		if isUnary(&d) {
			r.timed.methods[method] = true
		}
	}
	for _, m := range desc.Methods {
		add(grpc.StreamDesc{StreamName: m.MethodName, Handler: func(impl any, stream grpc.ServerStream) error {
			answer, err := m.Handler(impl, stream.Context(), stream.RecvMsg, nil)
			if err != nil {
				return err
			}
			return stream.SendMsg(answer)
		}})
	}
	for _, d := range desc.Streams {
		add(d)
	}
	r.Server.RegisterService(&out, impl)
}

func isUnary(d *grpc.StreamDesc) bool { return !d.ClientStreams && !d.ServerStreams }

// serve says who calls, turns errors into statuses, counts unary calls and survives a
// panic. It is no interceptor: grpc-go has none for streams of one request and one answer.
func (s *Service) serve(method string, d *grpc.StreamDesc, impl any, stream grpc.ServerStream, handle grpc.StreamHandler) (err error) {
	defer func() {
		s.recovered(recover(), method, &err)
		err = s.toStatus(method, err)
		if isUnary(d) {
			s.cfg.Recorder.Called(method, status.Code(err).String())
		}
	}()
	ctx, err := s.enter(stream.Context(), method)
	if err != nil {
		return err
	}
	in := &entered{ServerStream: stream, ctx: ctx}
	if !d.ClientStreams {
		in.access = s.cfg.Access
	}
	return handle(impl, in)
}

// timed bounds how long unary calls take: nothing else ends one whose request never
// becomes whole.
type timed struct {
	most    time.Duration
	methods map[string]bool // unary ones; written before the server serves
}

// begin is a tap.ServerInHandle.
func (t *timed) begin(ctx context.Context, in *tap.Info) (context.Context, error) {
	if !t.methods[in.FullMethodName] {
		return ctx, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.most)
	_ = cancel // the context that it was derived from ends with the call
	return ctx, nil
}

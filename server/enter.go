package server

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/watchroute/watchroute/internal/access"
)

// TenantHeader is the header, of gRPC and of HTTP, by which an operator names the tenant
// whose collections a call is about.
const TenantHeader = "watchroute-tenant"

// Services that do not ask who calls, and those that ask for anybody who is known.
const (
	healthService     = "/grpc.health.v1.Health/"
	reflectionService = "/grpc.reflection."
)

// enter gives the context of a gRPC call, which says who calls.
func (s *Service) enter(ctx context.Context, method string) (context.Context, error) {
	if s.cfg.Access == nil || strings.HasPrefix(method, healthService) || access.From(ctx) != nil {
		return ctx, nil
	}
	in, ok := access.PresentedIn(ctx)
	if !ok {
		in = fromPeer(ctx)
	}
	if header := metadata.ValueFromIncomingContext(ctx, "authorization"); len(header) > 0 {
		var err error
		if in.Secret, err = access.FromHeader(strings.Join(header, ",")); err != nil {
			return ctx, err
		}
	}
	if tenant := metadata.ValueFromIncomingContext(ctx, TenantHeader); len(tenant) > 0 {
		in.Tenant = tenant[0]
	}
	caller, err := s.cfg.Access.Enter(ctx, in)
	if err != nil {
		return ctx, err
	}
	if strings.HasPrefix(method, reflectionService) && caller.Principal().Method == access.Anonymous && !caller.Principal().Operator {
		return ctx, access.Missing()
	}
	return access.With(ctx, caller), nil
}

// fromPeer is what a gRPC connection tells of its client.
func fromPeer(ctx context.Context) (in access.Presented) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return in
	}
	if a, ok := p.Addr.(*net.TCPAddr); ok {
		in.Address = access.Plain(a.AddrPort().Addr())
	}
	if t, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(t.State.VerifiedChains) > 0 {
		in.Certificate = t.State.VerifiedChains[0][0]
	}
	return in
}

// entered is a stream of somebody who is known.
type entered struct {
	grpc.ServerStream
	ctx    context.Context
	access *access.Control // where a request is one message; nil: it is taken in as it comes
}

// Context implements grpc.ServerStream.
func (e *entered) Context() context.Context { return e.ctx }

// RecvMsg implements grpc.ServerStream.
func (e *entered) RecvMsg(m any) error {
	if caller := access.From(e.ctx); e.access != nil && caller != nil {
		header, _ := metadata.FromIncomingContext(e.ctx)
		done, err := e.access.Receive(e.ctx, caller, HeaderSize(header))
		if err != nil {
			return err
		}
		defer done()
	}
	return e.ServerStream.RecvMsg(m)
}

// HeaderSize gives the size of a header in bytes, as HTTP/2 counts it (RFC 9113, section
// 6.5.2).
func HeaderSize(header map[string][]string) (n int) {
	for name, values := range header {
		for _, v := range values {
			n += len(name) + len(v) + 32
		}
	}
	return n
}

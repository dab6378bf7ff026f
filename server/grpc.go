package server

import (
	"errors"
	"io"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // clients may ask for compression
	protoencoding "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server/contract"
)

// GRPCConfig is what NewGRPC needs.
type GRPCConfig struct {
	Service   *Service
	Contracts *contract.Set
	// MaxRequestBytes bounds one request message. Default: 8 MiB.
	MaxRequestBytes int
	// MaxStreams bounds the calls of one connection at a time. Default: 10000.
	MaxStreams uint32
	// CallTimeout is how long a unary call may take, from its header to its answer.
	// Default: a minute.
	CallTimeout time.Duration
	// Options are added to those that NewGRPC sets, such as credentials.
	Options []grpc.ServerOption
}

// NewGRPC makes a gRPC server with ResourceService, the contracts' services,
// health and reflection. The health server reports SERVING until it is shut down.
func NewGRPC(cfg GRPCConfig) (*grpc.Server, *health.Server) {
	if cfg.MaxRequestBytes == 0 {
		cfg.MaxRequestBytes = 8 << 20
	}
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = 10000
	}
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = time.Minute
	}
	s, timed := cfg.Service, &timed{most: cfg.CallTimeout, methods: map[string]bool{}}
	gs := grpc.NewServer(append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(frameCodec{encoding.GetCodecV2(protoencoding.Name)}),
		grpc.MaxRecvMsgSize(cfg.MaxRequestBytes),
		grpc.MaxConcurrentStreams(cfg.MaxStreams),
		// What is small on the wire takes four times as much in memory; gRPC's clients take
		// no more either. The default is 16 MiB.
		grpc.MaxHeaderListSize(16 << 10),
		// A request that waits for its turn holds no more than a window, and that does not
		// grow: a large message makes room for itself once it is taken in.
		grpc.StaticStreamWindowSize(64 << 10),
		grpc.StaticConnWindowSize(1 << 20),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 10 * time.Minute, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.InTapHandle(timed.begin),
		grpc.UnknownServiceHandler(unknownMethod),
	}, cfg.Options...)...)
	reg := registrar{gs, s, timed}
	watchroutev1.RegisterResourceServiceServer(reg, s)
	if cfg.Contracts != nil {
		cfg.Contracts.Register(reg, s)
	}
	h := health.NewServer()
	healthpb.RegisterHealthServer(reg, h)
	r := reflection.ServerOptions{Services: gs}
	if cfg.Contracts != nil {
		r.DescriptorResolver, r.ExtensionResolver = cfg.Contracts.Resolver(), cfg.Contracts.Resolver()
	}
	reflectionpb.RegisterServerReflectionServer(reg, reflection.NewServerV1(r))
	reflectionalphapb.RegisterServerReflectionServer(reg, reflection.NewServer(r))
	return gs, h
}

func unknownMethod(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	return wire.Status(resource.Errorf(resource.Unsupported, "there is no method %s", method)).Err()
}

func (s *Service) recovered(p any, method string, err *error) {
	if p == nil {
		return
	}
	s.cfg.Logger.Error("a call panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
	*err = resource.Errorf(resource.Internal, "internal error")
}

// toStatus gives an error its status, and the log what the client is not told.
func (s *Service) toStatus(method string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	if wire.IsFault(err) {
		s.cfg.Logger.Error("a call failed", "method", method, "error", err)
	}
	return wire.Status(err).Err()
}

// encoded is a message that is encoded already.
type encoded []byte

// frameCodec sends encoded messages as they are, and shares their bytes.
type frameCodec struct{ encoding.CodecV2 }

func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.CodecV2.Marshal(v)
}

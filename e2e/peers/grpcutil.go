package main

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// frame is a received gRPC message left undecoded, to keep the client cheap.
type frame struct{ b []byte }

// rawCodec is the protobuf codec, but receives into *frame without decoding.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return proto.Unmarshal(data.Materialize(), v.(proto.Message))
	}
	f.b = f.b[:0]
	for _, p := range data {
		f.b = append(f.b, p.ReadOnlyData()...)
	}
	return nil
}

// dialGRPC makes a client connection of its own TCP connection.
func dialGRPC(addr string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2("proto")}),
			grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30))}, opts...)...)
}

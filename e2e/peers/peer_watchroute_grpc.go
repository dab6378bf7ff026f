package main

import (
	"context"

	"google.golang.org/grpc"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func init() {
	register(wrPeer{Info{Name: "wr-grpc", About: "watchroute serve, gRPC: a Watch stream for each watch", Mux: true, MuxKeys: true}, dialWRGRPC()})
	register(wrPeer{Info{Name: "wr-grpc-window", About: "the same, the client with static windows of 1 and 4 MiB", Mux: true, MuxKeys: true, Variant: true},
		dialWRGRPC(grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(4<<20))})
}

// wrGRPCConn watches and publishes through one connection.
type wrGRPCConn struct {
	*lifetime
	cc *grpc.ClientConn
}

func dialWRGRPC(opts ...grpc.DialOption) func(context.Context, string, string) (Conn, error) {
	return func(_ context.Context, _, addr string) (Conn, error) {
		cc, err := dialGRPC(addr, opts...)
		if err != nil {
			return nil, err
		}
		return &wrGRPCConn{newLifetime(), cc}, nil
	}
}

func (c *wrGRPCConn) Publish(ctx context.Context, key string, val []byte) error {
	return wrPut(ctx, c.cc, key, val)
}

// stream opens a Watch stream and gives what reads its messages.
func (c *wrGRPCConn) stream(r *watchroutev1.WatchRequest) (func() ([]byte, error), error) {
	st, err := c.cc.NewStream(wrContext(c.ctx), &grpc.StreamDesc{StreamName: "Watch", ServerStreams: true}, wrService+"Watch")
	if err != nil {
		return nil, err
	}
	if err := st.SendMsg(r); err != nil {
		return nil, err
	}
	if err := st.CloseSend(); err != nil {
		return nil, err
	}
	var f frame
	return func() ([]byte, error) {
		err := st.RecvMsg(&f)
		return f.b, err
	}, nil
}

func (c *wrGRPCConn) Watch(_ context.Context, key string, from Pos, sink Sink) (Watch, error) {
	read, err := c.stream(wrRequest(key, from))
	if err != nil {
		return nil, err
	}
	w := &wrWatch{sink: sink}
	return w, w.follow(c.lifetime, read)
}

func (c *wrGRPCConn) Snapshot(_ context.Context, _ int, sink Sink) error {
	read, err := c.stream(wrAll)
	if err != nil {
		return err
	}
	return (&wrWatch{sink: sink}).until(wrSnapshotEnd, read)
}

func (c *wrGRPCConn) Close() error {
	c.cancel()
	return c.cc.Close()
}

package watchroute

import (
	"context"

	"google.golang.org/grpc"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// stream is one stream of a watch.
type stream interface {
	// Recv gives the next message; io.EOF at the end in order. A message may be shared with
	// other watches.
	Recv() (*watchroutev1.WatchResponse, error)
	// silent is told that nothing came for too long: the connection is broken.
	silent()
}

// transport opens streams. They end with ctx at the latest.
type transport interface {
	open(ctx context.Context, r *watchroutev1.WatchRequest) (stream, error)
}

// direct is the transport on which a watch is a call of its own.
type direct struct {
	client   *Client
	wallet   *wallet
	counters tally
}

func (d *direct) open(ctx context.Context, r *watchroutev1.WatchRequest) (stream, error) {
	credential, err := d.wallet.take(ctx)
	if err != nil {
		return nil, err
	}
	l := d.client.lines.takeFor(ctx)
	s, err := l.Watch(d.client.header(ctx, credential), r, grpc.WaitForReady(false), d.counters.weighing())
	if err != nil {
		return nil, err
	}
	return &directStream{s, l}, nil
}

type directStream struct {
	grpc.ServerStreamingClient[watchroutev1.WatchResponse]
	line *line
}

func (s *directStream) silent() { s.line.leave() }

package watchroute

import (
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Counters count what watches do. They may be read at any time, and only grow.
type Counters struct {
	// Messages are those of the server.
	Messages atomic.Uint64
	// Events are those that were told to the program, also Synced and Reset; of [Batches]
	// those that were read.
	Events atomic.Uint64
	// Duplicates are events that were left out, as they had been told before.
	Duplicates atomic.Uint64
	// Reconnects are streams that were opened after the first.
	Reconnects atomic.Uint64
	// Resets are those that were told to the program.
	Resets atomic.Uint64
	// StoreFailures are tokens that could not be loaded or saved.
	StoreFailures atomic.Uint64
	// Bytes are those of the server's messages, as protobuf encodes them. What the watches of
	// a session share is counted by [Client.Counters] only. A connection that is not gRPC's
	// own may tell none.
	Bytes atomic.Uint64
}

// Counters gives the sum of the counters of all watches and mirrors that the client has or
// had, for a collector of metrics. It goes on counting. Those of one watch: [CountIn].
func (c *Client) Counters() *Counters { return c.counters }

// tally is the counters in which a watch counts.
type tally []*Counters

func (t tally) message() {
	for _, c := range t {
		c.Messages.Add(1)
	}
}

func (t tally) event() {
	for _, c := range t {
		c.Events.Add(1)
	}
}

func (t tally) duplicate() {
	for _, c := range t {
		c.Duplicates.Add(1)
	}
}

func (t tally) reconnect() {
	for _, c := range t {
		c.Reconnects.Add(1)
	}
}

func (t tally) reset() {
	for _, c := range t {
		c.Resets.Add(1)
	}
}

func (t tally) storeFailure() {
	for _, c := range t {
		c.StoreFailures.Add(1)
	}
}

// weighing has the bytes counted that a stream receives. It costs less than gRPC's
// statistics, which look at each message.
func (t tally) weighing() grpc.CallOption {
	return grpc.ForceCodecV2(scales{encoding.GetCodecV2(proto.Name), t})
}

// scales is the codec of one stream.
type scales struct {
	encoding.CodecV2
	tally tally
}

// Unmarshal implements encoding.CodecV2.
func (s scales) Unmarshal(data mem.BufferSlice, v any) error {
	for _, c := range s.tally {
		c.Bytes.Add(uint64(data.Len()))
	}
	return s.CodecV2.Unmarshal(data, v)
}

// Name implements encoding.CodecV2. Without one the content type is that of all calls.
func (scales) Name() string { return "" }

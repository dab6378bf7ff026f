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

func (t tally) add(n uint64, of func(*Counters) *atomic.Uint64) {
	for _, c := range t {
		of(c).Add(n)
	}
}

func (t tally) message()      { t.add(1, func(c *Counters) *atomic.Uint64 { return &c.Messages }) }
func (t tally) event()        { t.add(1, func(c *Counters) *atomic.Uint64 { return &c.Events }) }
func (t tally) duplicate()    { t.add(1, func(c *Counters) *atomic.Uint64 { return &c.Duplicates }) }
func (t tally) reconnect()    { t.add(1, func(c *Counters) *atomic.Uint64 { return &c.Reconnects }) }
func (t tally) reset()        { t.add(1, func(c *Counters) *atomic.Uint64 { return &c.Resets }) }
func (t tally) storeFailure() { t.add(1, func(c *Counters) *atomic.Uint64 { return &c.StoreFailures }) }
func (t tally) bytes(n int)   { t.add(uint64(n), func(c *Counters) *atomic.Uint64 { return &c.Bytes }) }

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
	s.tally.bytes(data.Len())
	return s.CodecV2.Unmarshal(data, v)
}

// Name implements encoding.CodecV2. Without one the content type is that of all calls.
func (scales) Name() string { return "" }

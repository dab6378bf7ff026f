package wire

import "github.com/watchroute/watchroute/internal/hub"

// WebSocketJSON and WebSocketProto are JSON and Proto, each message in a frame of a
// WebSocket: a frame of a server is the same for every client.
var (
	WebSocketJSON  hub.Codec = webSocketCodec{"websocket-json", OpText, JSON}
	WebSocketProto hub.Codec = webSocketCodec{"websocket-proto", OpBinary, Proto}
)

// Opcodes of messages (RFC 6455, section 5.2).
const (
	OpText   = 1
	OpBinary = 2
)

type webSocketCodec struct {
	name   string
	opcode byte
	of     hub.Codec
}

func (c webSocketCodec) Name() string { return c.name }

// Joins: each message has a frame of its own.
func (c webSocketCodec) Joins() bool { return true }

// Append appends the message's frame.
func (c webSocketCodec) Append(dst []byte, m *hub.Message) []byte {
	const longest = 10
	start := len(dst)
	dst = c.of.Append(append(dst, make([]byte, longest)...), m)
	size := len(dst) - start - longest
	header := AppendFrameHeader(dst[:start], c.opcode, size)
	return append(header, dst[start+longest:]...)
}

// AppendFrameHeader appends the header of a whole frame of a server, which is not
// masked.
func AppendFrameHeader(dst []byte, opcode byte, size int) []byte {
	const fin = 0x80
	dst = append(dst, fin|opcode)
	switch {
	case size < 126:
		return append(dst, byte(size))
	case size < 1<<16:
		return append(dst, 126, byte(size>>8), byte(size))
	}
	dst = append(dst, 127)
	for shift := 56; shift >= 0; shift -= 8 {
		dst = append(dst, byte(uint64(size)>>shift))
	}
	return dst
}

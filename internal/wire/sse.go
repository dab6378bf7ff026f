package wire

import (
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/watchroute/watchroute/internal/hub"
)

type protoMessage = proto.Message

// SSE encodes Server-Sent Events (WHATWG HTML, section 9.2). Each event of a
// batch is one `change` whose data is the event's JSON; every other message is an
// event of its own name whose data is the message's JSON. `id` is the resume
// token.
var SSE hub.Codec = sseCodec{}

// sseRetry is how long a browser waits before it reconnects.
const sseRetry = 2 * time.Second

type sseCodec struct{}

func (sseCodec) Name() string { return "sse" }

// Joins: they are lines.
func (sseCodec) Joins() bool { return true }

// Append appends the message's encoding.
func (sseCodec) Append(dst []byte, m *hub.Message) []byte {
	if m.Kind == hub.Events {
		for i := range m.Events {
			dst = append(dst, "event: change\n"...)
			if i == len(m.Events)-1 {
				dst = appendID(dst, m.Token)
			}
			dst = append(appendEvent(append(dst, "data: "...), &m.Events[i]), "\n\n"...)
		}
		return dst
	}
	dst = append(dst, "event: "...)
	dst = append(append(dst, m.Kind.String()...), '\n')
	switch m.Kind {
	case hub.Started:
		dst = appendRetry(dst, sseRetry)
	case hub.Drain:
		dst = appendRetry(dst, m.ReconnectAfter)
	case hub.Closed:
		if m.Err.RetryAfter > 0 {
			dst = appendRetry(dst, m.Err.RetryAfter)
		}
	case hub.Reset:
		dst = append(dst, "id\n"...) // what the browser kept is void
	}
	dst = appendID(dst, m.Token)
	return append(JSON.Append(append(dst, "data: "...), m), "\n\n"...)
}

func appendID(dst []byte, token string) []byte {
	if token == "" {
		return dst
	}
	dst = append(dst, "id: "...)
	return append(append(dst, token...), '\n')
}

func appendRetry(dst []byte, d time.Duration) []byte {
	dst = append(dst, "retry: "...)
	return append(strconv.AppendInt(dst, d.Milliseconds(), 10), '\n')
}

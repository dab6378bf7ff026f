package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/coder/websocket"
)

// Close codes of RFC 6455 that end a watch in order.
const closeServiceRestart = 1012

// WebSocket is a watch URL as WebSocket: JSON or protobuf.
type WebSocket struct {
	target Target
	binary bool
}

// NewWebSocketJSON makes one that speaks JSON.
func NewWebSocketJSON(target Target) *WebSocket { return &WebSocket{target, false} }

// NewWebSocketBinary makes one that speaks protobuf.
func NewWebSocketBinary(target Target) *WebSocket { return &WebSocket{target, true} }

// Name implements Transport.
func (t *WebSocket) Name() string {
	if t.binary {
		return "websocket-binary"
	}
	return "websocket-json"
}

// Watch implements Transport.
func (t *WebSocket) Watch(ctx context.Context, r Request, handle func(*Message) error) error {
	protocol, kind, read := "watchroute.v1.json", websocket.MessageText, fromJSON
	if t.binary {
		protocol, kind, read = "watchroute.v1.proto", websocket.MessageBinary, fromBytes
	}
	conn, _, err := websocket.Dial(ctx, "ws://"+t.target.HTTP+path+"?"+r.query().Encode(), &websocket.DialOptions{Subprotocols: []string{protocol}})
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(16 << 20)
	if conn.Subprotocol() != protocol {
		return unfit("the subprotocol is %q", conn.Subprotocol())
	}
	for {
		typ, data, err := conn.Read(ctx)
		if err != nil {
			var closed websocket.CloseError
			if errors.As(err, &closed) && closed.Code == closeServiceRestart {
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("client: websocket: %w", err)
		}
		if typ != kind {
			return unfit("a %v message on %s", typ, protocol)
		}
		m, err := read(data)
		if err != nil {
			return err
		}
		if err := handle(m); err != nil {
			return err
		}
	}
}

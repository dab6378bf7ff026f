package gateway

import (
	"context"
	"net/http"
	"strconv"

	"github.com/lxzan/gws"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server"
)

// sessionPath is where a WebSocket carries a session. Other requests for it mean
// the collection `session`.
const sessionPath = "/v1/session"

// serveSession serves a session on WebSocket.
func (g *Gateway) serveSession(w http.ResponseWriter, r *http.Request) {
	const name = "websocket-session"
	s := g.upgrade(w, r)
	if s == nil {
		return
	}
	conn := &sessionSocket{webSocket: s, requests: make(chan received), most: g.cfg.MaxMessageBytes}
	s.serve(server.WithTransport(r.Context(), name), conn.receive, func(ctx context.Context) error {
		return g.service.RunSession(ctx, conn, s.form, name)
	}, func(err error) []byte {
		if err == nil {
			return nil
		}
		last := s.form.Control(&watchroutev1.SessionResponse{Body: &watchroutev1.SessionResponse_Closed{Closed: wire.Status(err).Proto()}})
		return append(wire.AppendFrameHeader(nil, byte(s.opcode), len(last)), last...)
	})
}

// sessionSocket is a session's connection.
type sessionSocket struct {
	*webSocket
	requests chan received
	most     int // bytes of a message
}

type received struct {
	request *watchroutev1.SessionRequest
	err     error
}

// receive hands on what the client says. Until that is taken nothing more is read.
func (c *sessionSocket) receive(opcode gws.Opcode, data []byte) {
	var r received
	if len(data) > c.most {
		r.err = resource.Errorf(resource.TooLarge, "the message has %d bytes, %d are allowed", len(data), c.most).In("body").
			With("limit", strconv.Itoa(c.most)).With("size", strconv.Itoa(len(data)))
	} else if opcode != c.opcode {
		r.err = resource.Errorf(resource.InvalidField, "the messages of this subprotocol are %s", map[gws.Opcode]string{
			gws.OpcodeText: "text", gws.OpcodeBinary: "binary"}[c.opcode]).In("body")
	} else {
		r.request, r.err = readSession(c.dialect, data)
	}
	select {
	case c.requests <- r:
	case <-c.ctx.Done():
	}
}

// Recv implements server.SessionConn.
func (c *sessionSocket) Recv() (*watchroutev1.SessionRequest, error) {
	select {
	case r := <-c.requests:
		return r.request, r.err
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	}
}

// Send implements server.SessionConn.
func (c *sessionSocket) Send(message []byte) error { return c.send(message) }

// readSession reads one message of a session. The error names the field.
func readSession(d *dialect, data []byte) (*watchroutev1.SessionRequest, error) {
	r := &watchroutev1.SessionRequest{}
	if d == protoDialect {
		if err := proto.Unmarshal(data, r); err != nil {
			return nil, resource.Errorf(resource.InvalidField, "not a watchroute.v1.SessionRequest").In("body").Because(err)
		}
		return r, nil
	}
	if err := protojson.Unmarshal(data, r); err != nil {
		return nil, inField("", err)
	}
	return r, nil
}

package transporttest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"testing"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"nhooyr.io/websocket"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// webConn speaks gRPC-Web (grpc/doc/PROTOCOL-WEB.md), over HTTP/1.1 or over the
// WebSocket that improbable-eng/grpc-web made up. It is a connection for generated
// stubs.
type webConn struct {
	http      *http.Client
	url       string
	webSocket bool
	first     string // the credential among the headers of the first frame; empty: none
}

func newWeb(t testing.TB, n *Node, d Dialer) Transport {
	return generated{watchroutev1.NewResourceServiceClient(&webConn{http: d.client(t), url: d.url(n)})}
}

func newWebSocketWeb(t testing.TB, n *Node, d Dialer) Transport {
	return generated{watchroutev1.NewResourceServiceClient(&webConn{http: d.client(t), url: d.url(n), webSocket: true, first: d.First})}
}

const webContent = "application/grpc-web+proto"

// Invoke makes a unary call.
func (c *webConn) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.NewStream(ctx, nil, method, opts...)
	if err != nil {
		return err
	}
	if err := errors.Join(s.SendMsg(in), s.CloseSend()); err != nil {
		return err
	}
	if err := s.RecvMsg(out); err != nil {
		return err
	}
	if err := s.RecvMsg(nil); err != io.EOF {
		return fmt.Errorf("after the answer of a unary call: %w", err)
	}
	return nil
}

// NewStream opens a stream, of one request over HTTP.
func (c *webConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	s := &webStream{ctx: ctx, conn: c, method: method}
	if !c.webSocket {
		return s, nil
	}
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(c.url, "http")+method, &websocket.DialOptions{HTTPClient: c.http,
		HTTPHeader: http.Header{"Origin": {c.url}}, Subprotocols: []string{"grpc-websockets"}, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	context.AfterFunc(ctx, func() { _ = ws.CloseNow() })
	s.ws, s.answer = ws, bufio.NewReader(websocket.NetConn(ctx, ws, websocket.MessageBinary))
	headers := "content-type: " + webContent + "\r\nx-grpc-web: 1\r\n"
	if c.first != "" {
		headers += "authorization: Bearer " + c.first + "\r\n"
	}
	return s, ws.Write(ctx, websocket.MessageBinary, []byte(headers))
}

// webStream is one call.
type webStream struct {
	ctx     context.Context
	conn    *webConn
	method  string
	ws      *websocket.Conn // nil over HTTP
	request bytes.Buffer    // over HTTP
	answer  *bufio.Reader
	body    io.Closer
	end     error
}

// SendMsg sends a message; over HTTP with CloseSend.
func (s *webStream) SendMsg(m any) error {
	raw, err := proto.Marshal(m.(proto.Message))
	if err != nil {
		return err
	}
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(raw))), raw...)
	if s.ws == nil {
		s.request.Write(frame)
		return nil
	}
	return s.ws.Write(s.ctx, websocket.MessageBinary, append([]byte{0}, frame...))
}

// CloseSend says that there is no more to send.
func (s *webStream) CloseSend() error {
	if s.ws != nil {
		return s.ws.Write(s.ctx, websocket.MessageBinary, []byte{1})
	}
	r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.conn.url+s.method, &s.request)
	if err != nil {
		return err
	}
	r.Header = http.Header{"Content-Type": {webContent}, "X-Grpc-Web": {"1"}}
	answer, err := s.conn.http.Do(r)
	if err != nil {
		return err
	}
	s.body, s.answer = answer.Body, bufio.NewReader(answer.Body)
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/grpc-web") {
		s.finish(fmt.Errorf("gRPC-Web: HTTP %d with %s", answer.StatusCode, answer.Header.Get("Content-Type")))
	} else if answer.Header.Get("Grpc-Status") != "" {
		s.finish(webStatus(answer.Header)) // there is nothing but the trailers
	}
	return nil
}

// RecvMsg gives the next message, or with io.EOF or a status error the end.
func (s *webStream) RecvMsg(m any) error {
	for s.end == nil {
		var head [5]byte
		if _, err := io.ReadFull(s.answer, head[:]); err != nil {
			s.finish(fmt.Errorf("the stream ends without trailers: %w", err))
			break
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(s.answer, payload); err != nil {
			s.finish(err)
			break
		}
		if head[0] == 0 {
			return proto.Unmarshal(payload, m.(proto.Message))
		}
		h, err := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\r\n")))).ReadMIMEHeader()
		switch {
		case err != nil:
			s.finish(err)
		case h.Get("Grpc-Status") != "": // else it is the WebSocket's frame of headers
			s.finish(webStatus(http.Header(h)))
		}
	}
	return s.end
}

func (s *webStream) finish(err error) {
	if s.ctx.Err() != nil {
		err = s.ctx.Err()
	}
	s.end = err
	if s.ws != nil {
		_ = s.ws.CloseNow()
	} else {
		_ = s.body.Close()
	}
}

// webStatus reads the status in trailers; io.EOF is OK.
func webStatus(h http.Header) error {
	code, err := strconv.Atoi(h.Get("Grpc-Status"))
	if err != nil {
		return err
	}
	if code == 0 {
		return io.EOF
	}
	text, err := url.PathUnescape(h.Get("Grpc-Message"))
	if err != nil {
		return err
	}
	if details := h.Get("Grpc-Status-Details-Bin"); details != "" {
		raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(details, "="))
		if err != nil {
			return err
		}
		s := &statuspb.Status{}
		if err := proto.Unmarshal(raw, s); err != nil {
			return err
		}
		return status.ErrorProto(s)
	}
	return status.Error(codes.Code(code), text)
}

// Header is not kept.
func (s *webStream) Header() (metadata.MD, error) { return nil, nil }

// Trailer is not kept.
func (s *webStream) Trailer() metadata.MD { return nil }

// Context gives the call's context.
func (s *webStream) Context() context.Context { return s.ctx }

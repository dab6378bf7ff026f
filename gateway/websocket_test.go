package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"nhooyr.io/websocket"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
)

// wsClient is the client's end of a WebSocket.
type wsClient struct {
	t    *testing.T
	conn *websocket.Conn
	rest []sessionLine // received, and not looked at yet
}

func (n *testNode) dialWS(path string, protocols ...string) *wsClient {
	n.t.Helper()
	c, res, err := n.tryWS(path, nil, protocols...)
	if err != nil {
		n.t.Fatalf("%s: %v %v", path, err, res)
	}
	return c
}

func (n *testNode) tryWS(path string, header http.Header, protocols ...string) (*wsClient, *http.Response, error) {
	conn, res, err := websocket.Dial(n.t.Context(), n.url+path, &websocket.DialOptions{HTTPClient: n.http.Client(), HTTPHeader: header, Subprotocols: protocols})
	if err != nil {
		return nil, res, err
	}
	conn.SetReadLimit(64 << 20)
	n.t.Cleanup(func() { _ = conn.CloseNow() })
	return &wsClient{t: n.t, conn: conn}, res, nil
}

func (c *wsClient) leave() { _ = c.conn.Close(websocket.StatusNormalClosure, "") }

func (c *wsClient) read(want websocket.MessageType) []byte {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	typ, data, err := c.conn.Read(ctx)
	if err != nil || typ != want {
		c.t.Fatalf("%v %s %v", typ, data, err)
	}
	return data
}

func (c *wsClient) message() watchLine {
	c.t.Helper()
	return parseLine(c.t, string(c.read(websocket.MessageText)))
}

// closes waits for the server's close.
func (c *wsClient) closes(code int, reason string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	_, data, err := c.conn.Read(ctx)
	var closed websocket.CloseError
	if !errors.As(err, &closed) || int(closed.Code) != code || closed.Reason != reason {
		c.t.Errorf("got %s %v, want %d %s", data, err, code, reason)
	}
}

func (c *wsClient) write(typ websocket.MessageType, data string) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), typ, []byte(data)); err != nil {
		c.t.Fatal(err)
	}
}

func TestWebSocket_Subprotocols(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"a":1}`)
	for _, c := range []struct {
		offer []string
		want  string
	}{
		{nil, ""}, {[]string{jsonProtocol}, jsonProtocol}, {[]string{protoProtocol}, protoProtocol},
		{[]string{"other", protoProtocol, jsonProtocol}, protoProtocol},
	} {
		ws := n.dialWS("/v1/notes:watch", c.offer...)
		if got := ws.conn.Subprotocol(); got != c.want {
			t.Errorf("%v: got %q", c.offer, got)
		}
		for _, want := range []string{"started", "events", "snapshotEnd"} {
			var text []byte
			if c.want == protoProtocol {
				m := &watchroutev1.WatchResponse{}
				if err := proto.Unmarshal(ws.read(websocket.MessageBinary), m); err != nil {
					t.Fatal(err)
				}
				text, _ = protojson.Marshal(m)
			} else {
				text = ws.read(websocket.MessageText)
			}
			if !strings.Contains(string(text), want) {
				t.Errorf("%v: got %s, want %s", c.offer, text, want)
			}
		}
		ws.leave()
	}
	n.watches(0)
	n.ended("notes websocket CANCELLED")
	for _, path := range []string{"/v1/notes:watch", "/v1/session"} {
		if _, res, err := n.tryWS(path, nil, "graphql-ws"); err == nil || res.StatusCode != 400 {
			t.Error(path, res, err)
		}
	}
}

func TestWebSocket_HandshakeErrorsAreHTTPErrors(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	upgrade := []string{"Connection", "keep-alive, Upgrade", "Upgrade", "websocket"}
	for _, c := range []struct {
		path    string
		headers []string
		status  int
	}{
		{"/v1/notes:watch", []string{"Sec-WebSocket-Version", "8", "Sec-WebSocket-Key", "x"}, 426},
		{"/v1/notes:watch", []string{"Sec-WebSocket-Version", "13"}, 400},
		{"/v1/notes:watch", []string{"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "x", "Origin", "https://evil.example"}, 403},
		{"/v1/notes/a/b", []string{"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "x"}, 404},
	} {
		r := n.do("GET", c.path, "", append(upgrade, c.headers...)...)
		if r.reason(t); r.StatusCode != c.status {
			t.Errorf("%v: %s", c, r)
		}
	}
}

func TestWebSocket_WhatIsWrongWithTheWatchIsToldOnTheConnection(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	n.put("orders/1", `{}`)
	for _, c := range []struct {
		path   string
		code   int
		reason string
		field  string
	}{
		{"/v1/system.none:watch", 4005, "COLLECTION_NOT_FOUND", "parent"},
		{"/v1/notes/%ff:watch", 4003, "INVALID_NAME", "names[0]"},
		{"/v1/notes:watch?%ff=%ff", 4003, "INVALID_FIELD", "\uFFFD"},
		{"/v1/notes:watch?filter=1%2B", 4003, "INVALID_FILTER", "filter"},
		{"/v1/notes:watch?fiter=1", 4003, "INVALID_FIELD", "fiter"},
		{"/v1/notes:watch?resume_token=x", 4003, "INVALID_TOKEN", "resume_token"},
		{"/v1/notes:watch?after_revision=99", 4011, "FUTURE_REVISION", "after_revision"},
		{"/v1/orders/a%20b/watch", 4003, "INVALID_NAME", "order_id"},
	} {
		ws := n.dialWS(c.path)
		m := ws.message()
		if m.Closed == nil || m.Closed.Details[0].Reason != c.reason || m.Closed.Details[0].Metadata["field"] != c.field || m.Closed.Code != c.code-4000 {
			t.Errorf("%s: %+v", c.path, m.Closed)
		}
		ws.closes(c.code, c.reason)
		ws = n.dialWS(c.path, protoProtocol)
		pm := &watchroutev1.WatchResponse{}
		if err := proto.Unmarshal(ws.read(websocket.MessageBinary), pm); err != nil || int(pm.GetClosed().GetCode()) != c.code-4000 {
			t.Error(pm, err)
		}
		ws.closes(c.code, c.reason)
	}
	n.watches(0)
}

func TestWebSocket_AWatchTakesNoMessages(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	ws := n.dialWS("/v1/notes:watch?from=NOW")
	ws.message()
	ws.write(websocket.MessageText, "hello")
	if m := ws.message(); m.Closed == nil || m.Closed.Details[0].Reason != "INVALID_FIELD" || !strings.Contains(m.Closed.Message, "/v1/session") {
		t.Errorf("%+v", m)
	}
	ws.closes(4003, "INVALID_FIELD")
	n.watches(0)
}

func TestWebSocket_Origins(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.AllowedOrigins = []string{"https://shop.example.com", "https://*.example.org"} }))
	n.put("notes/1", `{}`)
	for origin, ok := range map[string]bool{
		"": true, n.url: true, "https://shop.example.com": true, "https://a.example.org": true, "HTTPS://Shop.Example.com": true,
		"http://shop.example.com": false, "https://example.org": false, "https://evil.example": false, "null": false, "https://x.example.org.evil.example": false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		for _, path := range []string{"/v1/notes:watch", "/v1/session"} {
			ws, res, err := n.tryWS(path, header)
			if (err == nil) != ok || !ok && res.StatusCode != 403 {
				t.Errorf("%s from %q: %v", path, origin, err)
			}
			if err == nil {
				ws.leave()
			}
		}
	}
}

func TestWebSocket_PingsAndDropsWhoIsSilent(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.PingInterval = 100 * time.Millisecond }))
	n.put("notes/1", `{}`)
	// A client that answers stays.
	ws := n.dialWS("/v1/notes:watch?from=NOW")
	ws.message()
	go func() { // reading is what answers
		time.Sleep(450 * time.Millisecond)
		n.do("PUT", "/v1/notes/1", `{"data":{"a":1}}`)
	}()
	if m := ws.message(); m.Events == nil {
		t.Error(m)
	}
	ws.leave()
	n.watches(0)
	// One that does not is dropped.
	conn := n.dial("GET /v1/notes:watch?from=NOW HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") || !strings.Contains(string(got), "101 Switching") || !strings.Contains(string(got), "\x89\x00") {
		t.Errorf("%q %v", got, err)
	}
	n.watches(0)
}

func TestWebSocket_AnswersPingsAndTheClose(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	conn := n.dial("GET /v1/notes:watch?from=NOW HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
		"\x89\x82\x00\x00\x00\x00hi") // at once, with a mask of zeros
	r := bufio.NewReader(conn)
	expect := func(want string) {
		t.Helper()
		var got []byte
		for !strings.HasSuffix(string(got), want) {
			b, err := r.ReadByte()
			if err != nil {
				t.Fatalf("%q %v", got, err)
			}
			got = append(got, b)
		}
	}
	expect("\x8a\x02hi")
	if _, err := io.WriteString(conn, "\x88\x82\x00\x00\x00\x00\x03\xe8"); err != nil { // 1000
		t.Fatal(err)
	}
	expect("\x88\x02\x03\xe8")
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
	n.watches(0)
}

func TestWebSocket_MessagesOfEverySize(t *testing.T) {
	n := newNode(t)
	for i, size := range []int{1, 120, 130, 70000, 900000} {
		n.put(fmt.Sprintf("notes/%d", i), `{"a":"`+strings.Repeat("x", size)+`"}`)
	}
	ws := n.dialWS("/v1/notes:watch")
	seen := 0
	for {
		m := ws.message()
		if m.SnapshotEnd != nil {
			break
		}
		if m.Events != nil {
			seen += len(m.Events.Events)
		}
	}
	if seen != 5 {
		t.Error(seen)
	}
}

// sessionLine is what tests look at of a SessionResponse.
type sessionLine struct {
	WatchID string
	Watch   *watchLine
	Closed  *errorBody
	Fence   *struct{ FenceID string }
	More    []sessionLine
}

func (c *wsClient) response() sessionLine {
	c.t.Helper()
	if len(c.rest) == 0 {
		var s sessionLine
		if text := c.read(websocket.MessageText); json.Unmarshal(text, &s) != nil {
			c.t.Fatalf("%s", text)
		}
		c.rest = append([]sessionLine{s}, s.More...)
	}
	s := c.rest[0]
	c.rest = c.rest[1:]
	return s
}

func TestSession_CarriesManyWatches(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"a":1}`)
	n.put("orders/1", `{}`)
	ws := n.dialWS("/v1/session", jsonProtocol)
	ws.write(websocket.MessageText, `{"open":{"watchId":"n","watch":{"parent":"notes"}}}`)
	ws.write(websocket.MessageText, `{"open":{"watchId":"o","watch":{"names":["orders/1"],"readMask":"status","heartbeat":"5s"}}}`)
	ws.write(websocket.MessageText, `{"open":{"watchId":"bad","watch":{"parent":"system.none"}}}`)
	ended, closed := map[string]bool{}, false
	for len(ended) < 2 || !closed {
		s := ws.response()
		switch {
		case s.Closed != nil:
			closed = s.WatchID == "bad" && s.Closed.Details[0].Reason == "COLLECTION_NOT_FOUND"
		case s.Watch.SnapshotEnd != nil:
			ended[s.WatchID] = true
		}
	}
	n.watches(2)
	n.put("notes/1", `{"a":2}`)
	if s := ws.response(); s.WatchID != "n" || s.Watch.Events == nil || string(s.Watch.Events.Events[0].Resource.Data) != `{"a":2}` {
		t.Errorf("%+v", s)
	}
	ws.write(websocket.MessageText, `{"fence":{"fenceId":"f"}}`)
	if s := ws.response(); s.Fence == nil || s.Fence.FenceID != "f" {
		t.Errorf("%+v", s)
	}
	ws.write(websocket.MessageText, `{"cancel":{"watchId":"n"}}`)
	if s := ws.response(); s.WatchID != "n" || s.Closed == nil || s.Closed.Code != 0 {
		t.Errorf("%+v", s)
	}
	n.watches(1)
	ws.leave()
	n.watches(0)
	n.ended("orders websocket-session CANCELLED")
}

func TestSession_InProtobuf(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"a":1}`)
	ws := n.dialWS("/v1/session", protoProtocol)
	open, err := proto.Marshal(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Open{Open: &watchroutev1.OpenWatch{
		WatchId: "n", Watch: &watchroutev1.WatchRequest{Parent: "notes"}}}})
	if err != nil {
		t.Fatal(err)
	}
	ws.write(websocket.MessageBinary, string(open))
	var got []*watchroutev1.SessionResponse
	for len(got) < 3 {
		packed := &watchroutev1.SessionResponse{}
		if err := proto.Unmarshal(ws.read(websocket.MessageBinary), packed); err != nil {
			t.Fatal(err)
		}
		got = slices.AppendSeq(got, resource.Unpack(packed))
	}
	if len(got) != 3 || got[0].GetWatchId() != "n" || got[0].GetWatch().GetStarted() == nil || len(got[1].GetWatch().GetEvents().GetEvents()) != 1 || got[2].GetWatch().GetSnapshotEnd() == nil {
		t.Fatal(got)
	}
	ws.write(websocket.MessageBinary, "\xff\xff")
	m := &watchroutev1.SessionResponse{}
	if err := proto.Unmarshal(ws.read(websocket.MessageBinary), m); err != nil || m.GetWatchId() != "" || m.GetClosed().GetCode() != 3 {
		t.Fatal(m, err)
	}
	ws.closes(4003, "INVALID_FIELD")
	n.watches(0)
}

func TestSession_ErrorsEndIt(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.MaxMessageBytes = 1000 }))
	n.put("notes/1", `{"a":1}`)
	for _, c := range []struct {
		typ           websocket.MessageType
		text          string
		reason, field string
	}{
		{websocket.MessageText, `{"opn":{}}`, "INVALID_FIELD", "opn"},
		{websocket.MessageText, `{"open":{"watchId":5}}`, "INVALID_FIELD", "watchId"},
		{websocket.MessageText, `{"open":{"watchId":"a","watch":{"fliter":"x"}}}`, "INVALID_FIELD", "fliter"},
		{websocket.MessageText, `{"open":{"watchId":"a","watch":{"heartbeat":"5"}}}`, "INVALID_FIELD", ""},
		{websocket.MessageText, `{"open":{"watchId":""}}`, "INVALID_WATCH_ID", "open.watch_id"},
		{websocket.MessageText, `{}`, "INVALID_FIELD", "body"},
		{websocket.MessageText, `nonsense`, "INVALID_FIELD", ""},
		{websocket.MessageText, ``, "INVALID_FIELD", ""},
		{websocket.MessageText, `{"cancel":{},"fence":{}}`, "INVALID_FIELD", ""},
		{websocket.MessageBinary, `{}`, "INVALID_FIELD", "body"},
	} {
		ws := n.dialWS("/v1/session")
		ws.write(c.typ, c.text)
		s := ws.response()
		if s.WatchID != "" || s.Closed == nil || s.Closed.Details[0].Reason != c.reason || c.field != "" && s.Closed.Details[0].Metadata["field"] != c.field {
			t.Errorf("%s: %+v", c.text, s.Closed)
		}
		ws.closes(4003, c.reason)
	}
	ws := n.dialWS("/v1/session")
	ws.write(websocket.MessageText, strings.Repeat("x", 1001))
	if s := ws.response(); s.Closed.Details[0].Reason != "TOO_LARGE" || s.Closed.Details[0].Metadata["limit"] != "1000" {
		t.Errorf("%+v", s)
	}
	ws.closes(4003, "TOO_LARGE")
	ws = n.dialWS("/v1/session")
	ws.write(websocket.MessageText, strings.Repeat("x", 2001))
	ws.closes(1009, "gws: message too large")
	n.watches(0)
}

func TestSession_ADrainEndsIt(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"a":1}`)
	ws := n.dialWS("/v1/session")
	idle := n.dialWS("/v1/session")
	idle.write(websocket.MessageText, `{"fence":{"fenceId":"f"}}`) // it is served
	idle.response()
	ws.write(websocket.MessageText, `{"open":{"watchId":"n","watch":{"parent":"notes"}}}`)
	for ws.response().Watch.SnapshotEnd == nil {
	}
	n.hub.Drain(time.Second)
	if s := ws.response(); s.WatchID != "n" || s.Watch.Drain == nil {
		t.Errorf("%+v", s)
	}
	ws.closes(1012, "DRAINED")
	idle.closes(1012, "DRAINED")
}

func TestSession_OtherRequestsMeanTheCollection(t *testing.T) {
	n := newNode(t)
	n.put("session/1", `{"a":1}`)
	if r := n.do("GET", "/v1/session", ""); !strings.Contains(r.body, `"session/1"`) {
		t.Error(r)
	}
}

func FuzzSessionJSON(f *testing.F) {
	for _, seed := range []string{`{"open":{"watchId":"a","watch":{"parent":"notes","filter":"x","readMask":"a,b"},"credit":3}}`, `{"cancel":{"watchId":"a"}}`,
		`{"fence":{"fenceId":"a"}}`, `{"credit":{"watchId":"a","events":4294967295}}`, `{"opn":{}}`, `{"open":{"watch":{"heartbeat":"5"}}}`, `null`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range []*dialect{jsonDialect, protoDialect} {
			r, err := readSession(d, data)
			var e *resource.Error
			switch {
			case err == nil && r == nil:
				t.Errorf("%q: nothing", data)
			case err != nil && (!errors.As(err, &e) || e.Reason != resource.InvalidField):
				t.Errorf("%q: %v", data, err)
			case err != nil && d == jsonDialect:
				// What is told must be tellable.
				_ = jsonDialect.form.Control(&watchroutev1.SessionResponse{Body: &watchroutev1.SessionResponse_Closed{Closed: wire.Status(err).Proto()}})
			}
		}
	})
}

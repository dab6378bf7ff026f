package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"nhooyr.io/websocket"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

const (
	getMethod   = "/watchroute.v1.ResourceService/Get"
	watchMethod = "/watchroute.v1.ResourceService/Watch"
)

func webFrame(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// readWebFrame gives a message, or trailers.
func readWebFrame(t *testing.T, r io.Reader) (message []byte, trailers string) {
	t.Helper()
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	if head[0]&0x80 != 0 {
		return nil, string(b)
	}
	return b, ""
}

func (n *testNode) web(ctx context.Context, method, contentType string, body io.Reader) *http.Response {
	n.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", n.url+method, body)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Grpc-Web", "1")
	res, err := n.http.Client().Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestGRPCWeb_Unary(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"a":1}`)
	request := webFrame(t, &watchroutev1.GetRequest{Name: "notes/1"})
	for _, contentType := range []string{"application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"} {
		body := request
		text := strings.HasPrefix(contentType, "application/grpc-web-text")
		if text {
			body = []byte(base64.StdEncoding.EncodeToString(request))
		}
		res := n.web(t.Context(), getMethod, contentType, bytes.NewReader(body))
		all, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if text {
			// Two padded parts may follow one another.
			var plain []byte
			for part := range strings.SplitAfterSeq(string(all), "=") {
				b, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(part, "="))
				plain = append(plain, b...)
			}
			all = plain
		}
		r := bytes.NewReader(all)
		message, _ := readWebFrame(t, r)
		got := &watchroutev1.Resource{}
		if err := proto.Unmarshal(message, got); err != nil || got.GetName() != "notes/1" {
			t.Error(contentType, got, err)
		}
		if _, trailers := readWebFrame(t, r); !strings.Contains(trailers, "grpc-status: 0") {
			t.Errorf("%s: %q", contentType, trailers)
		}
	}
	res := n.web(t.Context(), getMethod, "application/grpc-web", bytes.NewReader(webFrame(t, &watchroutev1.GetRequest{Name: "notes/2"})))
	if res.StatusCode != 200 || res.Header.Get("Grpc-Status") != "5" || res.Header.Get("Grpc-Status-Details-Bin") == "" {
		t.Error(res.Status, res.Header)
	}
}

// TestGRPCWeb_ABodyThatDoesNotComeIsGivenUp, while a stream goes on whose request came.
func TestGRPCWeb_ABodyThatDoesNotComeIsGivenUp(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.BodyTimeout = 50 * time.Millisecond }))
	n.put("notes/1", `{}`)
	stream := n.web(t.Context(), watchroutev1.ResourceService_Watch_FullMethodName, "application/grpc-web", bytes.NewReader(webFrame(t, &watchroutev1.WatchRequest{Parent: "notes"})))
	r, w := io.Pipe()
	defer w.Close()
	res := n.web(t.Context(), getMethod, "application/grpc-web", r)
	if status := res.Header.Get("Grpc-Status"); status == "" || status == "0" {
		t.Error(res.Status, res.Header)
	}
	n.put("notes/2", `{}`)
	for {
		message, _ := readWebFrame(t, stream.Body)
		got := &watchroutev1.WatchResponse{}
		if err := proto.Unmarshal(message, got); err != nil {
			t.Fatal(err)
		}
		if e := got.GetEvents().GetEvents(); len(e) > 0 && e[0].GetResource().GetName() == "notes/2" {
			break
		}
	}
}

func TestGRPCWeb_StreamsAndIsReleased(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"a":1}`)
	ctx, leave := context.WithCancel(t.Context())
	res := n.web(ctx, watchMethod, "application/grpc-web", bytes.NewReader(webFrame(t, &watchroutev1.WatchRequest{Parent: "notes"})))
	next := func() *watchroutev1.WatchResponse {
		t.Helper()
		m := &watchroutev1.WatchResponse{}
		message, trailers := readWebFrame(t, res.Body)
		if err := proto.Unmarshal(message, m); err != nil || trailers != "" {
			t.Fatal(trailers, err)
		}
		return m
	}
	for next().GetSnapshotEnd() == nil {
	}
	n.put("notes/1", `{"a":2}`)
	if m := next(); len(m.GetEvents().GetEvents()) != 1 {
		t.Error(m)
	}
	leave()
	n.watches(0)
	n.ended("notes grpc-web CANCELLED")
}

func TestGRPCWeb_OverWebSocket(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"a":1}`)
	ws := n.dialWS(watchMethod, "grpc-websockets")
	ws.write(websocket.MessageBinary, "content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n")
	ws.write(websocket.MessageBinary, "\x00"+string(webFrame(t, &watchroutev1.WatchRequest{Parent: "notes"})))
	ws.write(websocket.MessageBinary, "\x01")
	var all []byte
	for !bytes.Contains(all, []byte("notes/1")) {
		all = append(all, ws.read(websocket.MessageBinary)...)
	}
	ws.leave()
	n.watches(0)
	if !slices.Contains(n.opened, "notes grpc-web") {
		t.Error(n.opened)
	}
	if _, res, err := n.tryWS(watchMethod, http.Header{"Origin": {"https://evil.example"}}, "grpc-websockets"); err == nil || res.StatusCode != 403 {
		t.Error(err)
	}
}

func TestGRPCWeb_AReaderThatStallsIsCutOff(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.WriteTimeout = 200 * time.Millisecond }))
	n.fill(20, 900<<10)
	request := string(webFrame(t, &watchroutev1.WatchRequest{Parent: "notes"}))
	conn := n.dial(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/grpc-web\r\nContent-Length: %d\r\n\r\n%s", watchMethod, len(request), request))
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	n.watches(1)
	n.watches(0)

	ws := n.dialWS(watchMethod, "grpc-websockets")
	ws.write(websocket.MessageBinary, "content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n")
	ws.write(websocket.MessageBinary, "\x00"+request)
	ws.write(websocket.MessageBinary, "\x01")
	n.watches(1)
	n.watches(0)
}

// A call that arrives when gRPC is stopped is told so, on WebSocket too.
func TestGRPCWeb_WhileGRPCStops(t *testing.T) {
	n := newNode(t)
	n.grpc.Stop()
	res := n.web(t.Context(), getMethod, "application/grpc-web", bytes.NewReader(webFrame(t, &watchroutev1.GetRequest{Name: "notes/1"})))
	if res.Header.Get("Grpc-Status") != "14" {
		t.Errorf("over HTTP: %v", res.Header)
	}
	ws := n.dialWS(watchMethod, "grpc-websockets")
	ws.write(websocket.MessageBinary, "content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var all []byte
	for {
		_, b, err := ws.conn.Read(ctx)
		if err != nil {
			break
		}
		all = append(all, b...)
	}
	if ctx.Err() != nil || !bytes.Contains(all, []byte("grpc-status: 14")) {
		t.Errorf("over WebSocket: %q, %v", all, ctx.Err())
	}
}

func TestCORS(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.AllowedOrigins = []string{"https://shop.example.com"} }))
	n.put("notes/1", `{"a":1}`)
	for _, c := range []struct {
		origin, path, method, headers string
		ok                            bool
	}{
		{"https://shop.example.com", "/v1/notes/1", "PUT", "content-type,if-match", true},
		{"https://shop.example.com", "/v1/notes:watch", "GET", "authorization,last-event-id", true},
		{"https://shop.example.com", getMethod, "POST", "content-type,grpc-timeout,x-grpc-web,x-user-agent", true},
		{"https://evil.example", "/v1/notes/1", "PUT", "content-type", false},
		{"https://shop.example.com", "/v1/notes/1", "PUT", "x-other", false},
	} {
		r := n.do("OPTIONS", c.path, "", "Origin", c.origin, "Access-Control-Request-Method", c.method, "Access-Control-Request-Headers", c.headers)
		if got := r.Header.Get("Access-Control-Allow-Origin") == c.origin; got != c.ok || r.StatusCode != 204 {
			t.Errorf("%+v: %s %v", c, r, r.Header)
		}
	}
	for _, path := range []string{"/v1/notes/1", "/v1/notes/2", "/v1/notes:watch?wait=0s"} {
		r := n.do("GET", path, "", "Origin", "https://shop.example.com")
		exposed := strings.ToLower(r.Header.Get("Access-Control-Expose-Headers"))
		if r.Header.Get("Access-Control-Allow-Origin") != "https://shop.example.com" || !strings.Contains(exposed, "etag") ||
			!strings.Contains(exposed, "grpc-status-details-bin") || !strings.Contains(exposed, "watchroute-revision") {
			t.Errorf("%s: %v", path, r.Header)
		}
		if r := n.do("GET", path, "", "Origin", "https://evil.example"); r.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, r.Header)
		}
	}
	res := func() *http.Response {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", n.url+getMethod, bytes.NewReader(webFrame(t, &watchroutev1.GetRequest{Name: "notes/1"})))
		req.Header.Set("Origin", "https://shop.example.com")
		req.Header.Set("Content-Type", "application/grpc-web")
		res, err := n.http.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}()
	if len(res.Header.Values("Access-Control-Allow-Origin")) != 1 {
		t.Error(res.Header)
	}
}

// A page of another site can send some requests without asking first.
func TestCORS_OtherSitesCannotChangeAnything(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.AllowedOrigins = []string{"https://shop.example.com"} }))
	n.put("notes/1", `{"a":1}`)
	host := strings.TrimPrefix(n.url, "http://")
	for _, c := range []struct {
		status  int
		headers []string
	}{
		{403, []string{"Origin", "https://evil.example"}},
		{403, []string{"Origin", "null"}},
		{403, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}},
		{200, []string{"Origin", "http://" + host}},
		{200, []string{"Origin", "https://proxied.example", "X-Forwarded-Host", "proxied.example"}},
		{200, []string{"Origin", "https://proxied.example", "Sec-Fetch-Site", "same-origin"}},
		{200, []string{"Origin", "https://shop.example.com"}},
		{200, nil},
	} {
		r := n.do("POST", "/v1/notes:write", `{"operations":[{"delete":"notes/2"}]}`, append(c.headers, "Content-Type", "text/plain")...)
		if r.StatusCode != c.status {
			t.Errorf("%v: %s", c.headers, r)
		}
		if r.StatusCode == 403 {
			r.reason(t)
		}
	}
}

func TestNew_RefusesWhatCannotBeServed(t *testing.T) {
	n := newNode(t)
	for _, c := range []Config{
		{}, {Service: n.service, AllowedOrigins: []string{"shop.example.com"}}, {Service: n.service, AllowedOrigins: []string{"https://shop.example.com/x"}},
		{Service: n.service, AllowedOrigins: []string{"https://*.*.com"}}, {Service: n.service, MaxWait: -1}, {Service: n.service, MaxRequestBytes: -1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	g, err := New(Config{Service: n.service, AllowedOrigins: []string{"*", "http://localhost:5173", "https://*.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
	g.Close()
}

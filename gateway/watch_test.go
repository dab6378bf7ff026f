package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
)

func TestWatch_OneURLHasManyTransports(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	n.put("orders/1", `{}`)
	for _, path := range []string{"/v1/notes:watch", "/v1/notes/watch", "/v1/notes/1:watch", "/v1/notes/1/watch", "/v1/notes:watch?names=notes/1",
		"/v1/orders:watch", "/v1/orders/watch", "/v1/orders/1:watch", "/v1/orders/1/watch", "/v1/orders/watch-all", "/v1/notes%3Awatch"} {
		for accept, want := range map[string]string{"": "application/x-ndjson", "*/*": "application/x-ndjson", "text/event-stream": "text/event-stream"} {
			var headers []string
			if accept != "" {
				headers = []string{"Accept", accept}
			}
			l := n.stream(path, headers...)
			h := l.res.Header
			if l.res.StatusCode != 200 || h.Get("Content-Type") != want || h.Get("Cache-Control") != "no-store" ||
				h.Get("X-Accel-Buffering") != "no" || h.Get("Content-Encoding") != "" || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Accept") {
				t.Errorf("%s as %s: %s %v", path, accept, l.res.Status, h)
			}
			first := l.must()
			if want == sse.mediaType {
				if first != "event: started" || l.must() != "retry: 2000" {
					t.Errorf("%s: %q", path, first)
				}
				first = strings.TrimPrefix(l.must(), "data: ")
			}
			if m := parseLine(t, first); m.Started == nil || m.Started.Mode != "SNAPSHOT" {
				t.Errorf("%s: %q", path, first)
			}
			l.close()
		}
		if r := n.do("GET", path, "", "Accept", "application/json"); r.StatusCode != 406 {
			t.Errorf("%s: %s", path, r)
		} else if reason, _ := r.reason(t); reason != "UNSUPPORTED" {
			t.Error(r)
		}
		if r := n.do("GET", strings.Replace(path+"?wait=0s", "?names=notes/1?", "?names=notes/1&", 1), "", "Accept", "text/event-stream"); r.StatusCode != 406 {
			t.Errorf("%s: %s", path, r)
		}
	}
	n.watches(0)
}

func TestWatch_ErrorsBeforeTheStreamAreHTTPErrors(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	n.put("orders/1", `{}`)
	for _, c := range []struct {
		path, header, value string
		status              int
		reason, field       string
	}{
		{"/v1/system.none:watch", "", "", 404, "COLLECTION_NOT_FOUND", "parent"},
		{"/v1/system.none/1:watch", "", "", 404, "COLLECTION_NOT_FOUND", "names[0]"},
		{"/v1/Notes:watch", "", "", 400, "INVALID_NAME", "parent"},
		{"/v1/orders/a%20b/watch", "", "", 400, "INVALID_NAME", "order_id"},
		{"/v1/notes:watch?names=orders/1", "", "", 400, "INVALID_NAME", "names[0]"},
		{"/v1/notes/1:watch?names=notes/2", "", "", 400, "INVALID_FIELD", "names"},
		{"/v1/notes:watch?filter=1+1", "", "", 400, "INVALID_FILTER", "filter"},
		{"/v1/orders:watch?read_mask=nope", "", "", 400, "INVALID_MASK", "read_mask"},
		{"/v1/notes:watch?resume_token=nope", "", "", 400, "INVALID_TOKEN", "resume_token"},
		{"/v1/notes:watch?last_event_id=nope", "", "", 400, "INVALID_TOKEN", "resume_token"},
		{"/v1/notes:watch?lastEventId=a&last_event_id=b", "", "", 400, "INVALID_FIELD", "lastEventId"},
		{"/v1/notes:watch", "Last-Event-ID", "nope", 400, "INVALID_TOKEN", "resume_token"},
		{"/v1/notes:watch?after_revision=99", "", "", 400, "FUTURE_REVISION", "after_revision"},
		{"/v1/notes:watch?heartbeat=1ms", "", "", 400, "INVALID_FIELD", "heartbeat"},
		{"/v1/notes:watch?min_interval=2h", "", "", 400, "INVALID_FIELD", "min_interval"},
		{"/v1/notes:watch?min_revision=99&wait=1s", "", "", 503, "REVISION_NOT_REACHED", "min_revision"},
		{"/v1/notes:watch?fiter=x", "", "", 400, "INVALID_FIELD", "fiter"},
		{"/v1/notes:watch?wait=", "", "", 400, "INVALID_FIELD", "wait"},
		{"/v1/notes:watch?wait=-1s", "", "", 400, "INVALID_FIELD", "wait"},
		{"/v1/notes:watch?wait=1s&wait=2s", "", "", 400, "INVALID_FIELD", "wait"},
		{"/v1/notes:watch?wait=1s&filter=1+1", "", "", 400, "INVALID_FILTER", "filter"},
		{"/v1/orders/watch-all?parent=orders", "", "", 400, "INVALID_FIELD", "parent"},
	} {
		headers := []string{"Accept", "text/event-stream, application/json;q=0.1"}
		if c.header != "" {
			headers = append(headers, c.header, c.value)
		}
		r := n.do("GET", c.path, "", headers...)
		reason, metadata := r.reason(t)
		if r.StatusCode != c.status || reason != c.reason || metadata["field"] != c.field {
			t.Errorf("%s: %s\nwant %d %s %s", c.path, r, c.status, c.reason, c.field)
		}
	}
	n.watches(0)
}

// EventSource would not come back after another status than 200.
func TestWatch_AnEventSourceIsToldToComeBack(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	n.hub.Drain(2 * time.Second)
	r := n.do("GET", "/v1/notes:watch", "", "Accept", "text/event-stream")
	if r.StatusCode != 200 || !strings.HasPrefix(r.body, "event: closed\nretry: 2000\ndata: {\"closed\":{") || !strings.HasSuffix(r.body, "}\n\n") {
		t.Error(r)
	}
}

func TestWatch_HeadersGoOutBeforeTheFirstEvent(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	l := n.stream("/v1/notes:watch?from=NOW") // Do returned: the header is here
	if m := l.message(); m.Started == nil || m.Started.Mode != "NOW" || m.ResumeToken == "" {
		t.Error(m)
	}
	n.put("notes/1", `{"a":1}`)
	if m := l.message(); m.Events == nil || string(m.Events.Events[0].Resource.Data) != `{"a":1}` {
		t.Error(m)
	}
}

func TestWatch_AClientThatLeavesReleasesItAtOnce(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	for _, c := range []struct{ path, accept, transport string }{
		{"/v1/notes:watch", "*/*", "ndjson"}, {"/v1/notes:watch", "text/event-stream", "sse"},
	} {
		l := n.stream(c.path, "Accept", c.accept)
		l.must()
		n.watches(1)
		l.close()
		n.watches(0)
		n.ended("notes " + c.transport + " CANCELLED")
	}
	// And one that has not taken a single byte.
	conn := n.dial("GET /v1/notes:watch?wait=60s&from=NOW HTTP/1.1\r\nHost: x\r\n\r\n")
	n.watches(1)
	_ = conn.Close()
	n.watches(0)
	n.ended("notes long-poll CANCELLED")
}

// dial sends text on a connection of its own.
func (n *testNode) dial(text string) net.Conn {
	n.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		n.t.Fatal(err)
	}
	return c
}

func TestWatch_AReaderThatStallsIsClosed(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.WriteTimeout = 200 * time.Millisecond }))
	n.fill(20, 900<<10)
	upgrade := "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for transport, request := range map[string]string{
		"ndjson":    "GET /v1/notes:watch HTTP/1.1\r\nHost: x\r\n\r\n",
		"sse":       "GET /v1/notes:watch HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
		"long-poll": "GET /v1/notes:watch?wait=1s HTTP/1.1\r\nHost: x\r\n\r\n",
		"websocket": "GET /v1/notes:watch HTTP/1.1\r\nHost: x\r\n" + upgrade + "\r\n",
	} {
		conn := n.dial(request)
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		n.ended("notes " + transport + " SLOW_READER")
		n.watches(0)
	}
}

func TestWatch_AQuietStreamOutlivesTheWriteTimeout(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.WriteTimeout = 50 * time.Millisecond }))
	n.put("notes/1", `{}`)
	l := n.stream("/v1/notes:watch?from=NOW")
	l.must()
	ws := n.dialWS("/v1/notes:watch?from=NOW")
	ws.message()
	for range 2 {
		time.Sleep(80 * time.Millisecond)
		n.put("notes/1", fmt.Sprintf(`{"t":"%s"}`, time.Now()))
		if m := l.message(); m.Events == nil {
			t.Error(m)
		}
		if m := ws.message(); m.Events == nil {
			t.Error(m)
		}
	}
}

func TestWatch_ADrainEndsItInOrder(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	nd := n.stream("/v1/notes:watch?from=NOW")
	nd.must()
	ev := n.stream("/v1/notes:watch?from=NOW", "Accept", "text/event-stream")
	for ev.must() != "" {
	}
	ws := n.dialWS("/v1/notes:watch?from=NOW")
	ws.message()
	poll := make(chan *reply)
	go func() { poll <- n.do("GET", "/v1/notes:watch?from=NOW&wait=60s", "") }()
	get := make(chan *reply)
	etag := n.do("GET", "/v1/notes/1", "").Header.Get("ETag")
	go func() { get <- n.do("GET", "/v1/notes/1?wait=60s", "", "If-None-Match", etag) }()
	n.watches(5)
	n.hub.Drain(3 * time.Second)

	if m := nd.message(); m.Drain == nil || m.ResumeToken == "" {
		t.Error(m)
	}
	if rest, err := nd.next(); rest != "" || err != io.EOF {
		t.Errorf("%q %v", rest, err)
	}
	var text []string
	for line := ev.must(); line != ""; line = ev.must() {
		text = append(text, line)
	}
	if len(text) != 4 || text[0] != "event: drain" || !strings.HasPrefix(text[1], "retry: ") || !strings.HasPrefix(text[2], "id: ") {
		t.Errorf("%q", text)
	}
	if rest, err := ev.next(); rest != "" || err != io.EOF {
		t.Errorf("%q %v", rest, err)
	}
	if m := ws.message(); m.Drain == nil {
		t.Error(m)
	}
	ws.closes(1012, "DRAINED")
	if r := <-poll; r.StatusCode != 200 || !strings.Contains(r.body, `"drain":`) || tokenOf([]byte(r.body)) == "" {
		t.Error(r)
	}
	if r := <-get; r.StatusCode != 304 {
		t.Error(r)
	}
	r := n.do("GET", "/v1/notes:watch", "")
	if reason, _ := r.reason(t); r.StatusCode != 503 || reason != "DRAINING" || r.Header.Get("Retry-After") == "" {
		t.Error(r, r.Header)
	}
	n.watches(0)
}

// brokenLog cannot be read.
type brokenLog struct {
	changelog.Log
	err error
}

func (l brokenLog) Latest(context.Context, string, changelog.Position, uint64) iter.Seq2[*changelog.Record, error] {
	return func(yield func(*changelog.Record, error) bool) { yield(nil, l.err) }
}

func TestWatch_AnErrorWithinTheStreamIsItsLastMessage(t *testing.T) {
	broken := resource.Errorf(resource.LimitReached, "enough").After(1500 * time.Millisecond)
	n := newNodeOf(t, local.Config{}, func(_ *Config, h *hub.Config) { h.Log = brokenLog{h.Log, broken} })
	n.put("notes/1", `{}`)
	nd := n.stream("/v1/notes:watch")
	nd.must()
	if m := nd.message(); m.Closed == nil || m.Closed.Details[0].Reason != "LIMIT_REACHED" || m.Closed.Code != 8 {
		t.Error(m)
	}
	if rest, err := nd.next(); rest != "" || err != io.EOF {
		t.Errorf("%q %v", rest, err)
	}
	ev := n.stream("/v1/notes:watch", "Accept", "text/event-stream")
	for ev.must() != "" {
	}
	if line := ev.must(); line != "event: closed" {
		t.Error(line)
	}
	if line := ev.must(); line != "retry: 1500" {
		t.Error(line)
	}
	if m := parseLine(t, strings.TrimPrefix(ev.must(), "data: ")); m.Closed == nil || ev.must() != "" {
		t.Error(m)
	}
	if rest, err := ev.next(); rest != "" || err != io.EOF {
		t.Errorf("%q %v", rest, err)
	}
	ws := n.dialWS("/v1/notes:watch")
	ws.message()
	if m := ws.message(); m.Closed == nil {
		t.Error(m)
	}
	ws.closes(4008, "LIMIT_REACHED")
	r := n.do("GET", "/v1/notes:watch?wait=1s", "")
	if reason, _ := r.reason(t); r.StatusCode != 429 || reason != "LIMIT_REACHED" || r.Header.Get("Retry-After") != "2" {
		t.Error(r, r.Header)
	}
	n.watches(0)
}

// A client that goes from transport to transport, with the token that the one
// before gave it, sees each change once.
func TestWatch_ResumesOnEveryOtherTransport(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"n":0}`)
	next := 0
	write := func() string {
		next++
		data := fmt.Sprintf(`{"n":%d}`, next)
		n.put("notes/1", data)
		return data
	}
	// take gives the token after the one change that is missing.
	type taker func(token string) (data, after string)
	events := func(m watchLine) (string, string) {
		if m.Events == nil || len(m.Events.Events) != 1 {
			t.Fatal(m)
		}
		return string(m.Events.Events[0].Resource.Data), m.ResumeToken
	}
	const path = "/v1/notes:watch?delivery=EVERY_CHANGE"
	resumed := func(m watchLine) {
		if m.Started == nil || m.Started.Mode != "RESUMED" {
			t.Fatal(m)
		}
	}
	takers := map[string]taker{
		"ndjson": func(token string) (string, string) {
			l := n.stream(path + "&resume_token=" + token)
			defer l.close()
			resumed(l.message())
			return events(l.message())
		},
		"sse": func(token string) (string, string) {
			l := n.stream(path+"&from=NOW", "Accept", "text/event-stream", "Last-Event-ID", token)
			defer l.close()
			for l.must() != "" {
			}
			if line := l.must(); line != "event: change" {
				t.Fatal(line)
			}
			id, data := l.must(), l.must()
			_, data, _ = strings.Cut(data, `"data":`)
			return strings.TrimSuffix(data, "}}"), strings.TrimPrefix(id, "id: ")
		},
		"websocket": func(token string) (string, string) {
			ws := n.dialWS(path+"&resumeToken="+token, jsonProtocol)
			defer ws.leave()
			resumed(ws.message())
			return events(ws.message())
		},
		"long-poll": func(token string) (string, string) {
			r := n.poll(path + "&wait=10s&resume_token=" + token)
			if len(r.Responses) != 2 {
				t.Fatal(r)
			}
			resumed(r.Responses[0])
			data, _ := events(r.Responses[1])
			return data, r.ResumeToken
		},
		"last_event_id": func(token string) (string, string) {
			l := n.stream(path + "&last_event_id=" + token)
			defer l.close()
			resumed(l.message())
			return events(l.message())
		},
	}
	token := n.poll(path + "&wait=0s").ResumeToken
	for from := range takers {
		for to := range takers {
			for _, name := range []string{from, to} {
				want := write()
				got, after := takers[name](token)
				if got != want || after == token || after == "" {
					t.Fatalf("%s after another: got %s, want %s", name, got, want)
				}
				token = after
			}
		}
	}
	n.watches(0)
}

func TestWatch_AForeignTokenResetsOrFails(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	token := n.poll("/v1/notes:watch?wait=0s&filter=true").ResumeToken
	r := n.poll("/v1/notes:watch?wait=30s&resume_token=" + token)
	if len(r.Responses) != 4 || r.Responses[0].Started.Mode != "SNAPSHOT" || r.Responses[1].Reset == nil || r.Responses[1].Reset.Reason != "SCOPE" || r.Responses[3].SnapshotEnd == nil {
		t.Errorf("%+v", r)
	}
	for _, extra := range []string{"", "&wait=30s"} {
		e := n.do("GET", "/v1/notes:watch?on_expired=FAIL&resume_token="+token+extra, "")
		if reason, _ := e.reason(t); e.StatusCode != 410 || reason != "SCOPE_CHANGED" {
			t.Error(e)
		}
	}
}

func TestWatch_WhatOneWakeUpBringsIsOneWrite(t *testing.T) {
	var w countingWriter
	o := &outlet{w: &w, rc: http.NewResponseController(&w), timeout: time.Second}
	frames := []hub.Frame{{Bytes: []byte("a")}, {Bytes: []byte("b")}, {Bytes: []byte("c")}}
	if err := o.frames(frames); err != nil {
		t.Fatal(err)
	}
	if w.writes != 1 || w.flushes != 1 || w.text != "abc" {
		t.Errorf("%+v", w)
	}
}

type countingWriter struct {
	writes, flushes int
	text            string
}

func (*countingWriter) Header() http.Header { return http.Header{} }
func (*countingWriter) WriteHeader(int)     {}
func (w *countingWriter) Flush()            { w.flushes++ }
func (w *countingWriter) Write(b []byte) (int, error) {
	w.writes++
	w.text += string(b)
	return len(b), nil
}

func TestOutlet_AFailedWriteIsALostClient(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{}`)
	conn := n.dial("GET /v1/notes:watch HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0) // a reset
	_ = conn.Close()
	n.ended("notes ndjson CANCELLED")
	if err := lost(io.ErrClosedPipe, time.Second); !errors.Is(err, io.ErrClosedPipe) || !resource.HasReason(err, resource.Cancelled) {
		t.Error(err)
	}
}

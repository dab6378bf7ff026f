package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/proto"

	"github.com/watchroute/watchroute/e2e/hostile"
	"github.com/watchroute/watchroute/e2e/process"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// TestHostile_NeighboursGoOn measures what attacks do to a publisher and fifty watchers
// from another address, and to the node. With -v it prints a table.
func TestHostile_NeighboursGoOn(t *testing.T) {
	var table hostile.Table
	t.Cleanup(func() { t.Logf("\n%s", table.String()) }) // after what runs in parallel
	both, plain := []bool{false, true}, []bool{false}
	for _, attack := range []struct {
		name   string
		secure []bool
		do     func(*siege) string // says what it did
		waits  bool                // mostly, for time-outs: it runs beside its like
	}{
		{name: "slow-loris", secure: both, do: (*siege).slowLoris, waits: true},
		{name: "flood of connections", secure: both, do: (*siege).flood},
		{name: "rapid reset", secure: both, do: (*siege).rapidReset},
		{name: "endless CONTINUATION", secure: both, do: (*siege).continuation},
		{name: "floods of PING and SETTINGS", secure: both, do: (*siege).pings},
		{name: "wide headers", secure: plain, do: (*siege).wideHeaders},
		{name: "wide headers of many calls", secure: plain, do: (*siege).manyWideHeaders},
		{name: "wide headers of one caller", secure: plain, do: (*siege).manyWideHeadersOfOne},
		{name: "bodies without an end", secure: plain, do: (*siege).endlessBodies},
		{name: "bodies of one caller", secure: plain, do: (*siege).endlessBodiesOfOne},
		{name: "bombs", secure: plain, do: (*siege).bombs},
		{name: "WebSocket frames", secure: plain, do: (*siege).webSockets},
		{name: "guessed keys", secure: plain, do: (*siege).guessSlowly},
		{name: "keys guessed at once", secure: plain, do: (*siege).guessAtOnce},
		{name: "half-open connections", secure: plain, do: (*siege).halfOpen},
		{name: "filters dear to compile", secure: plain, do: (*siege).compile},
		{name: "filters dear to compile, of twenty principals", secure: plain, do: (*siege).compileOfMany},
		{name: "filters dear to evaluate", secure: plain, do: (*siege).evaluate},
		{name: "and of twenty principals", secure: plain, do: (*siege).evaluateOfMany},
		{name: "readers who do not read", secure: plain, do: (*siege).neverRead},
	} {
		for _, secure := range attack.secure {
			name := attack.name
			if secure {
				name += ", TLS"
			}
			t.Run(name, func(t *testing.T) {
				if attack.waits {
					t.Parallel()
				}
				for _, e := range besiege(t, secure).settle().under(&table, name, attack.do) {
					t.Error(e)
				}
			})
		}
	}
}

// loris is a connection that says a little and waits.
type loris struct {
	name, from, to string
	shake          bool   // it makes the handshake of TLS, and offers HTTP/2
	say, drip      string // at first; and a byte of it now and then, again and again
	// most is how long the node may let it, 0: there is no limit but that of idle
	// connections, which only a run in full waits for.
	most, idle time.Duration
}

// slowLoris holds 500 connections. Those that do not get as far as a request are closed
// 10 seconds after the last step that they made.
func (s *siege) slowLoris() string {
	const most, preface = 12 * time.Second, http2.ClientPreface
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	kinds := []loris{
		{name: "a header byte by byte", from: "127.0.0.10", to: s.HTTP, say: "GET /v1/things HTTP/1.1\r\nX: ", drip: "x", most: most},
		{name: "nothing, to gRPC", from: "127.0.0.11", to: s.GRPC, most: most},
		{name: "a preface byte by byte", from: "127.0.0.12", to: s.GRPC, drip: preface[:20], most: most},
		{name: "SETTINGS, then nothing", from: "127.0.0.13", to: s.GRPC, say: preface + settings, idle: 85 * time.Second},
	}
	if s.tls != nil {
		kinds = []loris{
			{name: "half a ClientHello", from: "127.0.0.10", to: s.HTTP, say: "\x16\x03\x01\x02\x00\x01\x00", most: most},
			{name: "half a ClientHello, to gRPC", from: "127.0.0.11", to: s.GRPC, say: "\x16\x03\x01\x02\x00\x01\x00", most: most},
			{name: "TLS, then nothing", from: "127.0.0.12", to: s.HTTP, shake: true, most: most},
			{name: "a preface alone", from: "127.0.0.13", to: s.HTTP, shake: true, say: preface, most: most},
			{name: "TLS, then nothing, to gRPC", from: "127.0.0.14", to: s.GRPC, shake: true, most: most},
			{name: "SETTINGS, then nothing", from: "127.0.0.15", to: s.HTTP, shake: true, say: preface + settings, idle: 125 * time.Second},
		}
	}
	longest := make([]atomic.Int64, len(kinds))
	var all sync.WaitGroup
	for i, k := range kinds {
		for range 500 / len(kinds) {
			all.Go(func() {
				took, closed := s.lorisOf(k)
				if !closed && (k.most > 0 || full()) {
					s.t.Errorf("%s: a connection lives on after %v", k.name, took)
				}
				if closed {
					longest[i].Store(max(longest[i].Load(), int64(took)))
				}
			})
		}
	}
	all.Wait()
	var did []string
	for i, k := range kinds {
		if took := time.Duration(longest[i].Load()); took > 0 {
			did = append(did, say("%s: %.0f s", k.name, took.Seconds()))
		} else {
			did = append(did, k.name+": not waited for")
		}
	}
	return "500 connections, the last closed after: " + strings.Join(did, "; ")
}

func (s *siege) lorisOf(k loris) (took time.Duration, closed bool) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	settings := s.tls
	if !k.shake {
		settings = nil
	}
	c, err := hostile.Dial(ctx, k.from, k.to, settings, "h2")
	if err != nil {
		s.t.Errorf("%s: %v", k.name, err)
		return 0, false
	}
	defer hostile.Abort(c)
	began := time.Now()
	_, _ = io.WriteString(c, k.say)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	most := k.most
	if most == 0 {
		if most = 2 * time.Second; full() {
			most = k.idle
		}
	}
	timeout := time.After(most)
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for n := 0; ; n++ {
		select {
		case <-gone:
			return time.Since(began), true
		case <-ticks.C:
			if k.drip != "" {
				_, _ = io.WriteString(c, k.drip[n%len(k.drip):][:1])
			}
		case <-timeout:
			hostile.Abort(c)
			<-gone
			return time.Since(began), false
		}
	}
}

// flood tries ten thousand connections a second, or what the machine gives.
func (s *siege) flood() string {
	last := heavier(1200*time.Millisecond, 5*time.Second)
	var tried, served, shaken atomic.Int64
	var all sync.WaitGroup
	const perSecond, workers = 10_000, 8
	until := time.Now().Add(last)
	for range workers {
		all.Go(func() {
			ticks := time.NewTicker(workers * time.Second / perSecond)
			defer ticks.Stop()
			for time.Now().Before(until) {
				<-ticks.C
				tried.Add(1)
				c, err := hostile.From("127.0.0.20")(s.t.Context(), s.HTTP)
				if err != nil { // it was closed before it was open
					continue
				}
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				raw := c
				if s.tls != nil {
					settings := s.tls.Clone()
					settings.ServerName = "127.0.0.1"
					shake := tls.Client(c, settings)
					if shake.Handshake() != nil {
						hostile.Abort(raw)
						continue
					}
					shaken.Add(1)
					c = shake
				}
				_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				if n, _ := c.Read(make([]byte, 1)); n > 0 {
					served.Add(1)
				}
				hostile.Abort(raw)
			}
		})
	}
	all.Wait()
	// A bucket of ten seconds' worth, and what came into it meanwhile.
	if most := int64(500 + 50*(last.Seconds()+3)); served.Load() > most {
		s.t.Errorf("%d connections of one address were served, %d are allowed", served.Load(), most)
	}
	if s.refusals()["connections"] == 0 {
		s.t.Error("no connection was counted as refused")
	}
	did := say("%d attempts in %v, %d served", tried.Load(), last, served.Load())
	if s.tls != nil {
		did += say(", %d handshakes", shaken.Load())
	}
	return did
}

// http2 is the port where HTTP/2 is spoken.
func (s *siege) http2() string {
	if s.tls != nil {
		return s.HTTP
	}
	return s.GRPC
}

// over opens HTTP/2. nil: the node does not take the connection, as the address has
// opened too many.
func (s *siege) over(from string) *hostile.HTTP2 {
	s.t.Helper()
	c, err := hostile.Dial(s.t.Context(), from, s.http2(), s.tls, "h2")
	if err != nil {
		return nil
	}
	_ = c.SetDeadline(time.Now().Add(connTime))
	h, err := hostile.OpenHTTP2(c)
	if err != nil {
		hostile.Abort(c)
		return nil
	}
	s.t.Cleanup(h.Close)
	return h
}

// must is over, where the node has no reason to refuse.
func (s *siege) must(from string) *hostile.HTTP2 {
	s.t.Helper()
	h := s.over(from)
	if h == nil {
		s.t.Error("the node takes no connection")
	}
	return h
}

// rapidReset opens streams and takes them back at once (CVE-2023-44487), on connections
// that are opened anew as the node closes them.
func (s *siege) rapidReset() string {
	streams, conns := 0, 0
	for until := time.Now().Add(heavier(time.Second, 5*time.Second)); time.Now().Before(until); {
		h := s.over("127.0.0.30")
		if h == nil {
			break
		}
		conns++
		for id := uint32(1); time.Now().Before(until); id += 2 {
			block := h.Block(hostile.Call("Watch")...)
			if h.Write(func(fr *http2.Framer) error {
				return errors.Join(fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true}), fr.WriteRSTStream(id, http2.ErrCodeCancel))
			}) != nil {
				break
			}
			streams++
		}
		h.Close()
	}
	return say("%d streams on %d connections", streams, conns)
}

// continuation sends a header that never ends: of fields, and of empty frames.
func (s *siege) continuation() string {
	fields, did := make([]byte, 0, 16<<10), []string{}
	for len(fields)+20 < cap(fields) {
		fields = append(fields, "\x00\x08x-flood-\x08aaaaaaaa"...) // literal, not indexed
	}
	for _, c := range []struct {
		name  string
		frame []byte
		most  int // how many the node may take until it closes; 0: it is not asked
	}{{"full", fields, 4000}, {"empty", nil, 0}} {
		frames := 0
		for until := time.Now().Add(500 * time.Millisecond); time.Now().Before(until); {
			h := s.over("127.0.0.31")
			if h == nil {
				break
			}
			block := h.Block(hostile.Call("Get")...)
			err := h.Write(func(fr *http2.Framer) error {
				return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
			})
			n := 0
			for ; err == nil && time.Now().Before(until); n++ {
				err = h.Write(func(fr *http2.Framer) error { return fr.WriteContinuation(1, false, c.frame) })
			}
			if frames += n; c.most > 0 && n > c.most {
				s.t.Errorf("a header of %d MiB was read on", n*len(c.frame)>>20)
			}
			h.Close()
		}
		did = append(did, say("%d %s frames", frames, c.name))
	}
	return strings.Join(did, ", ")
}

// pings floods with frames that want an answer, and reads none.
func (s *siege) pings() string {
	var did []string
	for name, write := range map[string]func(*http2.Framer) error{
		"PING":     func(fr *http2.Framer) error { return fr.WritePing(false, [8]byte{}) },
		"SETTINGS": func(fr *http2.Framer) error { return fr.WriteSettings() },
	} {
		frames, conns := 0, 0
		for until := time.Now().Add(500 * time.Millisecond); time.Now().Before(until); conns++ {
			c := s.connect("127.0.0.32", s.http2(), "h2")
			if c == nil {
				break
			}
			_ = c.SetDeadline(until)
			_, _ = io.WriteString(c, http2.ClientPreface)
			fr := http2.NewFramer(c, nil) // which reads nothing
			for err := fr.WriteSettings(); err == nil; frames++ {
				err = write(fr)
			}
			_ = c.Close()
		}
		did = append(did, say("%d %s on %d connections", frames, name, conns))
	}
	return strings.Join(did, ", ")
}

// wideHeaders opens calls that never send a body, whose headers are many bytes for few:
// each byte names an entry of HPACK's table. Nobody has shown a credential. They are as
// large as gRPC's own limit would let them be, 16 MiB.
func (s *siege) wideHeaders() string {
	answers, did := s.wide(40, 400_000)
	if codes := statuses(answers, 10*time.Second); codes["0"] > 0 {
		s.breaks("%d of them were answered well", codes["0"])
	}
	return did
}

// manyWideHeaders are many calls of one connection with headers of 15 KiB, which are
// allowed.
func (s *siege) manyWideHeaders() string {
	answers, did := s.wide(heavier(3000, 10_000), allowedFields)
	return did + s.refuses(answers)
}

// manyWideHeadersOfOne is manyWideHeaders by somebody who is known: the node waits for the
// bodies.
func (s *siege) manyWideHeadersOfOne() string {
	_, did := s.wide(heavier(3000, 10_000), allowedFields, bearer(s.token("wide", "writer")))
	return did
}

// allowedFields is how many fields of 33 bytes, as HTTP/2 counts, a call may have: 16 KiB
// with its own.
const allowedFields = 440

func (s *siege) wide(calls, fields int, more ...[2]string) (answers []*hostile.Answer, did string) {
	h := s.over("127.0.0.33")
	header, wire := append(hostile.Call("Get", more...), [2]string{"a", ""}), 0
	for len(answers) < calls && h != nil {
		n, a, err := h.Wide(header, 62, fields) // what was indexed last
		if err != nil {                         // the node has closed it
			h.Close()
			h = s.over("127.0.0.33")
			continue
		}
		answers, wire = append(answers, a), wire+n
	}
	if h != nil {
		s.answersPing(h)
	}
	return answers, say("%d calls with %d fields each (%d MiB on the wire)", len(answers), fields, wire>>20)
}

func bearer(token string) [2]string { return [2]string{"authorization", "Bearer " + token} }

// statuses gives how many answers had each grpc-status. "" are those that had none, or did
// not come in time.
func statuses(answers []*hostile.Answer, within time.Duration) map[string]int {
	codes := map[string]int{}
	timeout := make(chan struct{})
	defer time.AfterFunc(within, func() { close(timeout) }).Stop()
	for _, a := range answers {
		code := ""
		select {
		case <-a.Done:
			code = a.Header["grpc-status"]
		case <-timeout:
		}
		codes[code]++
	}
	return codes
}

// refuses checks that nobody's calls are refused before their bodies come: for want of a
// credential (16), or for their number (8).
func (s *siege) refuses(answers []*hostile.Answer) string {
	codes := statuses(answers, 5*time.Second)
	if codes["16"] == 0 || codes["16"]+codes["8"] < len(answers) {
		s.breaks("calls without a credential or a body are answered %v", codes)
	}
	return say(", %d unauthenticated, %d too many", codes["16"], codes["8"])
}

// answersPing waits until the node has read what was sent before, or has closed.
func (s *siege) answersPing(h *hostile.HTTP2) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	// A call that is refused is answered after what was sent before it.
	_, a, err := h.Open(true, hostile.Call("NoSuch")...)
	if err != nil {
		return
	}
	select {
	case <-a.Done:
	case <-ctx.Done():
		s.t.Error("the node does not answer on a connection, and does not close it")
	}
}

// endlessBodies sends almost all of large requests, of which each is allowed, and never
// the rest. Nobody has shown a credential.
func (s *siege) endlessBodies() string {
	answers, whole, did := s.bodies()
	if whole > 0 {
		s.breaks("%d bodies were taken without a credential", whole)
	}
	return did + s.refuses(answers)
}

// endlessBodiesOfOne is endlessBodies by one principal.
func (s *siege) endlessBodiesOfOne() string {
	const most = 16
	_, whole, did := s.bodies(bearer(s.token("hoarder", "writer")))
	if whole > most {
		s.breaks("%d bodies of one caller were taken at once, %d are allowed", whole, most)
	}
	return did
}

// bodies says how many were taken but for their ends.
func (s *siege) bodies(more ...[2]string) (answers []*hostile.Answer, whole int64, did string) {
	h := s.must("127.0.0.34")
	if h == nil {
		return nil, 0, ""
	}
	const size = 8<<20 - 1000
	ctx, cancel := context.WithTimeout(s.t.Context(), heavier(2500*time.Millisecond, 6*time.Second))
	defer cancel()
	head, chunk := hostile.Message(false, size, nil), make([]byte, 1<<20)
	var sent, complete atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		id, a, err := h.Open(false, hostile.Call("Put", more...)...)
		if err != nil {
			break
		}
		answers = append(answers, a)
		all.Go(func() {
			if h.Data(ctx, id, head, false) != nil {
				return
			}
			for range 7 {
				if h.Data(ctx, id, chunk, false) != nil {
					return
				}
				sent.Add(int64(len(chunk)))
			}
			complete.Add(1)
		})
	}
	all.Wait()
	return answers, complete.Load(), say("%d calls, %d MiB taken, %d bodies whole but for 1 MiB, %d reset", len(answers), sent.Load()>>20, complete.Load(), h.Resets.Load())
}

// bombs are small and inflate to a gigabyte.
func (s *siege) bombs() string {
	// Gzip may have many members.
	var member bytes.Buffer
	z := gzip.NewWriter(&member)
	_, err := z.Write(make([]byte, 16<<20))
	if err = errors.Join(err, z.Close()); err != nil {
		s.t.Error(err)
		return ""
	}
	bomb := bytes.Repeat(member.Bytes(), 64)
	writer := s.token("bomber", "writer")
	client := hostile.HTTPClient("127.0.0.35", s.tls)
	defer client.CloseIdleConnections()

	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	h := s.must("127.0.0.35")
	if h == nil {
		return ""
	}
	for range 5 {
		id, a, err := h.Open(false, hostile.Call("Put", [2]string{"grpc-encoding", "gzip"}, bearer(writer))...)
		if err == nil {
			err = h.Data(ctx, id, hostile.Message(true, len(bomb), bomb), true)
		}
		if err == nil {
			select {
			case <-a.Done:
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if status := a.Header["grpc-status"]; err != nil || status != "8" {
			s.t.Errorf("gRPC, compressed: status %q %q, %v; RESOURCE_EXHAUSTED was expected", status, a.Header["grpc-message"], err)
		}
	}
	web, err := s.ask(client, http.MethodPost, "/watchroute.v1.ResourceService/Put", writer, bytes.NewReader(hostile.Message(true, len(bomb), bomb)),
		"Content-Type", "application/grpc-web+proto", "X-Grpc-Web", "1", "Grpc-Encoding", "gzip")
	if status := web.header.Get("Grpc-Status"); err != nil || status != "8" && !strings.Contains(web.body, "grpc-status: 8") {
		s.t.Errorf("gRPC-Web, compressed: HTTP %d, status %q %q %q, %v", web.status, status, web.header.Get("Grpc-Message"), web.body, err)
	}
	body, err := s.ask(client, http.MethodPut, "/v1/things/bomb", writer, bytes.NewReader(bomb), "Content-Encoding", "gzip", "Content-Type", "application/json")
	if err != nil || body.status != http.StatusBadRequest && body.status != http.StatusUnsupportedMediaType || !strings.Contains(body.body, "reason") {
		s.t.Errorf("HTTP, compressed: %v, %v", body, err)
	}
	// A WebSocket client that offers compression gets none, and what it compresses all
	// the same is a protocol error.
	for _, path := range []string{"/v1/session", "/v1/things/watch"} {
		w := s.socket("127.0.0.35", path, writer, "Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
		if w == nil {
			continue
		}
		if offered := w.Answer.Header.Get("Sec-WebSocket-Extensions"); offered != "" {
			s.t.Errorf("%s agreed to %q", path, offered)
		}
		_, _ = w.Write(hostile.Frame(hostile.Final|hostile.Compressed|hostile.OpText, bomb[:1000]))
		if code, err := w.CloseCode(); err != nil || code != 1002 {
			s.t.Errorf("%s: a compressed frame is closed with %d, %v", path, code, err)
		}
		_ = w.Close()
	}
	return say("%d KiB that inflate to 1 GiB: 5 times over gRPC, gRPC-Web, HTTP, WebSocket", len(bomb)>>10)
}

// socket opens a WebSocket.
func (s *siege) socket(from, path, token string, header ...string) *hostile.WebSocket {
	s.t.Helper()
	c := s.connect(from, s.HTTP, "http/1.1")
	if c == nil {
		return nil
	}
	w, err := hostile.UpgradeWebSocket(c, path, pairs(append(header, "Authorization", "Bearer "+token)))
	if err != nil || w.Answer.StatusCode != http.StatusSwitchingProtocols {
		s.t.Errorf("WebSocket %s: %v, %v", path, w, err)
		_ = c.Close()
		return nil
	}
	s.t.Cleanup(func() { _ = w.Close() })
	return w
}

// authenticate is a WebSocket client's first message.
func authenticate(token string) []byte {
	text, _ := json.Marshal(map[string]any{"authenticate": map[string]any{"credential": token}}) // texts only
	return hostile.Frame(hostile.Final|hostile.OpText, text)
}

// webSockets sends frames that are too large, have no end, or are too many.
func (s *siege) webSockets() string {
	token := s.token("socket")
	large := bytes.Repeat([]byte("x"), 64<<10)
	var did []string
	for _, a := range []struct {
		name  string
		first []byte
		again []byte // until it is closed
		codes []int  // with which it is closed; nil: it need not be
	}{
		{"a frame of 2^62 bytes", hostile.FrameHeader(hostile.Final|hostile.OpText, 1<<62), nil, []int{1002, 1009}},
		{"a frame of 64 MiB", hostile.FrameHeader(hostile.Final|hostile.OpText, 64<<20), large, []int{1002, 1009}},
		{"a message of fragments without an end", hostile.Frame(hostile.OpText, large), hostile.Frame(hostile.OpContinuation, large), []int{1002, 1003, 1007, 1009, 4000}},
		{"a message of empty fragments", hostile.Frame(hostile.OpText, nil), bytes.Repeat(hostile.Frame(hostile.OpContinuation, nil), 1000), nil},
		{"a flood of pings", nil, bytes.Repeat(hostile.Frame(hostile.Final|hostile.OpPing, large[:125]), 100), nil},
		{"a flood of credentials", nil, bytes.Repeat(authenticate(token), 100), nil},
	} {
		for _, path := range []string{"/v1/session", "/v1/things/watch"} {
			w := s.socket("127.0.0.36", path, token)
			if w == nil {
				continue
			}
			sent := 0
			_ = w.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			for n, err := w.Write(a.first); err == nil && len(a.again) > 0; {
				sent += n
				if sent > 256<<20 && a.codes != nil {
					s.t.Errorf("%s to %s: %d MiB were taken", a.name, path, sent>>20)
					break
				}
				n, err = w.Write(a.again)
			}
			if a.codes != nil {
				_ = w.SetReadDeadline(time.Now().Add(10 * time.Second))
				code, err := w.CloseCode()
				// What was sent on after the close may take it away (RST).
				if !slices.Contains(a.codes, code) && !(err != nil && len(a.again) > 0 && !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err)) {
					s.t.Errorf("%s to %s: close code %d, %v", a.name, path, code, err)
				}
			}
			hostile.Abort(w.Conn)
			did = append(did, say("%d KiB", sent>>10))
		}
	}
	return "six kinds, to sessions and watches: " + strings.Join(did, ", ")
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// newKey stores a key of the API and gives it.
func (s *siege) newKey(id string) string {
	s.t.Helper()
	out, said, _ := output(s.t, exec.Command(process.Binary(s.t, process.Plain), "keys", "new", id, "--offline"))
	_, stored, _ := strings.Cut(said, "  - ")
	ctx, stub := s.stub(home, s.token("root", "operator"))
	if _, err := stub.Put(ctx, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: "system.keys/" + id, Data: jsonText(s.t, strings.TrimSpace(stored))}}); err != nil {
		s.t.Error(err)
	}
	return strings.TrimSpace(out)
}

func guess(id string) string {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	return "wr_" + id + "_" + base64.RawURLEncoding.EncodeToString(secret)
}

// authenticates checks that somebody else's key, which was never used, is found good
// within a second.
func (s *siege) authenticates(from, key string) time.Duration {
	s.t.Helper()
	client := hostile.HTTPClient(from, s.tls)
	defer client.CloseIdleConnections()
	began := time.Now()
	a, err := s.ask(client, http.MethodGet, "/v1/things/beat", key, nil)
	took := time.Since(began)
	if err != nil || a.status != http.StatusOK || took > time.Second {
		s.breaks("a good key from %s is answered %d, %v after %v", from, a.status, err, took.Round(time.Millisecond))
	}
	return took
}

// guessSlowly presents a thousand wrong secrets of a key that there is, on eight
// connections.
func (s *siege) guessSlowly() string {
	other := s.newKey("other")
	s.newKey("victim")
	var codes [600]atomic.Int64
	client := hostile.HTTPClient("127.0.0.40", s.tls)
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	var took time.Duration
	all.Go(func() { took = s.authenticates("127.0.0.41", other) })
	for range 8 {
		all.Go(func() {
			for range 125 {
				a, err := s.ask(client, http.MethodGet, "/v1/things/beat", guess("victim"), nil)
				if err != nil {
					s.t.Error(err)
					return
				}
				codes[a.status].Add(1)
			}
		})
	}
	all.Wait()
	if n := codes[http.StatusTooManyRequests].Load(); n < 800 || codes[http.StatusOK].Load() > 0 {
		s.t.Errorf("of 1000 guesses %d were refused for their number, %d got in", n, codes[http.StatusOK].Load())
	}
	return say("1000 guesses: %d looked at, %d not; another address's new key took %v", codes[http.StatusUnauthorized].Load(), codes[http.StatusTooManyRequests].Load(), took.Round(time.Millisecond))
}

// guessAtOnce presents many wrong secrets at once, on one connection of gRPC: none has
// failed yet when the last one comes.
func (s *siege) guessAtOnce() string {
	guesses := heavier(120, 1000)
	other := s.newKey("other")
	s.newKey("victim")
	h := s.must("127.0.0.42")
	if h == nil {
		return ""
	}
	answers := make([]*hostile.Answer, 0, guesses)
	for range guesses {
		// Watch asks who calls before it reads the request.
		_, a, err := h.Open(false, hostile.Call("Watch", bearer(guess("victim")))...)
		if err != nil {
			s.t.Error(err)
			return ""
		}
		answers = append(answers, a)
	}
	<-answers[0].Done // they are at it
	took := s.authenticates("127.0.0.43", other)
	codes := statuses(answers, time.Minute)
	if n := codes[""]; n > 0 {
		s.breaks("%d of %d guesses were not answered within a minute", n, guesses)
	}
	if looked := codes["16"]; looked > 100 {
		s.breaks("%d of %d guesses were looked at", looked, guesses)
	}
	return say("%d guesses at once: %d looked at, %d not; another address's new key took %v", guesses, codes["16"], codes["8"], took.Round(time.Millisecond))
}

// halfOpen opens watches through a relay that then forwards nothing more, while changes
// are written.
func (s *siege) halfOpen() string {
	var relays []*hostile.Relay
	for _, to := range []string{s.HTTP, s.GRPC} {
		r, err := hostile.NewRelay("127.0.0.44", to)
		if err != nil {
			s.t.Error(err)
			return ""
		}
		defer r.Close()
		relays = append(relays, r)
	}
	token := s.token("vanished")
	before := sum(s.metrics("watchroute_watches_open"))
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var begun sync.WaitGroup
	for i := range 100 {
		c, err := net.Dial("tcp", relays[0].Addr().String())
		if err != nil {
			s.t.Error(err)
			return ""
		}
		defer hostile.Abort(c)
		begun.Go(func() { s.watch(c, i%2 == 1, "", token) })
	}
	h, err := net.Dial("tcp", relays[1].Addr().String())
	if err != nil {
		s.t.Error(err)
		return ""
	}
	calls, err := hostile.OpenHTTP2(h)
	if err != nil {
		s.t.Error(err)
		return ""
	}
	defer calls.Close()
	begun.Wait()
	watch, err := proto.Marshal(&watchroutev1.WatchRequest{Parent: "things", Delivery: watchroutev1.Delivery_EVERY_CHANGE})
	if err != nil {
		s.t.Error(err)
		return ""
	}
	id, _, err := calls.Open(false, hostile.Call("Watch", bearer(token))...)
	if err == nil {
		err = calls.Data(ctx, id, hostile.Message(false, len(watch), watch), true)
	}
	if err != nil {
		s.t.Error(err)
	}
	s.answersPing(calls)
	for _, r := range relays {
		r.Freeze()
	}
	s.fill("half", heavier(2000, 20_000))
	open := sum(s.metrics("watchroute_watches_open")) - before
	if !full() {
		return say("101 watches whose clients vanished, %d of them still open; their end is not waited for", open)
	}
	// 30 s for a write that stalls, or for a ping's answer, twice that at most; on gRPC a
	// minute to the ping and 20 s for its answer.
	began := time.Now()
	var most time.Duration
	for ; open > 0 && time.Since(began) < 95*time.Second; open = sum(s.metrics("watchroute_watches_open")) - before {
		if open > 1 {
			most = time.Since(began)
		}
		select {
		case <-time.After(time.Second): // for another process
		case <-ctx.Done():
			return ""
		}
	}
	if open > 0 {
		s.t.Errorf("%d watches whose clients vanished are open after %v", open, time.Since(began))
	}
	return say("101 watches whose clients vanished: SSE and WebSocket ended within %.0f s, gRPC after %.0f s", most.Seconds()+1, time.Since(began).Seconds())
}

// watch begins a watch on a connection, over WebSocket or SSE, and reads no more than that
// it has begun.
func (s *siege) watch(c net.Conn, socket bool, query, token string) {
	header := "Accept: text/event-stream\r\n"
	if socket {
		header = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	}
	_, _ = io.WriteString(c, "GET /v1/things/watch?delivery=EVERY_CHANGE"+query+" HTTP/1.1\r\nHost: "+s.HTTP+"\r\nAuthorization: Bearer "+token+"\r\n"+header+"\r\n")
	if _, err := io.ReadFull(c, make([]byte, 20)); err != nil {
		s.t.Error(err)
	}
}

func sum(values map[string]int) (n int) {
	for _, v := range values {
		n += v
	}
	return n
}

// fill writes changes of a kilobyte, a hundred in a batch, from where the publisher is.
func (s *siege) fill(prefix string, changes int) {
	s.t.Helper()
	ctx, stub := s.stub(home, s.token("filler", "writer"))
	text := `{"fill":"` + strings.Repeat("x", 1000) + `","n":`
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for b := range changes / 100 / 4 {
				batch := &watchroutev1.WriteRequest{Parent: "things"}
				for i := range 100 {
					batch.Operations = append(batch.Operations, &watchroutev1.Operation{Action: &watchroutev1.Operation_Put{
						Put: &watchroutev1.Resource{Name: "things/" + prefix + "-" + strconv.Itoa(i), Data: jsonText(s.t, text+strconv.Itoa(b*4+w)+"}")}}})
				}
				if _, err := stub.Write(ctx, batch); err != nil {
					s.t.Errorf("a batch: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
}

// compile asks for lists with filters of 4 KiB, no two alike, as often as one principal
// may. One takes about 20 ms, and filter-time is 100 ms in a second.
func (s *siege) compile() string {
	const most = 40
	compiled, did := s.compileOf(1)
	if compiled > most {
		s.breaks("%d filters of one principal were compiled, about %d are allowed", compiled, most)
	}
	return did
}

// compileOfMany is compile by twenty principals.
func (s *siege) compileOfMany() string {
	_, did := s.compileOf(20)
	return did
}

func (s *siege) compileOf(principals int) (compiled int64, did string) {
	client := hostile.HTTPClient("127.0.0.45", s.tls)
	defer client.CloseIdleConnections()
	tokens := make([]string, principals)
	for i := range tokens {
		tokens[i] = s.token("compiler-" + strconv.Itoa(i))
	}
	var codes [600]atomic.Int64
	var n, worst atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	until := began.Add(heavier(1200*time.Millisecond, 5*time.Second))
	before, _ := s.Usage()
	for range 8 {
		all.Go(func() {
			for time.Now().Before(until) {
				i := n.Add(1)
				var parts []string
				for size := 0; size < 3900; {
					p := say(`(data.a%d+%d<data.b[%d]?[1]:[2]).exists(x,x==%d)`, len(parts), i, len(parts), i)
					parts = append(parts, p)
					size += len(p) + 2
				}
				began := time.Now()
				a, err := s.ask(client, http.MethodGet, "/v1/things?page_size=1&filter="+url.QueryEscape(strings.Join(parts, "||")), tokens[i%int64(principals)], nil)
				if err != nil {
					s.t.Error(err)
					return
				}
				codes[a.status].Add(1)
				worst.Store(max(worst.Load(), int64(time.Since(began))))
			}
		})
	}
	all.Wait()
	after, _ := s.Usage()
	share, compiled := (after-before).Seconds()/time.Since(began).Seconds(), codes[http.StatusOK].Load()
	return compiled, say("%d filters of 4 KiB: %d compiled, %d called wrong, %d refused; the slowest answer took %v; %.0f %% of a processor", n.Load(), compiled, codes[http.StatusBadRequest].Load(),
		codes[http.StatusTooManyRequests].Load(), time.Duration(worst.Load()).Round(time.Millisecond), 100*share)
}

// evaluate watches with 200 filters, no two alike, that take as long as one may on a large
// value, while such values are written.
func (s *siege) evaluate() string { return s.dear(1) }

// evaluateOfMany is evaluate by twenty principals.
func (s *siege) evaluateOfMany() string { return s.dear(20) }

func (s *siege) dear(principals int) string {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	conn := s.dialFrom("127.0.0.46")
	stub := watchroutev1.NewResourceServiceClient(conn)
	var ended atomic.Int64
	var opened, all sync.WaitGroup
	for i := range 200 {
		token := s.token("dear-" + strconv.Itoa(i%principals))
		opened.Add(1)
		all.Go(func() {
			begun := sync.OnceFunc(opened.Done)
			defer begun()
			w, err := stub.Watch(hostile.Bearer(ctx, token), &watchroutev1.WatchRequest{Parent: "things", Start: &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW},
				Filter: say(`has(data.l) && data.l.exists(x, data.l.exists(y, x + y == %d))`, 70_000+i)})
			for err == nil {
				_, err = w.Recv()
				begun()
			}
			if ctx.Err() == nil {
				if !strings.Contains(err.Error(), "filters") {
					s.t.Errorf("a dear watch ended with %v", err)
				}
				ended.Add(1)
			}
		})
	}
	opened.Wait()
	writing, writer := s.stub(home, s.token("filler", "writer"))
	value := strings.Repeat("1,", 3000)
	var slowest time.Duration
	n := 0
	ticks := time.NewTicker(10 * time.Millisecond) // below call-rate
	defer ticks.Stop()
	for until := time.Now().Add(heavier(1200*time.Millisecond, 10*time.Second)); time.Now().Before(until); n++ {
		<-ticks.C
		began := time.Now()
		if _, err := writer.Put(writing, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: "things/large", Data: jsonText(s.t, `{"l":[`+value+strconv.Itoa(n)+`]}`)}}); err != nil {
			s.t.Error(err)
			break
		}
		slowest = max(slowest, time.Since(began))
	}
	cancel()
	all.Wait()
	return say("200 watches of %d principals, %d ended; %d large values written meanwhile, the slowest in %v", principals, ended.Load(), n, slowest.Round(time.Millisecond))
}

// neverRead opens watches and reads nothing of them while 20,000 changes are written.
func (s *siege) neverRead() string {
	token := s.token("stuck")
	before := s.closed()
	var conns []net.Conn
	for i := range 200 {
		c := s.connect("127.0.0.47", s.HTTP)
		if c == nil {
			return ""
		}
		defer hostile.Abort(c)
		if i >= 2 { // those two read later, and fast
			_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		s.watch(c, i%2 == 1, "&from=NOW", token)
		conns = append(conns, c)
	}
	began := time.Now()
	s.fill("stuck", 20_000)
	wrote := time.Since(began)
	// Some begin to read: all is there.
	for _, c := range conns[:2] {
		if err := readUntil(c, `stuck-99`, 200); err != nil {
			s.t.Errorf("who reads late: %v", err)
		}
	}
	did := say("200 watches; 20,000 changes of 1 KB in %v; two read them later", wrote.Round(time.Millisecond))
	if full() {
		left := func() int { return 198 - (s.closed()["SLOW_READER"] - before["SLOW_READER"]) }
		for began := time.Now(); left() > 0 && time.Since(began) < 45*time.Second; {
			time.Sleep(time.Second) // for another process
		}
		did += say("; %d were not ended as slow readers within 45 s", left())
	}
	return did
}

// closed gives how many watches ended, by their reasons.
func (s *siege) closed() map[string]int {
	out := map[string]int{}
	for labels, n := range s.metrics("watchroute_watches_closed_total") {
		_, rest, _ := strings.Cut(labels, `reason="`)
		reason, _, _ := strings.Cut(rest, `"`)
		out[reason] += n
	}
	return out
}

// readUntil reads until a text came so often.
func readUntil(c net.Conn, text string, times int) error {
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf, kept := make([]byte, 64<<10), 0
	for times > 0 {
		n, err := c.Read(buf[kept:])
		if err != nil {
			return err
		}
		have := buf[:kept+n]
		times -= bytes.Count(have, []byte(text))
		kept = copy(buf, have[max(0, len(have)-len(text)+1):])
	}
	return nil
}

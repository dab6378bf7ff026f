package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"

	"github.com/watchroute/watchroute/e2e/browser"
	"github.com/watchroute/watchroute/e2e/process"
)

// pages serves the test page from an origin of its own.
func pages(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.FileServer(http.Dir(browser.Bundle(t))))
	t.Cleanup(s.Close)
	return s
}

// inPage is what a page's watcher holds.
type inPage struct {
	Picture map[string]struct {
		Revision string          `json:"revision"`
		Data     json.RawMessage `json:"data"`
	} `json:"picture"`
	Events   [][4]any       `json:"events"` // name, revision, state, time
	Modes    []string       `json:"modes"`
	Kinds    map[string]int `json:"kinds"`
	Resets   []string       `json:"resets"`
	Errors   []string       `json:"errors"`
	Connects int            `json:"connects"`
}

func look(p *browser.Page, name string) inPage {
	var w inPage
	p.Eval(&w, "watchers[%s]", name)
	return w
}

// shop writes orders and remembers what it wrote.
type shop struct {
	t      *testing.T
	orders shopv1.OrderServiceClient
	wrote  []string // name@revision, in order
	last   map[string]string
}

func (s *shop) put(id, customer string, status shopv1.OrderStatus) {
	s.t.Helper()
	r, err := s.orders.PutOrder(s.t.Context(), &shopv1.PutOrderRequest{OrderId: id, Resource: &shopv1.OrderResource{
		Data: &shopv1.Order{CustomerId: customer, Status: status, Total: &shopv1.Money{CurrencyCode: "EUR", Units: int64(len(s.wrote))}}}})
	if err != nil {
		s.t.Fatalf("PutOrder: %v", err)
	}
	name, revision := r.GetResource().GetName(), strconv.FormatUint(r.GetResource().GetRevision(), 10)
	s.wrote = append(s.wrote, name+"@"+revision)
	s.last[name] = revision
}

// await waits until a watcher in a page has been told of the last write, and checks
// that it was told of each write once, in order.
func (s *shop) await(p *browser.Page, name string, mine func(order string) bool) {
	s.t.Helper()
	var want []string
	for _, w := range s.wrote {
		if mine(w) {
			want = append(want, w)
		}
	}
	var w inPage
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		w = look(p, name)
		if len(w.Events) > 0 && fmt.Sprintf("%v@%v", w.Events[len(w.Events)-1][0], w.Events[len(w.Events)-1][1]) == want[len(want)-1] {
			break
		}
		if time.Now().After(deadline) {
			s.t.Errorf("%s was not told of the last write within %v: %d events, %v, errors %v", name, patience, len(w.Events), w.Kinds, w.Errors)
			return
		}
	}
	var told []string
	for _, e := range w.Events {
		told = append(told, fmt.Sprintf("%v@%v", e[0], e[1]))
	}
	if !slices.Equal(told, want) {
		s.t.Errorf("%s was told of %d events, %d were written: first difference at %d of\n%v\n%v", name, len(told), len(want), firstDifference(told, want), told, want)
	}
	for order, revision := range s.last {
		if held := w.Picture[order].Revision; mine(order+"@") && held != revision {
			s.t.Errorf("%s holds %s at %q, it is at %s", name, order, held, revision)
		}
	}
}

func firstDifference(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func newShop(t *testing.T, s *process.Server) *shop {
	return &shop{t: t, orders: shopv1.NewOrderServiceClient(s.Dial()), last: map[string]string{}}
}

// TestChromium_GoesOnAcrossARestart: P1, P2, P3, P5, P8 in a real browser: its
// EventSource reconnects by itself and hands its Last-Event-ID back; WebSocket,
// Session and gRPC-Web go on with the last token.
func TestChromium_GoesOnAcrossARestart(t *testing.T) {
	b, site := browser.Start(t), pages(t)
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop", "--allowed-origins", site.URL, "--drain-spread", "300ms"}})
	writer := newShop(t, s)
	page := b.Open(site.URL + "/page.html")
	defer page.Close()

	const query = "?delivery=EVERY_CHANGE&heartbeat=2s"
	page.Eval(nil, "void eventSource('EventSource', %s)", s.URL("/v1/orders/watch-all"+query))
	page.Eval(nil, "void webSocket('WebSocket', %s)", "ws://"+s.HTTP+"/v1/orders/watch"+query)
	page.Eval(nil, "void session('Session', %s, %s)", "ws://"+s.HTTP+"/v1/session", map[string]any{
		"all": map[string]any{"parent": "orders", "delivery": "EVERY_CHANGE"},
		"one": map[string]any{"names": []string{"orders/o3"}, "delivery": "EVERY_CHANGE"},
	})
	page.Eval(nil, "void grpcWeb('gRPC-Web typed', %s, true, '')", s.URL(""))
	page.Eval(nil, "void grpcWeb('gRPC-Web', %s, false, %s)", s.URL(""), `data.customer_id == "7"`)

	everything := func(string) bool { return true }
	watchers := map[string]func(string) bool{"EventSource": everything, "WebSocket": everything, "Session/all": everything,
		"Session/one":    func(order string) bool { return strings.HasPrefix(order, "orders/o3@") },
		"gRPC-Web typed": everything,
		"gRPC-Web":       func(order string) bool { return order[len("orders/o")]%2 == 1 }, // the odd ones are customer 7's
	}
	for name := range watchers {
		await(t, name+" to be open", func() bool { return look(page, name).Kinds["snapshotEnd"] == 1 })
	}
	write := func(status shopv1.OrderStatus) {
		t.Helper()
		for n := range 10 {
			writer.put(fmt.Sprintf("o%d", n), []string{"8", "7"}[n%2], status)
		}
	}
	check := func() {
		t.Helper()
		for name, mine := range watchers {
			writer.await(page, name, mine)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	write(shopv1.OrderStatus_PENDING)
	check()
	s.Stop() // each is told `drain`
	s.Start()
	write(shopv1.OrderStatus_PROCESSING)
	check()
	s.Kill() // nobody is told anything
	time.Sleep(time.Second)
	s.Start()
	write(shopv1.OrderStatus_SHIPPED)
	check()

	for name := range watchers {
		w := look(page, name)
		if w.Modes[0] != "SNAPSHOT" || len(w.Modes) < 3 || slices.Contains(w.Modes[1:], "SNAPSHOT") || len(w.Resets) > 0 {
			t.Errorf("%s started with %v, resets %v", name, w.Modes, w.Resets)
		}
		if w.Kinds["drain"] != 1 {
			t.Errorf("%s was told of %d drains", name, w.Kinds["drain"])
		}
		t.Logf("%s: %d events, started with %v, %v", name, len(w.Events), w.Modes, w.Kinds)
	}
	if w := look(page, "EventSource"); len(w.Errors) > 0 {
		t.Errorf("EventSource: %v", w.Errors)
	}
	if w := look(page, "WebSocket"); w.Kinds["close 1012"] != 1 {
		t.Errorf("the WebSocket's close codes: %v", w.Kinds)
	}
	if w := look(page, "Session"); w.Kinds["fence"] < 3 || len(w.Errors) > 0 {
		t.Errorf("the Session: %v %v", w.Kinds, w.Errors)
	}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// TestChromium_EventSourceSurvivesADrainThatTakesTime: P8, P12. Somebody who does
// not read holds up the end of the server. The browser, which was told to come back
// soon, comes back to a server that still listens: an EventSource that is then
// refused never connects again.
func TestChromium_EventSourceSurvivesADrainThatTakesTime(t *testing.T) {
	b, site := browser.Start(t), pages(t)
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop", "--allowed-origins", site.URL, "--drain-spread", "100ms", "--drain-time", "8s"}})
	writer := newShop(t, s)
	page := b.Open(site.URL + "/page.html")
	defer page.Close()
	page.Eval(nil, "void eventSource('EventSource', %s)", s.URL("/v1/orders/watch?delivery=EVERY_CHANGE"))
	await(t, "the EventSource to be open", func() bool { return look(page, "EventSource").Kinds["snapshotEnd"] == 1 })

	fill(t, s, "blobs")
	stall(t, s, "/v1/blobs/watch")
	writer.put("o1", "7", shopv1.OrderStatus_PENDING)
	writer.await(page, "EventSource", func(string) bool { return true })
	took := s.Stop()
	t.Logf("the server ended %v after SIGTERM", took.Round(time.Millisecond))
	if took < 2*time.Second {
		t.Error("nobody held the server up: this tests nothing")
	}
	s.Start()
	writer.put("o1", "7", shopv1.OrderStatus_SHIPPED)
	writer.await(page, "EventSource", func(string) bool { return true })
	w := look(page, "EventSource")
	t.Logf("the EventSource connected %d times: %v", w.Connects, w.Kinds)
	if w.Kinds["drain"] < 1 || w.Kinds["started"] != 2 || len(w.Resets) > 0 {
		t.Errorf("the EventSource was told %v, resets %v", w.Kinds, w.Resets)
	}
	for _, e := range w.Errors {
		if !strings.HasPrefix(e, "closed: 14 ") { // UNAVAILABLE: while the server was draining
			t.Error(e)
		}
	}
}

// fill writes more than the buffers of sockets hold.
func fill(t *testing.T, s *process.Server, collection string) {
	t.Helper()
	resources := watchroutev1.NewResourceServiceClient(s.Dial())
	for i := range 24 {
		value, err := anypb.New(&watchroutev1.Json{Text: `{"text":"` + strings.Repeat("x", 900_000) + `"}`})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := resources.Put(t.Context(), &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: fmt.Sprintf("%s/%d", collection, i), Data: value}}); err != nil {
			t.Fatal(err)
		}
	}
}

// stall opens a watch and never reads what it sends, which must be more than the
// sockets' buffers hold.
func stall(t *testing.T, s *process.Server, path string) {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		// Before it connects, or the window is larger than the buffer.
		var err error
		if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }); e != nil {
			return e
		}
		return err
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, s.HTTP); err != nil {
		t.Fatal(err)
	}
	// It stalls once what was handed out no longer grows.
	sent := 0.0
	await(t, "the watch to stall", func() bool {
		before := sent
		time.Sleep(300 * time.Millisecond)
		sent = s.Metric("watchroute_bytes_sent_total")
		return sent > 1<<19 && sent == before
	})
}

// TestChromium_APageOfAnotherOriginIsKeptOut: unless it is allowed.
func TestChromium_APageOfAnotherOriginIsKeptOut(t *testing.T) {
	b, site := browser.Start(t), pages(t)
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop"}})
	put(t, s, "orders/1", `{"customerId":"7"}`)
	page := b.Open(site.URL + "/page.html")
	defer page.Close()
	page.Eval(nil, "void eventSource('EventSource', %s)", s.URL("/v1/orders/watch"))
	page.Eval(nil, "void webSocket('WebSocket', %s)", "ws://"+s.HTTP+"/v1/orders/watch")
	page.Eval(nil, "void grpcWeb('gRPC-Web', %s, true, '')", s.URL(""))
	await(t, "all three to fail", func() bool {
		return len(look(page, "EventSource").Errors) > 0 && look(page, "WebSocket").Kinds["close 1006"] > 0 && look(page, "gRPC-Web").Kinds["failure"] > 0
	})
	for _, name := range []string{"EventSource", "WebSocket", "gRPC-Web"} {
		if w := look(page, name); len(w.Events) > 0 || w.Connects > 0 {
			t.Errorf("%s let a page of another origin see %v", name, w.Events)
		}
	}
	var wrote bool
	page.Eval(&wrote, `fetch(%s, {method: "PUT", body: '{"data":{}}'}).then((r) => r.ok, () => false)`, s.URL("/v1/orders/2"))
	if a := curl(t, s.URL("/v1/orders/2")); wrote || a.status != "404" {
		t.Errorf("a page of another origin wrote: %+v", a)
	}
	page.Eval(&wrote, `fetch(%s, {method: "POST", mode: "no-cors", body: '{"operations":[{"put":{"name":"orders/3","data":{}}}]}'}).then(() => true, () => false)`, s.URL("/v1/orders:write"))
	if a := curl(t, s.URL("/v1/orders/3")); a.status != "404" {
		t.Errorf("a page of another origin wrote without CORS: %+v", a)
	}
}

// TestChromium_TheConsoleShowsOrders: the page that the binary serves, on both of
// its halves, also after a restart.
func TestChromium_TheConsoleShowsOrders(t *testing.T) {
	b := browser.Start(t)
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop", "--drain-spread", "300ms"}})
	writer := newShop(t, s)
	page := b.Open(s.URL("/"))
	defer page.Close()
	shows := func(parts ...string) {
		t.Helper()
		var text string
		for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			text = page.Text()
			missing := slices.IndexFunc(parts, func(part string) bool { return strings.Count(text, part) < 2 })
			if missing < 0 && strings.Contains(text, "both agree") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the page does not show %v on both halves within %v:\n%s", parts, patience, text)
			}
		}
	}
	writer.put("first-1", "cust-7", shopv1.OrderStatus_PENDING)
	shows("first-1", "cust-7", "PENDING")
	writer.put("first-1", "cust-7", shopv1.OrderStatus_SHIPPED)
	writer.put("second-2", "cust-8", shopv1.OrderStatus_DELIVERED)
	shows("first-1", "SHIPPED", "second-2", "DELIVERED")
	page.Eval(nil, `void document.getElementById("swap").click()`)
	writer.put("third-3", "cust-9", shopv1.OrderStatus_PENDING)
	shows("third-3")
	s.Stop()
	s.Start()
	writer.put("fourth-4", "cust-9", shopv1.OrderStatus_PENDING)
	shows("first-1", "second-2", "third-3", "fourth-4")
	var snapshots []string
	page.Eval(&snapshots, `[...document.querySelectorAll('dd[data-of="snapshots"]')].map((e) => e.textContent)`)
	if !slices.Equal(snapshots, []string{"1", "1"}) {
		t.Errorf("the halves took %v snapshots", snapshots)
	}
}

// TestConnectWeb_InNodeEachMessageComesAsItHappens: P7 and incremental streaming.
func TestConnectWeb_InNodeEachMessageComesAsItHappens(t *testing.T) {
	bundle := browser.Bundle(t)
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop", "--drain-spread", "100ms"}})
	writer := newShop(t, s)
	writer.put("o0", "7", shopv1.OrderStatus_PENDING)
	writer.put("o1", "8", shopv1.OrderStatus_PENDING)
	cmd := exec.Command("node", filepath.Join(bundle, "node.mjs"), s.URL(""), `data.customer_id == "7"`)
	cmd.Env = process.Env()
	watch := start(t, cmd)
	watch.line(contains(`"started"`, `"SNAPSHOT"`))
	if line := watch.line(contains(`"events"`)); !strings.Contains(line, `"orders/o0"`) || strings.Contains(line, `"orders/o1"`) {
		t.Errorf("the snapshot: %s", line)
	}
	watch.line(contains(`"snapshotEnd"`))
	for _, status := range []shopv1.OrderStatus{shopv1.OrderStatus_PROCESSING, shopv1.OrderStatus_SHIPPED, shopv1.OrderStatus_DELIVERED} {
		began := time.Now()
		writer.put("o0", "7", status)
		watch.line(contains(`"orders/o0"`, status.String()))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s came after %v", status, took)
		}
	}
	s.Stop()
	watch.line(contains(`"drain"`))
	watch.line(contains(`"end":true`)) // status OK
	if err := watch.end(); err != nil {
		t.Errorf("Node ended with %v: %s", err, watch.errors())
	}
}

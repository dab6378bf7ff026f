package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	_ "github.com/watchroute/watchroute/gen/go/shop/v1" // the contract
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/server"
	"github.com/watchroute/watchroute/server/contract"
)

// grpc-web's timers have a goroutine of their own that never ends.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/desertbit/timer.timerRoutine"))
}

// testNode is a node in memory with its HTTP side.
type testNode struct {
	t       *testing.T
	log     *local.Log
	hub     *hub.Hub
	service *server.Service
	grpc    *grpc.Server
	http    *httptest.Server
	url     string

	mu     sync.Mutex
	opened []string // collection and transport of each watch
	closed []string // and the reason of its end
}

// WatchOpened implements hub.Observer.
func (n *testNode) WatchOpened(collection, transport string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened = append(n.opened, collection+" "+transport)
}

// WatchClosed implements hub.Observer.
func (n *testNode) WatchClosed(collection, transport, reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = append(n.closed, collection+" "+transport+" "+reason)
}

// Meter implements hub.Observer.
func (*testNode) Meter(string, string) hub.Meter { return hub.Unmetered{} }

// WatchReset implements hub.Observer.
func (*testNode) WatchReset(string, string, watchroutev1.Reset_Reason) {}

// ended waits for the end of a watch.
func (n *testNode) ended(want string) {
	n.t.Helper()
	defer func() {
		if n.t.Failed() {
			n.t.Logf("ended: %q, want %q", n.closed, want)
		}
	}()
	eventually(n.t, func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return slices.Contains(n.closed, want)
	})
}

type option func(*Config, *hub.Config)

func with(f func(*Config)) option { return func(c *Config, _ *hub.Config) { f(c) } }

func newNode(t *testing.T, options ...option) *testNode {
	t.Helper()
	return newNodeOf(t, local.Config{}, options...)
}

func newNodeOf(t *testing.T, lc local.Config, options ...option) *testNode {
	t.Helper()
	contracts, err := contract.Load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := &testNode{t: t, log: changelogtest.OpenMem(t, lc)}
	hc := hub.Config{Log: n.log, Schemas: contracts.Schemas, RevisionWait: 50 * time.Millisecond, Observer: n}
	cfg := Config{Contracts: contracts, Logger: slog.New(slog.DiscardHandler)}
	for _, o := range options {
		o(&cfg, &hc)
	}
	contracts = cfg.Contracts
	if n.hub, err = hub.New(hc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.hub.Close)
	if n.service, err = server.New(server.Config{Log: n.log, Hub: n.hub, Schemas: contracts.Schemas, AutoCreate: true, Logger: cfg.Logger}); err != nil {
		t.Fatal(err)
	}
	cfg.Service = n.service
	n.grpc, _ = server.NewGRPC(server.GRPCConfig{Service: n.service, Contracts: contracts})
	t.Cleanup(n.grpc.Stop)
	cfg.GRPC = n.grpc
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var requests sync.WaitGroup
	ctx, cut := context.WithCancel(context.Background())
	n.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		defer requests.Done()
		g.ServeHTTP(w, r)
	}))
	n.http.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	n.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	n.http.Start()
	n.url = n.http.URL
	t.Cleanup(func() {
		cut()
		n.http.CloseClientConnections()
		n.http.Close()
		requests.Wait()
		g.Close()
	})
	return n
}

// answer is an HTTP answer, read.
type reply struct {
	*http.Response
	body string
}

func (r *reply) String() string { return r.Status + " " + r.body }

// do sends a request; headers are pairs.
func (n *testNode) do(method, path, body string, headers ...string) *reply {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := n.http.Client().Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return &reply{res, string(text)}
}

// put writes a resource and fails the test if that fails.
func (n *testNode) put(name, data string) *reply {
	n.t.Helper()
	r := n.do("PUT", "/v1/"+name, `{"data":`+data+`}`)
	if r.StatusCode != 200 {
		n.t.Fatalf("PUT %s: %s", name, r)
	}
	return r
}

// fill writes resources of some size, past the checks, which take their time.
func (n *testNode) fill(count, size int) {
	n.t.Helper()
	w := changelog.Write{Collection: "notes"}
	data := []byte(`{"a":"` + strings.Repeat("x", size) + `"}`)
	for i := range count {
		w.Ops = append(w.Ops, changelog.Op{ID: strconv.Itoa(i), Data: data})
	}
	if _, err := n.log.Write(n.t.Context(), w); err != nil {
		n.t.Fatal(err)
	}
}

// watches waits until so many watches are open.
func (n *testNode) watches(want int) {
	n.t.Helper()
	eventually(n.t, func() bool { return n.hub.Count() == want })
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it has not come about in 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}

// errorBody is what the documentation says that the body of an error is.
type errorBody struct {
	Code    int
	Message string
	Details []struct {
		Type     string `json:"@type"`
		Reason   string
		Domain   string
		Metadata map[string]string
	}
}

func (r *reply) reason(t *testing.T) (reason string, metadata map[string]string) {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal([]byte(r.body), &e); err != nil || len(e.Details) == 0 || e.Details[0].Domain != "watchroute.dev" || e.Message == "" {
		t.Fatalf("not an error as documented: %s %v", r, err)
	}
	return e.Details[0].Reason, e.Details[0].Metadata
}

// lines reads a stream line by line.
type lines struct {
	t      *testing.T
	res    *http.Response
	r      *bufio.Reader
	cancel context.CancelFunc
}

func (n *testNode) stream(path string, headers ...string) *lines {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", n.url+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := n.http.Client().Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	l := &lines{n.t, res, bufio.NewReader(res.Body), cancel}
	n.t.Cleanup(l.close)
	return l
}

func (l *lines) close() {
	l.cancel()
	_ = l.res.Body.Close()
}

// next gives the next line, without its end; io.EOF at the end of the stream.
func (l *lines) next() (string, error) {
	line, err := l.r.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

func (l *lines) must() string {
	l.t.Helper()
	line, err := l.next()
	if err != nil {
		l.t.Fatalf("after %q: %v", line, err)
	}
	return line
}

// watchLine is what tests look at of a WatchResponse.
type watchLine struct {
	Revision    string
	ResumeToken string
	Started     *struct{ Mode string }
	Events      *struct {
		Events []struct {
			State, Cause string
			Resource     struct {
				Name string
				Type string
				Data json.RawMessage
			}
		}
	}
	SnapshotEnd, Bookmark *struct{}
	Reset                 *struct{ Reason string }
	Drain                 *struct{ ReconnectAfter string }
	Closed                *errorBody
}

func parseLine(t *testing.T, text string) watchLine {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	var m map[string]json.RawMessage
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var w watchLine
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return w
}

func (l *lines) message() watchLine {
	l.t.Helper()
	return parseLine(l.t, l.must())
}

package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server/config"
)

func TestMain(m *testing.M) {
	// improbable-eng/grpc-web imports a package that starts this one in its init.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/desertbit/timer.timerRoutine"))
}

func settings(t *testing.T) config.Config {
	c := config.Default()
	c.Data, c.HTTP, c.GRPC = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	c.DrainTime, c.DrainSpread = 10*time.Second, time.Second
	return c
}

var quiet = slog.New(slog.DiscardHandler)

// start starts a node that is stopped at the end of the test at the latest.
func start(t *testing.T, c config.Config) *Node {
	t.Helper()
	n, err := Start(t.Context(), c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func dial(t *testing.T, n *Node) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(n.grpcAddr.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func put(t *testing.T, conn *grpc.ClientConn, name, text string) uint64 {
	t.Helper()
	r, err := watchroutev1.NewResourceServiceClient(conn).Put(t.Context(), &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: name, Data: wire.JSONText([]byte(text))}})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetRevision()
}

// page gets a page and gives its status and text.
func page(t *testing.T, n *Node, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + n.httpAddr.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

func TestStart_ServesOnWhatItBound(t *testing.T) {
	for _, onePort := range []bool{false, true} {
		t.Run(fmt.Sprintf("one port %v", onePort), func(t *testing.T) {
			c := settings(t)
			c.OnePort = onePort
			n := start(t, c)
			front, calls := n.Addresses()
			if (front.String() == calls.String()) != onePort {
				t.Errorf("bound %v and %v", front, calls)
			}
			conn := dial(t, n)
			put(t, conn, "notes/1", `{"text": "hi"}`)
			if code, text := page(t, n, "/v1/notes/1"); code != http.StatusOK || !strings.Contains(text, `"data":{"text":"hi"}`) {
				t.Errorf("got %d %s", code, text)
			}
			if code, _ := page(t, n, "/readyz"); code != http.StatusOK {
				t.Errorf("readyz: %d", code)
			}
			if h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("health: %v, %v", h, err)
			}
			if _, text := page(t, n, "/metrics"); !strings.Contains(text, `watchroute_head_revision{collection="notes"} 1`) {
				t.Error("the metrics have no head")
			}
			if code, text := page(t, n, "/"); code != http.StatusOK || !strings.Contains(text, "<!doctype html>") {
				t.Errorf("the page: %d", code)
			}
		})
	}
}

func TestStop_LeavesTheDataForTheNextStart(t *testing.T) {
	c := settings(t)
	n := start(t, c)
	conn := dial(t, n)
	revision := put(t, conn, "notes/1", `{"n": 1}`)
	token := snapshotToken(t, conn)
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	conn = dial(t, start(t, c))
	client := watchroutev1.NewResourceServiceClient(conn)
	r, err := client.Get(t.Context(), &watchroutev1.GetRequest{Name: "notes/1"})
	if err != nil || r.GetRevision() != revision {
		t.Fatalf("got %v, %v", r, err)
	}
	put(t, conn, "notes/2", `{}`)
	stream, err := client.Watch(t.Context(), &watchroutev1.WatchRequest{Parent: "notes", Start: &watchroutev1.WatchRequest_ResumeToken{ResumeToken: token}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 2 {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetStarted() != nil {
			got = append(got, m.GetStarted().GetMode().String())
		}
		for _, e := range m.GetEvents().GetEvents() {
			got = append(got, e.GetResource().GetName())
		}
	}
	if !slices.Equal(got, []string{"RESUMED", "notes/2"}) {
		t.Errorf("got %q", got)
	}
}

// snapshotToken watches notes up to the end of the snapshot.
func snapshotToken(t *testing.T, conn *grpc.ClientConn) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := watchroutev1.NewResourceServiceClient(conn).Watch(ctx, &watchroutev1.WatchRequest{Parent: "notes"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetSnapshotEnd() != nil {
			return m.GetResumeToken()
		}
	}
}

func TestStop_TellsEveryWatchWhenToComeBack(t *testing.T) {
	n := start(t, settings(t))
	conn := dial(t, n)
	put(t, conn, "notes/1", `{}`)
	stream, err := watchroutev1.NewResourceServiceClient(conn).Watch(t.Context(), &watchroutev1.WatchRequest{Parent: "notes"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // it is open
		t.Fatal(err)
	}
	sse := open(t, n, "/v1/notes/watch")
	defer sse.Close()
	lines := bufio.NewReader(sse)
	for line := ""; !strings.HasPrefix(line, "event: snapshot_end"); {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}

	began, stopped := time.Now(), make(chan error)
	go func() { stopped <- n.Stop(context.Background()) }()
	var last *watchroutev1.WatchResponse
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = m
	}
	if after := last.GetDrain().GetReconnectAfter().AsDuration(); after < 100*time.Millisecond || after > time.Second || last.GetResumeToken() == "" {
		t.Errorf("the last message is %v", last)
	}
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), "event: drain\nretry: ") {
		t.Errorf("got %q, %v", rest, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("nobody was in the way, and it took %v", took)
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Errorf("stopping again: %v", err)
	}
}

// open asks for a stream of events by hand and returns the connection.
func open(t *testing.T, n *Node, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", n.httpAddr.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	return conn
}

// stall opens watches that do not read, and writes until they are behind.
func stall(t *testing.T, n *Node) {
	t.Helper()
	conn := dial(t, n)
	put(t, conn, "notes/0", `{}`)
	for range 3 {
		stream, err := watchroutev1.NewResourceServiceClient(dial(t, n)).Watch(t.Context(), &watchroutev1.WatchRequest{Parent: "notes", Delivery: watchroutev1.Delivery_EVERY_CHANGE})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		sse := open(t, n, "/v1/notes/watch?delivery=EVERY_CHANGE")
		t.Cleanup(func() { _ = sse.Close() })
		if _, err := sse.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.Repeat("x", 500_000)
	for i := range 40 {
		put(t, conn, fmt.Sprintf("notes/%d", i), `{"text":"`+text+`"}`)
	}
}

func TestStop_IsBoundedWithReadersThatDoNotRead(t *testing.T) {
	c := settings(t)
	c.DrainTime = time.Second
	n := start(t, c)
	stall(t, n)
	began := time.Now()
	if err := n.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < c.DrainTime/2 || took > c.DrainTime+cutTime+2*time.Second {
		t.Errorf("took %v", took) // less: nobody was in the way
	}
}

func TestStop_IsImmediateOnceItsContextHasEnded(t *testing.T) {
	c := settings(t)
	c.DrainTime = time.Hour
	n := start(t, c)
	stall(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, func() {
		if n.hub.Count() == 0 {
			t.Error("nobody was in the way")
		}
		cancel()
	})
	began := time.Now()
	if err := n.Stop(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > cutTime+3*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestStart_SaysWhatIsInTheWay(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	running := settings(t)
	start(t, running)
	noSet := filepath.Join(t.TempDir(), "set.binpb")
	if err := os.WriteFile(noSet, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"setting":     {func(c *config.Config) { c.Heartbeat = 0 }, "heartbeat"},
		"HTTP port":   {func(c *config.Config) { c.HTTP = taken.Addr().String() }, "http: "},
		"gRPC port":   {func(c *config.Config) { c.GRPC = taken.Addr().String() }, "grpc: "},
		"data folder": {func(c *config.Config) { c.Data = running.Data }, running.Data},
		"no contract": {func(c *config.Config) { c.Contracts = []string{noSet} }, "set.binpb: not a descriptor set"},
		"no file":     {func(c *config.Config) { c.Contracts = []string{noSet + "x"} }, "set.binpbx"},
		"no shop":     {func(c *config.Config) { c.Contracts = []string{config.ExampleContract, noSet + "x"} }, "set.binpbx"},
	} {
		t.Run(name, func(t *testing.T) {
			c := settings(t)
			test.change(&c)
			n, err := Start(t.Context(), c, quiet)
			if err == nil {
				_ = n.Stop(t.Context())
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q does not say %q", err, test.want)
			}
			t.Log(err)
		})
	}
}

func TestStart_BindsTheExampleOnlyWhereItIsNamed(t *testing.T) {
	n := start(t, settings(t))
	put(t, dial(t, n), "orders/1", `{"anything": true}`)

	c := settings(t)
	c.Contracts = []string{config.ExampleContract}
	bySelf(t, c)

	// The same contract as a user would bring it.
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(shopv1.File_shop_v1_orders_proto)}}
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	c = settings(t)
	c.Contracts = []string{filepath.Join(t.TempDir(), "shop.binpb")}
	if err := os.WriteFile(c.Contracts[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	bySelf(t, c)
}

// bySelf writes and reads an order with the shop's stub.
func bySelf(t *testing.T, c config.Config) {
	t.Helper()
	orders := shopv1.NewOrderServiceClient(dial(t, start(t, c)))
	if _, err := orders.PutOrder(t.Context(), &shopv1.PutOrderRequest{OrderId: "42", Resource: &shopv1.OrderResource{Data: &shopv1.Order{CustomerId: "7"}}}); err != nil {
		t.Fatal(err)
	}
	r, err := orders.GetOrder(t.Context(), &shopv1.GetOrderRequest{OrderId: "42"})
	if err != nil || r.GetData().GetCustomerId() != "7" || r.GetData().GetOrderId() != "42" {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestRun_StopsWhatRunsBesideItFirst(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var beside error
	err := Run(ctx, settings(t), quiet, func(ctx context.Context, n *Node) {
		cancel()
		<-ctx.Done()
		beside = n.isReady()
	})
	if err != nil || beside != nil {
		t.Errorf("got %v; beside: %v", err, beside)
	}
}

func TestRun_EndsWhenAListenerBreaks(t *testing.T) {
	err := Run(t.Context(), settings(t), quiet, func(ctx context.Context, n *Node) {
		n.failed <- errors.New("grpc: the network is gone")
		<-ctx.Done()
	})
	if err == nil || !strings.Contains(err.Error(), "network is gone") {
		t.Errorf("got %v", err)
	}
}

func TestOperations_DocumentsEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, settings(t))
	conn := dial(t, n)
	put(t, conn, "notes/1", `{}`)
	snapshotToken(t, conn)
	_, metrics := page(t, n, "/metrics")
	found := 0
	for line := range strings.Lines(metrics) {
		name, ok := strings.CutPrefix(line, "# TYPE watchroute_")
		if !ok {
			continue
		}
		found++
		name, _, _ = strings.Cut(name, " ")
		if !strings.Contains(string(text), "| `watchroute_"+name+"` |") {
			t.Errorf("docs/operations.md does not say what watchroute_%s is", name)
		}
	}
	if found < 8 {
		t.Errorf("found only %d metrics:\n%s", found, metrics)
	}
}

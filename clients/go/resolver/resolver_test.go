package resolver_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	watchroute "github.com/watchroute/watchroute/clients/go"
	"github.com/watchroute/watchroute/clients/go/resolver"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry is a server whose one watch says what the test says.
type registry struct {
	watchroutev1.UnimplementedResourceServiceServer
	requests chan *watchroutev1.WatchRequest
	say      chan *watchroutev1.WatchResponse
	fail     chan error
}

func (r *registry) Watch(request *watchroutev1.WatchRequest, stream grpc.ServerStreamingServer[watchroutev1.WatchResponse]) error {
	r.requests <- request
	for {
		select {
		case m := <-r.say:
			if err := stream.Send(m); err != nil {
				return err
			}
		case err := <-r.fail:
			return err
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (r *registry) state(addresses ...string) {
	r.say <- &watchroutev1.WatchResponse{Body: &watchroutev1.WatchResponse_Started{Started: &watchroutev1.Started{Mode: watchroutev1.Started_SNAPSHOT}}}
	for _, a := range addresses {
		r.say <- change(1, "", a, true)
	}
	r.say <- &watchroutev1.WatchResponse{Revision: 1, ResumeToken: "t1", Body: &watchroutev1.WatchResponse_SnapshotEnd{SnapshotEnd: &watchroutev1.SnapshotEnd{}}}
}

// change is an address that comes or goes; it is its own id, but for the colon.
func change(revision uint64, token, address string, comes bool) *watchroutev1.WatchResponse {
	host, port, _ := net.SplitHostPort(address)
	e := &watchroutev1.Event{State: watchroutev1.State_ABSENT, Resource: &watchroutev1.Resource{Name: "endpoints/" + host + "-" + port, Revision: revision}}
	if comes {
		e.State = watchroutev1.State_PRESENT
		e.Resource.Data, _ = anypb.New(&watchroutev1.Json{Text: `{"service":"echo","address":"` + address + `"}`})
	}
	return &watchroutev1.WatchResponse{Revision: revision, ResumeToken: token, Body: &watchroutev1.WatchResponse_Events{Events: &watchroutev1.EventBatch{Events: []*watchroutev1.Event{e}}}}
}

func serve(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until Stop
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr().String()
}

func start(t *testing.T) (*registry, *resolver.Builder) {
	t.Helper()
	r := &registry{requests: make(chan *watchroutev1.WatchRequest, 10), say: make(chan *watchroutev1.WatchResponse), fail: make(chan error)}
	client, err := watchroute.Dial(serve(t, func(s *grpc.Server) { watchroutev1.RegisterResourceServiceServer(s, r) }), watchroute.WithBackoff(time.Millisecond, time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return r, &resolver.Builder{Client: client}
}

// connection is what a resolver tells.
type connection struct {
	grpcresolver.ClientConn
	states chan []string
	errors chan error
}

func (c *connection) UpdateState(s grpcresolver.State) error {
	addresses := []string{}
	for _, a := range s.Addresses {
		addresses = append(addresses, a.Addr)
	}
	c.states <- addresses
	return nil
}

func (c *connection) ReportError(err error) { c.errors <- err }

func build(t *testing.T, b *resolver.Builder, target string) (*connection, grpcresolver.Resolver) {
	t.Helper()
	c := &connection{states: make(chan []string, 10), errors: make(chan error, 10)}
	var parsed grpcresolver.Target
	parsed.URL.Scheme, parsed.URL.Path = resolver.Scheme, target
	r, err := b.Build(parsed, c, grpcresolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

func expect(t *testing.T, c *connection, want ...string) {
	t.Helper()
	select {
	case got := <-c.states:
		if !slices.Equal(got, want) {
			t.Errorf("got %q, expected %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing was told; expected %q", want)
	}
}

func TestResolver_FollowsTheCollection(t *testing.T) {
	r, b := start(t)
	c, resolved := build(t, b, "/endpoints/echo")
	if got := <-r.requests; got.GetParent() != "endpoints" || got.GetFilter() != `data.service == "echo"` {
		t.Errorf("watched %v", got)
	}
	r.state()
	expect(t, c)
	r.say <- change(2, "t2", "10.0.0.2:1", true)
	expect(t, c, "10.0.0.2:1")
	r.say <- change(3, "t3", "10.0.0.1:1", true)
	expect(t, c, "10.0.0.1:1", "10.0.0.2:1")
	r.fail <- status.Error(codes.Unavailable, "gone")
	if got := <-r.requests; got.GetResumeToken() != "t3" {
		t.Errorf("came back with %v", got)
	}
	r.say <- &watchroutev1.WatchResponse{Revision: 3, ResumeToken: "t3", Body: &watchroutev1.WatchResponse_Started{Started: &watchroutev1.Started{Mode: watchroutev1.Started_RESUMED}}}
	r.say <- change(4, "t4", "10.0.0.2:1", false)
	expect(t, c, "10.0.0.1:1")
	resolved.Close()
	if err := <-c.errors; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestResolver_ReportsWhatIsFinal(t *testing.T) {
	r, b := start(t)
	c, resolved := build(t, b, "/endpoints")
	<-r.requests
	r.fail <- status.Error(codes.PermissionDenied, "no")
	if err := <-c.errors; status.Code(err) != codes.PermissionDenied {
		t.Errorf("reported %v", err)
	}
	resolved.Close()
	if _, err := b.Build(grpcresolver.Target{}, c, grpcresolver.BuildOptions{}); err == nil {
		t.Error("a target without a collection is taken")
	}
}

func TestResolver_LetsGRPCCallWhatIsThere(t *testing.T) {
	r, b := start(t)
	var addresses []string
	for range 2 {
		addresses = append(addresses, serve(t, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, health.NewServer()) }))
	}
	conn, err := grpc.NewClient("watchroute:///endpoints/echo", grpc.WithResolvers(b), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var feeding sync.WaitGroup
	feeding.Go(func() { r.state(addresses...) })
	seen := map[string]bool{}
	for len(seen) < 2 {
		var from peer.Peer
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&from), grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
		cancel()
		seen[from.Addr.String()] = true
	}
	feeding.Wait()
}

package transporttest

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/watchroute/watchroute/gateway"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/server"
	"github.com/watchroute/watchroute/server/contract"
)

// Options says what a node is like. The zero value is a node as users have it, but
// that its log is in memory.
type Options struct {
	// Contracts are those that the node serves. Default: those that are compiled
	// in, loaded anew.
	Contracts *contract.Set
	// Retention is the log's.
	Retention changelog.Retention
	// RingBytes bounds what the hub keeps in memory of each collection. Default:
	// the hub's.
	RingBytes int64
	// Heartbeat is that of watches that ask for none. Default: 10 minutes, so that
	// a test that needs a bookmark must say so.
	Heartbeat time.Duration
	// WriteBuffer is the size of the sockets' write buffers in bytes. Default: the
	// system's.
	WriteBuffer int
	// WriteTimeout is how long a reader may take nothing. Default: 2 minutes, which no
	// test takes.
	WriteTimeout time.Duration
	// MaxValueBytes bounds one value. Default: the server's.
	MaxValueBytes int
	// NoAutoCreate refuses writes to collections that do not exist.
	NoAutoCreate bool
	// OnePort serves gRPC and HTTP on one port, and on one that speaks TLS.
	OnePort bool
	// Dir is a folder on the disk for the log. Default: a file system in memory.
	Dir string
	// Guard asks for credentials. Default: nobody does.
	Guard *Guard
	// EventsPerSecond bounds what a watch is handed, MaxAge how old it becomes. Default:
	// no bound.
	EventsPerSecond float64
	MaxAge          time.Duration
}

// Node is a node in this process: log, hub, server and gateway, on two TCP ports, and
// two that speak TLS, which it keeps when it is restarted.
type Node struct {
	t       testing.TB
	options Options
	fs      vfs.FS
	grpc    *port
	http    *port
	grpcTLS *port
	httpTLS *port

	// Clock is the log's.
	Clock *Clock
	// Log and Hub are those of the running generation.
	Log *local.Log
	Hub *hub.Hub

	watches *watches
	calls   *grpc.ClientConn
	issuer  access.Issuer // of a guarded node

	stop func(drain time.Duration)
}

// StartNode starts a node that ends with the test.
func StartNode(t testing.TB, o Options) *Node {
	t.Helper()
	n := &Node{t: t, options: o, fs: vfs.NewMem(), Clock: &Clock{}}
	if o.Dir != "" {
		n.fs = vfs.Default
	} else {
		n.options.Dir = "log"
	}
	if o.Contracts == nil {
		set, err := contract.Load(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		n.options.Contracts = set
	}
	if o.Heartbeat == 0 {
		n.options.Heartbeat = 10 * time.Minute
	}
	if o.WriteTimeout == 0 {
		n.options.WriteTimeout = 2 * time.Minute
	}
	n.http = openPort(t, o.WriteBuffer)
	n.httpTLS = openPort(t, o.WriteBuffer)
	if n.grpc, n.grpcTLS = n.http, n.httpTLS; !o.OnePort {
		n.grpc, n.grpcTLS = openPort(t, o.WriteBuffer), openPort(t, o.WriteBuffer)
	}
	if o.Guard != nil {
		n.issuer = issuer(t)
	}
	n.start()
	t.Cleanup(func() { n.stop(0) })
	dialing := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if o.Guard != nil {
		dialing = append(dialing, grpc.WithUnaryInterceptor(asOperator))
	}
	conn, err := grpc.NewClient(n.grpc.address(), dialing...)
	if err != nil {
		t.Fatal(err)
	}
	n.calls = conn
	t.Cleanup(func() { _ = conn.Close() })
	return n
}

// Service gives a client of the node, for what a scenario writes and reads beside
// the transport that it tests.
func (n *Node) Service() watchroutev1.ResourceServiceClient {
	return watchroutev1.NewResourceServiceClient(n.calls)
}

// Restart ends the node as a server ends that is told to, and starts it again with
// the same store on the same ports.
func (n *Node) Restart() {
	n.t.Helper()
	n.stop(patience)
	n.start()
}

func (n *Node) start() {
	n.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	o := n.options
	check := func(err error) {
		if err != nil {
			n.t.Helper()
			n.t.Fatal(err)
		}
	}
	var err error
	n.Log, err = local.Open(context.Background(), local.Config{Dir: o.Dir, FS: n.fs, Retention: o.Retention, Now: n.Clock.Now,
		CompactEvery: -1, CacheBytes: 1 << 20, MemTableBytes: 1 << 20, Logger: quiet})
	check(err)
	n.watches = newWatches()
	watching := hub.Config{Log: n.Log, Schemas: o.Contracts.Schemas, Observer: n.watches, RingBytes: o.RingBytes, Heartbeat: o.Heartbeat,
		EventsPerSecond: o.EventsPerSecond, MaxAge: o.MaxAge}
	var control *access.Control
	if o.Guard != nil {
		control, err = access.New(context.Background(), access.ControlConfig{Log: n.Log, Schemas: o.Contracts.Schemas, Required: true, Logger: quiet,
			Credentials: access.Config{Issuers: []access.Issuer{n.issuer}}, Collections: o.Guard.Collections, Limits: o.Guard.Limits})
		check(err)
		watching.Access = control
	}
	n.Hub, err = hub.New(watching)
	check(err)
	if control != nil {
		control.Attach(n.Hub)
	}
	service, err := server.New(server.Config{Log: n.Log, Hub: n.Hub, Schemas: o.Contracts.Schemas, Access: control, AutoCreate: !o.NoAutoCreate,
		MaxValueBytes: o.MaxValueBytes, Logger: quiet})
	check(err)
	calls, _ := server.NewGRPC(server.GRPCConfig{Service: service, Contracts: o.Contracts, Options: []grpc.ServerOption{grpc.WaitForHandlers(true), grpc.Creds(either{insecure.NewCredentials()})}})
	handler, err := gateway.New(gateway.Config{Service: service, Contracts: o.Contracts, GRPC: calls, OnePort: o.OnePort, Access: control, WriteTimeout: o.WriteTimeout, Logger: quiet})
	check(err)

	// What the handlers that are under way hold on to when they do not end by
	// themselves.
	ctx, cut := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	requests := newWatches()
	front := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.change(func() { requests.open++ })
			defer requests.change(func() { requests.open-- })
			handler.ServeHTTP(w, r)
		}),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(quiet.Handler(), slog.LevelDebug),
		HTTP2:       &http.HTTP2Config{WriteByteTimeout: o.WriteTimeout},
	}
	serve := func(grpcListener, httpListener net.Listener) {
		serving.Go(func() { _ = calls.Serve(grpcListener) })
		serving.Go(func() {
			if err := front.Serve(httpListener); !errors.Is(err, http.ErrServerClosed) {
				n.t.Error(err)
			}
		})
	}
	settings := identity().server
	if o.OnePort {
		serve(gateway.OnePort(n.http.listener(), nil))
		serve(gateway.OnePort(n.httpTLS.listener(), settings))
	} else {
		serve(n.grpc.listener(), n.http.listener())
		serve(tls.NewListener(n.grpcTLS.listener(), settings), tls.NewListener(n.httpTLS.listener(), settings))
	}

	log, h, seen := n.Log, n.Hub, n.watches
	var once sync.Once
	n.stop = func(drain time.Duration) {
		once.Do(func() {
			// The order is that of package node.
			h.Drain(time.Second)
			wait, cancel := context.WithTimeout(context.Background(), drain)
			defer cancel()
			if !seen.await(wait, func() bool { return seen.open == 0 }) && drain > 0 {
				n.t.Errorf("%d watches are still open %v after the drain began", seen.open, drain)
			}
			requests.await(wait, func() bool { return handler.Calls() == 0 })
			if drain > 0 {
				late := time.AfterFunc(drain, calls.Stop)
				calls.GracefulStop()
				late.Stop()
				if err := front.Shutdown(wait); err != nil {
					n.t.Error("HTTP did not drain: ", err)
				}
				if handler.Shutdown(wait) {
					n.t.Error("connections that left HTTP did not drain")
				}
			}
			cut()
			calls.Stop()
			_ = front.Close()
			end, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if !requests.await(end, func() bool { return requests.open == 0 }) {
				n.t.Errorf("%d HTTP requests did not end when they were cut", requests.open)
			}
			serving.Wait()
			handler.Close()
			h.Close()
			if control != nil {
				control.Close()
			}
			if err := log.Close(); err != nil {
				n.t.Error(err)
			}
		})
	}
}

// AwaitWatches waits until exactly so many watches are open.
func (n *Node) AwaitWatches(count int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !n.watches.await(ctx, func() bool { return n.Hub.Count() == count }) {
		n.t.Fatalf("%d watches are open, not %d", n.Hub.Count(), count)
	}
}

// Compact puts the clock forward and lets the log drop what it may.
func (n *Node) Compact(later time.Duration) {
	n.t.Helper()
	n.Clock.Forward(later)
	if err := n.Log.Compact(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

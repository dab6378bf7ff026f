package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"

	"github.com/watchroute/watchroute/gateway"
	"github.com/watchroute/watchroute/gateway/console"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/metrics"
	"github.com/watchroute/watchroute/server"
	"github.com/watchroute/watchroute/server/config"
	"github.com/watchroute/watchroute/server/contract"
)

// Node is a node that serves.
type Node struct {
	cfg    config.Config
	logger *slog.Logger

	log    *local.Log
	hub    *hub.Hub
	grpc   *grpc.Server
	health *health.Server
	http   *http.Server
	front  *gateway.Gateway
	debug  *http.Server // nil: there is none
	// cut ends the context of every HTTP request.
	cut context.CancelFunc

	httpAddr, grpcAddr net.Addr
	debugAddr          string // empty: there is none
	ready              atomic.Bool
	serving            sync.WaitGroup // the goroutines of listeners
	requests           atomic.Int64   // HTTP requests under way
	failed             chan error     // has room for every listener
	stopping           sync.Once
	stopped            error
}

// Start puts a node together and serves. ctx bounds the start alone. The errors
// say what to do about them, as far as that is known.
func Start(ctx context.Context, cfg config.Config, logger *slog.Logger) (_ *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Data = cmp.Or(cfg.Data, config.DefaultData)
	n := &Node{cfg: cfg, logger: logger, failed: make(chan error, 3)}
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()

	contracts, err := loadContracts(ctx, cfg.Contracts)
	if err != nil {
		return nil, fmt.Errorf("contracts: %w", err)
	}
	n.log, err = local.Open(ctx, local.Config{Dir: cfg.Data, CommitDelay: cfg.CommitDelay, Logger: logger.With("part", "log"), Retention: changelog.Retention{
		Age: cfg.RetentionAge, MinAge: cfg.RetentionMinAge, Bytes: int64(cfg.RetentionBytes), Tombstones: cfg.RetentionTombstones,
	}})
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	undo = append(undo, func() { _ = n.log.Close() })

	observed := metrics.New()
	n.hub, err = hub.New(hub.Config{Log: n.log, Schemas: contracts.Schemas, Observer: observed, MemoryBytes: int64(cfg.MemoryLimit), Heartbeat: cfg.Heartbeat})
	if err != nil {
		return nil, err
	}
	undo = append(undo, n.hub.Close)
	observed.Collect(n.hub, n.heads)

	service, err := server.New(server.Config{Log: n.log, Hub: n.hub, Schemas: contracts.Schemas, AutoCreate: cfg.AutoCreates(),
		MaxValueBytes: int(cfg.MaxValueBytes), Recorder: observed, Logger: logger.With("part", "server")})
	if err != nil {
		return nil, err
	}
	// Stop would otherwise return while calls still use the log.
	n.grpc, n.health = server.NewGRPC(server.GRPCConfig{Service: service, Contracts: contracts, MaxRequestBytes: int(cfg.MaxRequestBytes),
		Options: []grpc.ServerOption{grpc.WaitForHandlers(true)}})
	undo = append(undo, n.grpc.Stop)

	if err := n.makeFront(service, contracts, observed); err != nil {
		return nil, err
	}
	undo = append(undo, n.front.Close)
	if err := n.listen(ctx); err != nil {
		return nil, err
	}
	n.ready.Store(true)
	if cfg.Exposed() {
		logger.Warn("other machines can reach this node, and it checks no credentials: whoever reaches it may read and write everything")
	}
	logger.Info("serving", "http", n.httpAddr.String(), "grpc", n.grpcAddr.String(), "debug", n.debugAddr, "data", cfg.Data,
		"typed_collections", contracts.Schemas.Declared(), "auto_create", cfg.AutoCreates(), "epoch", fmt.Sprintf("%x", n.log.Epoch()))
	return n, nil
}

// front makes the HTTP server.
func (n *Node) makeFront(service *server.Service, contracts *contract.Set, observed *metrics.Metrics) error {
	logger := n.logger.With("part", "gateway")
	handler, err := gateway.New(gateway.Config{Service: service, Contracts: contracts, GRPC: n.grpc, AllowedOrigins: n.cfg.AllowedOrigins, LocalOnly: !n.cfg.Insecure,
		Metrics: observed.Handler(), Ready: n.isReady, Page: console.Handler(), Recorder: observed,
		MaxRequestBytes: int(n.cfg.MaxRequestBytes), Logger: logger})
	if err != nil {
		return err
	}
	n.front = handler
	ctx, cut := context.WithCancel(context.Background())
	n.cut = cut
	n.http = gateway.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.requests.Add(1)
		defer n.requests.Add(-1)
		handler.ServeHTTP(w, r)
	}), logger)
	n.http.BaseContext = func(net.Listener) context.Context { return ctx }
	return nil
}

func (n *Node) isReady() error {
	if !n.ready.Load() {
		return errors.New("shutting down")
	}
	return nil
}

// listen opens the listeners and serves on them.
func (n *Node) listen(ctx context.Context) error {
	var lc net.ListenConfig
	front, err := lc.Listen(ctx, "tcp", n.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	n.httpAddr, n.grpcAddr = front.Addr(), front.Addr()
	if n.cfg.DebugAddress != "" {
		profiles, err := lc.Listen(ctx, "tcp", n.cfg.DebugAddress)
		if err != nil {
			_ = front.Close()
			return fmt.Errorf("debug-address: %w", err)
		}
		n.debugAddr = profiles.Addr().String()
		n.debug = debugServer()
		n.serve("debug", func() error { return n.debug.Serve(profiles) })
	}
	if n.cfg.OnePort {
		calls, pages := gateway.OnePort(front)
		n.serve("grpc", func() error { return n.grpc.Serve(calls) })
		n.serve("http", func() error { return n.http.Serve(pages) })
		return nil
	}
	calls, err := lc.Listen(ctx, "tcp", n.cfg.GRPC)
	if err != nil {
		_ = front.Close()
		return fmt.Errorf("grpc: %w", err)
	}
	n.grpcAddr = calls.Addr()
	n.serve("grpc", func() error { return n.grpc.Serve(calls) })
	n.serve("http", func() error { return n.http.Serve(front) })
	return nil
}

// serve runs one listener until it is closed; failing otherwise is the node's end.
func (n *Node) serve(name string, f func() error) {
	n.serving.Go(func() {
		if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			n.failed <- fmt.Errorf("%s: %w", name, err)
		}
	})
}

// heads gives the newest revision of each collection.
func (n *Node) heads() map[string]uint64 {
	heads := map[string]uint64{}
	for _, collection := range n.log.Collections() {
		heads[collection] = n.log.Bounds(collection).Head
	}
	return heads
}

// Addresses gives what the node listens on; with one port they are the same.
func (n *Node) Addresses() (http, grpc net.Addr) { return n.httpAddr, n.grpcAddr }

// Failed delivers the error of a listener that broke.
func (n *Node) Failed() <-chan error { return n.failed }

// Run starts a node, hands it to each of with, and stops it when ctx ends or a
// listener breaks. Each of with runs in a goroutine of its own until the context
// that it is given ends, which is before the node stops.
func Run(ctx context.Context, cfg config.Config, logger *slog.Logger, with ...func(context.Context, *Node)) error {
	n, err := Start(ctx, cfg, logger)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	for _, f := range with {
		beside.Go(func() { f(inner, n) })
	}
	select {
	case <-ctx.Done():
	case err = <-n.failed:
		logger.Error("a listener broke", "error", err)
	}
	cancel()
	beside.Wait()
	return errors.Join(err, n.Stop(context.Background()))
}

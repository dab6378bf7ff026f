package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"

	"github.com/watchroute/watchroute/gateway"
	"github.com/watchroute/watchroute/gateway/console"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/certificate"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/metrics"
	"github.com/watchroute/watchroute/server"
	"github.com/watchroute/watchroute/server/config"
	"github.com/watchroute/watchroute/server/contract"
	"github.com/watchroute/watchroute/server/sources"
)

// Node is a node that serves.
type Node struct {
	cfg    config.Config
	logger *slog.Logger

	log     *local.Log
	sources *sources.Manager
	metrics *metrics.Metrics
	access  *config.Access // nil: nobody is asked for credentials
	control *access.Control
	// closeControl closes it.
	closeControl func()
	hub          *hub.Hub
	grpc         *grpc.Server
	health       *health.Server
	http         *http.Server
	front        *gateway.Gateway
	debug        *http.Server // nil: there is none
	// certificates are what TLS shows; nil: plaintext.
	certificates *certificate.Source
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
	if cfg.TLS() {
		if n.certificates, err = certificate.New(certificate.Config{Cert: cfg.TLSCert, Key: cfg.TLSKey, ClientCA: cfg.TLSClientCA, Domains: cfg.ACMEDomains,
			ACME:   certificate.ACME{Directory: cfg.ACMEDirectory, CA: cfg.ACMECA, Email: cfg.ACMEEmail, Cache: cmp.Or(cfg.ACMECache, filepath.Join(cfg.Data, "acme"))},
			Logger: logger.With("part", "tls")}); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		undo = append(undo, n.certificates.Close)
	}
	n.log, err = local.Open(ctx, local.Config{Dir: cfg.Data, CommitDelay: cfg.CommitDelay, Logger: logger.With("part", "log"), Retention: changelog.Retention{
		Age: cfg.RetentionAge, MinAge: cfg.RetentionMinAge, Bytes: int64(cfg.RetentionBytes), Tombstones: cfg.RetentionTombstones, RequestIDs: cfg.RetentionRequestIDs,
	}})
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	undo = append(undo, func() { _ = n.log.Close() })

	observed := metrics.New()
	n.metrics = observed
	if n.access, err = cfg.ReadAccess(); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if n.sources, err = newSources(&cfg, n.log, contracts.Schemas, observed, logger); err != nil {
		return nil, err
	}
	if n.control, n.closeControl, err = newControl(ctx, &cfg, n.access, n.log, contracts.Schemas, observed.Limited, n.sources.Checks(), logger); err != nil {
		return nil, err
	}
	undo = append(undo, n.closeControl)
	n.hub, err = hub.New(hub.Config{Log: n.log, Schemas: contracts.Schemas, Access: n.control, Observer: observed, MemoryBytes: int64(cfg.MemoryLimit), Heartbeat: cfg.Heartbeat,
		EventsPerSecond: cfg.WatchEventRate, BytesPerSecond: float64(cfg.WatchByteRate), MaxAge: cfg.MaxWatchAge})
	if err != nil {
		return nil, err
	}
	undo = append(undo, n.hub.Close)
	n.control.Attach(n.hub)
	observed.Collect(n.hub, n.heads)

	service, err := server.New(server.Config{Log: n.log, Hub: n.hub, Schemas: contracts.Schemas, Access: n.control, AutoCreate: cfg.AutoCreates(),
		MaxValueBytes: int(cfg.MaxValueBytes), Recorder: observed, Logger: logger.With("part", "server")})
	if err != nil {
		return nil, err
	}
	// Stop would otherwise return while calls still use the log.
	options := []grpc.ServerOption{grpc.WaitForHandlers(true), grpc.ConnectionTimeout(handshakeTime)}
	if n.certificates != nil {
		options = append(options, grpc.Creds(n.credentials()))
	}
	n.grpc, n.health = server.NewGRPC(server.GRPCConfig{Service: service, Contracts: contracts, MaxRequestBytes: int(cfg.MaxRequestBytes), Options: options})
	undo = append(undo, n.grpc.Stop)

	if err := n.makeFront(service, contracts, observed); err != nil {
		return nil, err
	}
	undo = append(undo, n.front.Close)
	if err := n.sources.Start(ctx); err != nil {
		return nil, fmt.Errorf("sources: %w", err)
	}
	undo = append(undo, n.sources.Close)
	if err := n.listen(ctx); err != nil {
		return nil, err
	}
	n.ready.Store(true)
	if n.certificates != nil {
		n.certificates.Obtain()
	}
	if cfg.Exposed() && !n.control.Required() {
		logger.Warn("other machines can reach this node, and it checks no credentials: whoever reaches it may read and write everything")
	} else if cfg.Exposed() && !cfg.TLS() {
		logger.Warn("other machines can reach this node, and it does not speak TLS: whoever listens on the way has the credentials")
	}
	logger.Info("serving", "http", n.httpAddr.String(), "grpc", n.grpcAddr.String(), "tls", cfg.TLS(), "debug", n.debugAddr, "data", cfg.Data,
		"typed_collections", contracts.Schemas.Declared(), "auto_create", cfg.AutoCreates(), "epoch", fmt.Sprintf("%x", n.log.Epoch()))
	return n, nil
}

// handshakeTime is how long a new connection of gRPC may take until it speaks HTTP/2;
// those of HTTP have as long, see gateway.Server.
const handshakeTime = 10 * time.Second

// credentials are those of the gRPC server.
func (n *Node) credentials() credentials.TransportCredentials {
	if n.cfg.OnePort {
		return gateway.Handshaken()
	}
	return credentials.NewTLS(n.certificates.TLS("h2"))
}

// front makes the HTTP server.
func (n *Node) makeFront(service *server.Service, contracts *contract.Set, observed *metrics.Metrics) error {
	logger := n.logger.With("part", "gateway")
	var cookie string
	var proxies gateway.Proxies
	if a := n.access; a != nil {
		cookie, proxies = a.Cookie, a.TrustedProxies
	}
	handler, err := gateway.New(gateway.Config{Service: service, Contracts: contracts, GRPC: n.grpc, OnePort: n.cfg.OnePort, AllowedOrigins: n.cfg.AllowedOrigins, LocalOnly: !n.cfg.Insecure && !n.control.Required(), Access: n.control, Cookie: cookie, TrustedProxies: proxies,
		Metrics: observed.Handler(), Ready: n.isReady, Page: console.Handler(), Recorder: observed, Sources: n.sources.Handler,
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
	front = n.limit(front)
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
		var settings *tls.Config
		if n.certificates != nil {
			settings = n.certificates.TLS("h2", "http/1.1")
		}
		calls, pages := gateway.OnePort(front, settings)
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
	calls = n.limit(calls)
	if n.certificates != nil {
		front = tls.NewListener(front, n.certificates.TLS("h2", "http/1.1"))
	}
	n.serve("grpc", func() error { return n.grpc.Serve(gateway.Newcomers(calls)) })
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

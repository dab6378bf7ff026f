package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server"
	"github.com/watchroute/watchroute/server/contract"
)

// Config is what a Gateway needs. Service must be set.
type Config struct {
	Service *server.Service
	// Contracts has the methods whose routes are served. Default: none.
	Contracts *contract.Set
	// GRPC is what gRPC-Web reaches. Default: there is no gRPC-Web.
	GRPC *grpc.Server
	// OnePort serves native gRPC that comes over HTTP/2, too: where OnePort sorts
	// connections over TLS, a client that offers both versions of HTTP is taken for
	// none of gRPC. It costs several times what gRPC's own server takes. Default: it
	// is refused.
	OnePort bool
	// AllowedOrigins are the origins of other sites whose pages may call, such as
	// https://shop.example.com or https://*.example.com; `*` allows all. Default:
	// none, a page of this server's own origin may always.
	AllowedOrigins []string
	// Access says who calls; it is the Service's, too. Default: nobody asks.
	Access *access.Control
	// Cookie is the cookie that may hold a credential. Default: DefaultCookie.
	Cookie string
	// TrustedProxies are those whose X-Forwarded-For is believed. Default: none.
	TrustedProxies Proxies
	// LocalOnly refuses requests whose Host is neither this machine's loopback nor
	// that of an allowed origin: for a node without credentials, which a page must
	// not reach under a name of its own. Default: false.
	LocalOnly bool
	// Metrics is served at /metrics. Default: nothing is.
	Metrics http.Handler
	// Ready says why the node should get no requests, nil if it should. It decides
	// /readyz. Default: always ready.
	Ready func() error
	// Page serves what no route takes, `/` above all, outside of /v1/. Default: 404.
	Page http.Handler
	// Sources gives what takes requests at /v1/sources/ID, whoever sends them: it checks
	// what they show. Default: nothing does.
	Sources func(id string) (http.Handler, error)
	// Recorder is told of unary calls. Default: nobody.
	Recorder Recorder
	// MaxRequestBytes bounds the body of a request. Default: 8 MiB.
	MaxRequestBytes int
	// MaxMessageBytes bounds one message of a WebSocket client. Default: 1 MiB.
	MaxMessageBytes int
	// MaxWait is the longest that `?wait=` waits; more means this. Default: 60 s.
	MaxWait time.Duration
	// WriteTimeout is how long a client may take to take what one write sends.
	// Default: 30 s.
	WriteTimeout time.Duration
	// BodyTimeout is how long a client may take to send a request's body. Default:
	// 30 s.
	BodyTimeout time.Duration
	// PingInterval is the time between two pings to a WebSocket client. One that has
	// sent nothing, not even a pong, from one to the next is dropped. Default: 30 s.
	PingInterval time.Duration
	// Logger gets what must not reach a client. Default: slog.Default().
	Logger *slog.Logger
}

// Recorder is told of unary calls. It must not block.
type Recorder interface {
	// Called gives the gRPC code of a call.
	Called(method, code string)
}

type nobody struct{}

func (nobody) Called(string, string) {}

// Validate says what of the Config cannot be used.
func (c *Config) Validate() error {
	if c.Service == nil {
		return errors.New("gateway: Service must be set")
	}
	for _, d := range []time.Duration{c.MaxWait, c.WriteTimeout, c.BodyTimeout, c.PingInterval} {
		if d < 0 {
			return errors.New("gateway: a time is negative")
		}
	}
	if c.MaxRequestBytes < 0 || c.MaxMessageBytes < 0 {
		return errors.New("gateway: a limit is negative")
	}
	return nil
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{{&c.MaxWait, time.Minute}, {&c.WriteTimeout, 30 * time.Second}, {&c.BodyTimeout, 30 * time.Second}, {&c.PingInterval, 30 * time.Second}} {
		if *d.at == 0 {
			*d.at = d.def
		}
	}
	if c.MaxRequestBytes == 0 {
		c.MaxRequestBytes = 8 << 20
	}
	if c.MaxMessageBytes == 0 {
		c.MaxMessageBytes = 1 << 20
	}
	if c.Cookie == "" {
		c.Cookie = DefaultCookie
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Recorder == nil {
		c.Recorder = nobody{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Gateway is an http.Handler. Close ends it.
type Gateway struct {
	cfg     Config
	service *server.Service
	schemas *schema.Registry
	logger  *slog.Logger
	origins origins
	handler http.Handler

	mux     *runtime.ServeMux
	probe   *runtime.ServeMux          // has the same routes, and does nothing
	generic map[string]*generatedRoute // by HTTP method and pattern
	web     *grpcWeb                   // nil: there is none
	sockets *upgrader
	lines   *lineSet
}

// Calls says how many gRPC-Web calls are under way. A gRPC server that is stopped, even
// gracefully, cuts them: stop it when there are none.
func (g *Gateway) Calls() int {
	if g.web == nil {
		return 0
	}
	return int(g.web.calls.Load())
}

// Shutdown waits until the connections that have left net/http are over, as they are
// soon after the hub began to drain, or until ctx has ended, and then cuts what is left
// as Close does. It says whether anything was left.
func (g *Gateway) Shutdown(ctx context.Context) (cut bool) {
	cut = !g.lines.await(ctx)
	g.lines.close()
	return cut
}

// Close cuts the connections that have left net/http, ends their watches and waits for
// them. The hub must be closed later, not before. Closing twice is fine.
func (g *Gateway) Close() { g.lines.close() }

// New makes a Gateway. Close ends it. The error names the route that cannot be served, or what is
// wrong with the Config.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	g := &Gateway{cfg: cfg, service: cfg.Service, schemas: cfg.Service.Schemas(), logger: cfg.Logger}
	var err error
	if g.origins, err = parseOrigins(cfg.AllowedOrigins); err != nil {
		return nil, err
	}
	if err := g.register(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if cfg.GRPC != nil {
		g.web = newGRPCWeb(g)
	}
	g.sockets = newUpgrader(cfg.MaxMessageBytes)
	if g.lines, err = newLines(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.handler = g.cors(http.HandlerFunc(g.serve))
	return g, nil
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p != http.ErrAbortHandler {
			g.logger.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
		}
		panic(http.ErrAbortHandler) // whatever was sent is not whole
	}()
	g.handler.ServeHTTP(w, r)
}

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if g.cfg.LocalOnly && !g.origins.local(r.Host) {
		g.fail(w, r, wire.Refuse(http.StatusForbidden, "this node serves its own machine, not the host %q; allow https://%s as an origin, if a proxy sends this", clip(r.Host), clip(r.Host)))
		return
	}
	switch {
	case r.URL.Path == "/healthz":
		g.healthz(w, r)
		return
	case r.URL.Path == "/readyz":
		g.readyz(w, r)
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, sourcesPath); ok && g.cfg.Sources != nil && (r.Method == http.MethodPost || r.Method == http.MethodOptions) {
		g.serveSource(w, r, id)
		return
	}
	if (r.Method != http.MethodGet && r.Method != http.MethodHead || wantsWebSocket(r)) && !g.origins.permit(r) {
		g.fail(w, r, forbidden(r.Header.Get("Origin")))
		return
	}
	if r.Method == http.MethodOptions && !g.web.takes(r) {
		w.Header().Set("Allow", g.allowed(r))
		w.WriteHeader(http.StatusNoContent)
		return
	}
	entered, err := g.enter(r)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	r = entered
	switch {
	case g.web.takes(r):
		g.web.ServeHTTP(w, r)
	case r.URL.Path == "/metrics" && g.cfg.Metrics != nil:
		if err := operator(r.Context()); err != nil {
			g.fail(w, r, err)
			return
		}
		g.cfg.Metrics.ServeHTTP(w, r)
	case r.URL.Path == sessionPath && wantsWebSocket(r):
		g.serveSession(w, r)
	case r.Method == http.MethodHead:
		g.mux.ServeHTTP(w, asGet(r))
	default:
		g.mux.ServeHTTP(w, r)
	}
}

// notFound answers what no route takes.
func (g *Gateway) notFound(w http.ResponseWriter, r *http.Request) {
	const api = "/v1/"
	if g.cfg.Page != nil && r.Method == http.MethodGet && !(len(r.URL.Path) >= len(api) && r.URL.Path[:len(api)] == api) {
		g.cfg.Page.ServeHTTP(w, r)
		return
	}
	g.fail(w, r, resource.Errorf(resource.RouteNotFound, "there is nothing at %s", clip(r.URL.Path)))
}

// Server makes an http.Server for a Gateway, without a time limit for answers, as
// watches have none. handler is the Gateway, or what wraps it. Over TLS it speaks
// HTTP/2 too, with at most 1000 streams on a connection.
func Server(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// Without it nothing would cut off a client that stops reading: HTTP/2 can
		// only reset a stream on a connection that takes bytes.
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 1000, WriteByteTimeout: 30 * time.Second},
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

package watchroute

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Client is a connection to a server, which is made when it is first needed, and made
// anew when it breaks.
type Client struct {
	lines    *lines
	config   config
	session  *sessions // nil: each watch has a stream of its own
	wallet   *wallet   // of unary calls
	counters *Counters

	done   context.Context // until Close
	finish context.CancelFunc
	closed sync.Once
}

// ErrClosed ends the watches and calls of a client that was closed.
var ErrClosed = errors.New("watchroute: the client is closed")

type config struct {
	security   credentials.TransportCredentials
	dial       []grpc.DialOption
	credential Credential
	tenant     string
	first      time.Duration
	most       time.Duration
	timeout    time.Duration
	session    bool
	log        *slog.Logger
	onState    func(StateChange)
}

// Option is a setting of a [Client].
type Option func(*config)

// WithTLS speaks TLS with these settings; nil: with the system's authorities. Default:
// plaintext.
func WithTLS(settings *tls.Config) Option {
	if settings == nil {
		settings = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return func(c *config) { c.security = credentials.NewTLS(settings) }
}

// WithCredential asks the provider for a JWT or an API key before each connection and
// each call. Default: none is sent.
func WithCredential(provider Credential) Option { return func(c *config) { c.credential = provider } }

// WithTenant names the tenant whose collections are meant; for operators. Default: one's
// own.
func WithTenant(name string) Option { return func(c *config) { c.tenant = name } }

// WithBackoff sets the first and the highest ceiling of the waits before a watch comes
// back. Defaults: 1 s and 30 s. A value that is not positive leaves the default.
func WithBackoff(first, most time.Duration) Option {
	return func(c *config) {
		if first > 0 {
			c.first = first
		}
		if most > 0 {
			c.most = most
		}
	}
}

// WithTimeout limits each unary call whose context has no deadline, together with its
// repetitions. Default: 10 s. Zero: no limit.
func WithTimeout(d time.Duration) Option { return func(c *config) { c.timeout = d } }

// WithSession lets the client's watches share one stream. It costs a server and a client
// with many watches least. Default: each has a stream of its own.
func WithSession() Option { return func(c *config) { c.session = true } }

// WithLogger logs, at the level debug, each state of each watch and its cause, and as a
// warning when a token cannot be kept. No value of a resource and no credential is
// logged. Default: nothing is logged.
func WithLogger(log *slog.Logger) Option { return func(c *config) { c.log = log } }

// WithOnState calls f at each change of a watch's state, in the watch's goroutine: f must
// return soon. It may be called for several watches at a time. [OnState] is the same for
// one watch.
func WithOnState(f func(StateChange)) Option { return func(c *config) { c.onState = f } }

// WithDialOptions hands options to gRPC, behind those that Dial sets. [New] ignores them.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(c *config) { c.dial = append(c.dial, options...) }
}

// MaxMessageBytes is how large a message of the server may be: 64 MiB.
const MaxMessageBytes = 64 << 20

// Dial makes a client of the server at a gRPC target, such as localhost:9090. It does not
// connect: a server that is not there is told by the first call, or see [FailFast]. An
// error means that the target or the options are wrong.
//
// Windows are fixed (1 MiB for a stream, 4 MiB for a connection), which spares the pings
// by which gRPC would estimate them; a connection on which nothing comes for 20 s is
// pinged, and ends if that is not answered within 10 s. A watch that is silent for too long
// comes back on a connection of its own.
func Dial(target string, options ...Option) (*Client, error) {
	cfg := settings(options)
	lines, err := newLines(func() (*grpc.ClientConn, error) { return grpc.NewClient(target, cfg.dialOptions()...) })
	if err != nil {
		return nil, err
	}
	return newClient(lines, cfg), nil
}

func (c *config) dialOptions() []grpc.DialOption {
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(c.security),
		grpc.WithInitialWindowSize(1 << 20), grpc.WithInitialConnWindowSize(4 << 20),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// gRPC has a back-off of its own. It connects more often than watches try, so that
		// they find a connection where there is a server.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: c.first / 4, Multiplier: 1.6, Jitter: 0.2, MaxDelay: c.most / 4},
			MinConnectTimeout: 10 * time.Second,
		}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes)),
	}, c.dial...)
}

// New makes a client on a connection of the caller's, who closes it after the client.
func New(conn grpc.ClientConnInterface, options ...Option) *Client {
	s := &lines{}
	s.current = &line{ResourceServiceClient: watchroutev1.NewResourceServiceClient(conn), of: s}
	return newClient(s, settings(options))
}

func settings(options []Option) config {
	cfg := config{security: insecure.NewCredentials(), first: time.Second, most: 30 * time.Second, timeout: 10 * time.Second}
	for _, option := range options {
		option(&cfg)
	}
	cfg.most = max(cfg.most, cfg.first)
	if cfg.log == nil {
		cfg.log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

func newClient(s *lines, cfg config) *Client {
	cfg.credential = together(cfg.credential)
	c := &Client{lines: s, config: cfg, wallet: &wallet{ask: cfg.credential}, counters: &Counters{}}
	c.done, c.finish = context.WithCancel(context.Background())
	if cfg.session {
		c.session = newSessions(c)
	}
	return c
}

// Close ends all watches and calls of the client and the connection that Dial made. It
// waits for the client's own goroutines. Mirrors end with [ErrClosed], and are closed by
// who made them. Closing twice is no error.
func (c *Client) Close() error {
	var err error
	c.closed.Do(func() {
		c.finish()
		if c.session != nil {
			c.session.wait()
		}
		err = c.lines.close()
	})
	return err
}

// header adds to a call's context what every call sends. `watchroute-json: text` asks for
// objects as they were written; google.protobuf.Struct would make doubles of numbers.
func (c *Client) header(ctx context.Context, credential string) context.Context {
	header := []string{"watchroute-json", "text"}
	if credential != "" {
		header = append(header, "authorization", "Bearer "+credential)
	}
	if c.config.tenant != "" {
		header = append(header, "watchroute-tenant", c.config.tenant)
	}
	return metadata.AppendToOutgoingContext(ctx, header...)
}

package rabbitmq

import (
	"context"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

// Source reads a queue or a stream. Its fields are set before Run.
type Source struct {
	// MaxEvents bounds what is taken at a time. Default: 500.
	MaxEvents int
	// LagInterval is how often the broker is asked what it has. Default: 5 seconds.
	LagInterval time.Duration
	// Patience is how long an event may take to come that must be there. Default: 10 seconds.
	Patience time.Duration

	config   *watchroutev1.RabbitmqSource
	prefetch int
	connect  func(context.Context) (broker, error)
}

var _ sources.Source = (*Source)(nil)

// New makes a *Source. It is a sources.Connector.
func New(s *watchroutev1.Source) (sources.Source, error) {
	r := s.GetRabbitmq()
	a, err := parse(r.GetUrl())
	if err != nil {
		return nil, err
	}
	if err := check(r); err != nil {
		return nil, err
	}
	out := &Source{MaxEvents: 500, LagInterval: 5 * time.Second, Patience: 10 * time.Second, config: r, prefetch: int(r.GetPrefetch()),
		connect: func(ctx context.Context) (broker, error) { return dial(ctx, a, r, s.GetSourceId()) }}
	if out.prefetch == 0 {
		out.prefetch = 1000
	}
	return out, nil
}

func bad(field, format string, args ...any) error {
	return resource.Errorf(resource.InvalidField, format, args...).In("rabbitmq." + field)
}

// check says what is wrong with a configuration, but for its URL.
func check(r *watchroutev1.RabbitmqSource) error {
	switch from := r.GetFrom().(type) {
	case nil:
		return bad("queue", "a queue or a stream is expected")
	case *watchroutev1.RabbitmqSource_Queue:
		if from.Queue == "" {
			return bad("queue", "the name is empty")
		}
		if r.GetStart() == watchroutev1.SourceStart_LATEST_EVENT {
			return bad("start", "a queue is read from its beginning")
		}
	case *watchroutev1.RabbitmqSource_Stream:
		if from.Stream == "" {
			return bad("stream", "the name is empty")
		}
	}
	if p := r.GetPrefetch(); p < 0 || p > math.MaxUint16 {
		return bad("prefetch", "%d is given; 1 to %d is expected", p, math.MaxUint16)
	}
	if _, known := watchroutev1.SourceStart_name[int32(r.GetStart())]; !known {
		return bad("start", "this server knows no start %d", r.GetStart())
	}
	if err := sources.CheckLogin("rabbitmq.login", r.GetLogin()); err != nil {
		return err
	}
	return sources.CheckTLS("rabbitmq.tls", r.GetTls())
}

// address is where a broker is.
type address struct {
	host, port, vhost string
	secure            bool
}

func parse(text string) (a address, err error) {
	u, err := url.Parse(text)
	if err == nil && strings.HasPrefix(u.Scheme, "rabbitmq-stream") {
		return a, bad("url", "a stream is read over AMQP, too: amqp://HOST:PORT/VHOST or amqps://HOST:PORT/VHOST is expected")
	}
	if err != nil || u.Hostname() == "" || u.Scheme != "amqp" && u.Scheme != "amqps" || u.RawQuery != "" || u.Fragment != "" || strings.Count(u.EscapedPath(), "/") > 1 {
		return a, bad("url", "amqp://HOST:PORT/VHOST or amqps://HOST:PORT/VHOST is expected")
	}
	if u.User != nil {
		return a, bad("url", "a name and a password stand in `login`")
	}
	a = address{host: u.Hostname(), port: u.Port(), vhost: strings.TrimPrefix(u.Path, "/"), secure: u.Scheme == "amqps"}
	if n, err := strconv.ParseUint(a.port, 10, 16); a.port != "" && (err != nil || n == 0) {
		return a, bad("url", "%s is no port", a.port)
	}
	switch {
	case a.port != "":
	case a.secure:
		a.port = "5671"
	default:
		a.port = "5672"
	}
	if a.vhost == "" {
		a.vhost = "/"
	}
	return a, nil
}

func (a address) String() string { return net.JoinHostPort(a.host, a.port) }

package webhook

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

// Path begins the path of each source; its id follows.
const Path = "/v1/sources/"

// mostEvents bounds what is taken at a time.
const mostEvents = 500

// Source takes the CloudEvents of one path. Its fields are set before Run.
type Source struct {
	// MaxBytes bounds the body of a request. Default: 8 MiB.
	MaxBytes int64
	// MaxHeldBytes bounds the bodies of all requests together. Default: 64 MiB.
	MaxHeldBytes int64
	// BodyTimeout is how long a caller may take to send a body. Default: 30 seconds.
	BodyTimeout time.Duration
	// SecretAge is how old what was read of the secrets may be. Default: 5 seconds.
	SecretAge time.Duration

	config *watchroutev1.WebhookSource
	topic  string
	held   atomic.Int64
	now    atomic.Pointer[run] // nil: it does not run
}

var (
	_ sources.Source = (*Source)(nil)
	_ http.Handler   = (*Source)(nil)
)

// New makes a *Source. It is a sources.Connector.
func New(s *watchroutev1.Source) (sources.Source, error) {
	w := s.GetWebhook()
	if err := check(w); err != nil {
		return nil, err
	}
	return &Source{MaxBytes: 8 << 20, MaxHeldBytes: 64 << 20, BodyTimeout: 30 * time.Second, SecretAge: 5 * time.Second,
		config: w, topic: Path + s.GetSourceId()}, nil
}

// run is one call of Run.
type run struct {
	secrets atomic.Pointer[secrets]
	posts   chan *post // without a buffer: who has sent is answered
	ended   chan struct{}
}

// post is what one request brings.
type post struct {
	events []sources.Event
	taken  chan error // has its buffer
}

// Run implements sources.Source.
func (s *Source) Run(ctx context.Context, _ sources.Positions, to sources.Sink) error {
	read, err := readSecrets(s.config)
	if err != nil {
		return err
	}
	r := &run{posts: make(chan *post), ended: make(chan struct{})}
	r.secrets.Store(read)
	s.now.Store(r)
	defer close(r.ended)
	defer s.now.Store(nil)
	to.Connected()
	stale := time.NewTicker(s.SecretAge)
	defer stale.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-stale.C:
			if read, err = readSecrets(s.config); err != nil {
				return err
			}
			r.secrets.Store(read)
		case first := <-r.posts:
			if err := r.take(ctx, first, to); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
	}
}

// take takes a request and those that wait with it, and tells them what became of it.
func (r *run) take(ctx context.Context, first *post, to sources.Sink) error {
	posts, events := []*post{first}, slices.Clip(first.events)
	for more := true; more && len(events) < mostEvents; {
		select {
		case next := <-r.posts:
			posts, events = append(posts, next), append(events, next.events...)
		default:
			more = false
		}
	}
	var err error
	for some := range slices.Chunk(events, mostEvents) {
		if err = to.Take(ctx, some); err != nil {
			break
		}
	}
	for _, p := range posts {
		p.taken <- err
	}
	return err
}

// retryAfter is when callers try again what could not be taken.
const retryAfter = 2 * time.Second

func (s *Source) unavailable() *resource.Error {
	return resource.Errorf(resource.StoreUnavailable, "%s takes no events at present", s.topic).After(retryAfter)
}

// deliver returns when events are durable.
func (s *Source) deliver(ctx context.Context, r *run, events []sources.Event) error {
	if len(events) == 0 {
		return nil
	}
	p := &post{events: events, taken: make(chan error, 1)}
	select {
	case r.posts <- p:
	case <-r.ended:
		return s.unavailable()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := <-p.taken; err != nil {
		return s.unavailable().Because(err)
	}
	return nil
}

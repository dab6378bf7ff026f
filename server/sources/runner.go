package sources

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Back-off after a failure: from leastBackOff, twice as long each time, to mostBackOff,
// of which up to a half is taken off at random.
const (
	leastBackOff = 250 * time.Millisecond
	mostBackOff  = 30 * time.Second
)

// runner runs one source as it is at one time.
type runner struct {
	cfg    *Config
	source *watchroutev1.Source
	status *status
	logger *slog.Logger
	cancel context.CancelFunc
	over   chan struct{}

	mu   sync.Mutex
	spec *spec // nil: it does not run
}

func (m *Manager) run(s *watchroutev1.Source, st *status) *runner {
	ctx, cancel := context.WithCancel(m.ctx)
	r := &runner{cfg: &m.cfg, source: s, status: st, logger: m.cfg.Logger.With("source", s.GetSourceId()), cancel: cancel, over: make(chan struct{})}
	go func() {
		defer close(r.over)
		r.loop(ctx)
	}()
	return r
}

// stop returns when nothing of the source is under way any more.
func (r *runner) stop() {
	r.cancel()
	<-r.over
}

func (r *runner) loop(ctx context.Context) {
	if r.source.GetPaused() {
		r.status.become(watchroutev1.SourceStatus_PAUSED, nil)
		return
	}
	r.status.become(watchroutev1.SourceStatus_STARTING, nil)
	for wait := time.Duration(0); ; {
		err := r.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if IsPermanent(err) {
			r.logger.Error("the source has failed, until it is changed", "error", err)
			r.status.become(watchroutev1.SourceStatus_FAILED, err)
			return
		}
		if r.status.hasRun() {
			wait = 0
		}
		wait = min(mostBackOff, max(leastBackOff, 2*wait))
		rest := wait - rand.N(wait/2)
		r.logger.Warn("the source backs off", "error", err, "wait", rest)
		r.status.backOff(err, r.cfg.now().Add(rest))
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return
		}
	}
}

var errEnded = errors.New("the connection has ended")

// once runs the source until something fails.
func (r *runner) once(ctx context.Context) error {
	s, err := r.cfg.compile(r.source)
	if err != nil {
		return Permanent(err)
	}
	to, err := newSink(r.cfg, s, r.status)
	if err != nil {
		return err
	}
	r.set(s)
	defer r.set(nil)
	if err := s.reads.Run(ctx, to, to); err != nil {
		return err
	}
	return errEnded
}

func (r *runner) set(s *spec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spec = s
}

// handler gives what takes requests for the source; nil: nothing does now.
func (r *runner) handler() http.Handler {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spec == nil {
		return nil
	}
	h, _ := r.spec.reads.(http.Handler)
	return h
}

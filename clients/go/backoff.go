package watchroute

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Causes of the end of a stream that are no errors of the server.
var (
	errSilent = &Error{Code: codes.Unavailable, Message: "the connection is silent"}
	errEnded  = &Error{Code: codes.Unavailable, Message: "the stream ended"}
	errLost   = &Error{Code: codes.DataLoss, Message: "a delta does not fit what it changes"}
)

// drained is the end of a stream that the server announced.
type drained struct{ after time.Duration }

func (drained) Error() string { return "the server is going away" }

// planned is the end of a stream after which it was decided already what to do: a
// session's, for all of its watches.
type planned struct {
	error
	until time.Time // of the monotonic clock
	final bool
}

func (p *planned) Unwrap() error { return p.error }

// retry decides whether and when to come back after the end of a stream.
type retry struct {
	first, most time.Duration
	failFast    bool
	wallet      *wallet

	reached  bool // something was received, ever
	failures int  // since a message after `started`
	renewed  bool // came back at once for a fresh credential, and nothing was received since
}

// received notes a message; going says that it is one after `started`.
func (r *retry) received(going bool) {
	r.reached, r.renewed = true, false
	if going {
		r.failures = 0
	}
}

// decide gives how long to wait after a stream ended with err, or the error that is
// final.
func (r *retry) decide(ctx context.Context, err error) (wait time.Duration, final error) {
	if p, ok := errors.AsType[*planned](err); ok {
		if e, ok := errors.AsType[*Error](p.error); p.final || ok && r.unreached(e) {
			return 0, p.error
		}
		return max(0, time.Until(p.until)), nil
	}
	if d, ok := errors.AsType[drained](err); ok {
		return d.after, nil
	}
	e, _ := errors.AsType[*Error](causeOf(err))
	switch {
	case e.Code == codes.Unauthenticated && e.Reason == watchroutev1.ErrorReason_CREDENTIAL_EXPIRED.String():
		r.wallet.refuse()
		if !r.renewed {
			r.renewed = true
			return 0, nil
		}
	case e.Code == codes.Unauthenticated && !e.retry:
		if !r.wallet.another(ctx) {
			return 0, e
		}
		if !r.renewed {
			r.renewed = true
			return 0, nil
		}
	case e.Reason == ReasonNotWatchroute && r.reached:
		// A proxy's page in the place of a server that restarts.
	case e.final():
		return 0, e
	case r.unreached(e):
		return 0, e
	}
	return max(r.wait(), e.RetryAfter), nil
}

// unreached says whether an error is final as the server was never reached.
func (r *retry) unreached(e *Error) bool {
	return r.failFast && !r.reached && e.Code == codes.Unavailable && e.Reason == ""
}

// causeOf gives why a stream ended, for people and for decide.
func causeOf(err error) error {
	if p, ok := errors.AsType[*planned](err); ok {
		return p.error
	}
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	return errorOf(err)
}

// wait gives a random time under a ceiling that doubles.
func (r *retry) wait() time.Duration {
	ceiling := r.first
	for range min(r.failures, 62) {
		if ceiling >= r.most {
			break
		}
		ceiling *= 2
	}
	r.failures++
	return rand.N(max(min(ceiling, r.most), 1))
}

// sleep waits, or less where ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

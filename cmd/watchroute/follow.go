package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// follower reads a watch and goes on by itself, on a new stream from the last
// token, when the stream ends. It is the part of this command that issue 6 makes
// the Go client of.
type follower struct {
	// open opens a stream.
	open func(context.Context, *watchroutev1.WatchRequest) (grpc.ServerStreamingClient[watchroutev1.WatchResponse], error)
	// request is the watch; its start is used until there is a token.
	request *watchroutev1.WatchRequest
	// each gets every message; its error is final.
	each func(*watchroutev1.WatchResponse) error
	// again is told why the stream ended and when the next one begins.
	again func(cause string, wait time.Duration)

	token    string // of the last message that had one
	received bool   // anything at all
	attempts int    // since the last message
}

// The waits between attempts: full jitter under a ceiling that doubles, as
// docs/protocol.md asks for.
const (
	firstWait = time.Second
	mostWait  = 30 * time.Second
)

// errSilent ends a stream on which nothing came for longer than the server said
// that silence may last.
var errSilent = errors.New("the connection is silent")

// drained is the end of a stream that the server announced.
type drained struct{ reconnectAfter time.Duration }

func (drained) Error() string { return "the server is going away" }

// run follows until ctx ends, which is no error, or the watch fails for good.
func (f *follower) run(ctx context.Context) error {
	for {
		err := f.stream(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wait, cause, err := f.retry(err)
		if err != nil {
			return err
		}
		f.again(cause, wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// fatal is the error of each, which ends everything.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// retry decides whether and when to go on after an error.
func (f *follower) retry(err error) (wait time.Duration, cause string, final error) {
	if stop := (fatal{}); errors.As(err, &stop) {
		return 0, "", stop.error
	}
	if d := (drained{}); errors.As(err, &d) {
		return d.reconnectAfter, d.Error(), nil
	}
	ceiling := min(firstWait<<min(f.attempts, 20), mostWait)
	f.attempts++
	wait = rand.N(ceiling)
	switch {
	case errors.Is(err, io.EOF):
		return wait, "the stream ended", nil
	case errors.Is(err, errSilent):
		return wait, err.Error(), nil
	}
	failure := failureOf(err)
	// A server that was never reached is more likely a wrong address.
	unreached := !f.received && failure.code == codes.Unavailable && failure.reason == ""
	if permanent(err) || unreached {
		return 0, "", err
	}
	return max(wait, failure.retryAfter), failure.message, nil
}

// stream reads one stream to its end.
func (f *follower) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request := f.request
	if f.token != "" {
		request = proto.CloneOf(f.request)
		request.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: f.token}
	}
	stream, err := f.open(ctx, request)
	if err != nil {
		return err
	}
	var limit time.Duration
	silence := time.AfterFunc(time.Hour, func() { cancel(errSilent) })
	defer silence.Stop()
	for {
		m, err := stream.Recv()
		if err != nil {
			if errors.Is(context.Cause(ctx), errSilent) {
				return errSilent
			}
			return err
		}
		if d := m.GetStarted().GetSilenceLimit().AsDuration(); d > 0 {
			limit = d
		}
		if limit > 0 {
			silence.Reset(limit)
		}
		f.received, f.attempts = true, 0
		f.remember(m)
		if err := f.each(m); err != nil {
			return fatal{err}
		}
		switch body := m.GetBody().(type) {
		case *watchroutev1.WatchResponse_Drain:
			return drained{body.Drain.GetReconnectAfter().AsDuration()}
		case *watchroutev1.WatchResponse_Closed:
			return status.FromProto(body.Closed).Err()
		}
	}
}

// remember keeps what the next stream begins with.
func (f *follower) remember(m *watchroutev1.WatchResponse) {
	if m.GetReset_() != nil || m.GetStarted().GetMode() == watchroutev1.Started_SNAPSHOT {
		// What came before is void: until the snapshot has a token, only another
		// snapshot helps.
		f.token = ""
		f.request = proto.CloneOf(f.request)
		f.request.Start = nil
	}
	if t := m.GetResumeToken(); t != "" {
		f.token = t
	}
}

// describe gives a wait as people say it.
func describe(wait time.Duration) string {
	return fmt.Sprintf("%.1f s", wait.Seconds())
}

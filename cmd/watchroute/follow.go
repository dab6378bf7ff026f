package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	watchroute "github.com/watchroute/watchroute/clients/go"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// follower shows a watch; how it goes on when a stream ends is the Go client's.
type follower struct {
	conn    grpc.ClientConnInterface
	request *watchroutev1.WatchRequest
	// each gets every message; its error is final.
	each func(*watchroutev1.WatchResponse) error
	// again is told why the stream ended and when the next one begins.
	again func(cause string, wait time.Duration)

	token lastToken
}

// run follows until ctx ends, which is no error, or the watch fails for good.
func (f *follower) run(ctx context.Context) error {
	client := watchroute.New(f.conn)
	defer client.Close()
	for m, err := range watchroute.Messages(ctx, client, "", watchroute.Request(f.request), watchroute.KeepToken(&f.token, ""),
		watchroute.FailFast(), // a server that was never reached is more likely a wrong address
		watchroute.OnState(func(s watchroute.StateChange) {
			if s.State == watchroute.BackingOff || s.State == watchroute.Draining {
				f.again(causeText(s.Cause), s.Wait)
			}
		})) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.each(m); err != nil {
			return err
		}
	}
	return nil
}

func causeText(cause error) string {
	if e, ok := errors.AsType[*watchroute.Error](cause); ok {
		return e.Message
	}
	return cause.Error()
}

// lastToken is a watchroute.Store that gives what to go on from with the next command.
type lastToken struct{ text string }

func (t *lastToken) Load(context.Context, string) (string, error) { return "", nil }

func (t *lastToken) Save(_ context.Context, _, token string) error {
	t.text = token
	return nil
}

// describe gives a wait as people say it.
func describe(wait time.Duration) string {
	return fmt.Sprintf("%.1f s", wait.Seconds())
}

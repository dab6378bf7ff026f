package sourcetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// again is how long a follower waits before it asks a node that is away once more.
const again = 20 * time.Millisecond

// follower is a watch of every change of a collection that outlives the node's processes.
type follower struct {
	api    watchroutev1.ResourceServiceClient
	parent string
	// take gets each event once, and wrong what must not be, both from one goroutine.
	take  func(*watchroutev1.Event)
	wrong func(string)

	token    string
	revision uint64 // of the last event

	mu    sync.Mutex
	begin string        // the token before the first change
	ready chan struct{} // closed when begin is there
	err   error         // why the last watch ended
}

// follow follows a collection, from its state or from behind a token, until the test ends.
func follow(t testing.TB, f *follower) *follower {
	t.Helper()
	f.ready = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			err := f.watch(ctx)
			f.mu.Lock()
			f.err = err
			f.mu.Unlock()
			select {
			case <-time.After(again):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
	select {
	case <-f.ready:
	case <-time.After(patience):
		t.Fatalf("a watch of %s does not begin: %v", f.parent, f.why())
	}
	return f
}

// why gives the error with which the last watch ended.
func (f *follower) why() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// beginning gives the token before the first change.
func (f *follower) beginning() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begin
}

func (f *follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "watchroute-json", "text"))
	defer cancel()
	request := &watchroutev1.WatchRequest{Parent: f.parent, Delivery: watchroutev1.Delivery_EVERY_CHANGE}
	if f.token != "" {
		request.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: f.token}
	}
	stream, err := f.api.Watch(ctx, request)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		resumed := m.GetStarted().GetMode() == watchroutev1.Started_RESUMED
		if r := m.GetReset_(); r != nil {
			f.wrong(fmt.Sprintf("the watch was reset: %v", r.GetReason()))
		}
		if c := m.GetClosed(); c != nil {
			f.wrong(fmt.Sprintf("the watch was closed: %v", c))
		}
		for _, e := range m.GetEvents().GetEvents() {
			// What came after the token may come again.
			if revision := e.GetResource().GetRevision(); revision > f.revision {
				f.revision = revision
				f.take(e)
			}
		}
		if token := m.GetResumeToken(); token != "" {
			f.token = token
		}
		if m.GetSnapshotEnd() != nil || resumed {
			f.mu.Lock()
			if f.begin == "" {
				f.begin = f.token
				close(f.ready)
			}
			f.mu.Unlock()
		}
	}
}

package sourcetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	watchroute "github.com/watchroute/watchroute/clients/go"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// again is the most that a follower waits before it asks a node that is away once more.
const again = 20 * time.Millisecond

// follower is a watch of every change of a collection that outlives the node's processes.
type follower struct {
	conn   grpc.ClientConnInterface
	parent string
	// take gets each event once, and wrong what must not be, both from one goroutine.
	take  func(*watchroutev1.Event)
	wrong func(string)

	token    string // where it begins
	revision uint64 // of the last event

	mu    sync.Mutex
	begin string        // the token before the first change
	ready chan struct{} // closed when begin is there
	err   error         // why the watch ended
}

// follow follows a collection, from its state or from behind a token, until the test ends.
func follow(t testing.TB, f *follower) *follower {
	t.Helper()
	f.ready = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		err := f.watch(ctx)
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
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

// why gives the error with which the watch ended.
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

// watch watches until ctx ends or the watch fails for good.
func (f *follower) watch(ctx context.Context) error {
	client := watchroute.New(f.conn, watchroute.WithBackoff(again, again))
	defer client.Close()
	options := []watchroute.WatchOption{watchroute.EveryChange()}
	if f.token != "" {
		options = append(options, watchroute.ResumeToken(f.token))
	}
	token := ""
	for m, err := range watchroute.Messages(ctx, client, f.parent, options...) {
		if err != nil {
			return err
		}
		if r := m.GetReset_(); r != nil {
			f.wrong(fmt.Sprintf("the watch was reset: %v", r.GetReason()))
		}
		for _, e := range m.GetEvents().GetEvents() {
			// What came after the token may come again.
			if revision := e.GetResource().GetRevision(); revision > f.revision {
				f.revision = revision
				f.take(e)
			}
		}
		if next := m.GetResumeToken(); next != "" {
			token = next
		}
		if m.GetSnapshotEnd() != nil || m.GetStarted().GetMode() == watchroutev1.Started_RESUMED {
			f.mu.Lock()
			if f.begin == "" {
				f.begin = token
				close(f.ready)
			}
			f.mu.Unlock()
		}
	}
	return ctx.Err()
}

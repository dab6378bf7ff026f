package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/watchroute/watchroute/e2e/client"
	"github.com/watchroute/watchroute/e2e/picture"
)

// goal is the revision at which watchers are done; 0: not known yet.
type goal struct{ revision atomic.Uint64 }

// watcher follows orders until the goal, on one transport or on many.
type watcher struct {
	name    string
	filter  string
	picture *picture.Picture
	routes  []client.Transport // more than one: each stream takes another
	// cutAfter is after how many messages a stream is cut off, on average; 0:
	// never.
	cutAfter int
	// interval is the least time between two deliveries. Default: none.
	interval time.Duration
	// forgiving: a stream that breaks is opened again, as the server goes away.
	forgiving bool

	cuts  int
	ready chan struct{}  // closed at the first token
	by    map[string]int // events by transport
}

func newWatcher(name, filter string, p *picture.Picture, routes ...client.Transport) *watcher {
	return &watcher{name: name, filter: filter, picture: p, routes: routes, ready: make(chan struct{}), by: map[string]int{}}
}

var errCut = errors.New("cut off")

// run watches until the goal is reached.
func (w *watcher) run(ctx context.Context, end *goal, random *rand.Rand) error {
	for turn := random.IntN(len(w.routes)); ; turn++ {
		route := w.routes[turn%len(w.routes)]
		left := -1
		if w.cutAfter > 0 {
			left = 1 + int(random.ExpFloat64()*float64(w.cutAfter))
		}
		w.picture.Open()
		err := route.Watch(ctx, client.Request{Filter: w.filter, Token: w.picture.Token, EveryChange: w.picture.Every, MinInterval: w.interval}, func(m *client.Message) error {
			if m.Kind == client.Closed {
				return fmt.Errorf("closed: %s", m.Why)
			}
			first := w.picture.Token == ""
			w.picture.Apply(m)
			w.by[route.Name()] += len(m.Events)
			if first && m.Token != "" {
				close(w.ready)
			}
			if last := end.revision.Load(); last != 0 && m.Token != "" && m.Revision >= last {
				return client.ErrEnough
			}
			if w.picture.Token == "" || w.cutAfter == 0 {
				return nil
			}
			if left--; left <= 0 {
				return errCut
			}
			return nil
		})
		switch {
		case errors.Is(err, client.ErrEnough):
			return nil
		case errors.Is(err, errCut):
			w.cuts++
		case ctx.Err() != nil:
			return fmt.Errorf("%s on %s at revision %d: %w", w.name, route.Name(), w.picture.Revision, ctx.Err())
		case !w.forgiving:
			return fmt.Errorf("%s: %s ended the stream at revision %d: %w", w.name, route.Name(), w.picture.Revision, err)
		default:
			select { // the server is away, or told to come back
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

package hub

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

const (
	// mostLooking is how long a look with a filter keeps others from theirs.
	mostLooking = 10 * time.Millisecond
	// freely is what looking at one value may take on the average without being charged
	// for, and compiledFreely what compiling a filter may: ten times what is usual.
	freely         = 20 * time.Microsecond
	compiledFreely = time.Millisecond
	// mostRest is how long a watch rests at a time whose filters have had their share.
	mostRest = 100 * time.Millisecond
)

// Look is one turn of looking through values in the log, or of compiling a filter, beside
// the watches that live. There are half as many at a time as there are processors, so that
// the others are left to live watches and to writers. What a dear filter takes in them is
// charged to who has it.
type Look struct {
	hub    *Hub
	grant  Grant // nil: nothing is charged
	began  time.Time
	looked int  // at values
	has    bool // a turn
}

// Look waits for a turn. With a filter the error is that of Grant.Spent if there is
// nothing left to spend.
func (h *Hub) Look(ctx context.Context, g Grant, f *schema.Filter) (*Look, error) {
	l := &Look{hub: h}
	if f != nil {
		l.grant = g
	}
	return l, l.take(ctx)
}

func (l *Look) take(ctx context.Context) error {
	select {
	case l.hub.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.hub.ctx.Done():
		return context.Cause(l.hub.ctx)
	}
	if l.grant != nil {
		if err := l.grant.Spent(0); err != nil {
			<-l.hub.slots
			return err
		}
	}
	l.began, l.looked, l.has = time.Now(), 0, true
	return nil
}

// Over says whether the turn has taken long enough.
func (l *Look) Over() bool { return l.grant != nil && time.Since(l.began) > mostLooking }

// Next is called before each value is looked at, and takes another turn where this one is
// over. The errors are those of Hub.Look.
func (l *Look) Next(ctx context.Context) error {
	if l.Over() {
		l.End()
		if err := l.take(ctx); err != nil {
			return err
		}
	}
	l.looked++
	return nil
}

// End ends the turn, if there is one.
func (l *Look) End() { l.end(time.Duration(l.looked) * freely) }

func (l *Look) end(free time.Duration) {
	if !l.has {
		return
	}
	l.has = false
	<-l.hub.slots
	if l.grant == nil {
		return
	}
	if took := time.Since(l.began) - free; took > 0 {
		_ = l.grant.Spent(took) // the next turn is refused
	}
}

// Filter compiles a filter on behalf of a caller; see schema.Schema.Filter.
func (h *Hub) Filter(ctx context.Context, g Grant, values *schema.Schema, expr string) (*schema.Filter, error) {
	if f := values.Compiled(expr); f != nil || expr == "" {
		return f, nil
	}
	l := &Look{hub: h, grant: g}
	if err := l.take(ctx); err != nil {
		return nil, err
	}
	defer l.end(compiledFreely)
	return values.Filter("filter", expr)
}

// look waits for a watch's turn. nil: it has had its share, has rested, and is to try
// again.
func (w *Watch) look() (*Look, error) {
	l, err := w.hub.Look(w.hub.ctx, w.grant, w.view.filter)
	e := new(resource.Error)
	if !errors.As(err, &e) || e.Reason != resource.LimitReached {
		return l, err
	}
	select {
	case <-time.After(min(mostRest, cmp.Or(e.RetryAfter, mostRest))):
	case <-w.hub.ctx.Done():
	}
	w.wake()
	return nil, nil
}

package watchroute

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"time"
)

// Batches is [Watch] for programs that are slow, or need the latest only: it gives what
// was told in batches, at most one in each `every`. The first event after a quiet time is
// given at once, with those that came in the same message; what comes later is gathered
// until `every` since the last batch was given is over. A program that takes longer than
// that is given all that is on its way to it, so that it does not fall behind.
//
// A batch has the last event of each name only, in the order in which these came. A Reset
// drops what came before it, and is the first of its batch. Synced is the last of its
// batch, which is given at once. Batches are not empty, and the program's own.
//
// While the program is busy with a batch nothing more is read, but for one message: the
// server folds changes, or keeps them in its log. So memory is bounded by the names in one
// batch. The sequence ends as that of Watch; what came before the error is given first. A
// token in a store (see [KeepToken]) moves on once the program has asked for the next
// batch.
//
// A watch in batches has a goroutine, which reads and calls OnState. It ends with the loop.
func Batches[T any](ctx context.Context, c *Client, target string, every time.Duration, options ...WatchOption) iter.Seq2[[]Event[T], error] {
	return func(yield func([]Event[T], error) bool) {
		w, err := open[T](ctx, c, target, options)
		if err != nil {
			yield(nil, err)
			return
		}
		b := batches[T]{every: every, watch: w, ask: make(chan struct{}), answers: make(chan answer[T], 1)}
		go b.read()
		defer b.close()
		for err == nil {
			var batch []Event[T]
			batch, err = b.next()
			if len(batch) > 0 {
				b.given = time.Now()
				if !yield(batch, nil) {
					return
				}
				b.finish(err)
			}
		}
		yield(nil, err)
	}
}

// batches reads in a goroutine, as reading cannot be left when a batch is due, and comes
// to an end when the program asks again.
type batches[T any] struct {
	every time.Duration
	*watch[T]
	given time.Time // when the last batch was; zero: none was

	ask     chan struct{}
	asked   bool // there will be an answer
	answers chan answer[T]
}

// answer is what a message told, and the error that ends the watch behind it.
type answer[T any] struct {
	events []Event[T]
	err    error
}

// read reads a message that tells something whenever it is asked to.
func (b *batches[T]) read() {
	defer close(b.answers)
	for range b.ask {
		var a answer[T]
		c, err := b.fold.next(b.ctx)
		for more := true; more; c, more, err = b.fold.here() {
			var event Event[T]
			if event, a.err = b.told(c, err); a.err != nil {
				break
			}
			a.events = append(a.events, event)
		}
		if a.err == nil {
			a.err = err
		}
		b.answers <- a
	}
}

// lull is how long nothing comes when all that was on its way is read.
const lull = time.Millisecond

// next gathers a batch. It may be empty before an error only.
func (b *batches[T]) next() ([]Event[T], error) {
	gathered := latest[T]{}
	began, until := time.Now(), b.given.Add(b.every)
	late := !b.given.IsZero() && !began.Before(until) // the program took longer
	behind := false                                   // and something waited for it
	var due, idle <-chan time.Time
	for {
		if !b.asked {
			b.ask <- struct{}{}
			b.asked = true
		}
		select {
		case a := <-b.answers:
			b.asked = false
			for _, event := range a.events {
				gathered.add(event)
			}
			if tokens := b.fold.follower.tokens; tokens != nil && len(a.events) > 0 {
				tokens.hold(gathered.reset)
			}
			if late {
				late = false
				if behind = time.Since(began) <= lull; behind {
					until = began.Add(b.every)
				}
			}
			left := time.Until(until)
			if a.err != nil || gathered.synced || left <= 0 {
				return gathered.events(), a.err
			}
			if due == nil {
				due = time.After(left)
			}
			if behind {
				idle = time.After(lull)
			}
		case <-due:
			return gathered.events(), nil
		case <-idle:
			return gathered.events(), nil
		}
	}
}

// finish notes that the program has finished with a batch, behind which err ends the watch.
func (b *batches[T]) finish(err error) {
	f := b.fold.follower
	if !b.asked && err == nil {
		f.finish()
	}
	if f.tokens != nil {
		f.tokens.release()
	}
}

func (b *batches[T]) close() {
	b.leave()
	close(b.ask)
	for range b.answers { // until the goroutine has ended
	}
	b.watch.close()
}

// latest is the last event of each name.
type latest[T any] struct {
	of     map[string]numbered[T]
	count  int
	reset  bool // there is a Reset
	synced bool // the last event is Synced
}

type numbered[T any] struct {
	number int
	event  Event[T]
}

func (l *latest[T]) add(e Event[T]) {
	if l.of == nil || e.Kind == Reset {
		*l = latest[T]{of: map[string]numbered[T]{}, reset: e.Kind == Reset}
	}
	l.count++
	l.synced = e.Kind == Synced
	// A name has a slash, so that it is no kind.
	l.of[cmp.Or(e.Name, e.Kind.String())] = numbered[T]{l.count, e}
}

// events gives them in the order in which they came.
func (l *latest[T]) events() []Event[T] {
	var events []Event[T]
	for _, n := range slices.SortedFunc(maps.Values(l.of), func(a, b numbered[T]) int { return cmp.Compare(a.number, b.number) }) {
		events = append(events, n.event)
	}
	return events
}

package watchroute

import (
	"context"
	"iter"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// WatchOption is a setting of one watch.
type WatchOption interface{ watch(*watchConfig) }

type watchConfig struct {
	request  *watchroutev1.WatchRequest
	store    Store
	key      string
	failFast bool
	counters *Counters
	onState  func(StateChange)
	name     string
}

type watchOption func(*watchConfig)

func (o watchOption) watch(c *watchConfig) { o(c) }

// Request sets the contract's message itself; options behind it change it. It is not
// changed.
func Request(r *watchroutev1.WatchRequest) WatchOption {
	return watchOption(func(c *watchConfig) {
		parent := c.request.GetParent()
		names := c.request.GetNames()
		c.request = proto.CloneOf(r)
		if r.GetParent() == "" && len(r.GetNames()) == 0 {
			c.request.Parent, c.request.Names = parent, names
		}
	})
}

// Names watches these resources, at most 1000, all of one collection.
func Names(names ...string) WatchOption {
	return watchOption(func(c *watchConfig) { c.request.Names = append(c.request.Names, names...) })
}

// ReadMask asks for these fields of the value, and for changes of them only.
func ReadMask(paths ...string) WatchOption {
	return watchOption(func(c *watchConfig) { c.request.ReadMask = &fieldmaskpb.FieldMask{Paths: paths} })
}

// ResumeToken begins after the message that carried this token. It is of use only to a
// program that has kept the state itself.
func ResumeToken(token string) WatchOption {
	return watchOption(func(c *watchConfig) {
		c.request.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: token}
	})
}

// AfterRevision begins with the changes after this revision.
func AfterRevision(revision uint64) WatchOption {
	return watchOption(func(c *watchConfig) {
		c.request.Start = &watchroutev1.WatchRequest_AfterRevision{AfterRevision: revision}
	})
}

// FromNow begins with the changes after the moment at which the watch opens, without the
// state.
func FromNow() WatchOption {
	return watchOption(func(c *watchConfig) {
		c.request.Start = &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}
	})
}

// EveryChange has each change told, exactly once. Default: changes of one name may be
// folded into the last of them.
func EveryChange() WatchOption {
	return watchOption(func(c *watchConfig) { c.request.Delivery = watchroutev1.Delivery_EVERY_CHANGE })
}

// MinInterval is the least time between two deliveries. Default: 0. At most an hour.
func MinInterval(d time.Duration) WatchOption {
	return watchOption(func(c *watchConfig) { c.request.MinInterval = durationpb.New(d) })
}

// Heartbeat is the most time without a message; silence for twice as long means that the
// connection is broken. Default: the server's, 15 s. 1 s to 10 minutes.
func Heartbeat(d time.Duration) WatchOption {
	return watchOption(func(c *watchConfig) { c.request.Heartbeat = durationpb.New(d) })
}

// Delta asks the server for changed fields only. What the program is told is the same,
// whole values; the client holds the last of each name for it.
func Delta() WatchOption { return watchOption(func(c *watchConfig) { c.request.Delta = true }) }

// FailOnExpired ends the watch with OUT_OF_RANGE where it would tell a Reset because a
// position cannot be resumed from. A store (see KeepToken) goes on to have the token: a
// program that has dropped its state saves "" in its place.
func FailOnExpired() WatchOption {
	return watchOption(func(c *watchConfig) { c.request.OnExpired = watchroutev1.OnExpired_FAIL })
}

// KeepToken keeps the watch's token in a store under a key, and begins after the one that
// is there. It is of use only to a program that keeps the state itself. Tokens are saved
// within a second, and when the watch ends; a store that fails does not end the watch, and
// is tried again after a second.
// What the program has not finished with, as it did not ask for the next event or batch, is
// told again after a restart.
func KeepToken(store Store, key string) WatchOption {
	return watchOption(func(c *watchConfig) { c.store, c.key = store, key })
}

// FailFast makes the first failure to connect final, if the server was never reached.
// Default: it is tried again.
func FailFast() WatchOption { return watchOption(func(c *watchConfig) { c.failFast = true }) }

// CountIn counts in these counters, which may be those of several watches. For those of
// all of a client's see [Client.Counters].
func CountIn(counters *Counters) WatchOption {
	return watchOption(func(c *watchConfig) { c.counters = counters })
}

// OnState calls f at each change of the watch's state, in the watch's goroutine: f must
// return soon.
func OnState(f func(StateChange)) WatchOption {
	return watchOption(func(c *watchConfig) { c.onState = f })
}

// Named is how the watch is called in logs and in StateChange. Default: what is watched.
func Named(name string) WatchOption { return watchOption(func(c *watchConfig) { c.name = name }) }

// Watch watches a collection, such as "orders", or a resource, such as "orders/42". The
// sequence tells the state and then its changes, until the program leaves the loop, ctx
// ends, or the watch fails for good; the last two are yielded as an error: ctx's, an
// [*Error], or [ErrClosed]. Each use of the sequence is a watch of its own. For programs
// that want less than each event see [Batches].
func Watch[T any](ctx context.Context, c *Client, target string, options ...WatchOption) iter.Seq2[Event[T], error] {
	return func(yield func(Event[T], error) bool) {
		w, err := open[T](ctx, c, target, options)
		if err != nil {
			yield(Event[T]{}, err)
			return
		}
		defer w.close()
		for {
			event, err := w.told(w.fold.next(w.ctx))
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// watch is a watch whose events are of a program's type.
type watch[T any] struct {
	ctx   context.Context // ends with the client, too
	leave func()
	shape shape[T]
	fold  *fold
}

func open[T any](ctx context.Context, c *Client, target string, options []WatchOption) (*watch[T], error) {
	w := &watch[T]{shape: shapeOf[T]()}
	w.ctx, w.leave = c.attach(ctx)
	w.fold = &fold{form: w.shape.form}
	if _, err := c.follow(w.ctx, target, options, w.fold); err != nil {
		w.leave()
		return nil, err
	}
	return w, nil
}

// told makes an event of a change.
func (w *watch[T]) told(c change, err error) (Event[T], error) {
	if err != nil {
		return Event[T]{}, err
	}
	event, err := eventOf(w.shape, c, w.fold.delta)
	if err != nil {
		return Event[T]{}, w.fold.fail(err)
	}
	return event, nil
}

func (w *watch[T]) close() {
	w.fold.follower.end()
	w.leave()
}

// eventOf makes what a program is told.
func eventOf[T any](shape shape[T], c change, copied bool) (event Event[T], err error) {
	event.Kind, event.Reason = c.kind, c.reason
	if c.event == nil {
		event.Revision = c.revision
		return event, nil
	}
	event.Cause, event.Coalesced = c.event.GetCause(), c.event.GetCoalesced()
	var value T
	if c.value != nil {
		if value, err = shape.give(c.value, copied); err != nil {
			return event, err
		}
	}
	event.Resource = resourceOf(c.event.GetResource(), value)
	return event, nil
}

// Messages watches as [Watch] does, but yields the contract's messages as they come, of
// one stream after another: for programs that show or forward them. What is told twice or
// is void, and deltas, are the program's to judge. A message must not be changed.
func Messages(ctx context.Context, c *Client, target string, options ...WatchOption) iter.Seq2[*watchroutev1.WatchResponse, error] {
	return func(yield func(*watchroutev1.WatchResponse, error) bool) {
		ctx, leave := c.attach(ctx)
		defer leave()
		follower, err := c.follow(ctx, target, options, nil)
		if err != nil {
			yield(nil, err)
			return
		}
		defer follower.end()
		for {
			m, err := follower.next(ctx)
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// attach gives a context that ends with the client, too.
func (c *Client) attach(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.done, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// follow makes the follower of a watch, and sets up its fold where it has one.
func (c *Client) follow(ctx context.Context, target string, options []WatchOption, fold *fold) (*follower, error) {
	cfg := watchConfig{request: &watchroutev1.WatchRequest{}}
	if strings.Contains(target, "/") {
		cfg.request.Names = []string{target}
	} else {
		cfg.request.Parent = target
	}
	for _, option := range options {
		option.watch(&cfg)
	}
	r := cfg.request
	if r.GetParent() == "" && len(r.GetNames()) == 0 {
		return nil, failure(codes.InvalidArgument, watchroutev1.ErrorReason_INVALID_NAME.String(), "neither a collection nor names are given")
	}
	counters := tally{c.counters}
	if cfg.counters != nil {
		counters = append(counters, cfg.counters)
	}
	if cfg.name == "" {
		if cfg.name = r.GetParent(); cfg.name == "" {
			cfg.name = r.GetNames()[0]
		}
	}
	f := &follower{request: r, counters: counters, log: c.config.log, name: cfg.name}
	for _, observe := range []func(StateChange){c.config.onState, cfg.onState} {
		if observe != nil {
			f.observe = append(f.observe, observe)
		}
	}
	w := &wallet{ask: c.config.credential}
	f.transport = &direct{c, w, counters}
	if c.session != nil {
		f.transport, w = c.session, c.session.wallet
	}
	f.retry = retry{first: c.config.first, most: c.config.most, failFast: cfg.failFast, wallet: w}
	if cfg.store != nil {
		f.tokens = newKeeper(cfg.store, cfg.key, counters, c.config.log)
		f.token = f.tokens.load(ctx)
	}
	if fold != nil {
		if f.token != "" || skipsState(f.request) {
			// There will be no values that a delta could change.
			f.request = proto.CloneOf(f.request)
			f.request.Delta = false
		}
		fold.follower, fold.delta = f, f.request.GetDelta()
	}
	return f, nil
}

// skipsState says whether a watch begins elsewhere than with the state.
func skipsState(r *watchroutev1.WatchRequest) bool {
	switch start := r.GetStart().(type) {
	case nil:
		return false
	case *watchroutev1.WatchRequest_From:
		return start.From == watchroutev1.Start_NOW
	}
	return true
}

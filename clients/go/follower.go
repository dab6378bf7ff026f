package watchroute

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// follower reads the messages of one watch, and goes on by itself on a new stream when
// one ends. It is the only code of this package that knows when to come back, and with
// what; what messages mean to a program is fold's.
type follower struct {
	transport transport
	request   *watchroutev1.WatchRequest // how the next stream begins, but for the token
	retry     retry
	tokens    *keeper // nil: they are not stored
	counters  tally
	observe   []func(StateChange)
	log       *slog.Logger
	name      string

	state State
	token string // of the last message with which the program has finished
	// What finishing the present message does to token.
	ripe string
	// told: the program holds what it was told, or what a position stands for.
	told bool
	ever bool // told was true once

	// Of the present stream.
	stream     stream
	cancel     context.CancelCauseFunc
	opened     int  // streams so far
	positioned bool // it was opened with a position
	started    bool
	ending     error // after the present message
	silence    *silence
}

// next gives the next message. That says that the program has finished with the one
// before. An error is final.
func (f *follower) next(ctx context.Context) (*watchroutev1.WatchResponse, error) {
	f.finish()
	for {
		err := f.ending
		if err == nil && f.stream == nil {
			err = f.connect(ctx)
		}
		var m *watchroutev1.WatchResponse
		if err == nil {
			m, err = f.receive()
		}
		if err == nil {
			err = f.take(m)
		}
		if err == nil {
			return m, nil
		}
		if err := f.failed(ctx, err); err != nil {
			return nil, err
		}
	}
}

// finish notes that the program has finished with the last message.
func (f *follower) finish() {
	if f.ripe == "" {
		return
	}
	f.token, f.ripe = f.ripe, ""
	// What came before the token is not asked for again.
	if f.request.GetStart() != nil || f.request.GetMinRevision() != 0 {
		f.request = proto.CloneOf(f.request)
		f.request.Start, f.request.MinRevision = nil, 0
	}
	if f.tokens != nil {
		f.tokens.keep(f.token)
	}
}

// connect opens a stream.
func (f *follower) connect(ctx context.Context) error {
	request := f.request
	if f.token != "" {
		request = proto.CloneOf(f.request)
		request.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: f.token}
	}
	_, resumes := request.GetStart().(*watchroutev1.WatchRequest_ResumeToken)
	_, after := request.GetStart().(*watchroutev1.WatchRequest_AfterRevision)
	f.positioned, f.started = resumes || after, false
	f.tell(f.positioned)
	if f.opened++; f.opened > 1 {
		f.counters.reconnect()
	}
	if resumes {
		f.enter(Resuming, nil, 0)
	} else {
		f.enter(Connecting, nil, 0)
	}
	ctx, f.cancel = context.WithCancelCause(ctx)
	f.silence = listen(f.cancel)
	s, err := f.transport.open(ctx, request)
	f.silence.read()
	if err != nil {
		return f.silenced(ctx, err)
	}
	f.stream = &watched{s, ctx}
	return nil
}

// watched is a stream and its context, whose cause says why it was ended here.
type watched struct {
	stream
	ctx context.Context
}

// receive gets the next message of the stream.
func (f *follower) receive() (*watchroutev1.WatchResponse, error) {
	f.silence.reading()
	m, err := f.stream.Recv()
	f.silence.read()
	if err != nil {
		return nil, f.silenced(f.stream.(*watched).ctx, err)
	}
	f.counters.message()
	return m, nil
}

func (f *follower) silenced(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		if w, ok := f.stream.(*watched); ok {
			w.silent()
		}
		return errSilent
	}
	return err
}

// take notes what a message means to the stream.
func (f *follower) take(m *watchroutev1.WatchResponse) error {
	body := m.GetBody()
	if started, ok := body.(*watchroutev1.WatchResponse_Started); ok {
		return f.begun(m, started.Started)
	}
	if closed, ok := body.(*watchroutev1.WatchResponse_Closed); ok {
		return fromStatus(statusOf(closed.Closed), nil)
	}
	if !f.started && body != nil {
		return failure(codes.Internal, "", "the first message of the watch is not `started`")
	}
	f.retry.received(true)
	switch body := body.(type) {
	case *watchroutev1.WatchResponse_Events:
		f.tell(true)
	case *watchroutev1.WatchResponse_SnapshotEnd:
		f.tell(true)
		f.enter(Live, nil, 0)
	case *watchroutev1.WatchResponse_Bookmark:
	case *watchroutev1.WatchResponse_Reset_:
		f.void()
		f.enter(Resetting, nil, 0)
	case *watchroutev1.WatchResponse_Drain:
		d := drained{body.Drain.GetReconnectAfter().AsDuration()}
		f.ending = d
		f.enter(Draining, d, d.after)
	default:
		return failure(codes.Unimplemented, ReasonUnknownMessage, "the server sent a message that this client does not know")
	}
	f.ripe = m.GetResumeToken()
	return nil
}

// begun notes how a stream begins.
func (f *follower) begun(m *watchroutev1.WatchResponse, started *watchroutev1.Started) error {
	f.retry.received(f.started)
	f.started = true
	if d := started.GetSilenceLimit().AsDuration(); d > 0 {
		f.silence.allow(d)
	}
	switch started.GetMode() {
	case watchroutev1.Started_SNAPSHOT:
		state := Snapshot
		if f.ever {
			state = Resetting
		}
		f.void()
		f.enter(state, nil, 0)
	case watchroutev1.Started_RESUMED:
		f.enter(Live, nil, 0)
	case watchroutev1.Started_NOW:
		f.enter(Live, nil, 0)
	default:
		return failure(codes.Unimplemented, ReasonUnknownMessage, "the watch began in a way that this client does not know")
	}
	f.ripe = m.GetResumeToken()
	return nil
}

// tell notes whether the program now holds something.
func (f *follower) tell(something bool) {
	if something {
		f.told, f.ever = true, true
	}
}

// void drops the token, as what was told before no longer counts.
func (f *follower) void() {
	had := f.token != ""
	f.token, f.ripe = "", ""
	if f.request.GetStart() != nil {
		had = true
		f.request = proto.CloneOf(f.request)
		f.request.Start = nil
	}
	if f.tokens != nil && had {
		f.tokens.drop()
	}
}

// lost ends the stream, as something is missing in it: the watch begins anew.
func (f *follower) lost() {
	f.void()
	f.ending = errLost
}

// failed ends the stream and waits until it is time for the next one. An error is final.
func (f *follower) failed(ctx context.Context, err error) error {
	f.drop()
	if ctx.Err() != nil {
		err := ended(ctx)
		f.enter(Closed, err, 0)
		return err
	}
	wait, final := f.retry.decide(ctx, err)
	if final != nil {
		f.enter(Closed, final, 0)
		return final
	}
	if f.state != Draining {
		f.enter(BackingOff, causeOf(err), wait)
	}
	sleep(ctx, wait)
	return nil
}

// drop ends the present stream.
func (f *follower) drop() {
	if f.cancel != nil {
		f.cancel(nil)
		f.silence.end()
	}
	f.stream, f.cancel, f.silence, f.ending = nil, nil, nil, nil
}

// end ends the watch, as the program has left.
func (f *follower) end() {
	f.drop()
	if f.tokens != nil {
		f.tokens.close()
	}
	if f.state != Closed {
		f.enter(Closed, nil, 0)
	}
}

func (f *follower) enter(state State, cause error, wait time.Duration) {
	if f.state == state {
		return
	}
	f.state = state
	change := StateChange{Watch: f.name, State: state, Cause: cause, Wait: wait}
	for _, observe := range f.observe {
		observe(change)
	}
	if ctx := context.Background(); f.log.Enabled(ctx, slog.LevelDebug) {
		attrs := []slog.Attr{slog.String("watch", f.name), slog.String("state", state.String())}
		if cause != nil {
			attrs = append(attrs, slog.String("cause", cause.Error()))
		}
		if wait > 0 {
			attrs = append(attrs, slog.Duration("wait", wait))
		}
		f.log.LogAttrs(ctx, slog.LevelDebug, "watch", attrs...)
	}
}

package watchroute_test

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// fake is a connection to a server that is made of functions.
type fake struct {
	// watch serves a watch until it ends with an error.
	watch func(ctx context.Context, r *watchroutev1.WatchRequest, send func(*watchroutev1.WatchResponse)) error
	// session serves a session.
	session func(ctx context.Context, receive <-chan *watchroutev1.SessionRequest, send func(*watchroutev1.SessionResponse)) error
	unary   func(ctx context.Context, method string, request, answer proto.Message) error
}

func (f *fake) Invoke(ctx context.Context, method string, request, answer any, _ ...grpc.CallOption) error {
	return f.unary(ctx, method, request.(proto.Message), answer.(proto.Message))
}

func (f *fake) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	s := &fakeStream{ctx: ctx, requests: make(chan proto.Message, 100), responses: make(chan proto.Message), ended: make(chan struct{})}
	send := func(m proto.Message) {
		select {
		case s.responses <- m:
		case <-ctx.Done():
		}
	}
	if method == watchroutev1.ResourceService_Session_FullMethodName {
		receive := make(chan *watchroutev1.SessionRequest)
		go func() {
			for {
				select {
				case m := <-s.requests:
					select {
					case receive <- m.(*watchroutev1.SessionRequest):
					case <-ctx.Done():
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}()
		go s.serve(func() error {
			return f.session(ctx, receive, func(m *watchroutev1.SessionResponse) { send(m) })
		})
		return s, nil
	}
	go s.serve(func() error {
		select {
		case r := <-s.requests:
			return f.watch(ctx, r.(*watchroutev1.WatchRequest), func(m *watchroutev1.WatchResponse) { send(m) })
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return s, nil
}

// fakeStream is the client's end of a stream.
type fakeStream struct {
	grpc.ClientStream
	ctx       context.Context
	requests  chan proto.Message
	responses chan proto.Message
	ended     chan struct{}
	err       error
}

func (s *fakeStream) serve(f func() error) {
	s.err = f()
	close(s.ended)
}

func (s *fakeStream) SendMsg(m any) error {
	s.requests <- proto.Clone(m.(proto.Message))
	return nil
}

func (s *fakeStream) CloseSend() error { return nil }

func (s *fakeStream) RecvMsg(m any) error {
	select {
	case r := <-s.responses:
		proto.Merge(m.(proto.Message), r)
		return nil
	case <-s.ended:
		return s.err
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}

// script is what one stream says before it ends with an error; a nil error: it is silent
// until it is given up.
type script struct {
	says []*watchroutev1.WatchResponse
	err  error
}

// scripted is a server whose streams are scripted, one after another. When they are used
// up, over is called, and streams are silent.
type scripted struct {
	scripts []script
	over    func()

	mu       sync.Mutex
	began    time.Time
	requests []*watchroutev1.WatchRequest
	at       []time.Duration
	auth     []string
}

func (s *scripted) conn() *fake {
	s.began = time.Now()
	return &fake{watch: func(ctx context.Context, r *watchroutev1.WatchRequest, send func(*watchroutev1.WatchResponse)) error {
		s.mu.Lock()
		n := len(s.requests)
		s.requests, s.at = append(s.requests, r), append(s.at, time.Since(s.began))
		header, _ := metadata.FromOutgoingContext(ctx)
		s.auth = append(s.auth, append(header.Get("authorization"), "")[0])
		s.mu.Unlock()
		if n >= len(s.scripts) {
			s.over()
			<-ctx.Done()
			return ctx.Err()
		}
		for _, m := range s.scripts[n].says {
			send(m)
		}
		if s.scripts[n].err == nil {
			<-ctx.Done()
			return ctx.Err()
		}
		return s.scripts[n].err
	}}
}

func startOf(r *watchroutev1.WatchRequest) string {
	switch start := r.GetStart().(type) {
	case *watchroutev1.WatchRequest_ResumeToken:
		return start.ResumeToken
	case *watchroutev1.WatchRequest_AfterRevision:
		return "after"
	case *watchroutev1.WatchRequest_From:
		return start.From.String()
	}
	return "SNAPSHOT"
}

func (s *scripted) starts() (starts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		starts = append(starts, startOf(r))
	}
	return starts
}

func started(mode watchroutev1.Started_Mode, token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{ResumeToken: token, Body: &watchroutev1.WatchResponse_Started{
		Started: &watchroutev1.Started{Mode: mode, SilenceLimit: durationpb.New(30 * time.Second)}}}
}

const (
	snapshot = watchroutev1.Started_SNAPSHOT
	resumed  = watchroutev1.Started_RESUMED
	fromNow  = watchroutev1.Started_NOW
)

func events(revision uint64, token string, e ...*watchroutev1.Event) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{Revision: revision, ResumeToken: token, Body: &watchroutev1.WatchResponse_Events{Events: &watchroutev1.EventBatch{Events: e}}}
}

func present(name string, revision uint64, text string) *watchroutev1.Event {
	return &watchroutev1.Event{State: watchroutev1.State_PRESENT, Cause: watchroutev1.Cause_UPDATED,
		Resource: &watchroutev1.Resource{Name: "notes/" + name, Revision: revision, Data: jsonText(text)}}
}

func absent(name string, revision uint64) *watchroutev1.Event {
	return &watchroutev1.Event{State: watchroutev1.State_ABSENT, Cause: watchroutev1.Cause_DELETED,
		Resource: &watchroutev1.Resource{Name: "notes/" + name, Revision: revision}}
}

func jsonText(text string) *anypb.Any {
	data, err := anypb.New(&watchroutev1.Json{Text: text})
	if err != nil {
		panic(err)
	}
	return data
}

func snapshotEnd(revision uint64, token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{Revision: revision, ResumeToken: token, Body: &watchroutev1.WatchResponse_SnapshotEnd{SnapshotEnd: &watchroutev1.SnapshotEnd{}}}
}

func bookmark(revision uint64, token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{Revision: revision, ResumeToken: token, Body: &watchroutev1.WatchResponse_Bookmark{Bookmark: &watchroutev1.Bookmark{}}}
}

func reset(reason watchroutev1.Reset_Reason) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{Body: &watchroutev1.WatchResponse_Reset_{Reset_: &watchroutev1.Reset{Reason: reason}}}
}

func drain(after time.Duration, token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{ResumeToken: token, Body: &watchroutev1.WatchResponse_Drain{Drain: &watchroutev1.Drain{ReconnectAfter: durationpb.New(after)}}}
}

var (
	gone = status.Error(codes.Unavailable, "connection refused")
)

func mask(paths []string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

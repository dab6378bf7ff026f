package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// script is what one stream says before it ends with an error; a nil error: it says
// nothing more until its context ends.
type script struct {
	messages []*watchroutev1.WatchResponse
	err      error
}

// server is a connection on which one scripted stream follows another.
type server struct {
	grpc.ClientConnInterface
	scripts []script
	starts  []string
	over    func() // the scripts are used up
}

func (s *server) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &scriptedStream{ctx: ctx, server: s}, nil
}

type scriptedStream struct {
	grpc.ClientStream
	script
	ctx    context.Context
	server *server
}

func (s *scriptedStream) SendMsg(m any) error {
	s.server.starts = append(s.server.starts, m.(*watchroutev1.WatchRequest).GetResumeToken())
	if n := len(s.server.starts); n <= len(s.server.scripts) {
		s.script = s.server.scripts[n-1]
	} else {
		s.server.over()
	}
	return nil
}

func (s *scriptedStream) CloseSend() error { return nil }

func (s *scriptedStream) RecvMsg(m any) error {
	if len(s.messages) > 0 {
		proto.Merge(m.(proto.Message), s.messages[0])
		s.messages = s.messages[1:]
		return nil
	}
	if s.err == nil {
		<-s.ctx.Done()
		return status.FromContextError(s.ctx.Err()).Err()
	}
	return s.err
}

func started(mode watchroutev1.Started_Mode, token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{ResumeToken: token, Body: &watchroutev1.WatchResponse_Started{Started: &watchroutev1.Started{Mode: mode}}}
}

func snapshotEnd(token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{ResumeToken: token, Body: &watchroutev1.WatchResponse_SnapshotEnd{SnapshotEnd: &watchroutev1.SnapshotEnd{}}}
}

var (
	snapshot = []*watchroutev1.WatchResponse{started(watchroutev1.Started_SNAPSHOT, ""), snapshotEnd("a")}
	resumed  = []*watchroutev1.WatchResponse{started(watchroutev1.Started_RESUMED, "a")}
	gone     = status.Error(codes.Unavailable, "connection refused")
)

// play follows scripted streams until they are used up.
func play(t *testing.T, f *follower, scripts ...script) (starts, causes []string, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &server{scripts: scripts, over: cancel}
	f.conn, f.request = s, &watchroutev1.WatchRequest{Parent: "notes"}
	if f.each == nil {
		f.each = func(*watchroutev1.WatchResponse) error { return nil }
	}
	f.again = func(cause string, _ time.Duration) { causes = append(causes, cause) }
	err = f.run(ctx)
	return s.starts, causes, err
}

func TestFollow_SaysWhyItGoesOnAndFromWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drain := &watchroutev1.WatchResponse{Body: &watchroutev1.WatchResponse_Drain{Drain: &watchroutev1.Drain{ReconnectAfter: durationpb.New(time.Second)}}}
		f := &follower{}
		starts, causes, err := play(t, f, script{snapshot, io.EOF}, script{append(slices.Clone(resumed), drain), io.EOF}, script{nil, gone}, script{resumed, nil})
		if err != nil || !slices.Equal(starts, []string{"", "a", "a", "a", "a"}) ||
			!slices.Equal(causes, []string{"the stream ended", "the server is going away", "connection refused", "the connection is silent"}) {
			t.Errorf("began at %q, as %q, and ended with %v", starts, causes, err)
		}
		if f.token.text != "a" {
			t.Errorf("the last token is %q", f.token.text)
		}
	})
}

func TestFollow_AnAddressThatWasNeverReachedFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, causes, err := play(t, &follower{}, script{nil, gone}); status.Code(err) != codes.Unavailable || causes != nil {
			t.Errorf("got %v, behind %q", err, causes)
		}
	})
}

func TestFollow_EndsWithItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("the disk is full")
		if _, _, err := play(t, &follower{each: func(*watchroutev1.WatchResponse) error { return full }}, script{snapshot, nil}); err != full {
			t.Errorf("got %v", err)
		}
	})
}

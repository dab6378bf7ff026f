package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// script is what one stream says before it ends with an error; a nil error: it
// says nothing more until its context ends.
type script struct {
	messages []*watchroutev1.WatchResponse
	err      error
}

type scriptedStream struct {
	grpc.ClientStream
	ctx context.Context
	script
}

func (s *scriptedStream) Recv() (*watchroutev1.WatchResponse, error) {
	if len(s.messages) > 0 {
		m := s.messages[0]
		s.messages = s.messages[1:]
		return m, nil
	}
	if s.err == nil {
		<-s.ctx.Done()
		return nil, status.FromContextError(s.ctx.Err()).Err()
	}
	return nil, s.err
}

// play follows a watch whose streams are scripted; the last one stays open, and
// is cut when the others are used up. It returns what start each was opened with,
// and when.
func play(t *testing.T, request *watchroutev1.WatchRequest, scripts ...script) (starts []string, at []time.Duration, err error) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := &follower{
		request: request,
		open: func(ctx context.Context, r *watchroutev1.WatchRequest) (grpc.ServerStreamingClient[watchroutev1.WatchResponse], error) {
			starts, at = append(starts, startOf(r)), append(at, time.Since(began))
			if len(starts) > len(scripts) {
				cancel()
				return nil, ctx.Err()
			}
			return &scriptedStream{ctx: ctx, script: scripts[len(starts)-1]}, nil
		},
		each:  func(*watchroutev1.WatchResponse) error { return nil },
		again: func(string, time.Duration) {},
	}
	err = f.run(ctx)
	return starts, at, err
}

func startOf(r *watchroutev1.WatchRequest) string {
	switch start := r.GetStart().(type) {
	case *watchroutev1.WatchRequest_ResumeToken:
		return start.ResumeToken
	case *watchroutev1.WatchRequest_From:
		return start.From.String()
	case nil:
		return "SNAPSHOT"
	}
	return "?"
}

func started(mode watchroutev1.Started_Mode, token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{ResumeToken: token, Body: &watchroutev1.WatchResponse_Started{
		Started: &watchroutev1.Started{Mode: mode, SilenceLimit: durationpb.New(30 * time.Second)}}}
}

func snapshotEnd(token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{ResumeToken: token, Body: &watchroutev1.WatchResponse_SnapshotEnd{}}
}

func events(token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{ResumeToken: token, Body: &watchroutev1.WatchResponse_Events{Events: &watchroutev1.EventBatch{Events: []*watchroutev1.Event{{}}}}}
}

func reset() *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{Body: &watchroutev1.WatchResponse_Reset_{Reset_: &watchroutev1.Reset{}}}
}

func drain(after time.Duration, token string) *watchroutev1.WatchResponse {
	return &watchroutev1.WatchResponse{ResumeToken: token, Body: &watchroutev1.WatchResponse_Drain{Drain: &watchroutev1.Drain{ReconnectAfter: durationpb.New(after)}}}
}

const (
	snapshot = watchroutev1.Started_SNAPSHOT
	resumed  = watchroutev1.Started_RESUMED
)

var (
	gone = status.Error(codes.Unavailable, "connection refused")
	now  = &watchroutev1.WatchRequest{Start: &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}}
)

func TestFollow_GoesOnFromTheLastToken(t *testing.T) {
	for name, c := range map[string]struct {
		request *watchroutev1.WatchRequest
		scripts []script
		want    []string
	}{
		"after a cut": {nil, []script{{[]*watchroutev1.WatchResponse{started(snapshot, ""), events(""), snapshotEnd("a"), events("b"), events("")}, gone}}, []string{"SNAPSHOT", "b"}},
		"after a cut in the snapshot, from the beginning": {nil, []script{{[]*watchroutev1.WatchResponse{started(snapshot, ""), events("")}, gone}}, []string{"SNAPSHOT", "SNAPSHOT"}},
		"after a reset, from the beginning": {
			&watchroutev1.WatchRequest{Start: &watchroutev1.WatchRequest_ResumeToken{ResumeToken: "old"}},
			[]script{{[]*watchroutev1.WatchResponse{started(resumed, "old"), reset(), events("")}, gone}}, []string{"old", "SNAPSHOT"},
		},
		"after a reset and its snapshot": {nil, []script{{[]*watchroutev1.WatchResponse{started(resumed, "a"), reset(), events(""), snapshotEnd("b")}, gone}}, []string{"SNAPSHOT", "b"}},
		"from now":                       {now, []script{{[]*watchroutev1.WatchResponse{started(watchroutev1.Started_NOW, "a")}, io.EOF}}, []string{"NOW", "a"}},
		"across several cuts": {nil, []script{
			{[]*watchroutev1.WatchResponse{started(snapshot, ""), snapshotEnd("a")}, io.EOF},
			{nil, gone}, {nil, gone},
			{[]*watchroutev1.WatchResponse{started(resumed, "a"), events("b")}, status.Error(codes.Internal, "RST_STREAM")},
		}, []string{"SNAPSHOT", "a", "a", "a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.request == nil {
					c.request = &watchroutev1.WatchRequest{}
				}
				starts, _, err := play(t, c.request, c.scripts...)
				if err != nil || !slices.Equal(starts, c.want) {
					t.Errorf("got %q, %v; expected %q", starts, err, c.want)
				}
			})
		})
	}
}

func TestFollow_ComesBackWhenTheDrainSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts, at, err := play(t, &watchroutev1.WatchRequest{}, script{[]*watchroutev1.WatchResponse{started(snapshot, ""), snapshotEnd("a"), drain(7*time.Second, "b")}, nil})
		if err != nil || !slices.Equal(starts, []string{"SNAPSHOT", "b"}) || at[1] != 7*time.Second {
			t.Errorf("got %q at %v, %v", starts, at, err)
		}
	})
}

func TestFollow_WaitsAsLongAsTheServerAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := status.New(codes.Unavailable, "the server is shutting down").WithDetails(
			&errdetails.ErrorInfo{Reason: "DRAINING"}, &errdetails.RetryInfo{RetryDelay: durationpb.New(5 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		_, at, err := play(t, &watchroutev1.WatchRequest{}, script{nil, s.Err()})
		if err != nil || at[1] < 5*time.Second || at[1] > 6*time.Second {
			t.Errorf("came back at %v, %v", at, err)
		}
	})
}

func TestFollow_TakesSilenceForTheEndOfTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts, at, err := play(t, &watchroutev1.WatchRequest{}, script{[]*watchroutev1.WatchResponse{started(snapshot, ""), snapshotEnd("a")}, nil})
		if err != nil || !slices.Equal(starts, []string{"SNAPSHOT", "a"}) || at[1] < 30*time.Second || at[1] > 31*time.Second {
			t.Errorf("got %q at %v, %v", starts, at, err)
		}
	})
}

func TestFollow_WaitsLongerTheLongerItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scripts := []script{{[]*watchroutev1.WatchResponse{started(snapshot, "")}, gone}}
		for range 40 {
			scripts = append(scripts, script{nil, gone})
		}
		_, at, err := play(t, &watchroutev1.WatchRequest{}, scripts...)
		if err != nil {
			t.Fatal(err)
		}
		var most time.Duration
		for i := range at[1:] {
			most = max(most, at[i+1]-at[i])
		}
		if most > mostWait || most < mostWait/4 || at[3] > 7*time.Second {
			t.Errorf("waits of up to %v; attempts at %v", most, at)
		}
	})
}

func TestFollow_GivesUpWhereTryingAgainIsOfNoUse(t *testing.T) {
	for name, c := range map[string]struct {
		scripts []script
		want    codes.Code
	}{
		"bad request":       {[]script{{nil, status.Error(codes.InvalidArgument, "filter")}}, codes.InvalidArgument},
		"no collection":     {[]script{{nil, status.Error(codes.NotFound, "collection")}}, codes.NotFound},
		"expired":           {[]script{{[]*watchroutev1.WatchResponse{started(snapshot, ""), snapshotEnd("a")}, io.EOF}, {nil, status.Error(codes.OutOfRange, "compacted")}}, codes.OutOfRange},
		"nobody there":      {[]script{{nil, gone}}, codes.Unavailable},
		"not a watch":       {[]script{{nil, status.Error(codes.Unimplemented, "method")}}, codes.Unimplemented},
		"closed in session": {[]script{{[]*watchroutev1.WatchResponse{{Body: &watchroutev1.WatchResponse_Closed{Closed: status.New(codes.PermissionDenied, "revoked").Proto()}}}, nil}}, codes.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, err := play(t, &watchroutev1.WatchRequest{}, c.scripts...)
				if status.Code(err) != c.want {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestFollow_EndsWithItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("the disk is full")
		f := &follower{request: &watchroutev1.WatchRequest{},
			open: func(ctx context.Context, _ *watchroutev1.WatchRequest) (grpc.ServerStreamingClient[watchroutev1.WatchResponse], error) {
				return &scriptedStream{ctx: ctx, script: script{[]*watchroutev1.WatchResponse{started(snapshot, "")}, nil}}, nil
			},
			each: func(*watchroutev1.WatchResponse) error { return full },
		}
		if err := f.run(t.Context()); err != full {
			t.Errorf("got %v", err)
		}
	})
}

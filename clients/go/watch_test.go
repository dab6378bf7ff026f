package watchroute_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	watchroute "github.com/watchroute/watchroute/clients/go"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// story is all that a program sees of a watch.
type story struct {
	told   []string
	states []string
	waits  []time.Duration
	err    error
	counts watchroute.Counters
}

// play watches a scripted server until its scripts are used up.
func play(t *testing.T, scripts []script, options []watchroute.Option, watch ...watchroute.WatchOption) (*scripted, *story) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server, seen := &scripted{scripts: scripts, over: cancel}, &story{}
	client := watchroute.New(server.conn(), options...)
	defer client.Close()
	watch = append(watch, watchroute.CountIn(&seen.counts), watchroute.OnState(func(s watchroute.StateChange) {
		seen.states, seen.waits = append(seen.states, s.State.String()), append(seen.waits, s.Wait)
	}))
	for event, err := range watchroute.Watch[json.RawMessage](ctx, client, "notes", watch...) {
		if err != nil {
			seen.err = err
			break
		}
		seen.told = append(seen.told, shown(event))
	}
	synctest.Wait()
	return server, seen
}

func shown(e watchroute.Event[json.RawMessage]) string {
	switch e.Kind {
	case watchroute.Present:
		return fmt.Sprintf("%s@%d %s", strings.TrimPrefix(e.Name, "notes/"), e.Revision, e.Value)
	case watchroute.Absent:
		return fmt.Sprintf("%s@%d gone", strings.TrimPrefix(e.Name, "notes/"), e.Revision)
	case watchroute.Reset:
		return "RESET " + e.Reason
	}
	return fmt.Sprintf("%s@%d", e.Kind, e.Revision)
}

type says []*watchroutev1.WatchResponse

// start is a snapshot of one note, with the token t1.
var start = says{started(snapshot, ""), events(1, "", present("a", 1, `{"n":1}`)), snapshotEnd(1, "t1")}

func (s says) and(more ...*watchroutev1.WatchResponse) says { return append(slices.Clone(s), more...) }

func TestWatch_GoesOnWhereItWas(t *testing.T) {
	for name, c := range map[string]struct {
		scripts []script
		watch   []watchroute.WatchOption
		starts  []string
		told    []string
		states  string
	}{
		"after a cut behind a token": {
			scripts: []script{{start.and(events(2, "t2", present("a", 2, `{"n":2}`))), gone}, {says{started(resumed, "t2"), events(3, "t3", absent("a", 3))}, gone}},
			starts:  []string{"SNAPSHOT", "t2", "t3"},
			told:    []string{`a@1 {"n":1}`, "SYNCED@1", `a@2 {"n":2}`, "a@3 gone"},
			states:  "CONNECTING SNAPSHOT LIVE BACKING_OFF RESUMING LIVE BACKING_OFF RESUMING CLOSED",
		},
		"what was told since the token is not told again": {
			scripts: []script{
				{start.and(events(2, "", present("a", 2, `2`), present("b", 2, `2`)), events(3, "", present("a", 3, `3`))), gone},
				{says{started(resumed, "t1"), events(4, "t4", present("a", 3, `3`), present("b", 2, `2`), present("a", 4, `4`))}, gone},
			},
			starts: []string{"SNAPSHOT", "t1", "t4"},
			told:   []string{`a@1 {"n":1}`, "SYNCED@1", "a@2 2", "b@2 2", "a@3 3", "a@4 4"},
		},
		"a name that is folded anew to an older revision is left out": {
			scripts: []script{
				{start.and(events(5, "", present("a", 5, `5`))), gone},
				{says{started(resumed, "t1"), events(3, "", present("a", 3, `3`)), events(6, "t6", present("a", 6, `6`))}, gone},
			},
			starts: []string{"SNAPSHOT", "t1", "t6"},
			told:   []string{`a@1 {"n":1}`, "SYNCED@1", "a@5 5", "a@6 6"},
		},
		"a cut in the first state begins anew": {
			scripts: []script{{says{started(snapshot, ""), events(1, "", present("a", 1, `1`))}, gone}, {start, gone}},
			starts:  []string{"SNAPSHOT", "SNAPSHOT", "t1"},
			told:    []string{"a@1 1", "RESET INTERRUPTED", `a@1 {"n":1}`, "SYNCED@1"},
			states:  "CONNECTING SNAPSHOT BACKING_OFF CONNECTING RESETTING LIVE BACKING_OFF RESUMING CLOSED",
		},
		"a cut before anything was told is not told": {
			scripts: []script{{says{started(snapshot, "")}, gone}, {nil, gone}, {start, gone}},
			starts:  []string{"SNAPSHOT", "SNAPSHOT", "SNAPSHOT", "t1"},
			told:    []string{`a@1 {"n":1}`, "SYNCED@1"},
		},
		"a token that is refused is one reset": {
			scripts: []script{
				{start, gone},
				{says{started(snapshot, ""), reset(watchroutev1.Reset_COMPACTED), events(9, "", present("b", 9, `9`)), snapshotEnd(9, "t9")}, gone},
			},
			starts: []string{"SNAPSHOT", "t1", "t9"},
			told:   []string{`a@1 {"n":1}`, "SYNCED@1", "RESET COMPACTED", "b@9 9", "SYNCED@9"},
			states: "CONNECTING SNAPSHOT LIVE BACKING_OFF RESUMING RESETTING LIVE BACKING_OFF RESUMING CLOSED",
		},
		"a cut between the start and its reset": {
			scripts: []script{{start, gone}, {says{started(snapshot, "")}, gone}, {start, gone}},
			starts:  []string{"SNAPSHOT", "t1", "SNAPSHOT", "t1"},
			told:    []string{`a@1 {"n":1}`, "SYNCED@1", "RESET INTERRUPTED", `a@1 {"n":1}`, "SYNCED@1"},
		},
		"a cut in a reset's state": {
			scripts: []script{{start.and(reset(watchroutev1.Reset_ACCESS), events(1, "", present("a", 1, `1`))), gone}, {start, gone}},
			starts:  []string{"SNAPSHOT", "SNAPSHOT", "t1"},
			told:    []string{`a@1 {"n":1}`, "SYNCED@1", "RESET ACCESS", "a@1 1", "RESET INTERRUPTED", `a@1 {"n":1}`, "SYNCED@1"},
		},
		"a reset on an open stream": {
			scripts: []script{{start.and(reset(watchroutev1.Reset_ACCESS), snapshotEnd(1, "t1b"), bookmark(2, "t2")), endOfStream}},
			starts:  []string{"SNAPSHOT", "t2"},
			told:    []string{`a@1 {"n":1}`, "SYNCED@1", "RESET ACCESS", "SYNCED@1"},
			states:  "CONNECTING SNAPSHOT LIVE RESETTING LIVE BACKING_OFF RESUMING CLOSED",
		},
		"from now": {
			scripts: []script{{nil, gone}, {says{started(fromNow, "t1")}, gone}, {says{started(resumed, "t1"), events(2, "t2", present("a", 2, `2`))}, gone}},
			watch:   []watchroute.WatchOption{watchroute.FromNow()},
			starts:  []string{"NOW", "NOW", "t1", "t2"},
			told:    []string{"a@2 2"},
			states:  "CONNECTING BACKING_OFF CONNECTING LIVE BACKING_OFF RESUMING LIVE BACKING_OFF RESUMING CLOSED",
		},
		"a revision that is no longer known": {
			scripts: []script{{says{started(snapshot, ""), reset(watchroutev1.Reset_COMPACTED), snapshotEnd(7, "t7")}, gone}},
			watch:   []watchroute.WatchOption{watchroute.AfterRevision(3)},
			starts:  []string{"after", "t7"},
			told:    []string{"RESET COMPACTED", "SYNCED@7"},
			states:  "CONNECTING RESETTING LIVE BACKING_OFF RESUMING CLOSED",
		},
		"drained": {
			scripts: []script{{start.and(drain(7*time.Second, "t2")), endOfStream}},
			starts:  []string{"SNAPSHOT", "t2"},
			told:    []string{`a@1 {"n":1}`, "SYNCED@1"},
			states:  "CONNECTING SNAPSHOT LIVE DRAINING RESUMING CLOSED",
		},
		"a deltas' whole values": {
			scripts: []script{
				{start.and(events(2, "", delta("a", 2, 1, `{"m":2}`, "m"))), gone},
				{says{started(resumed, "t1"), events(2, "", delta("a", 2, 1, `{"m":2}`, "m")), events(3, "t3", delta("a", 3, 2, `{"m":3}`, "m", "n"))}, gone},
			},
			watch:  []watchroute.WatchOption{watchroute.Delta()},
			starts: []string{"SNAPSHOT", "t1", "t3"},
			told:   []string{`a@1 {"n":1}`, "SYNCED@1", `a@2 {"m":2,"n":1}`, `a@3 {"m":3}`},
		},
		"a delta behind a change that was not shown": {
			scripts: []script{{start.and(events(3, "t3", delta("a", 3, 2, `{"m":3}`, "m"))), gone}},
			watch:   []watchroute.WatchOption{watchroute.Delta()},
			starts:  []string{"SNAPSHOT", "t3"},
			told:    []string{`a@1 {"n":1}`, "SYNCED@1", `a@3 {"m":3,"n":1}`},
		},
		"a delta of what is not there begins anew": {
			scripts: []script{
				{start.and(events(3, "t3", delta("c", 3, 2, `{"m":3}`, "m"), present("b", 3, `3`))), nil},
				{start, gone},
			},
			watch:  []watchroute.WatchOption{watchroute.Delta()},
			starts: []string{"SNAPSHOT", "SNAPSHOT", "t1"},
			told:   []string{`a@1 {"n":1}`, "SYNCED@1", "RESET INTERRUPTED", `a@1 {"n":1}`, "SYNCED@1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, seen := play(t, c.scripts, nil, c.watch...)
				if !errors.Is(seen.err, context.Canceled) {
					t.Errorf("ended with %v", seen.err)
				}
				if got := server.starts(); !slices.Equal(got, c.starts) {
					t.Errorf("began at %q, expected %q", got, c.starts)
				}
				if !slices.Equal(seen.told, c.told) {
					t.Errorf("told\n%q, expected\n%q", seen.told, c.told)
				}
				if got := strings.Join(seen.states, " "); c.states != "" && got != c.states {
					t.Errorf("states\n%s, expected\n%s", got, c.states)
				}
			})
		})
	}
}

var endOfStream = io.EOF

func delta(name string, revision, base uint64, part string, paths ...string) *watchroutev1.Event {
	e := present(name, revision, part)
	e.BaseRevision, e.UpdatedFields = base, mask(paths)
	return e
}

func TestWatch_WaitsBeforeItComesBack(t *testing.T) {
	asked := withDetails(codes.Unavailable, "DRAINING", &errdetails.RetryInfo{RetryDelay: durationpb.New(5 * time.Second)})
	for name, c := range map[string]struct {
		script      script
		least, most time.Duration
	}{
		"as long as a drain says":         {script{start.and(drain(7*time.Second, "t2")), endOfStream}, 7 * time.Second, 7 * time.Second},
		"as long as an error asks":        {script{nil, asked}, 5 * time.Second, 5 * time.Second},
		"a second at most at first":       {script{nil, gone}, 0, time.Second},
		"after a silence":                 {script{start, nil}, 30 * time.Second, 31 * time.Second},
		"after a silence before it began": {script{nil, nil}, 30 * time.Second, 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, _ := play(t, []script{c.script}, nil)
				if at := server.at[1]; at < c.least || at > c.most {
					t.Errorf("came back after %v", at)
				}
			})
		})
	}
}

func TestWatch_WaitsLongerTheLongerItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scripts := []script{{says{started(snapshot, "")}, gone}}
		for range 40 {
			scripts = append(scripts, script{nil, gone})
		}
		// A stream that only began does not start the ceiling again; one that went on does.
		scripts = append(scripts, script{says{started(snapshot, "")}, gone}, script{start, gone})
		server, seen := play(t, scripts, []watchroute.Option{watchroute.WithBackoff(time.Second, 20*time.Second)})
		var most time.Duration
		for i := range server.at[1:] {
			most = max(most, server.at[i+1]-server.at[i])
		}
		last := len(server.at) - 1
		if most > 20*time.Second || most < 5*time.Second || server.at[3] > 7*time.Second || server.at[last]-server.at[last-1] > time.Second {
			t.Errorf("waits of up to %v; attempts at %v", most, server.at)
		}
		if n := seen.counts.Reconnects.Load(); n != uint64(last) {
			t.Errorf("counted %d reconnects of %d", n, last)
		}
	})
}

func TestWatch_ASlowProgramIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		server := &scripted{scripts: []script{{start.and(events(2, "t2", present("a", 2, `2`))), nil}}, over: cancel}
		client := watchroute.New(server.conn())
		defer client.Close()
		n := 0
		for _, err := range watchroute.Watch[json.RawMessage](ctx, client, "notes") {
			if err != nil {
				break
			}
			if n++; n == 1 {
				time.Sleep(time.Hour)
			}
			if n == 3 {
				break
			}
		}
		if len(server.requests) != 1 {
			t.Errorf("%d streams were opened", len(server.requests))
		}
	})
}

func TestWatch_EndsWhereTryingAgainIsOfNoUse(t *testing.T) {
	wrong, _ := anypb.New(&shopv1.Order{})
	for name, c := range map[string]struct {
		scripts []script
		options []watchroute.WatchOption
		code    codes.Code
		reason  string
	}{
		"a bad request":           {[]script{{nil, withDetails(codes.InvalidArgument, "INVALID_FILTER")}}, nil, codes.InvalidArgument, "INVALID_FILTER"},
		"no collection":           {[]script{{nil, withDetails(codes.NotFound, "COLLECTION_NOT_FOUND")}}, nil, codes.NotFound, "COLLECTION_NOT_FOUND"},
		"expired":                 {[]script{{start, gone}, {nil, withDetails(codes.OutOfRange, "COMPACTED")}}, nil, codes.OutOfRange, "COMPACTED"},
		"denied":                  {[]script{{nil, withDetails(codes.PermissionDenied, "PERMISSION_DENIED")}}, nil, codes.PermissionDenied, "PERMISSION_DENIED"},
		"closed":                  {[]script{{says{{Body: &watchroutev1.WatchResponse_Closed{Closed: status.New(codes.PermissionDenied, "revoked").Proto()}}}, nil}}, nil, codes.PermissionDenied, ""},
		"no credential":           {[]script{{nil, withDetails(codes.Unauthenticated, "CREDENTIAL_MISSING")}}, nil, codes.Unauthenticated, "CREDENTIAL_MISSING"},
		"not of this protocol":    {[]script{{nil, status.Error(codes.Unimplemented, "unknown service")}}, nil, codes.Unimplemented, watchroute.ReasonNotWatchroute},
		"a page":                  {[]script{{nil, status.Error(codes.Unknown, `unexpected HTTP status code received from server: 200 (OK); transport: received unexpected content-type "text/html"`)}}, nil, codes.Unimplemented, watchroute.ReasonNotWatchroute},
		"nobody there":            {[]script{{nil, gone}}, []watchroute.WatchOption{watchroute.FailFast()}, codes.Unavailable, ""},
		"a message of the future": {[]script{{start.and(&watchroutev1.WatchResponse{}), nil}}, nil, codes.Unimplemented, watchroute.ReasonUnknownMessage},
		"a state of the future":   {[]script{{start.and(events(2, "t2", &watchroutev1.Event{State: 77, Resource: &watchroutev1.Resource{Name: "notes/a", Revision: 2}})), nil}}, nil, codes.Unimplemented, watchroute.ReasonUnknownMessage},
		"another message":         {[]script{{start.and(events(2, "t2", &watchroutev1.Event{State: watchroutev1.State_PRESENT, Resource: &watchroutev1.Resource{Name: "notes/a", Revision: 2, Data: wrong}})), nil}}, nil, codes.FailedPrecondition, watchroute.ReasonWrongType},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, seen := play(t, c.scripts, nil, c.options...)
				e, ok := errors.AsType[*watchroute.Error](seen.err)
				if !ok || e.Code != c.code || e.Reason != c.reason {
					t.Fatalf("ended with %v", seen.err)
				}
				if last := seen.states[len(seen.states)-1]; last != "CLOSED" {
					t.Errorf("the last state is %s", last)
				}
				if s, _ := status.FromError(seen.err); s.Code() != c.code {
					t.Errorf("the status is %v", s)
				}
			})
		})
	}
}

func TestWatch_AFieldThatANewerContractAddedIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		order := func(revision uint64, text string, paths ...string) *watchroutev1.Event {
			value, err := proto.Marshal(&shopv1.Order{CustomerId: text})
			if err != nil {
				t.Fatal(err)
			}
			value = protowire.AppendString(protowire.AppendTag(value, 999, protowire.BytesType), "red") // color
			e := present("a", revision, "")
			e.Resource.Data = &anypb.Any{TypeUrl: "type.googleapis.com/shop.v1.Order", Value: value}
			if len(paths) > 0 {
				e.UpdatedFields = mask(paths)
			}
			return e
		}
		server := &scripted{scripts: []script{{says{started(snapshot, ""), events(1, "", order(1, "7")), snapshotEnd(1, "t1"),
			events(2, "t2", order(2, "", "color")), events(3, "t3", order(3, "8", "customer_id", "color"))}, nil}}, over: func() {}}
		client := watchroute.New(server.conn())
		defer client.Close()
		var told []string
		for event, err := range watchroute.Watch[*shopv1.Order](t.Context(), client, "notes", watchroute.Delta()) {
			if err != nil {
				t.Fatal(err)
			}
			if told = append(told, event.Value.GetCustomerId()); event.Revision == 3 {
				break
			}
		}
		expect(t, told, "7", "", "7", "8")
	})
}

func TestWatch_FailOnExpiredIsAnErrorInThePlaceOfAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		server, seen := play(t, []script{{start, gone}, {nil, gone}, {nil, withDetails(codes.OutOfRange, "COMPACTED")}}, nil,
			watchroute.FailOnExpired(), watchroute.KeepToken(store, "k"))
		if e, ok := errors.AsType[*watchroute.Error](seen.err); !ok || e.Code != codes.OutOfRange || e.Reason != watchroute.ResetCompacted {
			t.Errorf("ended with %v", seen.err)
		}
		expect(t, seen.told, startTold...)
		expect(t, server.starts(), "SNAPSHOT", "t1", "t1")
		for i, r := range server.requests {
			if r.GetOnExpired() != watchroutev1.OnExpired_FAIL {
				t.Errorf("stream %d asked for %v", i, r.GetOnExpired())
			}
		}
		if n := seen.counts.Resets.Load(); n != 0 {
			t.Errorf("%d resets", n)
		}
		if token, _ := store.saved(); token != "t1" {
			t.Errorf("the token in the store is %q", token)
		}
	})
}

func TestWatch_APageInThePlaceOfAServerThatWasThereIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, seen := play(t, []script{{start, gone}, {nil, status.Error(codes.Unimplemented, "unknown service")}, {nil, gone}}, nil, watchroute.FailFast())
		if !errors.Is(seen.err, context.Canceled) || len(server.requests) != 4 {
			t.Errorf("%d streams, ended with %v", len(server.requests), seen.err)
		}
	})
}

func TestWatch_Credentials(t *testing.T) {
	expired, invalid := withDetails(codes.Unauthenticated, "CREDENTIAL_EXPIRED"), withDetails(codes.Unauthenticated, "CREDENTIAL_INVALID")
	for name, c := range map[string]struct {
		scripts []script
		given   []string // one after another; the last again and again
		auth    []string
		atOnce  int // which stream began without a wait
		final   bool
	}{
		"one that expired is renewed at once":         {[]script{{start, expired}}, []string{"1", "2"}, []string{"Bearer 1", "Bearer 2"}, 1, false},
		"one that expires again waits":                {[]script{{start, expired}, {nil, expired}, {nil, expired}}, []string{"1"}, []string{"Bearer 1", "Bearer 1", "Bearer 1", "Bearer 1"}, 1, false},
		"one that is refused is final":                {[]script{{nil, invalid}}, []string{"1"}, []string{"Bearer 1"}, 0, true},
		"one that is refused is replaced if possible": {[]script{{nil, invalid}, {nil, invalid}}, []string{"1", "2"}, []string{"Bearer 1", "Bearer 2"}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked []bool
				server, seen := play(t, c.scripts, []watchroute.Option{watchroute.WithCredential(func(_ context.Context, refused bool) (string, error) {
					asked = append(asked, refused)
					return c.given[min(len(asked), len(c.given))-1], nil
				})})
				if !slices.Equal(server.auth, c.auth) {
					t.Errorf("sent %q, expected %q", server.auth, c.auth)
				}
				if at := server.at[c.atOnce]; at != 0 {
					t.Errorf("came back after %v", at)
				}
				if len(server.at) > 2 && server.at[2] == 0 {
					t.Error("came back without a wait, again")
				}
				if final := !errors.Is(seen.err, context.Canceled); final != c.final {
					t.Errorf("ended with %v", seen.err)
				}
				if asked[0] || len(asked) > 1 && !asked[1] {
					t.Errorf("asked with %v", asked)
				}
			})
		})
	}
}

func TestWatch_ATokenCountsOnceTheProgramHasFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		two := start.and(events(2, "t2", present("a", 2, `2`), present("b", 2, `2`)))
		watch := func(most int) (told []string) {
			server := &scripted{scripts: []script{{two, nil}}, over: func() {}}
			client := watchroute.New(server.conn())
			defer client.Close()
			for event, err := range watchroute.Watch[json.RawMessage](t.Context(), client, "notes", watchroute.KeepToken(store, "k")) {
				if err != nil {
					t.Fatal(err)
				}
				if told = append(told, shown(event)); len(told) == most {
					break
				}
			}
			synctest.Wait()
			return append(told, startOf(server.requests[0]))
		}
		watch(3)
		if token, _ := store.saved(); token != "t1" {
			t.Errorf("in the middle of a message the token is %q", token)
		}
		got := watch(1)
		if token, _ := store.saved(); got[1] != "t1" || token != "" {
			t.Errorf("began at %q; the token of what the program will drop is %q", got[1], token)
		}
	})
}

func TestWatch_SavesWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		ctx, cancel := context.WithCancel(t.Context())
		server := &scripted{scripts: []script{{start.and(events(2, "t2", present("a", 2, `2`)), events(3, "t3", present("a", 3, `3`))), nil}}, over: cancel}
		client := watchroute.New(server.conn())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range watchroute.Watch[json.RawMessage](ctx, client, "notes", watchroute.KeepToken(store, "k")) {
			}
		}()
		synctest.Wait()
		if _, saves := store.saved(); saves != 0 {
			t.Errorf("saved %d times at once", saves)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if token, saves := store.saved(); token != "t3" || saves != 1 {
			t.Errorf("after a second the token is %q, saved %d times", token, saves)
		}
		cancel()
		<-done
		_ = client.Close()
	})
}

func TestWatch_AStoreThatFailsEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, seen := play(t, []script{{start, gone}}, nil, watchroute.KeepToken(&memory{err: errors.New("full")}, "k"))
		if !errors.Is(seen.err, context.Canceled) || len(seen.told) != 2 || seen.counts.StoreFailures.Load() < 2 {
			t.Errorf("told %q, ended with %v, %d failures", seen.told, seen.err, seen.counts.StoreFailures.Load())
		}
	})
}

func TestWatch_ASaveThatFailedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &memory{}, newTap()
		ctx, cancel := context.WithCancel(t.Context())
		client := watchroute.New(p.conn())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range watchroute.Watch[json.RawMessage](ctx, client, "notes", watchroute.KeepToken(store, "k")) {
			}
		}()
		expectSaves := func(want string, most int) {
			t.Helper()
			synctest.Wait()
			if token, saves := store.saved(); token != want || saves != most {
				t.Errorf("after %d saves the token is %q, expected %q after %d", saves, token, want, most)
			}
		}
		store.fail(errors.New("full"))
		time.Sleep(3 * time.Second)
		expectSaves("", 3)
		p.say <- events(2, "t2", present("a", 2, `2`))
		store.fail(nil)
		time.Sleep(time.Second)
		expectSaves("t2", 4)
		time.Sleep(10 * time.Second)
		expectSaves("t2", 4)
		store.fail(errors.New("full"))
		p.say <- bookmark(3, "t3")
		time.Sleep(1500 * time.Millisecond)
		expectSaves("t2", 5)
		store.fail(nil)
		cancel()
		<-done
		expectSaves("t3", 6)
		_ = client.Close()
	})
}

func TestWatch_GoesOnWhileAStoreIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &memory{slow: 4 * time.Second}, newTap()
		ctx, cancel := context.WithCancel(t.Context())
		client := watchroute.New(p.conn())
		var counters watchroute.Counters
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range watchroute.Watch[json.RawMessage](ctx, client, "notes", watchroute.KeepToken(store, "k"), watchroute.CountIn(&counters)) {
			}
		}()
		time.Sleep(1500 * time.Millisecond) // the save of t1 has begun
		for revision := uint64(2); revision <= 9; revision++ {
			p.say <- events(revision, fmt.Sprint("t", revision), present("a", revision, `2`))
		}
		synctest.Wait()
		if n := counters.Events.Load(); n != 10 {
			t.Errorf("%d events were told while the store saved", n)
		}
		cancel()
		<-done
		if token, saves := store.saved(); token != "t9" || saves != 2 {
			t.Errorf("after %d saves the token is %q", saves, token)
		}
		_ = client.Close()
	})
}

func TestWatch_ClosingTheClientEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{scripts: []script{{start, nil}}}
		client := watchroute.New(server.conn())
		var last error
		for _, err := range watchroute.Watch[json.RawMessage](t.Context(), client, "notes") {
			last = err
			_ = client.Close()
		}
		if last != watchroute.ErrClosed {
			t.Errorf("ended with %v", last)
		}
	})
}

// memory is a store of one token.
type memory struct {
	slow time.Duration

	mu    sync.Mutex
	err   error
	token string
	saves int
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memory) Load(context.Context, string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.token, m.err
}

func (m *memory) Save(_ context.Context, _, token string) error {
	time.Sleep(m.slow)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saves++; m.err == nil {
		m.token = token
	}
	return m.err
}

func (m *memory) saved() (string, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.token, m.saves
}

func withDetails(code codes.Code, reason string, more ...protoadapt.MessageV1) error {
	s, err := status.New(code, "no").WithDetails(append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Domain: "watchroute.dev", Reason: reason}}, more...)...)
	if err != nil {
		panic(err)
	}
	return s.Err()
}

func TestMessages_AreThoseOfAllStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		server := &scripted{scripts: []script{{start, gone}, {says{started(resumed, "t1"), drain(time.Second, "t2")}, endOfStream}}, over: cancel}
		client := watchroute.New(server.conn())
		var kinds []string
		for m, err := range watchroute.Messages(ctx, client, "notes/1") {
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("ended with %v", err)
				}
				break
			}
			kinds = append(kinds, fmt.Sprintf("%T", m.GetBody())[len("*watchroutev1.WatchResponse_"):])
		}
		expect(t, kinds, "Started", "Events", "SnapshotEnd", "Started", "Drain")
		expect(t, server.starts(), "SNAPSHOT", "t1", "t2")
		if names := server.requests[0].GetNames(); len(names) != 1 || names[0] != "notes/1" {
			t.Errorf("watched %q", names)
		}
		_ = client.Close()
	})
}

func TestWatch_ThatBeginsWithoutTheStateAsksForNoDeltas(t *testing.T) {
	for name, c := range map[string]struct {
		option watchroute.WatchOption
		delta  bool
	}{
		"the state":  {watchroute.Request(&watchroutev1.WatchRequest{Start: &watchroutev1.WatchRequest_From{From: watchroutev1.Start_SNAPSHOT}}), true},
		"now":        {watchroute.FromNow(), false},
		"a revision": {watchroute.AfterRevision(0), false},
		"a token":    {watchroute.ResumeToken("t"), false},
		"a store":    {watchroute.KeepToken(&memory{token: "t"}, "k"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, _ := play(t, nil, nil, c.option, watchroute.Delta())
				if got := server.requests[0].GetDelta(); got != c.delta {
					t.Errorf("asked with delta %v", got)
				}
			})
		})
	}
}

func TestWatch_WithoutATargetIsAnError(t *testing.T) {
	client := watchroute.New(&fake{})
	defer client.Close()
	for _, err := range watchroute.Watch[note](t.Context(), client, "") {
		if !watchroute.HasReason(err, watchroutev1.ErrorReason_INVALID_NAME.String()) {
			t.Errorf("got %v", err)
		}
	}
}

func TestWatch_LogsNoValueAndNoCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		play(t, []script{{start.and(events(2, "t2", present("a", 2, `{"secret":"v-4711"}`))), gone}}, []watchroute.Option{
			watchroute.WithLogger(logger), watchroute.WithCredential(watchroute.StaticCredential("c-4711"))})
		if text := log.String(); !strings.Contains(text, "BACKING_OFF") || !strings.Contains(text, "connection refused") || strings.Contains(text, "4711") {
			t.Errorf("logged\n%s", text)
		}
	})
}

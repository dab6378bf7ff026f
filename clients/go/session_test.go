package watchroute_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroute "github.com/watchroute/watchroute/clients/go"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// switchboard is a server of sessions. Each watch that is opened is told `start`, or that
// it was resumed; all else says the test.
type switchboard struct {
	expires time.Duration // of a credential that is presented, by the client's clock; 0: never

	mu       sync.Mutex
	sessions []*line
	log      []string // what clients sent, and when
	began    time.Time
}

// line is one session.
type line struct {
	send func(*watchroutev1.SessionResponse)
	cut  chan error
	done <-chan struct{}
}

func (s *switchboard) conn() *fake {
	s.began = time.Now()
	return &fake{session: func(ctx context.Context, receive <-chan *watchroutev1.SessionRequest, send func(*watchroutev1.SessionResponse)) error {
		l := &line{send: send, cut: make(chan error, 1), done: ctx.Done()}
		s.mu.Lock()
		n := len(s.sessions)
		s.sessions = append(s.sessions, l)
		header, _ := metadata.FromOutgoingContext(ctx)
		s.note("%d begins %s", n, append(header.Get("authorization"), "")[0])
		s.mu.Unlock()
		for {
			select {
			case r := <-receive:
				s.mu.Lock()
				switch body := r.GetBody().(type) {
				case *watchroutev1.SessionRequest_Open:
					s.note("%d open %s %s", n, body.Open.GetWatchId(), startOf(body.Open.GetWatch()))
				case *watchroutev1.SessionRequest_Cancel:
					s.note("%d cancel %s", n, body.Cancel.GetWatchId())
				case *watchroutev1.SessionRequest_Credit:
					s.note("%d credit %s %d", n, body.Credit.GetWatchId(), body.Credit.GetEvents())
				case *watchroutev1.SessionRequest_Authenticate:
					s.note("%d authenticate %s", n, body.Authenticate.GetCredential())
				}
				s.mu.Unlock()
				if r.GetAuthenticate() != nil {
					answer := &watchroutev1.Authenticated{}
					if s.expires != 0 {
						answer.ExpireTime = timestamppb.New(time.Now().Add(s.expires))
					}
					send(&watchroutev1.SessionResponse{Body: &watchroutev1.SessionResponse_Authenticated{Authenticated: answer}})
				}
				if open := r.GetOpen(); open != nil && open.GetWatch().GetResumeToken() != "" {
					send(says{started(resumed, open.GetWatch().GetResumeToken())}.to(open.GetWatchId()))
				} else if open != nil {
					send(start.to(open.GetWatchId()))
				}
			case err := <-l.cut:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}}
}

func (s *switchboard) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%v: ", time.Since(s.began).Truncate(time.Second))+fmt.Sprintf(format, args...))
}

func (s *switchboard) said() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

func (s *switchboard) line(n int) *line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[n]
}

// to packs messages for watches into one response.
func (s says) to(ids ...string) *watchroutev1.SessionResponse {
	var all []*watchroutev1.SessionResponse
	for _, m := range s {
		all = append(all, &watchroutev1.SessionResponse{WatchId: ids[0], AlsoWatchIds: ids[1:], Body: &watchroutev1.SessionResponse_Watch{Watch: m}})
	}
	all[0].More = all[1:]
	return all[0]
}

// listener is a watch in a goroutine of its own.
type listener struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	told  []string
	err   error
	pause chan struct{}
}

func listen(t *testing.T, c *watchroute.Client, options ...watchroute.WatchOption) *listener {
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for event, err := range watchroute.Watch[json.RawMessage](ctx, c, "notes", options...) {
			l.mu.Lock()
			if l.err = err; err == nil {
				l.told = append(l.told, shown(event))
			}
			pause := l.pause
			l.mu.Unlock()
			if pause != nil {
				<-pause
			}
		}
	}()
	synctest.Wait()
	return l
}

func (l *listener) heard() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	told := l.told
	l.told = nil
	return told
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q, expected\n%q", got, want)
	}
}

// exchange runs a test with a client of a switchboard.
func exchange(t *testing.T, s *switchboard, f func(t *testing.T, s *switchboard, c *watchroute.Client), options ...watchroute.Option) {
	synctest.Test(t, func(t *testing.T) {
		client := watchroute.New(s.conn(), append(options, watchroute.WithSession())...)
		f(t, s, client)
		_ = client.Close()
		synctest.Wait()
	})
}

var startTold = []string{`a@1 {"n":1}`, "SYNCED@1"}

func TestSession_IsShared(t *testing.T) {
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		one, two := listen(t, c), listen(t, c)
		expect(t, s.said(), "0s: 0 begins ", "0s: 0 open 1 SNAPSHOT", "0s: 0 open 2 SNAPSHOT")
		expect(t, one.heard(), startTold...)
		expect(t, two.heard(), startTold...)
		s.line(0).send(says{events(2, "t2", present("a", 2, "2"))}.to("1", "2"))
		expect(t, one.heard(), "a@2 2")
		expect(t, two.heard(), "a@2 2")
		one.cancel()
		<-one.done
		expect(t, s.said(), "0s: 0 cancel 1")
		s.line(0).send(says{events(3, "t3", present("a", 3, "3"))}.to("1", "2")) // crosses the cancel
		expect(t, two.heard(), "a@3 3")
		two.cancel()
		<-two.done
		<-s.line(0).done
		three := listen(t, c)
		expect(t, s.said(), "0s: 1 begins ", "0s: 1 open 1 SNAPSHOT")
		expect(t, three.heard(), startTold...)
	})
}

func TestSession_ComesBackTogether(t *testing.T) {
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		var mu sync.Mutex
		waits := map[time.Duration]int{}
		onState := watchroute.OnState(func(change watchroute.StateChange) {
			mu.Lock()
			defer mu.Unlock()
			if change.State == watchroute.BackingOff {
				waits[change.Wait]++
			}
		})
		for range 5 {
			listen(t, c, onState)
		}
		s.said()
		s.line(0).cut <- gone
		time.Sleep(time.Second)
		// In which order they come back is not said.
		log := s.said()
		if len(log) != 6 || len(waits) != 1 {
			t.Errorf("%q, waits %v", log, waits)
		}
		s.line(1).send(says{events(2, "t2", present("a", 2, "2"))}.to("1", "2", "3", "4", "5"))
		synctest.Wait()
	})
}

func TestSession_AWatchThatFailsIsAlone(t *testing.T) {
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		one, two := listen(t, c), listen(t, c)
		two.heard()
		s.line(0).send(&watchroutev1.SessionResponse{WatchId: "1", Body: &watchroutev1.SessionResponse_Closed{Closed: status.New(codes.InvalidArgument, "no").Proto()}})
		<-one.done
		if e, ok := errors.AsType[*watchroute.Error](one.err); !ok || e.Code != codes.InvalidArgument {
			t.Errorf("ended with %v", one.err)
		}
		s.line(0).send(says{events(2, "t2", present("a", 2, "2"))}.to("2"))
		expect(t, two.heard(), "a@2 2")
	})
}

func TestSession_GrantsCreditAsItIsUsed(t *testing.T) {
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		l := listen(t, c)
		s.said()
		l.mu.Lock()
		l.pause = make(chan struct{})
		l.mu.Unlock()
		for revision := uint64(2); revision <= 202; revision++ {
			s.line(0).send(says{events(revision, "t", present("a", revision, "2"))}.to("1"))
		}
		if log := s.said(); len(log) != 0 {
			t.Errorf("granted while nothing was read: %q", log)
		}
		close(l.pause)
		l.mu.Lock()
		l.pause = nil
		l.mu.Unlock()
		if n := len(l.heard()); n != 203 {
			t.Errorf("%d events", n)
		}
		expect(t, s.said(), "0s: 0 credit 1 128")
	})
}

func TestSession_IsRenewedInPlace(t *testing.T) {
	n := 0
	provider := watchroute.WithCredential(func(context.Context, bool) (string, error) {
		n++
		return fmt.Sprint(n), nil
	})
	exchange(t, &switchboard{expires: 100 * time.Second}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		l := listen(t, c)
		// What is silent ends; the test's server is.
		keep := time.NewTicker(20 * time.Second)
		defer keep.Stop()
		for range 10 {
			<-keep.C
			s.line(0).send(says{bookmark(1, "t1")}.to("1"))
		}
		expect(t, s.said(), "0s: 0 begins Bearer 1", "0s: 0 authenticate 1", "0s: 0 open 1 SNAPSHOT", "1m30s: 0 authenticate 2", "3m0s: 0 authenticate 3")
		expect(t, l.heard(), startTold...)
	}, provider)
}

// Whatever the client's clock says, a credential is renewed at most once in a second.
func TestSession_AClockThatIsWrongMakesNoHaste(t *testing.T) {
	for name, clock := range map[string]struct {
		expires time.Duration
		renewed int // in nine seconds and a half
	}{
		"ahead by a little": {300 * time.Millisecond, 9},
		"ahead":             {-time.Hour, 0},
		"behind":            {1000 * time.Hour, 0},
		"right":             {6 * time.Second, 3},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			provider := watchroute.WithCredential(func(context.Context, bool) (string, error) {
				n++
				return fmt.Sprint(n), nil
			})
			exchange(t, &switchboard{expires: clock.expires}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
				l := listen(t, c)
				time.Sleep(9500 * time.Millisecond)
				if log := s.said(); len(log) != 3+clock.renewed {
					t.Errorf("%q", log)
				}
				// The server's clock decides. What comes back does so at once, once.
				s.line(0).cut <- withDetails(codes.Unauthenticated, "CREDENTIAL_EXPIRED")
				if log := s.said(); len(log) != 3 || log[0] != fmt.Sprintf("9s: 1 begins Bearer %d", clock.renewed+2) || log[2] != "9s: 1 open 1 t1" {
					t.Errorf("%q", log)
				}
				expect(t, l.heard(), startTold...)
			}, provider)
		})
	}
}

func TestSession_ACredentialThatExpiredIsReplacedAtOnce(t *testing.T) {
	n := 0
	provider := watchroute.WithCredential(func(context.Context, bool) (string, error) {
		n++
		return fmt.Sprint(n), nil
	})
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		l := listen(t, c)
		s.said()
		s.line(0).cut <- withDetails(codes.Unauthenticated, "CREDENTIAL_EXPIRED")
		expect(t, s.said(), "0s: 1 begins Bearer 2", "0s: 1 authenticate 2", "0s: 1 open 1 t1")
		expect(t, l.heard(), startTold...)
	}, provider)
}

// The provider is asked while the refused session ends: its context must not be over.
func TestSession_ACredentialThatWasRevokedIsReplacedAtOnce(t *testing.T) {
	n := 0
	provider := watchroute.WithCredential(func(ctx context.Context, _ bool) (string, error) {
		n++
		return fmt.Sprint(n), ctx.Err()
	})
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		l := listen(t, c)
		s.said()
		s.line(0).cut <- withDetails(codes.Unauthenticated, "CREDENTIAL_REVOKED")
		expect(t, s.said(), "0s: 1 begins Bearer 2", "0s: 1 authenticate 2", "0s: 1 open 1 t1")
		expect(t, l.heard(), startTold...)
	}, provider)
}

func TestSession_AWatchThatIsSilentGoesToAnotherOneAndTheOthersStay(t *testing.T) {
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		one, two := listen(t, c), listen(t, c)
		s.said()
		for revision := uint64(2); revision <= 5; revision++ {
			time.Sleep(10 * time.Second)
			s.line(0).send(says{bookmark(revision, "t5")}.to("2"))
		}
		if log := s.said(); len(log) != 3 || log[0] != "30s: 0 cancel 1" || !strings.HasSuffix(log[1], ": 1 begins ") || !strings.HasSuffix(log[2], ": 1 open 1 t1") {
			t.Errorf("%q", log)
		}
		three := listen(t, c)
		expect(t, s.said(), "40s: 1 open 2 SNAPSHOT")
		s.line(0).send(says{events(6, "t6", present("a", 6, "6"))}.to("2"))
		s.line(1).send(says{events(6, "t6", present("a", 6, "6"))}.to("1", "2"))
		for _, l := range []*listener{one, two, three} {
			expect(t, l.heard(), append(startTold, "a@6 6")...)
		}
		// The first session ends with the last of its watches.
		two.cancel()
		<-s.line(0).done
	})
}

func TestSession_ThatIsSilentForAllEnds(t *testing.T) {
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		listen(t, c)
		time.Sleep(10 * time.Second)
		listen(t, c)
		s.said()
		<-s.line(0).done
		time.Sleep(time.Second)
		var log []string
		for _, line := range s.said() {
			_, line, _ = strings.Cut(line, ": ") // the times are random
			if !strings.Contains(line, "cancel") {
				log = append(log, line)
			}
		}
		expect(t, log, "1 begins ", "1 open 1 t1", "1 open 2 t1")
	})
}

// A session that does not even begin is silent, too.
func TestSession_ThatDoesNotBeginIsJoinedByNobody(t *testing.T) {
	asked := 0
	provider := watchroute.WithCredential(func(ctx context.Context, _ bool) (string, error) {
		if asked++; asked == 1 {
			<-ctx.Done()
		}
		return "", ctx.Err()
	})
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		one := listen(t, c)
		time.Sleep(29 * time.Second)
		two := listen(t, c)
		time.Sleep(2 * time.Second)
		expect(t, one.heard(), startTold...)
		expect(t, two.heard())
		time.Sleep(29 * time.Second)
		expect(t, two.heard(), startTold...)
	}, provider)
}

func TestSession_GoesToAnotherOneAfterADrain(t *testing.T) {
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		one, two := listen(t, c), listen(t, c)
		s.said()
		s.line(0).send(says{drain(3*time.Second, "t1")}.to("1"))
		expect(t, s.said(), "0s: 0 cancel 1")
		s.line(0).send(says{drain(5*time.Second, "t1"), drain(5*time.Second, "t1")}.to("2"))
		time.Sleep(6 * time.Second)
		expect(t, s.said(), "3s: 1 begins ", "3s: 1 open 1 t1", "5s: 1 open 2 t1")
		expect(t, one.heard(), startTold...)
		expect(t, two.heard(), startTold...)
	})
}

func TestSession_AReaderThatIsPausedHoldsNoBookmarks(t *testing.T) {
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		l := listen(t, c)
		l.mu.Lock()
		l.pause = make(chan struct{})
		pause := l.pause
		l.mu.Unlock()
		var counters watchroute.Counters
		other := listen(t, c, watchroute.CountIn(&counters))
		other.mu.Lock()
		other.pause = pause
		other.mu.Unlock()
		s.line(0).send(says{events(2, "t2", present("a", 2, "2"))}.to("1", "2"))
		for revision := uint64(3); revision < 1000; revision++ {
			s.line(0).send(says{bookmark(revision, "t")}.to("2"))
		}
		synctest.Wait()
		close(pause)
		synctest.Wait()
		// started, events, snapshot_end; events and the last bookmark.
		if n := counters.Messages.Load(); n != 5 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestSession_WhatIsFinalForTheSessionIsFinalForAll(t *testing.T) {
	exchange(t, &switchboard{}, func(t *testing.T, s *switchboard, c *watchroute.Client) {
		one, two := listen(t, c), listen(t, c)
		s.line(0).cut <- withDetails(codes.Unauthenticated, "CREDENTIAL_REVOKED")
		for _, l := range []*listener{one, two} {
			<-l.done
			if !watchroute.HasReason(l.err, "CREDENTIAL_REVOKED") {
				t.Errorf("ended with %v", l.err)
			}
		}
		// The client is not broken by that.
		expect(t, listen(t, c).heard(), startTold...)
	})
}

func TestSession_FailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := watchroute.New(&fake{session: func(context.Context, <-chan *watchroutev1.SessionRequest, func(*watchroutev1.SessionResponse)) error {
			return gone
		}}, watchroute.WithSession())
		l := listen(t, client, watchroute.FailFast())
		<-l.done
		if status.Code(l.err) != codes.Unavailable {
			t.Errorf("ended with %v", l.err)
		}
		_ = client.Close()
		synctest.Wait()
	})
}

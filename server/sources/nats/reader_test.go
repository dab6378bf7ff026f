package nats

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

// log is a Sink that keeps the positions that it takes, by batch.
type log struct {
	connected bool
	takes     [][]string
	passed    []string // PARTITION:POSITION
	last      sources.Event
	lags      []int64
	// taking, if it is set, is called before events are taken.
	taking func() error
}

func newLog() *log { return new(log) }

func (l *log) Connected() { l.connected = true }

func (l *log) Pass(_ context.Context, partition, position string) error {
	l.passed = append(l.passed, partition+":"+position)
	return nil
}

func (l *log) Lag(_ string, events int64) { l.lags = append(l.lags, events) }

func (l *log) Take(_ context.Context, events []sources.Event) error {
	if l.taking != nil {
		if err := l.taking(); err != nil {
			return err
		}
	}
	var took []string
	for _, e := range events {
		took = append(took, e.Position)
		l.last = e
	}
	l.takes = append(l.takes, took)
	return nil
}

func (l *log) Position(string) string { return "" }

func (l *log) All() map[string]string { return nil }

func (l *log) taken() []string { return slices.Concat(l.takes...) }

// message is one of a stream.
type message struct {
	jetstream.Msg
	at      jetstream.MsgMetadata
	headers nats.Header
}

func (m *message) Metadata() (*jetstream.MsgMetadata, error) { return &m.at, nil }
func (m *message) Data() []byte                              { return []byte("data") }
func (m *message) Headers() nats.Header                      { return m.headers }
func (m *message) Subject() string                           { return "orders.1.placed" }

// stream delivers messages to a reader, and has a state.
type stream struct {
	*testing.T
	*reader
	log *log
	// info and delivered are what look gives.
	info      jetstream.StreamInfo
	delivered uint64
	underway  uint64 // messages that were sent and are not here
	looks     int
	sent      uint64
	ended     chan error
	cancel    context.CancelFunc
}

// open makes a reader of a stream with messages first to last, from a position.
func open(t *testing.T, position string, first, last uint64, change ...func(*watchroutev1.NatsSource)) *stream {
	t.Helper()
	n := &watchroutev1.NatsSource{Servers: []string{"nats://a"}, Stream: "ORDERS"}
	for _, c := range change {
		c(n)
	}
	s := &stream{T: t, log: newLog(), ended: make(chan error, 1)}
	s.info.State.FirstSeq, s.info.State.LastSeq = first, last
	s.reader = newReader(place(t, n), s.log)
	s.look = func(context.Context) (*jetstream.StreamInfo, uint64, uint64, error) {
		s.looks++
		info := s.info
		return &info, s.delivered, s.sent + s.underway, nil
	}
	if _, err := s.begin(position, &s.info); err != nil {
		t.Fatal(err)
	}
	return s
}

// start lets the reader read, until the test ends.
func (s *stream) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.ended <- s.read(ctx) }()
}

// end stops the reader, and gives its error.
func (s *stream) end() error {
	s.cancel()
	return <-s.ended
}

// deliver sends messages with these sequences.
func (s *stream) deliver(seqs ...uint64) {
	for i, seq := range seqs {
		s.sent++
		m := &message{}
		m.at.Sequence = jetstream.SequencePair{Consumer: s.sent, Stream: seq}
		m.at.NumPending = uint64(len(seqs) - 1 - i)
		s.receive(m)
	}
}

func subjects(n *watchroutev1.NatsSource) { n.Subjects = []string{"orders.*.placed"} }

// says checks an error: whether it is for good, and that it has some words.
func says(t *testing.T, err error, permanent bool, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if sources.IsPermanent(err) != permanent {
		t.Errorf("permanent is %v: %v", !permanent, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestBegin_BehindThePosition(t *testing.T) {
	latest := watchroutev1.SourceStart_LATEST_EVENT
	for name, tc := range map[string]struct {
		position    string
		start       watchroutev1.SourceStart
		first, last uint64
		config      jetstream.StreamConfig
		want        uint64
		words       []string // of a permanent error
	}{
		"earliest":                      {first: 5, last: 9, want: 5},
		"earliest, nothing yet":         {want: 1},
		"earliest, nothing any more":    {first: 10, last: 9, want: 10},
		"latest":                        {start: latest, first: 5, last: 9, want: 10},
		"latest, nothing yet":           {start: latest, want: 1},
		"behind it":                     {position: "6", start: latest, first: 5, last: 9, want: 7},
		"nothing was there":             {position: "0", start: latest, first: 1, last: 9, want: 1},
		"at the end":                    {position: "9", first: 5, last: 9, want: 10},
		"just before what is left":      {position: "4", first: 5, last: 9, want: 5},
		"the end, and purged":           {position: "9", first: 10, last: 9, want: 10},
		"gone":                          {position: "3", first: 5, last: 9, words: []string{"messages 4 to 4 of the stream ORDERS are gone", "from 5 on"}},
		"purged":                        {position: "3", first: 10, last: 9, words: []string{"messages 4 to 9"}},
		"replaced":                      {position: "3", first: 5, last: 9, config: jetstream.StreamConfig{MaxMsgsPerSubject: 1}, want: 4},
		"replaced, or too old":          {position: "3", first: 5, last: 9, config: jetstream.StreamConfig{MaxMsgsPerSubject: 1, MaxAge: time.Hour}, words: []string{"gone"}},
		"replaced, or too many":         {position: "3", first: 5, last: 9, config: jetstream.StreamConfig{MaxMsgsPerSubject: 1, MaxMsgs: 9}, words: []string{"gone"}},
		"replaced, others are refused":  {position: "3", first: 5, last: 9, config: jetstream.StreamConfig{MaxMsgsPerSubject: 1, MaxMsgs: 9, Discard: jetstream.DiscardNew}, want: 4},
		"made anew":                     {position: "10", first: 1, last: 9, words: []string{"ends at 9, and was read up to 10"}},
		"made anew, and replacing":      {position: "10", first: 1, last: 9, config: jetstream.StreamConfig{MaxMsgsPerSubject: 1}, words: []string{"ends at 9"}},
		"no sequence":                   {position: "x", first: 1, last: 9, words: []string{`"x"`}},
		"deleted when it is consumed":   {first: 1, last: 9, config: jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy}, words: []string{"retention must be limits"}},
		"deleted when nobody wants it":  {first: 1, last: 9, config: jetstream.StreamConfig{Retention: jetstream.InterestPolicy}, words: []string{"retention must be limits"}},
		"position of another connector": {position: "1-0", first: 1, last: 9, words: []string{"1-0"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, "", 0, 0, func(n *watchroutev1.NatsSource) { n.Start = tc.start })
			r := newReader(s.Source, s.log)
			got, err := r.begin(tc.position, &jetstream.StreamInfo{Config: tc.config, State: jetstream.StreamState{FirstSeq: tc.first, LastSeq: tc.last}})
			if len(tc.words) > 0 {
				says(t, err, true, tc.words...)
			} else if err != nil || got != tc.want {
				t.Errorf("got %d, %v; want %d", got, err, tc.want)
			}
		})
	}
}

func TestBegin_WhatGoesBeforeThereIsAConsumer(t *testing.T) {
	for _, tc := range []struct {
		position string
		start    watchroutev1.SourceStart
		gone     bool
	}{{"", watchroutev1.SourceStart_EARLIEST, false}, {"", watchroutev1.SourceStart_LATEST_EVENT, true}, {"5", 0, true}} {
		s := open(t, tc.position, 3, 9, func(n *watchroutev1.NatsSource) { n.Start = tc.start })
		start, err := s.begin(tc.position, &s.info)
		if err != nil {
			t.Fatal(err)
		}
		s.info.State.FirstSeq, s.info.State.LastSeq = 20, 30
		if err := s.check(&s.info, start); sources.IsPermanent(err) != tc.gone {
			t.Errorf("from %q, %v: got %v", tc.position, tc.start, err)
		}
	}
}

func TestRead_TakesWhatHasComeAndWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "", 1, 0)
		began := time.Now()
		s.start()
		s.deliver(1)
		synctest.Wait()
		release := make(chan struct{})
		s.log.taking = func() error {
			<-release
			return nil
		}
		s.deliver(2)
		synctest.Wait() // it is being taken
		s.deliver(3, 4, 5)
		close(release)
		synctest.Wait()
		if err := s.end(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(s.log.takes) != 3 || !slices.Equal(s.log.taken(), []string{"1", "2", "3", "4", "5"}) || !slices.Equal(s.log.takes[2], []string{"3", "4", "5"}) {
			t.Errorf("took %q", s.log.takes)
		}
		if time.Since(began) != 0 {
			t.Errorf("it waited for %v", time.Since(began))
		}
	})
}

func TestRead_TellsTheLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "", 1, 0)
		s.MaxEvents = 2
		s.deliver(1, 2, 3, 4, 5)
		s.start()
		synctest.Wait()
		_ = s.end()
		if !slices.Equal(s.log.lags, []int64{3, 1, 0}) {
			t.Errorf("the lag was %d", s.log.lags)
		}
	})
}

func TestRead_BoundsBatchesAndWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "", 1, 0)
		s.MaxEvents = 3
		s.messages = make(chan jetstream.Msg, 3)
		delivered := make(chan struct{})
		go func() {
			s.deliver(1, 2, 3, 4, 5, 6, 7)
			close(delivered)
		}()
		synctest.Wait()
		select {
		case <-delivered:
			t.Error("nothing held the server back")
		default:
		}
		s.start()
		<-delivered
		synctest.Wait()
		_ = s.end()
		if !slices.Equal(s.log.taken(), []string{"1", "2", "3", "4", "5", "6", "7"}) || len(s.log.takes[0]) != 3 {
			t.Errorf("took %q", s.log.takes)
		}
		// Whoever waits is let go when it ends.
		s.deliver(8, 9, 10)
		s.stop()
		s.deliver(11)
	})
}

func TestRead_GivesTheWholeEvent(t *testing.T) {
	m := &message{headers: nats.Header{"Nats-Msg-Id": {"1"}, "Ce-Type": {"a", "b"}, "content-type": {"application/json"}}}
	m.at.Sequence.Stream, m.at.Timestamp = 7, time.Unix(9, 0)
	e := event(m, &m.at)
	if e.Partition != "" || e.Position != "7" || e.Topic != "orders.1.placed" || string(e.Value) != "data" || !e.Time.Equal(time.Unix(9, 0)) || e.ContentType != "application/json" ||
		e.Headers["nats-msg-id"] != "1" || e.Headers["ce-type"] != "b" {
		t.Errorf("got %+v", e)
	}
}

func TestRead_HolesAreNoLossWhileTheStreamReachesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "2", 1, 9, subjects)
		s.start()
		s.deliver(5, 9)
		synctest.Wait()
		_ = s.end()
		if !slices.Equal(s.log.taken(), []string{"5", "9"}) || s.looks != 1 {
			t.Errorf("took %q after %d looks", s.log.taken(), s.looks)
		}
	})
}

func TestRead_WithoutHolesNobodyIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "2", 1, 9)
		s.info.State.FirstSeq = 100 // what was read may be gone
		s.start()
		s.deliver(3, 4, 5)
		synctest.Wait()
		_ = s.end()
		if !slices.Equal(s.log.taken(), []string{"3", "4", "5"}) || s.looks != 0 {
			t.Errorf("took %q after %d looks", s.log.taken(), s.looks)
		}
	})
}

func TestRead_WhatIsGoneEndsItBeforeWhatComesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "2", 1, 9)
		s.info.State.FirstSeq = 7
		s.deliver(3, 7, 8)
		s.start()
		says(t, <-s.ended, true, "messages 4 to 6 of the stream ORDERS are gone", "from 7 on")
		if got := s.log.taken(); !slices.Equal(got, []string{"3"}) {
			t.Errorf("took %q", got)
		}
	})
}

func TestRead_WhatIsGoneBeforeTheFirstMessage(t *testing.T) {
	for position, gone := range map[string]bool{"2": true, "": false} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, position, 3, 9)
			s.info.State.FirstSeq = 7
			s.start()
			s.deliver(7)
			synctest.Wait()
			if err := s.end(); sources.IsPermanent(err) != gone {
				t.Errorf("from %q: got %v", position, err)
			}
		})
	}
}

func TestRead_OtherSubjectsMayGoWhileNothingIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "2", 1, 9, subjects)
		s.delivered = 9
		s.start()
		time.Sleep(s.LookInterval)
		synctest.Wait()            // it has seen that all up to 9 is delivered
		s.info.State.FirstSeq = 10 // now all of that goes
		s.deliver(12)
		synctest.Wait()
		_ = s.end()
		if got := s.log.taken(); !slices.Equal(got, []string{"12"}) {
			t.Errorf("took %q", got)
		}
	})
}

func TestRead_WhatOthersHaveIsPassedOnceNothingIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "2", 1, 9, subjects)
		s.delivered, s.underway = 9, 1
		s.start()
		time.Sleep(s.LookInterval)
		synctest.Wait()
		if len(s.log.passed) > 0 {
			t.Errorf("passed %q before the message that was sent is taken", s.log.passed)
		}
		s.underway, s.delivered = 0, 11
		s.deliver(8)
		time.Sleep(s.LookInterval)
		synctest.Wait()
		_ = s.end()
		if got := s.log.passed; !slices.Equal(got, []string{":11"}) || !slices.Equal(s.log.taken(), []string{"8"}) {
			t.Errorf("passed %q and took %q", got, s.log.taken())
		}
	})
}

func TestSame_AStreamThatWasMadeAnewIsToldByItsTime(t *testing.T) {
	s := open(t, "", 1, 9)
	was := s.info
	was.Created = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	now := was
	now.Created = was.Created.Add(time.Nanosecond)
	if err := errors.Join(s.same("", &was), s.same(identity(&was), &was)); err != nil {
		t.Error(err)
	}
	says(t, s.same(identity(&was), &now), true, "ORDERS was made anew", "another id")
}

func TestRead_OtherSubjectsMayNotGoBeforeItHasLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "2", 1, 9, subjects)
		s.delivered, s.info.State.FirstSeq = 9, 5
		s.start()
		says(t, <-s.ended, true, "messages 3 to 4", "it is not known whether there were any of orders.*.placed")
	})
}

func TestRead_AMessageThatIsLostOnTheWayIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "", 1, 9)
		s.start()
		s.deliver(1)
		s.sent++
		s.deliver(3)
		says(t, <-s.ended, false, "message 3 of the consumer came, and 2 was expected")
		if slices.Contains(s.log.taken(), "3") {
			t.Error("what came behind it was taken")
		}
	})
}

func TestRead_EndsWithWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("the log is full")
		s := open(t, "", 1, 9)
		s.log.taking = func() error { return full }
		s.start()
		s.deliver(1)
		if err := <-s.ended; !errors.Is(err, full) {
			t.Error(err)
		}
		s.start()
		lost := errors.New("the connection is lost")
		s.fail(lost)
		s.fail(errors.New("what comes of it"))
		if err := <-s.ended; !errors.Is(err, lost) {
			t.Error(err)
		}
	})
}

func TestBecause_TheRefusalSaysMoreThanTheSilence(t *testing.T) {
	s := open(t, "", 1, 9)
	s.fail(nats.ErrPermissionViolation)
	if err := s.because(context.DeadlineExceeded); !errors.Is(err, nats.ErrPermissionViolation) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := s.because(context.DeadlineExceeded); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

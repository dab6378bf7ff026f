package sources

import (
	"maps"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// counts are what became of events.
type counts struct{ events, changes, dead, duplicates, late int }

// rateOver is the time over which a rate is told, in whole seconds.
const rateOver = 10

// status is how one source is.
type status struct {
	now  func() time.Time
	wake func() // is told when the state is another

	mu      sync.Mutex
	told    watchroutev1.SourceStatus
	dirty   bool
	seconds [rateOver]struct { // a ring, by second
		at     int64
		events int
	}
	ran bool // something was taken, or it was connected, since it was last asked
}

func newStatus(id string, now func() time.Time, wake func()) *status {
	return &status{now: now, wake: wake, dirty: true, told: watchroutev1.SourceStatus{SourceId: id, State: watchroutev1.SourceStatus_STARTING}}
}

func (s *status) change(f func(*watchroutev1.SourceStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.told.GetState()
	f(&s.told)
	s.dirty = true
	if s.told.GetState() != was {
		s.wake()
	}
}

// at says where the source has come to.
func (s *status) at(positions map[string]string) {
	positions = maps.Clone(positions)
	s.change(func(m *watchroutev1.SourceStatus) { m.Positions = positions })
}

// become sets the state, and why it is that; nil: nothing is wrong.
func (s *status) become(state watchroutev1.SourceStatus_State, why error) {
	s.change(func(m *watchroutev1.SourceStatus) { become(m, state, why) })
}

func become(m *watchroutev1.SourceStatus, state watchroutev1.SourceStatus_State, why error) {
	m.State, m.Error, m.RetryTime = state, "", nil
	if why != nil {
		m.Error = why.Error()
	}
}

func (s *status) connected() {
	s.change(func(m *watchroutev1.SourceStatus) {
		become(m, watchroutev1.SourceStatus_RUNNING, nil)
		s.ran = true
	})
}

func (s *status) backOff(why error, until time.Time) {
	s.change(func(m *watchroutev1.SourceStatus) {
		become(m, watchroutev1.SourceStatus_BACKING_OFF, why)
		m.RetryTime = timestamppb.New(until)
		m.Reconnects++
	})
}

func (s *status) lagging(partition string, events int64) {
	s.change(func(m *watchroutev1.SourceStatus) {
		if m.Lag == nil {
			m.Lag = map[string]int64{}
		}
		m.Lag[partition] = max(0, events)
	})
}

func (s *status) took(c counts, events []Event) {
	now := s.now()
	s.change(func(m *watchroutev1.SourceStatus) {
		s.ran = true
		m.Events += int64(c.events)
		m.Changes += int64(c.changes)
		m.DeadLetters += int64(c.dead)
		m.Duplicates += int64(c.duplicates)
		m.OutOfDate += int64(c.late)
		m.LastEventTime = timestamppb.New(now)
		if m.Positions == nil {
			m.Positions = map[string]string{}
		}
		for i := range events {
			if e := &events[i]; e.Position != "" {
				m.Positions[e.Partition] = e.Position
			}
		}
		second := &s.seconds[now.Unix()%rateOver]
		if second.at != now.Unix() {
			second.at, second.events = now.Unix(), 0
		}
		second.events += c.events
	})
}

// hasRun says whether the source has got anywhere since it was asked last.
func (s *status) hasRun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ran := s.ran
	s.ran = false
	return ran
}

// news gives the status if it has changed since it was last given; nil: it has not.
func (s *status) news() *watchroutev1.SourceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, n := s.now().Unix(), 0
	for _, second := range s.seconds {
		if ago := now - second.at; ago > 0 && ago <= rateOver { // this one is not over
			n += second.events
		}
	}
	if rate := float64(n) / rateOver; rate != s.told.GetRate() {
		s.told.Rate, s.dirty = rate, true
	}
	if !s.dirty {
		return nil
	}
	s.dirty = false
	return proto.CloneOf(&s.told)
}

// again lets the status be given once more: it could not be written.
func (s *status) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
}

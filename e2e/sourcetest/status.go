package sourcetest

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// statuses are what a watch of system.source-status has said of one source.
type statuses struct {
	id string

	board
	all   []*watchroutev1.SourceStatus // nil: there was none
	wrong []string
}

// take is for a follower.
func (s *statuses) take(e *watchroutev1.Event) {
	if e.GetResource().GetName() != statusOf+"/"+s.id {
		return
	}
	var m *watchroutev1.SourceStatus
	if e.GetState() == watchroutev1.State_PRESENT {
		m = new(watchroutev1.SourceStatus)
		if err := e.GetResource().GetData().UnmarshalTo(m); err != nil {
			s.bad(err.Error())
			return
		}
	}
	s.update(func() { s.all = append(s.all, m) })
}

// bad is for a follower.
func (s *statuses) bad(what string) { s.update(func() { s.wrong = append(s.wrong, what) }) }

// lastLocked gives the newest; nil: there is none.
func (s *statuses) lastLocked() *watchroutev1.SourceStatus {
	if len(s.all) == 0 {
		return nil
	}
	return s.all[len(s.all)-1]
}

// mark gives a place behind all that was said so far.
func (s *statuses) mark() (n int) {
	s.read(func() { n = len(s.all) })
	return n
}

// said says whether the source has been in a state behind a mark, with an error if that is
// one of trouble.
func (s *statuses) said(mark int, state watchroutev1.SourceStatus_State) (yes bool) {
	s.read(func() {
		for _, m := range s.all[mark:] {
			yes = yes || m.GetState() == state && (m.GetError() != "") == (state == watchroutev1.SourceStatus_BACKING_OFF || state == watchroutev1.SourceStatus_FAILED)
		}
	})
	return yes
}

// text shows the newest.
func (s *statuses) text() (text string) {
	s.read(func() {
		text = fmt.Sprintf("%s (of %d)", protojson.MarshalOptions{}.Format(s.lastLocked()), len(s.all))
	})
	return text
}

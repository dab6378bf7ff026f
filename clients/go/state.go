package watchroute

import "time"

// State is where a watch stands.
type State int

// The states of a watch.
const (
	// Connecting: a stream is opened, and the state will follow.
	Connecting State = iota + 1
	// Resuming: a stream is opened with a token.
	Resuming
	// Snapshot: the first state is coming.
	Snapshot
	// Resetting: the state comes anew, as what was told is void.
	Resetting
	// Live: all that has happened was told, and changes follow.
	Live
	// Draining: the server goes away; the watch comes back when it has asked to.
	Draining
	// BackingOff: the stream ended; the watch comes back when the wait is over.
	BackingOff
	// Closed: the watch ended for good.
	Closed
)

var stateNames = [...]string{"UNKNOWN", "CONNECTING", "RESUMING", "SNAPSHOT", "RESETTING", "LIVE", "DRAINING", "BACKING_OFF", "CLOSED"}

// String gives the state's name as docs/clients.md writes it.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return stateNames[0]
	}
	return stateNames[s]
}

// StateChange tells that a watch came into another state.
type StateChange struct {
	// Watch is what is watched: the collection, or the first name; see [Named].
	Watch string
	// State is the new state.
	State State
	// Cause is why a stream ended, of Draining, BackingOff and Closed. nil otherwise.
	Cause error
	// Wait is how long the watch waits before it comes back, of Draining and BackingOff.
	Wait time.Duration
}

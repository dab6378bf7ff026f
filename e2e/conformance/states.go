package conformance

import "fmt"

// follows says which states may follow another, by the drawing in docs/clients.md. A watch
// that a fresh credential brings back at once needs no BACKING_OFF; and a ladder's rung that
// is taken beside another begins in place of it.
var follows = map[string][]string{
	"":            {"CONNECTING", "RESUMING", "CLOSED"},
	"CONNECTING":  {"SNAPSHOT", "RESETTING", "LIVE", "BACKING_OFF", "DRAINING", "CLOSED"},
	"RESUMING":    {"RESETTING", "LIVE", "BACKING_OFF", "DRAINING", "CLOSED"},
	"SNAPSHOT":    {"LIVE", "RESETTING", "BACKING_OFF", "DRAINING", "CLOSED"},
	"RESETTING":   {"LIVE", "BACKING_OFF", "DRAINING", "CLOSED"},
	"LIVE":        {"RESETTING", "BACKING_OFF", "DRAINING", "CLOSED"},
	"BACKING_OFF": {"CONNECTING", "RESUMING", "CLOSED"},
	"DRAINING":    {"CONNECTING", "RESUMING", "CLOSED"},
	"CLOSED":      {},
}

// Exceptions are further steps that a scenario allows.
type Exceptions map[[2]string]bool

// atOnce is what a watch may do whose credential has expired.
var atOnce = Exceptions{{"LIVE", "RESUMING"}: true, {"LIVE", "CONNECTING"}: true, {"SNAPSHOT", "CONNECTING"}: true,
	{"RESETTING", "CONNECTING"}: true, {"RESUMING", "RESUMING"}: true, {"CONNECTING", "CONNECTING"}: true}

// fromStore is what a watch may do that begins with a token of a store and has told nothing.
var fromStore = Exceptions{{"RESUMING", "SNAPSHOT"}: true}

// Legal says what is wrong with the reports of one watch, in order: a state that may not
// follow, a token that was lost, a report behind the end.
func Legal(reports []Report, allowed Exceptions) error {
	state, ended := "", false
	kept := false // the token of SYNCED, surely: the program asked for the next event
	synced := false
	void := false // a state is coming
	for i, r := range reports {
		if ended {
			return fmt.Errorf("report %d, behind the end: %+v", i, r)
		}
		switch {
		case r.Event != nil:
			switch r.Event.Kind {
			case "RESET":
				kept, synced = false, false
			case "SYNCED":
				synced = true
			default:
				kept = kept || synced
			}
		case r.Ended != nil:
			if ended = true; state != "CLOSED" {
				return fmt.Errorf("it ended in the state %s", state)
			}
		case r.State != "":
			legal := allowed[[2]string{state, r.State}]
			for _, next := range follows[state] {
				legal = legal || next == r.State
			}
			if !legal {
				return fmt.Errorf("report %d: %s after %s (%s)", i, r.State, state, r.Cause)
			}
			if r.State == "RESETTING" {
				kept, synced = false, false
			}
			switch r.State {
			case "SNAPSHOT", "RESETTING":
				void = true
			case "LIVE":
				void = false
			}
			if r.State == "RESUMING" && void {
				return fmt.Errorf("report %d: RESUMING, and there is no token until the state is complete (%s)", i, r.Cause)
			}
			if r.State == "CONNECTING" && kept {
				return fmt.Errorf("report %d: CONNECTING, without the token that there was (%s)", i, r.Cause)
			}
			state = r.State
		}
	}
	return nil
}

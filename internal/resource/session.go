package resource

import (
	"iter"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Unpack gives what a SessionResponse says as one response for each thing that is
// said to one watch, without `also_watch_ids` and `more`: what a client goes by.
func Unpack(r *watchroutev1.SessionResponse) iter.Seq[*watchroutev1.SessionResponse] {
	return func(yield func(*watchroutev1.SessionResponse) bool) {
		if !unpackOne(r, yield) {
			return
		}
		for _, r := range r.GetMore() {
			if !unpackOne(r, yield) {
				return
			}
		}
	}
}

func unpackOne(r *watchroutev1.SessionResponse, yield func(*watchroutev1.SessionResponse) bool) bool {
	if !yield(&watchroutev1.SessionResponse{WatchId: r.GetWatchId(), Body: r.GetBody()}) {
		return false
	}
	for _, id := range r.GetAlsoWatchIds() {
		if !yield(&watchroutev1.SessionResponse{WatchId: id, Body: r.GetBody()}) {
			return false
		}
	}
	return true
}

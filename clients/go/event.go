package watchroute

import (
	"maps"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Kind is what an event says.
type Kind int

// The kinds of events.
const (
	// Present: the resource is this, whole. Store it under its name.
	Present Kind = iota + 1
	// Absent: it is deleted, or has left the scope. Remove the name, if it is held.
	Absent
	// Synced: the state is complete and equals List at the event's revision.
	Synced
	// Reset: what was told is void, and the state follows anew. Drop what is held.
	Reset
)

// String gives the kind's name as docs/clients.md writes it.
func (k Kind) String() string {
	switch k {
	case Present:
		return "PRESENT"
	case Absent:
		return "ABSENT"
	case Synced:
		return "SYNCED"
	case Reset:
		return "RESET"
	}
	return "UNKNOWN"
}

// Reasons of a Reset. Those of the contract are the names of watchroutev1.Reset_Reason.
const (
	// ResetInterrupted: the state was cut short while it came, and begins anew.
	ResetInterrupted = "INTERRUPTED"
	// ResetCompacted: the changes since the token are no longer all retained.
	ResetCompacted = "COMPACTED"
	// ResetScope: the token was issued for another scope.
	ResetScope = "SCOPE"
	// ResetEpoch: the log is another one, such as a restored backup.
	ResetEpoch = "EPOCH"
	// ResetAccess: what the caller may see has changed.
	ResetAccess = "ACCESS"
)

// Resource is one named thing at one revision. Of one that is absent only the name and
// the revision are set.
type Resource[T any] struct {
	// Name is COLLECTION/ID.
	Name string
	// Revision is that of the change that made this state; of Synced that of the state.
	Revision uint64
	// UID is the server's, never used again.
	UID string
	// CreateRevision is that at which the resource was created.
	CreateRevision uint64
	// ETag is for preconditions.
	ETag string
	// Labels are free.
	Labels map[string]string
	// CreateTime and UpdateTime are the server's. Zero where it sent none.
	CreateTime, UpdateTime time.Time
	// Value is the value; the zero value of an absent resource.
	Value T
}

// Event is what a watch tells.
type Event[T any] struct {
	// Kind says what to do.
	Kind Kind
	// Cause is why a resource is present or absent. Advisory.
	Cause watchroutev1.Cause
	// Coalesced is how many further changes of the name were folded into this one.
	Coalesced uint32
	// Reason is why what was told is void, of a Reset only.
	Reason string
	// Resource is what the event is about; of Synced only its Revision is set.
	Resource[T]
}

func resourceOf[T any](r *watchroutev1.Resource, value T) Resource[T] {
	out := Resource[T]{Name: r.GetName(), Revision: r.GetRevision(), UID: r.GetUid(), CreateRevision: r.GetCreateRevision(),
		ETag: r.GetEtag(), Value: value}
	if len(r.GetLabels()) > 0 {
		out.Labels = maps.Clone(r.GetLabels()) // watches of one session share messages
	}
	if r.GetCreateTime() != nil {
		out.CreateTime = r.GetCreateTime().AsTime()
	}
	if r.GetUpdateTime() != nil {
		out.UpdateTime = r.GetUpdateTime().AsTime()
	}
	return out
}

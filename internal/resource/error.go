package resource

import (
	"errors"
	"fmt"
	"maps"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Reason says what went wrong, to programs. Its values are those of the
// contract's ErrorReason.
type Reason watchroutev1.ErrorReason

// The reasons. The contract documents them.
const (
	InvalidName        = Reason(watchroutev1.ErrorReason_INVALID_NAME)
	InvalidField       = Reason(watchroutev1.ErrorReason_INVALID_FIELD)
	InvalidFilter      = Reason(watchroutev1.ErrorReason_INVALID_FILTER)
	InvalidMask        = Reason(watchroutev1.ErrorReason_INVALID_MASK)
	InvalidToken       = Reason(watchroutev1.ErrorReason_INVALID_TOKEN)
	InvalidValue       = Reason(watchroutev1.ErrorReason_INVALID_VALUE)
	TooLarge           = Reason(watchroutev1.ErrorReason_TOO_LARGE)
	CollectionNotFound = Reason(watchroutev1.ErrorReason_COLLECTION_NOT_FOUND)
	NotFound           = Reason(watchroutev1.ErrorReason_RESOURCE_NOT_FOUND)
	PreconditionFailed = Reason(watchroutev1.ErrorReason_PRECONDITION_FAILED)
	RequestIDReused    = Reason(watchroutev1.ErrorReason_REQUEST_ID_REUSED)
	Compacted          = Reason(watchroutev1.ErrorReason_COMPACTED)
	EpochChanged       = Reason(watchroutev1.ErrorReason_EPOCH_CHANGED)
	ScopeChanged       = Reason(watchroutev1.ErrorReason_SCOPE_CHANGED)
	FutureRevision     = Reason(watchroutev1.ErrorReason_FUTURE_REVISION)
	RevisionNotReached = Reason(watchroutev1.ErrorReason_REVISION_NOT_REACHED)
	Draining           = Reason(watchroutev1.ErrorReason_DRAINING)
	StoreUnavailable   = Reason(watchroutev1.ErrorReason_STORE_UNAVAILABLE)
	RouteNotFound      = Reason(watchroutev1.ErrorReason_ROUTE_NOT_FOUND)
	Unsupported        = Reason(watchroutev1.ErrorReason_UNSUPPORTED)
	InvalidWatchID     = Reason(watchroutev1.ErrorReason_INVALID_WATCH_ID)
	LimitReached       = Reason(watchroutev1.ErrorReason_LIMIT_REACHED)
	Cancelled          = Reason(watchroutev1.ErrorReason_CANCELLED)
	DeadlineExceeded   = Reason(watchroutev1.ErrorReason_DEADLINE_EXCEEDED)
	Internal           = Reason(watchroutev1.ErrorReason_INTERNAL)
	SlowReader         = Reason(watchroutev1.ErrorReason_SLOW_READER)
	CredentialMissing  = Reason(watchroutev1.ErrorReason_CREDENTIAL_MISSING)
	CredentialInvalid  = Reason(watchroutev1.ErrorReason_CREDENTIAL_INVALID)
	CredentialExpired  = Reason(watchroutev1.ErrorReason_CREDENTIAL_EXPIRED)
	CredentialRevoked  = Reason(watchroutev1.ErrorReason_CREDENTIAL_REVOKED)
	PermissionDenied   = Reason(watchroutev1.ErrorReason_PERMISSION_DENIED)
	ApprovalRequired   = Reason(watchroutev1.ErrorReason_APPROVAL_REQUIRED)
)

// String gives the reason as it stands in ErrorInfo, such as INVALID_NAME.
func (r Reason) String() string {
	return watchroutev1.ErrorReason(r).String()
}

// Error is the one error of this system that may reach a client. Package wire
// renders it, once for each transport.
type Error struct {
	Reason  Reason
	Message string // for people; names what was expected
	// Metadata goes into ErrorInfo.metadata; the contract's reasons say which keys.
	Metadata map[string]string
	// RetryAfter, where it is not 0, is how long to wait before trying again.
	RetryAfter time.Duration
	cause      error
}

// Errorf makes an error. The text goes to the client: give what lies behind it to
// Because instead.
func Errorf(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Because gives a copy with a cause, for the log only.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// In gives a copy that names the request field at fault.
func (e *Error) In(field string) *Error {
	if field == "" {
		return e
	}
	return e.With("field", field)
}

// With gives a copy with one more key of metadata.
func (e *Error) With(key, value string) *Error {
	c := *e
	c.Metadata = maps.Clone(e.Metadata)
	if c.Metadata == nil {
		c.Metadata = map[string]string{}
	}
	c.Metadata[key] = value
	return &c
}

// After gives a copy that tells the client when to try again.
func (e *Error) After(wait time.Duration) *Error {
	c := *e
	c.RetryAfter = wait
	return &c
}

// Error gives the reason, the message, the field and the cause.
func (e *Error) Error() string {
	s := e.Reason.String() + ": " + e.Message
	if f := e.Metadata["field"]; f != "" {
		s += " (" + f + ")"
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is true for two errors of the same reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason == e.Reason && t.Message == ""
}

// AsError finds the Error in err. Any other error becomes one with the reason
// Internal and err as its cause; nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(Internal, "internal error").Because(err)
}

// HasReason says whether err has this reason.
func HasReason(err error, reason Reason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == reason
}

package watchroute

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is why a call or a watch failed, as the server said it or as the client found
// it. errors.As finds it, and status.FromError gives its status.
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Reason is the name of an ErrorReason of the contract, such as RESOURCE_NOT_FOUND, or
	// one of the client's own. Empty: the server did not say, as it was not reached.
	Reason string
	// Message is for people.
	Message string
	// Metadata is what the error concerns, `field` and others; see ErrorReason.
	Metadata map[string]string
	// RetryAfter is how long the server asks to wait before trying again. 0: it does not say.
	RetryAfter time.Duration

	retry  bool // there was a RetryInfo
	status *status.Status
	cause  error
}

// Reasons of the client's own errors.
const (
	// ReasonWrongType: a value is not of the message that the program expects.
	ReasonWrongType = "WRONG_TYPE"
	// ReasonUnknownMessage: a response that this client does not know; the server is newer.
	ReasonUnknownMessage = "UNKNOWN_MESSAGE"
	// ReasonNotWatchroute: what answered does not speak the protocol.
	ReasonNotWatchroute = "NOT_WATCHROUTE"
)

// errorDomain is that of the server's google.rpc.ErrorInfo.
const errorDomain = "watchroute.dev"

// Error implements error.
func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("watchroute: %s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("watchroute: %s (%s): %s", e.Code, e.Reason, e.Message)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus gives the error as a gRPC status, with the details that the server sent.
func (e *Error) GRPCStatus() *status.Status {
	if e.status != nil {
		return e.status
	}
	return status.New(e.Code, e.Message)
}

// HasReason says whether err is an [Error] with this reason, such as
// watchroutev1.ErrorReason_RESOURCE_NOT_FOUND.String().
func HasReason(err error, reason string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == reason
}

// errorOf gives what a call failed with as an Error. A context's error stays itself.
func errorOf(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return fromStatus(status.Convert(err), err)
}

func fromStatus(s *status.Status, cause error) *Error {
	e := &Error{Code: s.Code(), Message: s.Message(), status: s, cause: cause}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain || e.Reason == "" {
				e.Reason, e.Metadata = d.GetReason(), d.GetMetadata()
			}
		case *errdetails.RetryInfo:
			e.retry, e.RetryAfter = true, d.GetRetryDelay().AsDuration()
		}
	}
	if e.Reason == "" && foreign(s) {
		e.Code, e.Reason, e.status = codes.Unimplemented, ReasonNotWatchroute, nil
		e.Message = "what answered is not a Watchroute server: " + s.Message()
	}
	return e
}

// foreign says whether a status is what gRPC makes of an answer that is not of this
// service: an unknown method, or a page. A page that says 503 is a proxy that may get
// better.
func foreign(s *status.Status) bool {
	switch s.Code() {
	case codes.Unimplemented:
		return true
	case codes.Unknown, codes.Internal:
		return strings.Contains(s.Message(), "content-type")
	}
	return false
}

func failure(code codes.Code, reason, format string, args ...any) *Error {
	return &Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func unavailable(cause error, what string) *Error {
	return &Error{Code: codes.Unavailable, Message: what + ": " + cause.Error(), cause: cause}
}

// final says whether trying again is of no use, whatever the credential.
func (e *Error) final() bool {
	switch e.Code {
	case codes.InvalidArgument, codes.NotFound, codes.OutOfRange, codes.Unimplemented,
		codes.PermissionDenied, codes.FailedPrecondition, codes.AlreadyExists:
		return true
	}
	return false
}

// ended gives why ctx ended as an error: the cause that this package gave, or ctx's own.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrClosed) {
		return cause
	}
	return ctx.Err()
}

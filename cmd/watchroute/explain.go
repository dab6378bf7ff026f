package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// callError is the error of a call to a server.
type callError struct {
	error
	server string
}

func (e *callError) Unwrap() error { return e.error }

// failure is what a status says.
type failure struct {
	code    codes.Code
	message string
	// reason is the ErrorInfo's; empty where the error is not the server's own.
	reason     string
	metadata   map[string]string
	retryAfter time.Duration
}

func failureOf(err error) failure {
	// Convert would take the text of what wraps the status into its message.
	var carrier interface{ GRPCStatus() *status.Status }
	s := status.Convert(err)
	if errors.As(err, &carrier) {
		s = carrier.GRPCStatus()
	}
	f := failure{code: s.Code(), message: s.Message()}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			f.reason, f.metadata = d.GetReason(), d.GetMetadata()
		case *errdetails.RetryInfo:
			f.retryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	return f
}

// explain gives what is printed of an error: `error: REASON: message (field)` and
// a hint.
func explain(err error) string {
	var call *callError
	if _, isStatus := status.FromError(err); !isStatus || !errors.As(err, &call) {
		return fmt.Sprintf("error: %v\n", err)
	}
	f := failureOf(err)
	title := f.reason
	if title == "" {
		title = codeName(f.code)
	}
	text := fmt.Sprintf("error: %s: %s", title, f.message)
	if field := f.metadata["field"]; field != "" {
		text += " (" + field + ")"
	}
	if hint := f.hint(call.server); hint != "" {
		text += "\nhint: " + hint
	}
	return text + "\n"
}

func (f *failure) hint(server string) string {
	switch f.reason {
	case watchroutev1.ErrorReason_PRECONDITION_FAILED.String():
		if f.metadata["revision"] == "0" {
			return "the resource does not exist"
		}
		if r := f.metadata["revision"]; r != "" {
			return "it is at revision " + r + ": get it, decide anew, and write with --if-revision " + r
		}
	case watchroutev1.ErrorReason_COMPACTED.String(), watchroutev1.ErrorReason_EPOCH_CHANGED.String(), watchroutev1.ErrorReason_SCOPE_CHANGED.String():
		return "begin with the state: leave out --resume-token, --after-revision and --on-expired"
	case watchroutev1.ErrorReason_REQUEST_ID_REUSED.String():
		return "take a new --request-id for a new write"
	case watchroutev1.ErrorReason_INVALID_FILTER.String():
		return "a filter is CEL over data, name, id, labels, revision and update_time, such as 'data.status == \"PENDING\"'" + place(f.metadata)
	case "":
		return f.transportHint(server)
	}
	if f.retryAfter > 0 {
		return "try again in " + f.retryAfter.Round(100*time.Millisecond).String()
	}
	return ""
}

func place(metadata map[string]string) string {
	line, lineErr := strconv.Atoi(metadata["line"])
	column, columnErr := strconv.Atoi(metadata["column"])
	if lineErr != nil || columnErr != nil {
		return ""
	}
	return fmt.Sprintf("; look at line %d, column %d", line, column)
}

func (f *failure) transportHint(server string) string {
	switch {
	case strings.Contains(f.message, "failed to verify certificate"):
		return "--ca names the authority of the server's certificate, and --server a name or address that is in it"
	case strings.Contains(f.message, "reading server preface"):
		return server + " speaks TLS, perhaps: --tls, or --ca FILE"
	case strings.Contains(f.message, "first record does not look like a TLS handshake"):
		return server + " does not speak TLS"
	}
	switch f.code {
	case codes.Unavailable:
		return "is a server at " + server + "? Start one with `watchroute serve`, or name another with --server or WATCHROUTE_SERVER"
	case codes.DeadlineExceeded:
		return server + " did not answer in time; --timeout allows more"
	case codes.Unimplemented:
		return server + " is perhaps not a Watchroute server, or its HTTP address instead of its gRPC address"
	}
	return ""
}

// codeName gives a code as it is written in protocols, such as NOT_FOUND.
func codeName(c codes.Code) string {
	var b strings.Builder
	for i, r := range c.String() {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

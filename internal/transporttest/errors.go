package transporttest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
)

// Error is an error of the server as it arrived, whatever carried it.
type Error struct {
	Code       codes.Code
	Reason     string
	Message    string
	Metadata   map[string]string
	RetryAfter time.Duration

	// HTTP is the HTTP status that carried the error, Close the WebSocket close
	// code; 0 where none did.
	HTTP  int
	Close int
}

// Error gives all of it.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s: %s %v", e.Code, e.Reason, e.Message, e.Metadata)
	if e.HTTP != 0 {
		s += fmt.Sprintf(" (HTTP %d)", e.HTTP)
	}
	if e.Close != 0 {
		s += fmt.Sprintf(" (close code %d)", e.Close)
	}
	return s
}

// fromStatus turns a google.rpc.Status into an Error.
func fromStatus(s *statuspb.Status) *Error {
	e := &Error{Code: codes.Code(s.GetCode()), Message: s.GetMessage()}
	for _, d := range status.FromProto(s).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			e.Reason, e.Metadata = d.GetReason(), d.GetMetadata()
			if d.GetDomain() != wire.Domain {
				e.Reason += " of the domain " + d.GetDomain()
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	return e
}

// fromGRPC turns an error of a gRPC client into an Error; nil and io.EOF stay.
func fromGRPC(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return fromStatus(s.Proto())
	}
	return err
}

// fromHTTPBody reads the error that a response's body holds.
func fromHTTPBody(code int, body []byte) error {
	s := &statuspb.Status{}
	if err := protojson.Unmarshal(body, s); err != nil || s.GetCode() == 0 {
		return fmt.Errorf("HTTP %d with a body that is no error of the contract: %.500s", code, body)
	}
	e := fromStatus(s)
	e.HTTP = code
	return e
}

// wantReason says what is wrong with an error that should be of a reason: code,
// HTTP status and close code are those of the reason. Empty: nothing.
func wantReason(err error, reason resource.Reason) string {
	e := asError(err)
	if e == nil {
		return fmt.Sprintf("%v is no error of the contract, want %s", err, reason)
	}
	rendering := resource.Errorf(reason, "")
	var wrong []string
	if e.Reason != reason.String() {
		wrong = append(wrong, "the reason is not "+reason.String())
	}
	if want := wire.Status(rendering).Code(); e.Code != want {
		wrong = append(wrong, "the code is not "+want.String())
	}
	if want := wire.HTTPStatus(rendering); e.HTTP != 0 && e.HTTP != want {
		wrong = append(wrong, fmt.Sprintf("the HTTP status is not %d", want))
	}
	if want := int(wire.CloseCode(rendering)); e.Close != 0 && e.Close != want {
		wrong = append(wrong, fmt.Sprintf("the close code is not %d", want))
	}
	if e.Message == "" {
		wrong = append(wrong, "there is no message")
	}
	if len(wrong) == 0 {
		return ""
	}
	return fmt.Sprintf("%v: %s", err, strings.Join(wrong, ", "))
}

// asError finds the server's error; nil where there is none.
func asError(err error) *Error {
	e := new(Error)
	if !errors.As(err, &e) {
		return nil
	}
	return e
}

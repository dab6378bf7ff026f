package wire

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watchroute/watchroute/internal/resource"
)

// Domain is the domain of every google.rpc.ErrorInfo.
const Domain = "watchroute.dev"

// rendering is how a reason looks on each transport.
type rendering struct {
	code codes.Code
	http int
}

var renderings = map[resource.Reason]rendering{
	resource.InvalidName:        {codes.InvalidArgument, http.StatusBadRequest},
	resource.InvalidField:       {codes.InvalidArgument, http.StatusBadRequest},
	resource.InvalidFilter:      {codes.InvalidArgument, http.StatusBadRequest},
	resource.InvalidMask:        {codes.InvalidArgument, http.StatusBadRequest},
	resource.InvalidToken:       {codes.InvalidArgument, http.StatusBadRequest},
	resource.InvalidValue:       {codes.InvalidArgument, http.StatusBadRequest},
	resource.TooLarge:           {codes.InvalidArgument, http.StatusRequestEntityTooLarge},
	resource.CollectionNotFound: {codes.NotFound, http.StatusNotFound},
	resource.NotFound:           {codes.NotFound, http.StatusNotFound},
	resource.PreconditionFailed: {codes.FailedPrecondition, http.StatusPreconditionFailed},
	resource.RequestIDReused:    {codes.AlreadyExists, http.StatusConflict},
	resource.Compacted:          {codes.OutOfRange, http.StatusGone},
	resource.EpochChanged:       {codes.OutOfRange, http.StatusGone},
	resource.ScopeChanged:       {codes.OutOfRange, http.StatusGone},
	resource.FutureRevision:     {codes.OutOfRange, http.StatusBadRequest},
	resource.RevisionNotReached: {codes.Unavailable, http.StatusServiceUnavailable},
	resource.Draining:           {codes.Unavailable, http.StatusServiceUnavailable},
	resource.StoreUnavailable:   {codes.Unavailable, http.StatusServiceUnavailable},
	resource.RouteNotFound:      {codes.NotFound, http.StatusNotFound},
	resource.Unsupported:        {codes.Unimplemented, http.StatusNotImplemented},
	resource.InvalidWatchID:     {codes.InvalidArgument, http.StatusBadRequest},
	resource.LimitReached:       {codes.ResourceExhausted, http.StatusTooManyRequests},
	resource.Cancelled:          {codes.Canceled, 499},
	resource.DeadlineExceeded:   {codes.DeadlineExceeded, http.StatusGatewayTimeout},
	resource.Internal:           {codes.Internal, http.StatusInternalServerError},
	resource.SlowReader:         {codes.ResourceExhausted, http.StatusTooManyRequests},
	resource.CredentialMissing:  {codes.Unauthenticated, http.StatusUnauthorized},
	resource.CredentialInvalid:  {codes.Unauthenticated, http.StatusUnauthorized},
	resource.CredentialExpired:  {codes.Unauthenticated, http.StatusUnauthorized},
	resource.CredentialRevoked:  {codes.Unauthenticated, http.StatusUnauthorized},
	resource.PermissionDenied:   {codes.PermissionDenied, http.StatusForbidden},
	resource.ApprovalRequired:   {codes.PermissionDenied, http.StatusForbidden},
}

// asError gives the error that a client is told; a context's error has a reason
// of its own.
func asError(err error) *resource.Error {
	if e := new(resource.Error); errors.As(err, &e) {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		return resource.Errorf(resource.Cancelled, "the call was cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		return resource.Errorf(resource.DeadlineExceeded, "the deadline has passed")
	}
	return resource.AsError(err)
}

// Status renders an error as gRPC status, with ErrorInfo, BadRequest where a
// field is at fault, and RetryInfo where retrying helps. nil is OK. A status
// error that is no error of ours keeps its code and message.
func Status(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	if e := new(resource.Error); !errors.As(err, &e) {
		if s, ok := status.FromError(err); ok {
			return s
		}
	}
	e := asError(err)
	s := status.New(renderings[e.Reason].code, e.Message)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: e.Reason.String(), Domain: Domain, Metadata: e.Metadata}}
	if field := e.Metadata["field"]; field != "" && s.Code() == codes.InvalidArgument {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: e.Message}}})
	}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	with, err := s.WithDetails(details...)
	if err != nil {
		return s // only for OK, or for a detail that does not encode
	}
	return with
}

// IsFault says whether an error is the server's own, and so belongs into its log.
// What the client did, its leaving and an orderly drain are not.
func IsFault(err error) bool {
	if e := new(resource.Error); !errors.As(err, &e) {
		if _, ok := status.FromError(err); ok { // gRPC's: the connection
			return false
		}
	}
	reason := asError(err).Reason
	return reason == resource.Internal || reason == resource.StoreUnavailable
}

// HTTPStatus gives the HTTP status of an error.
func HTTPStatus(err error) int {
	if refused := new(refusal); errors.As(err, &refused) {
		return refused.status
	}
	if e := new(resource.Error); !errors.As(err, &e) {
		if s, ok := status.FromError(err); ok {
			return httpOfCode(s.Code())
		}
	}
	return renderings[asError(err).Reason].http
}

// httpOfCode is for status errors that are not ours, such as those that
// grpc-gateway makes while it parses a request.
func httpOfCode(c codes.Code) int {
	switch c {
	case codes.OK:
		return http.StatusOK
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.NotFound:
		return http.StatusNotFound
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// CloseCode gives the WebSocket close code of an error (RFC 6455, section 7.4):
// 1000 for none, otherwise 4000 plus the gRPC code.
func CloseCode(err error) uint16 {
	if err == nil {
		return 1000
	}
	return 4000 + uint16(Status(err).Code())
}

// CloseDrained is the WebSocket close code after `drain`: Service Restart.
const CloseDrained = 1012

// Reason gives the reason of an error as metrics and logs name it; OK for none.
func Reason(err error) string {
	if err == nil {
		return "OK"
	}
	return asError(err).Reason.String()
}

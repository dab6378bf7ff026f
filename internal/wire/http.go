package wire

import (
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/watchroute/watchroute/internal/resource"
)

// refusal is an error about HTTP itself, whose status the reason does not tell.
type refusal struct {
	told   *resource.Error
	status int
}

// Error implements error.
func (r *refusal) Error() string { return r.told.Error() }

// Unwrap gives what the client is told.
func (r *refusal) Unwrap() error { return r.told }

// Refuse makes an error about HTTP itself, with its status. The reason is Unsupported.
func Refuse(status int, format string, args ...any) error {
	return &refusal{resource.Errorf(resource.Unsupported, format, args...), status}
}

// ErrorAnswer gives the status and the body by which HTTP answers with an error, and sets
// the headers but for those of the body.
func ErrorAnswer(h http.Header, err error) (code int, body []byte) {
	code = HTTPStatus(err)
	h.Set("Cache-Control", "no-store")
	if code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
	}
	if e := new(resource.Error); errors.As(err, &e) && e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	return code, append(AppendProtoJSON(nil, Status(err).Proto()), '\n')
}

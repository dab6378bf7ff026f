package webhook

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
)

// allowed are the methods of the path.
const allowed = http.MethodPost + ", " + http.MethodOptions

// ServeHTTP implements http.Handler.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		if err := s.receive(w, r); err != nil {
			fail(w, err)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	case http.MethodOptions:
		agree(w, r)
	default:
		w.Header().Set("Allow", allowed)
		fail(w, wire.Refuse(http.StatusMethodNotAllowed, "%s takes %s, not %s", s.topic, allowed, r.Method))
	}
}

// agree is the handshake of CloudEvents' web hooks (section 4): whoever asks may send here,
// at any rate, if he knows the secret.
func agree(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Allow", allowed)
	if origin := r.Header.Get("WebHook-Request-Origin"); origin != "" {
		h.Set("WebHook-Allowed-Origin", origin)
		h.Set("WebHook-Allowed-Rate", "*")
	}
	w.WriteHeader(http.StatusOK)
}

// receive returns when what a request brings is durable.
func (s *Source) receive(w http.ResponseWriter, r *http.Request) error {
	now := s.now.Load()
	if now == nil {
		return s.unavailable()
	}
	known := now.secrets.Load()
	if err := known.admit(r.Header); err != nil {
		return err
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return wire.Refuse(http.StatusUnsupportedMediaType, "bodies are taken as they are, without the content encoding %q", coding)
	}
	if isBinary(r.Header) && !known.bears {
		return wire.Refuse(http.StatusUnsupportedMediaType, "a signature does not cover the headers that a binary CloudEvent is made of; send it structured, as %s", structured)
	}
	body, release, err := s.read(w, r)
	defer release()
	if err != nil {
		return err
	}
	if err := known.verify(r.Header, body); err != nil {
		return err
	}
	events, err := parse(s.topic, r.Header, body)
	if err != nil {
		return err
	}
	return s.deliver(r.Context(), now, events)
}

// read reads a body within its limits. It counts as held until release.
func (s *Source) read(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(s.BodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, func() {}, err
	}
	in := &counted{from: http.MaxBytesReader(w, r.Body, s.MaxBytes), held: &s.held, most: s.MaxHeldBytes}
	body, err = io.ReadAll(in)
	release = func() { s.held.Add(-in.n) }
	switch large := new(http.MaxBytesError); {
	case errors.Is(err, errHeld):
		return nil, release, resource.Errorf(resource.LimitReached, "%s has too many requests under way", s.topic).With("limit", "held_bytes").After(retryAfter)
	case errors.As(err, &large):
		limit := strconv.FormatInt(large.Limit, 10)
		return nil, release, resource.Errorf(resource.TooLarge, "the request has more than the %s bytes that are allowed", limit).In("body").With("limit", limit)
	case err != nil:
		return nil, release, resource.Errorf(resource.InvalidField, "the body did not arrive").In("body").Because(err)
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, release, err
	}
	return body, release, nil
}

var errHeld = errors.New("webhook: too much is held")

// counted counts what was read.
type counted struct {
	from io.Reader
	held *atomic.Int64 // by all
	most int64
	n    int64 // by this one
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	if c.held.Add(int64(n)) > c.most {
		return n, errHeld
	}
	return n, err
}

// fail answers with an error, as all of HTTP does.
func fail(w http.ResponseWriter, err error) {
	h := w.Header()
	code, body := wire.ErrorAnswer(h, err)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // whoever left does not read it
}

package transporttest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// web is what the transports on plain HTTP have in common.
type web struct {
	http    *http.Client
	url     string // of the node
	version int    // of HTTP, that is spoken
}

func newWebClient(t testing.TB, n *Node, d Dialer) web {
	return web{d.client(t), d.url(n), d.version()}
}

// Caller implements Transport.
func (w web) Caller() Caller { return rest(w) }

// get asks for a URL's representation; the answer is a 200 with that type, or an
// *Error.
func (w web) get(ctx context.Context, path, accept string, h http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	if err != nil {
		return nil, err
	}
	if h != nil {
		r.Header = h
	}
	r.Header.Set("Accept", accept)
	answer, err := w.http.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.ProtoMajor != w.version {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%s is spoken, not HTTP/%d", answer.Proto, w.version)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return nil, err
		}
		return nil, fromHTTPBody(answer.StatusCode, body)
	}
	if got, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";"); got != accept {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%s was asked for, %s came", accept, got)
	}
	return answer, nil
}

// ndjson watches with `curl -N`.
type ndjson struct{ web }

func newNDJSON(t testing.TB, n *Node, d Dialer) Transport { return ndjson{newWebClient(t, n, d)} }

// Watch implements Transport.
func (w ndjson) Watch(ctx context.Context, r *watchroutev1.WatchRequest) (Stream, error) {
	return w.WatchURL(ctx, watchURL(r))
}

// WatchURL implements URLs.
func (w ndjson) WatchURL(ctx context.Context, url string) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	answer, err := w.get(ctx, url, "application/x-ndjson", nil)
	if err != nil {
		cancel()
		return nil, err
	}
	return opened(&lines{answer.Body, bufio.NewReader(answer.Body), cancel})
}

type lines struct {
	body   io.Closer
	in     *bufio.Reader
	cancel context.CancelFunc
}

// Recv implements Stream.
func (s *lines) Recv() (*Message, error) {
	line, err := s.in.ReadBytes('\n')
	if err == io.EOF && len(line) > 0 {
		err = fmt.Errorf("the body ends within a line: %s", clip(line))
	}
	if err != nil {
		return nil, err
	}
	return ending(fromJSON(line))
}

// Close implements Stream.
func (s *lines) Close() error {
	s.cancel()
	return s.body.Close()
}

// sse watches as a browser's EventSource does.
type sse struct{ web }

func newSSE(t testing.TB, n *Node, d Dialer) Transport { return sse{newWebClient(t, n, d)} }

// Watch implements Transport. A token goes into Last-Event-ID, where EventSource
// puts it.
func (w sse) Watch(ctx context.Context, r *watchroutev1.WatchRequest) (Stream, error) {
	url, h := watchURL(r), http.Header{"Cache-Control": {"no-cache"}}
	if token := r.GetResumeToken(); token != "" {
		fresh := cloneRequest(r)
		fresh.Start = nil
		url = watchURL(fresh)
		h.Set("Last-Event-ID", token)
	}
	return w.open(ctx, url, h)
}

// WatchURL implements URLs.
func (w sse) WatchURL(ctx context.Context, url string) (Stream, error) {
	return w.open(ctx, url, http.Header{})
}

func (w sse) open(ctx context.Context, url string, h http.Header) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	answer, err := w.get(ctx, url, "text/event-stream", h)
	if err != nil {
		cancel()
		return nil, err
	}
	if got := answer.Header.Get("X-Accel-Buffering"); got != "no" {
		cancel()
		_ = answer.Body.Close()
		return nil, fmt.Errorf("a proxy is not told to let events through: X-Accel-Buffering is %q", got)
	}
	return opened(&events{answer.Body, newSSEReader(answer.Body), cancel})
}

type events struct {
	body   io.Closer
	in     *sseReader
	cancel context.CancelFunc
}

// Recv implements Stream.
func (s *events) Recv() (*Message, error) {
	e, err := s.in.next()
	if err != nil {
		return nil, err
	}
	if e.typ == "change" {
		return s.change(e)
	}
	m, err := fromJSON([]byte(e.data))
	switch {
	case err != nil:
		return nil, err
	case e.typ != string(m.Kind):
		return nil, fmt.Errorf("the event %q holds %v", e.typ, m)
	case e.hasID && e.lastID != m.Token:
		return nil, fmt.Errorf("the event %q has the id %q, and its message the token %q", e.typ, e.lastID, m.Token)
	case m.Token != "" && !e.hasID:
		return nil, fmt.Errorf("the event %q has no id, and its message the token %q", e.typ, m.Token)
	case m.Kind == Started && s.in.retry < 0:
		return nil, errors.New("`started` sets no retry")
	case m.Kind == Reset && s.in.lastID != "":
		return nil, fmt.Errorf("after a reset EventSource would come back with %q", s.in.lastID)
	case m.Kind == Drain && s.in.retry != int(m.ReconnectAfter.Milliseconds()):
		return nil, fmt.Errorf("`drain` sets retry to %d ms and says %v", s.in.retry, m.ReconnectAfter)
	}
	return ending(m, nil)
}

// change gives the message of one event. Where it stands only its token can tell,
// or else its revision.
func (s *events) change(e *sseEvent) (*Message, error) {
	var in jsonEvent
	if err := strictJSON([]byte(e.data), &in); err != nil {
		return nil, err
	}
	event, err := in.event()
	if err != nil {
		return nil, err
	}
	m := &Message{Kind: Events, Revision: event.Resource.Revision, Events: []Event{event}}
	if e.hasID {
		t, err := resource.ParseToken("id", e.lastID)
		if err != nil {
			return nil, err
		}
		m.Token, m.Revision = e.lastID, t.Revision
	}
	return m, nil
}

// Close implements Stream.
func (s *events) Close() error {
	s.cancel()
	return s.body.Close()
}

// longPoll watches by asking again and again.
type longPoll struct{ web }

func newLongPoll(t testing.TB, n *Node, d Dialer) Transport { return longPoll{newWebClient(t, n, d)} }

// Watch implements Transport. A poll that begins with the state is asked at once;
// any other one waits for something to happen, and is asked by Recv.
func (w longPoll) Watch(ctx context.Context, r *watchroutev1.WatchRequest) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &polls{ctx: ctx, cancel: cancel, web: w.web, request: cloneRequest(r)}
	if r.GetStart() != nil {
		return s, nil
	}
	return opened(s)
}

// WatchURL implements URLs. Only the first poll is of the URL.
func (w longPoll) WatchURL(ctx context.Context, url string) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	return &polls{ctx: ctx, cancel: cancel, web: w.web, first: url, request: &watchroutev1.WatchRequest{}}, nil
}

type polls struct {
	ctx     context.Context
	cancel  context.CancelFunc
	web     web
	request *watchroutev1.WatchRequest
	first   string // the URL of the first request; empty: request's
	asked   bool
	drained bool
	pending []*Message
}

// Recv implements Stream.
func (s *polls) Recv() (*Message, error) {
	for len(s.pending) == 0 {
		if s.drained {
			return nil, io.EOF
		}
		if err := s.ask(); err != nil {
			return nil, err
		}
	}
	m := s.pending[0]
	s.pending = s.pending[1:]
	s.drained = m.Kind == Drain
	return ending(m, nil)
}

// ask makes one request. Every answer is a watch of its own, which begins with
// `started`; only the first one's matters to whoever sees a single watch.
func (s *polls) ask() error {
	url := s.first
	if url == "" || s.asked {
		url = watchURL(s.request)
	}
	answer, err := s.web.get(s.ctx, withQuery(url, "wait", pollWait(s.request).String()), "application/json", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var in struct {
		Responses   []json.RawMessage `json:"responses"`
		ResumeToken string            `json:"resumeToken"`
	}
	if err := strictJSON(body, &in); err != nil {
		return err
	}
	if len(in.Responses) == 0 {
		return fmt.Errorf("a poll says nothing: %s", clip(body))
	}
	var last string
	var end Kind
	for i, text := range in.Responses {
		m, err := fromJSON(text)
		if err != nil {
			return err
		}
		if m.Token != "" {
			last = m.Token
		}
		end = m.Kind
		if i == 0 && m.Kind != Started {
			return fmt.Errorf("a poll begins with %v", m)
		}
		if i > 0 || !s.asked {
			s.pending = append(s.pending, m)
		}
	}
	if last == "" && end != Drain && end != Closed {
		return fmt.Errorf("a poll gives no token to go on with: %s", clip(body))
	}
	if last != in.ResumeToken {
		return fmt.Errorf("a poll's token %q is not that of its last message that has one, %q", in.ResumeToken, last)
	}
	s.asked = true
	s.request.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: in.ResumeToken}
	return nil
}

// Close implements Stream.
func (s *polls) Close() error {
	s.cancel()
	return nil
}

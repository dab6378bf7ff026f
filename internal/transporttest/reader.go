package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Reader reads a watch and folds it.
type Reader struct {
	*Fold
	c        *Case
	stream   Stream
	cancel   context.CancelFunc
	reported int
	// said is what came since the last Want, bookmarks left out.
	said []string
	// Messages counts all that came.
	Messages int
}

func (r *Reader) open(t Transport, request *watchroutev1.WatchRequest) error {
	ctx, cancel := context.WithCancel(r.c.ctx)
	late := time.AfterFunc(patience, cancel)
	s, err := t.Watch(ctx, request)
	if !late.Stop() && err != nil {
		err = fmt.Errorf("nothing came for %v: %w", patience, err)
	}
	if err != nil {
		cancel()
		return err
	}
	r.stream, r.cancel = s, cancel
	r.c.Cleanup(r.Close)
	return nil
}

// Close cuts the connection. What was held stays.
func (r *Reader) Close() {
	if r.stream != nil {
		_ = r.stream.Close()
		r.cancel()
		r.stream = nil
	}
}

// Try waits for the next message and folds it.
func (r *Reader) Try() (*Message, error) {
	late := time.AfterFunc(patience, r.cancel)
	m, err := r.stream.Recv()
	if !late.Stop() && err != nil {
		err = fmt.Errorf("nothing came for %v: %w", patience, err)
	}
	if err != nil {
		return nil, err
	}
	r.Messages++
	r.Apply(m)
	switch m.Kind {
	case Bookmark:
	case Events:
		for i := range m.Events {
			r.said = append(r.said, strings.Replace(m.Events[i].String(), r.collection()+"/", "", 1))
		}
	case Started:
		r.said = append(r.said, "started "+m.Mode.String())
	case Reset:
		r.said = append(r.said, "reset "+m.Reason.String())
	default:
		r.said = append(r.said, string(m.Kind))
	}
	return m, nil
}

// Next waits for the next message, which must come.
func (r *Reader) Next() *Message {
	r.c.Helper()
	m, err := r.Try()
	if err != nil {
		r.c.Fatalf("%v; the watch {%v} stood at %d and had said %v", err, r.request, r.at, tail(r.said))
	}
	r.Report()
	return m
}

// Report makes the faults known that came since the last time.
func (r *Reader) Report() {
	r.c.Helper()
	for ; r.reported < len(r.Faults); r.reported++ {
		r.c.Errorf("the watch {%v}: %s", r.request, r.Faults[r.reported])
	}
}

func tail(said []string) []string { return said[max(0, len(said)-30):] }

// Until reads until a message is such, and gives it.
func (r *Reader) Until(is func(*Message) bool) *Message {
	r.c.Helper()
	for {
		if m := r.Next(); is(m) {
			return m
		}
	}
}

// UntilKind reads until a message of a kind.
func (r *Reader) UntilKind(k Kind) *Message {
	r.c.Helper()
	return r.Until(func(m *Message) bool { return m.Kind == k })
}

// UntilRevision reads until everything up to a revision has come, and a token.
func (r *Reader) UntilRevision(revision uint64) {
	r.c.Helper()
	for r.Token == "" || r.Revision < revision {
		r.Next()
	}
}

// UntilEnd reads until the server ends the watch, which must be in order.
func (r *Reader) UntilEnd() {
	r.c.Helper()
	if err := r.untilError(); !errors.Is(err, io.EOF) {
		r.c.Fatalf("the watch {%v} ends with %v after %v", r.request, err, tail(r.said))
	}
}

func (r *Reader) untilError() error {
	r.c.Helper()
	for {
		_, err := r.Try()
		r.Report()
		if err != nil {
			return err
		}
	}
}

// Cut loses the connection.
func (r *Reader) Cut() {
	r.Close()
	r.Fold.Cut()
}

// Resume opens the watch again, with the last token, on any transport.
func (r *Reader) Resume(t Transport) {
	r.c.Helper()
	if err := r.TryResume(t); err != nil {
		r.c.Fatalf("the watch {%v} cannot be resumed: %v", r.request, err)
	}
}

// TryResume is Resume whose error is the server's.
func (r *Reader) TryResume(t Transport) error {
	r.Cut()
	again := cloneRequest(r.request)
	if r.Token != "" {
		again.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: r.Token}
	}
	return r.open(t, again)
}

// Want checks what came since the last time: `started MODE`, `reset REASON`,
// `CAUSE ID@REVISION`, and other messages by their kind, bookmarks left out.
func (r *Reader) Want(said ...string) {
	r.c.Helper()
	if !slices.Equal(r.said, said) {
		r.c.Errorf("the watch {%v}\nsaid %q\nwant %q", r.request, r.said, said)
	}
	r.said = nil
}

// did is how an event is said: `CREATED a@7`.
func did(cause watchroutev1.Cause, id string, revision uint64) string {
	return fmt.Sprintf("%s %s@%d", cause, id, revision)
}

// What Want is told.
const (
	startedSnapshot = "started SNAPSHOT"
	startedResumed  = "started RESUMED"
	startedNow      = "started NOW"
)

const (
	created = watchroutev1.Cause_CREATED
	updated = watchroutev1.Cause_UPDATED
	entered = watchroutev1.Cause_ENTERED
	deleted = watchroutev1.Cause_DELETED
	exited  = watchroutev1.Cause_LEFT
)

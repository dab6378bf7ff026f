package nats

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

// reader gives what a stream delivers to a sink.
type reader struct {
	*Source
	to sources.Sink
	// look is connection.look.
	look     func(context.Context) (state *jetstream.StreamInfo, delivered, messages uint64, err error)
	messages chan jetstream.Msg
	failed   chan error // has what went wrong first
	stopped  chan struct{}

	events []sources.Event
	// passed is the last sequence up to which nothing is missing.
	passed uint64
	// open says that there is nothing that could be missing before the first message.
	open bool
	// received counts messages, as the server does.
	received uint64
}

func newReader(s *Source, to sources.Sink) *reader {
	return &reader{Source: s, to: to, messages: make(chan jetstream.Msg, s.MaxEvents), failed: make(chan error, 1), stopped: make(chan struct{})}
}

// fail ends read with an error.
func (r *reader) fail(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

// because gives what went wrong first, if anything did: an answer that does not come says
// less than the server's refusal.
func (r *reader) because(err error) error {
	select {
	case first := <-r.failed:
		if !sources.IsPermanent(err) {
			return fmt.Errorf("%w: %w", err, first)
		}
	default:
	}
	return err
}

// receive waits while too much is waiting already.
func (r *reader) receive(m jetstream.Msg) {
	select {
	case r.messages <- m:
	case <-r.stopped:
	}
}

// stop lets receive go.
func (r *reader) stop() { close(r.stopped) }

// read takes messages until ctx ends or something fails.
func (r *reader) read(ctx context.Context) error {
	var looks <-chan time.Time
	if len(r.config.GetSubjects()) > 0 {
		ticker := time.NewTicker(r.LookInterval)
		defer ticker.Stop()
		looks = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-r.failed:
			return err
		case first := <-r.messages:
			if err := r.take(ctx, first); err != nil {
				return err
			}
		case <-looks:
			if err := r.pass(ctx); err != nil {
				return r.because(err)
			}
		}
	}
}

// pass goes past messages of other subjects: what is delivered is not missing, wherever the
// stream begins later. Those that wait here are taken still.
func (r *reader) pass(ctx context.Context) error {
	if len(r.messages) > 0 {
		return nil
	}
	state, delivered, messages, err := r.look(ctx)
	if err == nil {
		err = r.check(state, r.passed+1)
	}
	if err != nil || delivered == 0 {
		return err
	}
	further := delivered > r.passed
	r.passed, r.open = max(r.passed, delivered), false
	if further && messages == r.received { // none is on its way
		return r.to.Pass(ctx, "", strconv.FormatUint(r.passed, 10))
	}
	return nil
}

// batch is what reader.events are.
type batch struct {
	last    uint64 // sequence
	pending uint64 // what the server has behind it
	// gap is the first sequence that is not there; 0: none is missing. So many events come
	// before it.
	gap    uint64
	before int
}

// gather makes events of a message, and of those that wait behind it.
func (r *reader) gather(m jetstream.Msg) (batch, error) {
	r.events = r.events[:0]
	b := batch{last: r.passed}
	for {
		at, err := m.Metadata()
		if err != nil {
			return b, err
		}
		if r.received++; at.Sequence.Consumer != r.received {
			return b, fmt.Errorf("message %d of the consumer came, and %d was expected", at.Sequence.Consumer, r.received)
		}
		seq := at.Sequence.Stream
		if seq > b.last+1 && b.gap == 0 && !r.open {
			b.gap, b.before = b.last+1, len(r.events)
		}
		r.open = false
		b.last, b.pending = max(b.last, seq), at.NumPending
		r.events = append(r.events, event(m, at))
		if len(r.events) == r.MaxEvents {
			return b, nil
		}
		select {
		case m = <-r.messages:
		default:
			return b, nil
		}
	}
}

// take makes a message durable, and those that wait behind it.
func (r *reader) take(ctx context.Context, first jetstream.Msg) error {
	b, err := r.gather(first)
	if err != nil {
		return err
	}
	defer clear(r.events) // they hold what was received
	if b.gap != 0 {
		state, _, _, err := r.look(ctx)
		if err == nil {
			err = r.check(state, b.gap)
		}
		if sources.IsPermanent(err) && b.before > 0 { // these are not gone
			if failed := r.to.Take(ctx, r.events[:b.before]); failed != nil {
				return failed
			}
		}
		if err != nil {
			return r.because(err)
		}
	}
	if err := r.to.Take(ctx, r.events); err != nil {
		return err
	}
	r.passed = b.last
	r.to.Lag("", int64(b.pending))
	return nil
}

// same says whether the stream is the one that was read: known is what identity gave of
// that; empty: nothing was read.
func (r *reader) same(known string, info *jetstream.StreamInfo) error {
	if known == "" || known == identity(info) {
		return nil
	}
	return sources.Permanent(fmt.Errorf("the stream %s was made anew: it is of %s, and the one that was read of %s; give the source another id to read it from its start",
		r.config.GetStream(), identity(info), known))
}

// identity is when a stream was made.
func identity(info *jetstream.StreamInfo) string { return info.Created.UTC().Format(time.RFC3339Nano) }

// begin gives the sequence to begin with.
func (r *reader) begin(position string, info *jetstream.StreamInfo) (start uint64, err error) {
	if info.Config.Retention != jetstream.LimitsPolicy {
		return 0, sources.Permanent(fmt.Errorf("the stream %s deletes messages when they are consumed (its retention is %v), and what is read must be there until it is durable; its retention must be limits",
			r.config.GetStream(), info.Config.Retention))
	}
	first, last := info.State.FirstSeq, info.State.LastSeq
	if position == "" {
		if r.config.GetStart() == watchroutev1.SourceStart_LATEST_EVENT {
			r.passed = last
			return last + 1, nil
		}
		r.open, r.passed = true, max(first, 1)-1
		return r.passed + 1, nil
	}
	if r.passed, err = strconv.ParseUint(position, 10, 64); err != nil {
		return 0, sources.Permanent(fmt.Errorf("the position is %q, a sequence is expected", position))
	}
	if r.passed > last {
		return 0, sources.Permanent(fmt.Errorf("the stream %s ends at %d, and was read up to %d: it was made anew, or the server has lost messages; "+
			"give the source another id to read it from its start", r.config.GetStream(), last, r.passed))
	}
	return r.passed + 1, r.check(info, r.passed+1)
}

// check says whether the stream has what comes next, or had nothing there.
func (r *reader) check(info *jetstream.StreamInfo, next uint64) error {
	if r.open || info.State.FirstSeq <= next || replaces(&info.Config) {
		return nil
	}
	of := ""
	if subjects := r.config.GetSubjects(); len(subjects) > 0 {
		of = ", and it is not known whether there were any of " + strings.Join(subjects, ", ") + " among them"
	}
	return sources.Permanent(fmt.Errorf("the messages %d to %d of the stream %s are gone%s: the server has those from %d on; "+
		"give the source another id to read all that is left", next, info.State.FirstSeq-1, r.config.GetStream(), of, info.State.FirstSeq))
}

// replaces says that a stream drops messages only where newer ones of their subject replace
// them.
func replaces(c *jetstream.StreamConfig) bool {
	limited := c.Discard == jetstream.DiscardOld && (c.MaxMsgs > 0 || c.MaxBytes > 0)
	return c.MaxMsgsPerSubject > 0 && !limited && c.MaxAge == 0 && !c.AllowMsgTTL
}

// event gives an event of a message. They share their bytes.
func event(m jetstream.Msg, at *jetstream.MsgMetadata) sources.Event {
	e := sources.Event{Position: strconv.FormatUint(at.Sequence.Stream, 10), Topic: m.Subject(), Value: m.Data(), Time: at.Timestamp}
	if headers := m.Headers(); len(headers) > 0 {
		e.Headers = make(map[string]string, len(headers))
		for name, values := range headers {
			if len(values) > 0 {
				e.Headers[strings.ToLower(name)] = values[len(values)-1]
			}
		}
		e.ContentType = e.Headers["content-type"]
	}
	return e
}

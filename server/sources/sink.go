package sources

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

const (
	// mostUnits and mostBytes bound what is written to the log in one step.
	mostUnits = 1024
	mostBytes = 4 << 20
)

// sink applies the events of one source. It implements Sink and Positions.
type sink struct {
	cfg    *Config
	spec   *spec
	id     string
	status *status

	mu        sync.Mutex
	positions map[string]string // by partition; what the log has
}

// newSink reads where a source has come to.
func newSink(cfg *Config, s *spec, st *status) (*sink, error) {
	out := &sink{cfg: cfg, spec: s, id: s.source.GetSourceId(), status: st, positions: map[string]string{}}
	marks, err := cfg.Log.Marks(out.mark(""))
	if err != nil {
		return nil, err
	}
	for key, position := range marks {
		out.positions[strings.TrimPrefix(key, out.mark(""))] = position
	}
	st.at(out.positions)
	return out, nil
}

func (s *sink) mark(partition string) string { return positionsPrefix + s.id + "/" + partition }

// Position implements Positions.
func (s *sink) Position(partition string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.positions[partition]
}

// All implements Positions.
func (s *sink) All() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.positions)
}

// Connected implements Sink.
func (s *sink) Connected() { s.status.connected() }

// Lag implements Sink.
func (s *sink) Lag(partition string, events int64) { s.status.lagging(partition, events) }

// Pass implements Sink.
func (s *sink) Pass(ctx context.Context, partition, position string) error {
	if _, err := s.cfg.Log.WriteAll(context.WithoutCancel(ctx), nil, map[string]string{s.mark(partition): position}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.positions[partition] = position
	s.status.at(s.positions)
	return nil
}

// Take implements Sink.
func (s *sink) Take(ctx context.Context, events []Event) error {
	for len(events) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, bytes := 0, 0
		for ; n < len(events) && n < mostUnits && (n == 0 || bytes < mostBytes); n++ {
			bytes += len(events[n].Value)
		}
		if err := s.take(ctx, events[:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

func (s *sink) take(ctx context.Context, events []Event) error {
	units := make([]changelog.Unit, len(events))
	done := make([]application, len(events))
	marks := map[string]string{}
	for i := range events {
		e := &events[i]
		done[i] = application{sink: s, event: e}
		units[i] = done[i].unit()
		if e.Position != "" {
			marks[s.mark(e.Partition)] = e.Position
		}
	}
	// Who gives up in the middle of it would not know where the source is.
	outcomes, err := s.cfg.Log.WriteAll(context.WithoutCancel(ctx), units, marks)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for i := range events {
		if e := &events[i]; e.Position != "" {
			s.positions[e.Partition] = e.Position
		}
	}
	s.mu.Unlock()
	var took counts
	for i := range outcomes {
		done[i].count(&took, &outcomes[i])
	}
	s.status.took(took, events)
	s.cfg.Observer.SourceTook(s.id, took.events, took.changes, took.dead, took.duplicates)
	return nil
}

// application is one event on its way into the log.
type application struct {
	sink       *sink
	event      *Event
	again      *watchroutev1.DeadLetter // that the event has been; nil: none
	dead, late bool                     // what became of it
}

// unit gives what the event changes, or its dead letter.
func (a *application) unit() changelog.Unit {
	changes, err := a.sink.spec.apply(a.event)
	if err == nil {
		var u changelog.Unit
		if u, err = a.writes(changes); err == nil {
			return u
		}
	}
	return changelog.Unit{Writes: []changelog.Write{a.letter(err)}}
}

// writes gives what changes write: a batch for each collection.
func (a *application) writes(changes []schema.Mapped) (u changelog.Unit, err error) {
	s := a.sink
	u.Else = a.letter
	type place struct{ collection, id string }
	places := make(map[place]*schema.Mapped, len(changes))
	for i := range changes {
		c := &changes[i]
		if places[place{c.Collection, c.ID}] != nil {
			return u, resource.Errorf(resource.InvalidValue, "two changes of one event are of %s", c).In("mappings")
		}
		places[place{c.Collection, c.ID}] = c
		if err := resource.CheckLabels("labels", c.Labels); err != nil {
			return u, resource.Errorf(resource.InvalidValue, "%s", resource.AsError(err).Message).In("labels")
		}
		values := s.cfg.Schemas.Schema(c.Collection)
		op := changelog.Op{ID: c.ID, Delete: c.Delete, Labels: c.Labels}
		if !c.Delete && !c.Merge {
			if op.Type, op.Data, err = c.Encode(values); err == nil {
				err = s.fits(op.Data)
			}
			if err != nil {
				return u, err
			}
		}
		collection := resource.Of(s.spec.source.GetTenant(), c.Collection)
		n := slices.IndexFunc(u.Writes, func(w changelog.Write) bool { return w.Collection == collection })
		if n < 0 {
			n = len(u.Writes)
			u.Writes = append(u.Writes, changelog.Write{Collection: collection})
			a.identify(&u.Writes[n])
		}
		w := &u.Writes[n]
		w.Ops = append(w.Ops, op)
		if (c.Merge || c.Order != "") && w.Guard == nil {
			w.Guard = func(op *changelog.Op, old *changelog.Record) error {
				late, err := places[place{c.Collection, op.ID}].Over(values, old, op)
				a.late = a.late || late
				if err == nil && !late {
					err = errors.Join(s.fits(op.Data), resource.CheckLabels("labels", op.Labels))
				}
				return err
			}
		}
	}
	if a.again != nil {
		u.Writes = append(u.Writes, changelog.Write{Collection: DeadLettersOf, Ops: []changelog.Op{{ID: a.again.GetDeadletterId(), Delete: true}}})
	}
	return u, nil
}

// fits says whether a value may be kept.
func (s *sink) fits(data []byte) error {
	if len(data) > s.cfg.MaxValueBytes {
		return resource.Errorf(resource.TooLarge, "the value has %d bytes, %d are allowed", len(data), s.cfg.MaxValueBytes)
	}
	return nil
}

// identify makes a write one that is applied once, if the event has no position that
// says so.
func (a *application) identify(w *changelog.Write) {
	e := a.event
	switch {
	case a.again != nil || e.Position != "": // the dead letter is gone, or the mark is behind it
		return
	case e.ID != "":
		w.RequestID, w.Digest = positionsPrefix+a.sink.id+"/"+e.ID, e.digest()
	default:
		w.RequestID = positionsPrefix + a.sink.id + "#" + e.digest().String()
		w.Afresh = !e.Redelivered
	}
}

// digest tells events with other bytes apart.
type digest [16]byte

func (d digest) String() string { return base64.RawURLEncoding.EncodeToString(d[:]) }

func (e *Event) digest() (sum digest) {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(e.Topic), e.Key, e.Value} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

// letter gives the dead letter of the event. It is the same one however often it comes.
func (a *application) letter(why error) changelog.Write {
	a.dead = true
	e, reason := a.event, resource.AsError(why)
	m := a.again
	if m != nil {
		m = proto.CloneOf(m)
	} else {
		where := Event{Topic: e.Partition, Key: []byte(e.Position), Value: []byte(e.ID)}
		if e.Position == "" && (e.ID == "" || reason.Reason == resource.RequestIDReused) {
			where = *e
		}
		m = &watchroutev1.DeadLetter{DeadletterId: a.sink.id + "~" + where.digest().String(), SourceId: a.sink.id, Topic: e.Topic, Partition: e.Partition, Position: e.Position,
			EventId: e.ID, Key: e.Key, Value: e.Value, Headers: e.Headers, ContentType: e.ContentType}
		if !e.Time.IsZero() {
			m.EventTime = timestamppb.New(e.Time)
		}
	}
	m.Reason, m.Message, m.DeadTime, m.Replay = reason.Reason.String(), reason.Message, timestamppb.New(a.sink.cfg.now()), false
	if field := reason.Metadata["field"]; field != "" {
		m.Message = field + ": " + m.Message
	}
	m.Attempts++
	w := changelog.Write{Collection: DeadLettersOf}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil { // a header that is not UTF-8
		m.Headers, m.Topic, m.EventId, m.Message = nil, "", "", m.GetReason()
		data, _ = proto.MarshalOptions{Deterministic: true}.Marshal(m)
	}
	w.Ops = []changelog.Op{{ID: m.GetDeadletterId(), Type: string(m.ProtoReflect().Descriptor().FullName()), Data: data}}
	return w
}

// count adds what became of the event.
func (a *application) count(to *counts, out *changelog.Outcome) {
	to.events++
	switch {
	case a.dead:
		to.dead++
		return
	case a.late:
		to.late++
	}
	duplicate := false
	for _, r := range out.Results {
		duplicate = duplicate || r.Replayed
		for _, changed := range r.Changes {
			if changed && !r.Replayed {
				to.changes++
			}
		}
	}
	if duplicate {
		to.duplicates++
	}
}

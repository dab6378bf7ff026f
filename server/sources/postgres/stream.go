package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"golang.org/x/sync/errgroup"

	"github.com/watchroute/watchroute/server/sources"
)

// wire is a connection on which the server sends its log.
type wire interface {
	// receive gives the next message, which is valid until the next call.
	receive(ctx context.Context) ([]byte, error)
	// confirm tells the server that it need not keep the log up to an LSN, and asks it for
	// a sign of life. It may be called while receive waits.
	confirm(pglogrepl.LSN) error
}

// stream takes the changes behind a position.
type stream struct {
	wire      wire
	relations *relations
	to        sources.Sink
	// every is how often the server hears of the source.
	every time.Duration
	// from is the position; those of events have its server and whether a snapshot is
	// under way.
	from position
	// until is where it ends: no transaction whose commit is there or behind it is taken.
	// 0: it does not end.
	until pglogrepl.LSN

	queue *queue
	// taken is up to where the log is not needed any more. It never falls: what the server
	// was told before counts, too.
	taken atomic.Uint64

	// The transaction that is being read.
	open   bool
	commit pglogrepl.LSN
	when   time.Time
	change int
	events []sources.Event
	bytes  int
}

// run reads until ctx ends, something fails, or `until` is reached and all of it taken.
func (s *stream) run(ctx context.Context) error {
	s.queue = newQueue()
	group, ctx := errgroup.WithContext(ctx)
	over := make(chan struct{})
	group.Go(func() error {
		defer s.queue.close()
		return s.read(ctx)
	})
	group.Go(func() error {
		defer close(over)
		return s.queue.drain(ctx, s.to, func(at pglogrepl.LSN) { s.taken.Store(uint64(at)) })
	})
	group.Go(func() error { return s.report(ctx, over) })
	return group.Wait()
}

// report tells the server how far the source is until it is over.
func (s *stream) report(ctx context.Context, over <-chan struct{}) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		if err := s.wire.confirm(pglogrepl.LSN(s.taken.Load())); err != nil {
			return nil // who reads learns what is wrong
		}
		select {
		case <-tick.C:
		case <-over:
			_ = s.wire.confirm(pglogrepl.LSN(s.taken.Load()))
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *stream) read(ctx context.Context) error {
	for {
		raw, err := s.wire.receive(ctx)
		if err != nil {
			return err
		}
		if over, err := s.message(ctx, raw); over || err != nil {
			return err
		}
	}
}

// message takes one message of the server; over says that `until` is reached.
func (s *stream) message(ctx context.Context, raw []byte) (over bool, err error) {
	switch {
	case len(raw) == 0:
		return false, fmt.Errorf("the server sent an empty message")
	case raw[0] == pglogrepl.PrimaryKeepaliveMessageByteID:
		m, err := pglogrepl.ParsePrimaryKeepaliveMessage(raw[1:])
		if err != nil {
			return false, err
		}
		return s.alive(m.ServerWALEnd), nil
	case raw[0] == pglogrepl.XLogDataByteID:
		data, err := pglogrepl.ParseXLogData(raw[1:])
		if err != nil {
			return false, err
		}
		m, err := parseMessage(data.WALData)
		if err != nil {
			return false, err
		}
		return s.step(ctx, m)
	}
	return false, fmt.Errorf("the server sent a message %q, which is not known", raw[0])
}

// parseMessage is pglogrepl's Parse, which panics where a message is too short.
func parseMessage(raw []byte) (m pglogrepl.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, fmt.Errorf("the server sent a message that is damaged: %v", r)
		}
	}()
	return pglogrepl.Parse(raw)
}

// alive takes the sign that the server has sent all up to an LSN, also of what does not
// concern this source.
func (s *stream) alive(at pglogrepl.LSN) (over bool) {
	if s.open { // what it has sent has not all been put
		return false
	}
	if s.until > 0 && at >= s.until {
		return true
	}
	s.queue.caughtUp(at)
	return false
}

func (s *stream) step(ctx context.Context, m pglogrepl.Message) (over bool, err error) {
	switch m := m.(type) {
	case *pglogrepl.BeginMessage:
		if s.until > 0 && m.FinalLSN >= s.until {
			return true, nil
		}
		s.open, s.commit, s.when, s.change = true, m.FinalLSN, m.CommitTime.UTC(), 0
	case *pglogrepl.CommitMessage:
		s.open = false
		return false, s.flush(ctx, m.TransactionEndLSN)
	case *pglogrepl.RelationMessage:
		return false, s.relations.describe(ctx, m)
	case *pglogrepl.InsertMessage:
		return false, s.row(ctx, m.RelationID, m)
	case *pglogrepl.UpdateMessage:
		return false, s.row(ctx, m.RelationID, m)
	case *pglogrepl.DeleteMessage:
		return false, s.row(ctx, m.RelationID, m)
	case *pglogrepl.TruncateMessage:
		for _, id := range m.RelationIDs {
			if err := s.truncate(ctx, id); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// row takes a change of one row.
func (s *stream) row(ctx context.Context, relation uint32, m pglogrepl.Message) error {
	t, err := s.relations.table(relation)
	if err != nil {
		return err
	}
	s.change++
	all, half := s.from.has(s.commit, s.change)
	if all || !t.wanted {
		return nil
	}
	changes, err := t.changes(m)
	if err != nil {
		return err
	}
	for i, c := range changes {
		first := i < len(changes)-1
		if first && half {
			continue
		}
		s.add(t.event(c, s.here(first), s.when))
	}
	return s.relieve(ctx)
}

func (s *stream) truncate(ctx context.Context, relation uint32) error {
	t, err := s.relations.table(relation)
	if err != nil {
		return err
	}
	s.change++
	if all, _ := s.from.has(s.commit, s.change); all || !t.wanted {
		return nil
	}
	s.add(t.event(change{op: "truncate"}, s.here(false), s.when))
	return s.relieve(ctx)
}

// here gives the position of the change that is being read, or of its first half.
func (s *stream) here(half bool) position {
	p := position{commit: s.commit, change: s.change, half: half, server: s.from.server, snapshot: s.from.snapshot}
	if half {
		p.change--
	}
	return p
}

func (s *stream) add(e sources.Event) {
	s.events = append(s.events, e)
	s.bytes += len(e.Value)
}

// relieve hands over a piece of a transaction that is too large to be handed over whole.
func (s *stream) relieve(ctx context.Context) error {
	if len(s.events) < mostEvents && s.bytes < mostBytes {
		return nil
	}
	return s.flush(ctx, 0)
}

func (s *stream) flush(ctx context.Context, done pglogrepl.LSN) error {
	err := s.queue.put(ctx, s.events, s.bytes, done)
	clear(s.events)
	s.events, s.bytes = s.events[:0], 0
	return err
}

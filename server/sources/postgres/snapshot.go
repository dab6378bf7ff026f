package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/jackc/pglogrepl"

	"github.com/watchroute/watchroute/server/sources"
)

// snapshot reads tables as they were at an LSN.
type snapshot struct {
	db     *pgx.Conn // in a transaction at that LSN
	lookup lookup
	tables []published
	to     sources.Sink
	at     position // with it all before has been taken
	when   time.Time
}

// openSnapshot begins a transaction at an exported snapshot. Its connection may be closed
// from then on.
func openSnapshot(ctx context.Context, db *pgx.Conn, name string, tables []published) (when time.Time, err error) {
	for _, sql := range []string{
		"begin transaction isolation level repeatable read, read only",
		"set transaction snapshot " + literal(name),
	} {
		if _, err := db.Exec(ctx, sql); err != nil {
			return when, fmt.Errorf("the snapshot: %w", err)
		}
	}
	// A table that is rewritten while it waits to be read would look empty.
	for _, t := range tables {
		if _, err := db.Exec(ctx, "lock table "+t.only()+" in access share mode"); err != nil {
			return when, fmt.Errorf("the snapshot of %s: %w", t.tableName, err)
		}
	}
	err = db.QueryRow(ctx, "select now()").Scan(&when)
	return when.UTC(), err
}

// only gives the table without those that inherit from it, which are published themselves.
func (p *published) only() string {
	if p.root {
		return p.sql()
	}
	return "only " + p.sql()
}

// run reads all tables and ends when everything is taken.
func (s *snapshot) run(ctx context.Context) error {
	q := newQueue()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer q.close()
		return s.read(ctx, q)
	})
	group.Go(func() error { return q.drain(ctx, s.to, func(pglogrepl.LSN) {}) })
	return group.Wait()
}

// read puts the rows of all tables. The position of the last one says that the snapshot is
// at its end.
func (s *snapshot) read(ctx context.Context, q *queue) error {
	var events []sources.Event
	bytes := 0
	p := s.at
	p.snapshot = true
	for i := range s.tables {
		err := s.rows(ctx, &s.tables[i], func(t *table, row []cell) error {
			if len(events) >= mostEvents/2 || bytes >= mostBytes/2 {
				if err := q.put(ctx, events, bytes, 0); err != nil {
					return err
				}
				events, bytes = events[:0], 0
			}
			p.rows++
			e := t.event(change{op: "snapshot", new: row}, p, s.when)
			events, bytes = append(events, e), bytes+len(e.Value)
			return nil
		})
		if err != nil {
			return fmt.Errorf("the snapshot of %s: %w", s.tables[i].tableName, err)
		}
	}
	if len(events) == 0 {
		return nil
	}
	p.snapshot, p.rows = false, 0
	events[len(events)-1].Position = p.String()
	return q.put(ctx, events, bytes, 0)
}

// rows calls f with each row of a table; it is valid until f returns.
func (s *snapshot) rows(ctx context.Context, p *published, f func(*table, []cell) error) error {
	names := make([]string, len(p.columns))
	for i, name := range p.columns {
		names[i] = quote(name)
	}
	sql := "select " + strings.Join(names, ", ") + " from " + p.only()
	if p.filter != "" {
		sql += " where " + p.filter
	}
	// All values come as text, as they do in the stream.
	result := s.db.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil)
	defer result.Close()
	t := newTable(p.schema, p.name)
	var cells []cell
	for first := true; result.NextRow(); first = false {
		if first {
			if err := s.describe(ctx, t, p, result.FieldDescriptions()); err != nil {
				return err
			}
			cells = make([]cell, len(t.columns))
		}
		for i, text := range result.Values() {
			cells[i] = cell{isText, text}
			if text == nil {
				cells[i].state = isNull
			}
		}
		if err := f(t, cells); err != nil {
			return err
		}
	}
	_, err := result.Close()
	return err
}

// describe takes the columns of a result.
func (s *snapshot) describe(ctx context.Context, t *table, p *published, fields []pgconn.FieldDescription) error {
	oids := make([]uint32, len(fields))
	for i := range fields {
		oids[i] = fields[i].DataTypeOID
	}
	types, err := s.lookup.types(ctx, oids)
	if err != nil {
		return err
	}
	for i := range fields {
		t.columns = append(t.columns, newColumn(fields[i].Name, types[i], false))
	}
	if p.whole || len(p.key) > 0 {
		t.identify(p.key)
	}
	return nil
}

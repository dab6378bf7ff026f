package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pglogrepl"
)

// lookup knows what the stream does not tell.
type lookup interface {
	// types gives types by their OIDs.
	types(ctx context.Context, oids []uint32) ([]valueType, error)
	// primaryKey gives the columns of a table's primary key; none: it has no such key.
	primaryKey(ctx context.Context, relation uint32) ([]string, error)
}

// relations are the tables of a stream, as the server last described them.
type relations struct {
	lookup lookup
	wanted func(schema, name string) bool
	tables map[uint32]*table
}

// Replica identities.
const (
	identityFull = 'f'
	identityNone = 'n'
)

// describe takes a table's description.
func (r *relations) describe(ctx context.Context, m *pglogrepl.RelationMessage) error {
	t := newTable(m.Namespace, m.RelationName)
	t.wanted = r.wanted(m.Namespace, m.RelationName)
	r.tables[m.RelationID] = t
	if !t.wanted {
		return nil
	}
	oids := make([]uint32, len(m.Columns))
	for i, c := range m.Columns {
		oids[i] = c.DataType
	}
	types, err := r.lookup.types(ctx, oids)
	if err != nil {
		return fmt.Errorf("the types of %s: %w", t.topic, err)
	}
	for i, c := range m.Columns {
		t.columns = append(t.columns, newColumn(c.Name, types[i], c.Flags&1 != 0))
	}
	if m.ReplicaIdentity == identityFull {
		key, err := r.lookup.primaryKey(ctx, m.RelationID)
		if err != nil {
			return fmt.Errorf("the primary key of %s: %w", t.topic, err)
		}
		t.identify(key)
	}
	return nil
}

// table gives a table that was described.
func (r *relations) table(id uint32) (*table, error) {
	if t := r.tables[id]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("the server did not describe the table %d", id)
}

// changes gives what a message says has happened to a row.
func (t *table) changes(m pglogrepl.Message) ([]change, error) {
	switch m := m.(type) {
	case *pglogrepl.InsertMessage:
		row, err := t.row(m.Tuple)
		return []change{{op: "insert", new: row}}, err
	case *pglogrepl.DeleteMessage:
		row, err := t.row(m.OldTuple)
		return []change{{op: "delete", old: row, full: m.OldTupleType == pglogrepl.DeleteMessageTupleTypeOld}}, err
	case *pglogrepl.UpdateMessage:
		row, err := t.row(m.NewTuple)
		if err != nil || m.OldTuple == nil {
			return t.updated(nil, row, false), err
		}
		old, err := t.row(m.OldTuple)
		if err != nil {
			return nil, err
		}
		return t.updated(old, row, m.OldTupleType == pglogrepl.UpdateMessageTupleTypeOld), nil
	}
	return nil, fmt.Errorf("%T changes no row", m)
}

package postgres

import (
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/watchroute/watchroute/server/sources"
)

// table is a table as it is at one place of the log.
type table struct {
	topic   string // SCHEMA.TABLE
	wanted  bool
	about   []byte // `","schema":"...","table":"...","key":`
	columns []column
	// whole says that the key is the whole row, of which nobody knows what identifies it.
	whole bool
}

type column struct {
	label []byte // `"NAME":`
	name  string
	typ   valueType
	key   bool
}

// cell is one value of a row: its text, or that it is null or that it is not told.
type cell struct {
	state byte // as in pgoutput: 't', 'n', 'u'
	text  []byte
}

const (
	isText = pglogrepl.TupleDataTypeText
	isNull = pglogrepl.TupleDataTypeNull
	untold = pglogrepl.TupleDataTypeToast
)

// newTable makes a table without its columns.
func newTable(schema, name string) *table {
	about := appendString([]byte(`","schema":`), schema)
	about = appendString(append(about, `,"table":`...), name)
	return &table{topic: schema + "." + name, about: append(about, `,"key":`...)}
}

func newColumn(name string, typ valueType, key bool) column {
	return column{label: append(appendString(nil, name), ':'), name: name, typ: typ, key: key}
}

// identify makes columns the key, if all of them are there; otherwise the whole row is.
func (t *table) identify(key []string) {
	t.whole = len(key) == 0 || slices.ContainsFunc(key, func(name string) bool {
		return !slices.ContainsFunc(t.columns, func(c column) bool { return c.name == name })
	})
	for i := range t.columns {
		t.columns[i].key = t.whole || slices.Contains(key, t.columns[i].name)
	}
}

// row gives the cells of a tuple.
func (t *table) row(tuple *pglogrepl.TupleData) ([]cell, error) {
	if len(tuple.Columns) != len(t.columns) {
		return nil, fmt.Errorf("%s: a row has %d columns, and the table %d", t.topic, len(tuple.Columns), len(t.columns))
	}
	cells := make([]cell, len(t.columns))
	for i, c := range tuple.Columns {
		if c.DataType != isText && c.DataType != isNull && c.DataType != untold {
			return nil, fmt.Errorf("%s: a value is in the form %q, which was not asked for", t.topic, c.DataType)
		}
		cells[i] = cell{c.DataType, c.Data}
	}
	return cells, nil
}

// change is what happened to a row.
type change struct {
	op       string
	old, new []cell // nil: there is none
	full     bool   // old is all of the row, not only its key
}

// updated gives what an update is: itself, or, where it changes the key, a delete and an
// insert.
func (t *table) updated(old, new []cell, full bool) []change {
	moved := false
	for i := range new {
		if old == nil {
			break
		}
		if new[i].state == untold && (full || t.columns[i].key) {
			new[i] = old[i]
		}
		moved = moved || t.columns[i].key && !t.whole && !new[i].equal(old[i])
	}
	if moved {
		return []change{{op: "delete", old: old, full: full}, {op: "insert", new: new}}
	}
	if !full {
		old = nil // the key, as it still is
	}
	return []change{{op: "update", old: old, new: new, full: full}}
}

func (c cell) equal(d cell) bool {
	return c.state == d.state && string(c.text) == string(d.text)
}

// event makes the event of a change.
func (t *table) event(c change, at position, when time.Time) sources.Event {
	size := len(t.about) + 64
	for i := range t.columns {
		size += 3*len(t.columns[i].label) + 8
	}
	for _, cells := range [][]cell{c.old, c.new} {
		for i := range cells {
			size += len(cells[i].text)
		}
	}
	b := append(make([]byte, 0, size+size/4), `{"op":"`...)
	b = append(append(b, c.op...), t.about...)
	start := len(b)
	key := c.new
	if key == nil {
		key = c.old
	}
	b = t.object(b, key, true)
	end := len(b)
	b = append(b, `,"old":`...)
	if c.old == nil {
		b = append(b, "null"...)
	} else {
		b = t.object(b, c.old, !c.full)
	}
	b = append(b, `,"new":`...)
	if c.new == nil {
		b = append(b, "null"...)
	} else {
		b = t.object(b, c.new, false)
		b = t.unchanged(b, c.new)
	}
	b = append(b, '}')
	e := sources.Event{Position: at.String(), Topic: t.topic, Value: b, ContentType: "application/json", Time: when}
	if start+len("{}") < end {
		e.Key = b[start:end:end]
	}
	return e
}

// object appends a row, or only its key. What is not told is left out.
func (t *table) object(b []byte, cells []cell, keyOnly bool) []byte {
	b = append(b, '{')
	first := true
	for i := range cells {
		c := &t.columns[i]
		if cells[i].state == untold || keyOnly && !c.key {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, c.label...)
		if cells[i].state == isNull {
			b = append(b, "null"...)
		} else {
			b = c.typ.append(b, cells[i].text)
		}
	}
	return append(b, '}')
}

// unchanged appends the list of columns that are not told, if there are any.
func (t *table) unchanged(b []byte, cells []cell) []byte {
	first := true
	for i := range cells {
		if cells[i].state != untold {
			continue
		}
		if first {
			b = append(b, `,"unchanged":[`...)
		} else {
			b = append(b, ',')
		}
		first = false
		label := t.columns[i].label
		b = append(b, label[:len(label)-1]...)
	}
	if !first {
		b = append(b, ']')
	}
	return b
}

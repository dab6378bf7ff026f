package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/watchroute/watchroute/server/sources"
)

// slot is a replication slot as pg_replication_slots has it.
type slot struct {
	Plugin       string `json:"plugin"`
	Database     string `json:"database"`
	Active       bool   `json:"active"`
	PID          int    `json:"active_pid"`
	WALStatus    string `json:"wal_status"`
	Invalidation string `json:"invalidation_reason"` // since 17
	Confirmed    string `json:"confirmed_flush_lsn"`

	confirmed pglogrepl.LSN
}

// findSlot gives the source's slot; nil: there is none. The error says what is wrong with
// it.
func (s *Source) findSlot(ctx context.Context, db *pgx.Conn) (*slot, error) {
	var raw string
	err := db.QueryRow(ctx, "select to_jsonb(s)::text from pg_replication_slots s where slot_name = $1", s.slot).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	var out slot
	if err == nil {
		err = json.Unmarshal([]byte(raw), &out)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the slot %s: %w", s.slot, err)
	case out.Plugin != "pgoutput" || out.Database != s.database:
		return nil, sources.Permanent(fmt.Errorf("the slot %s is not this source's: it is of the plugin %q in the database %q", s.slot, out.Plugin, out.Database))
	case out.WALStatus == "lost" || out.Invalidation != "":
		return nil, s.lost(fmt.Sprintf("was invalidated by the server (%s): it had fallen behind by more than max_slot_wal_keep_size allows, or the like", strings.TrimSpace(out.WALStatus+" "+out.Invalidation)))
	case out.Active:
		return nil, s.busy(fmt.Errorf("by the process %d", out.PID))
	case out.Confirmed == "":
		return nil, fmt.Errorf("the slot %s is still being made", s.slot)
	}
	out.confirmed, err = parseLSN(out.Confirmed)
	return &out, err
}

// lost is the error for a slot that has no longer what comes behind the position.
func (s *Source) lost(how string) error {
	return sources.Permanent(fmt.Errorf("the slot %s %s; what has changed since the position is not known any more. To read the tables anew, drop the slot if it is there (select pg_drop_replication_slot('%s')), and write the source under another id", s.slot, how, s.slot))
}

func (s *Source) busy(who error) error {
	return fmt.Errorf("the slot %s is in use (%w): by another node, another source, or a connection of this one that the server has not noticed to be dead", s.slot, who)
}

// checkServer says whether the server can do what is needed, and gives how often it wants
// to hear of the source.
func checkServer(ctx context.Context, db *pgx.Conn) (every time.Duration, err error) {
	var level, timeout string
	err = db.QueryRow(ctx, "select current_setting('wal_level'), (select setting from pg_settings where name = 'wal_sender_timeout')").Scan(&level, &timeout)
	if err != nil {
		return 0, err
	}
	if level != "logical" {
		return 0, sources.Permanent(fmt.Errorf("the server's wal_level is %s; set it to logical (alter system set wal_level = logical) and restart the server", level))
	}
	most, err := strconv.Atoi(timeout) // in milliseconds; 0: for ever
	if err != nil {
		return 0, fmt.Errorf("wal_sender_timeout: %w", err)
	}
	if every = time.Second; most > 0 {
		every = min(every, time.Duration(most)*time.Millisecond/4)
	}
	return every, nil
}

// published is a table of the publication.
type published struct {
	tableName
	root    bool     // of partitions
	columns []string // that the publication has
	filter  string   // which rows it has, as SQL; empty: all
	key     []string // none: it has no columns that identify a row
	whole   bool     // then the whole row does; otherwise nothing
}

// publishedSQL lists the tables of a publication. What is there since a version is looked
// at as JSON: attnames and rowfilter since 15. Before 18 attnames has generated columns,
// which are not in the stream.
const publishedSQL = `
select n.nspname, c.relname, c.relkind = 'p', c.relreplident::text, coalesce(to_jsonb(p)->>'rowfilter', ''),
  array(select a.attname::text from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and coalesce(to_jsonb(p)->'attnames' ? a.attname, true)
      and (a.attgenerated = '' or current_setting('server_version_num')::int >= 180000)
    order by a.attnum),
  array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
    where i.indrelid = c.oid and case c.relreplident when 'i' then i.indisreplident when 'n' then false else i.indisprimary end
    order by a.attnum)
from pg_publication_tables p
join pg_namespace n on n.nspname = p.schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
where p.pubname = $1 order by 1, 2`

// publishedTables gives the tables that are read.
func (s *Source) publishedTables(ctx context.Context, db *pgx.Conn) ([]published, error) {
	rows, err := db.Query(ctx, publishedSQL, s.publication)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p published, err error) {
		var identity string
		err = row.Scan(&p.schema, &p.name, &p.root, &identity, &p.filter, &p.columns, &p.key)
		p.whole = identity != string(identityNone)
		return p, err
	})
}

// publish makes the publication where it may, and gives its tables, and whether it was made.
func (s *Source) publish(ctx context.Context, db *pgx.Conn, begun bool) (made bool, tables []published, err error) {
	var there bool
	if err := db.QueryRow(ctx, "select exists (select from pg_publication where pubname = $1)", s.publication).Scan(&there); err != nil {
		return false, nil, err
	}
	switch {
	case there:
	case begun:
		return false, nil, sources.Permanent(fmt.Errorf("the publication %s is gone; the server cannot tell what has changed since. To read the tables anew, drop the slot (select pg_drop_replication_slot('%s')), and write the source under another id", s.publication, s.slot))
	case len(s.tables) == 0:
		return false, nil, fmt.Errorf("there is no publication %s, and the source names no tables of which one could be made", s.publication)
	default:
		if err := s.createPublication(ctx, db); err != nil {
			return false, nil, err
		}
		made = true
	}
	all, err := s.publishedTables(ctx, db)
	if err != nil {
		return false, nil, err
	}
	for _, name := range s.tables {
		if !slices.ContainsFunc(all, func(p published) bool { return p.tableName == name }) {
			return false, nil, fmt.Errorf("the publication %s has no table %s. To add it: alter publication %s add table %s; rows that the table has already are not read then, but by a source with another id",
				s.publication, name, quote(s.publication), name.sql())
		}
	}
	for _, p := range all {
		if s.wants(p.schema, p.name) {
			tables = append(tables, p)
		}
	}
	return made, tables, nil
}

// createPublication makes the publication of the source's tables. A table whose rows
// nothing identifies is refused: once it is published, PostgreSQL refuses to update it.
func (s *Source) createPublication(ctx context.Context, db *pgx.Conn) error {
	names := make([]string, len(s.tables))
	for i, t := range s.tables {
		names[i] = t.sql()
		var identified bool
		err := db.QueryRow(ctx, `select c.relreplident in ('f', 'i') or exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
			from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')`, t.schema, t.name).Scan(&identified)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("there is no table %s", t)
		case err != nil:
			return err
		case !identified:
			return fmt.Errorf("the table %s has no primary key, without which its rows cannot be told apart: give it one, or run: alter table %s replica identity full", t, t.sql())
		}
	}
	sql := "create publication " + quote(s.publication) + " for table " + strings.Join(names, ", ") + " with (publish_via_partition_root = true)"
	if _, err := db.Exec(ctx, sql); err != nil {
		return fmt.Errorf("the publication cannot be made; who owns the tables may do it: %s: %w", sql, err)
	}
	return nil
}

// catalog is the lookup of a source; it opens a connection each time that it is asked
// for what it does not know.
type catalog struct {
	source  *Source
	builtin *pgtype.Map
	known   map[uint32]valueType // types that are not PostgreSQL's own
}

func newCatalog(s *Source) *catalog {
	return &catalog{s, pgtype.NewMap(), map[uint32]valueType{}}
}

func (c *catalog) types(ctx context.Context, oids []uint32) ([]valueType, error) {
	var asked []uint32
	for _, oid := range oids {
		if _, ok := c.known[oid]; !ok && oid >= firstUsers {
			asked = append(asked, oid)
		}
	}
	if len(asked) > 0 {
		if err := c.ask(ctx, asked); err != nil {
			return nil, err
		}
	}
	out := make([]valueType, len(oids))
	for i, oid := range oids {
		if oid < firstUsers {
			out[i] = builtin(c.builtin, oid)
		} else {
			out[i] = c.known[oid]
		}
	}
	return out, nil
}

// userTypesSQL follows domains, and arrays down to their elements. Arrays whose delimiter is
// no comma are not read.
const userTypesSQL = `
with recursive d (oid, base, list) as (
  select t.oid, t.oid, false from pg_type t where t.oid = any($1::oid[])
  union all
  select d.oid, case when t.typtype = 'd' then t.typbasetype else t.typelem end, d.list or t.typtype <> 'd'
  from d join pg_type t on t.oid = d.base
  where t.typtype = 'd' or t.typoutput = 'array_out'::regproc and t.typdelim = ',')
select d.oid, d.base, d.list from d join pg_type t on t.oid = d.base
where t.typtype <> 'd' and t.typoutput <> 'array_out'::regproc`

func (c *catalog) ask(ctx context.Context, oids []uint32) error {
	db, err := c.source.session(ctx)
	if err != nil {
		return err
	}
	defer leave(db)
	rows, err := db.Query(ctx, userTypesSQL, oids)
	if err != nil {
		return err
	}
	for _, oid := range oids {
		c.known[oid] = valueType{} // also one that is gone
	}
	var oid, base uint32
	var list bool
	_, err = pgx.ForEachRow(rows, []any{&oid, &base, &list}, func() error {
		c.known[oid] = valueType{kind: scalars[base], list: list}
		return nil
	})
	return err
}

func (c *catalog) primaryKey(ctx context.Context, relation uint32) ([]string, error) {
	db, err := c.source.session(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(db)
	rows, err := db.Query(ctx, `select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
		where i.indrelid = $1 and i.indisprimary order by a.attnum`, relation)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

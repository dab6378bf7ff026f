package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/watchroute/watchroute/server/sources"
)

// Codes of PostgreSQL's errors.
const (
	codeInUse        = "55006" // object_in_use
	codeNotReady     = "55000" // object_not_in_prerequisite_state: the slot was invalidated
	codeUndefined    = "42704" // undefined_object: the slot, or the publication
	codeNoFile       = "58P01" // undefined_file: the log was removed
	codeDuplicate    = "42710" // duplicate_object
	exportSnapshot   = "EXPORT_SNAPSHOT"
	noExportSnapshot = "NOEXPORT_SNAPSHOT"
)

// Run implements sources.Source.
func (s *Source) Run(ctx context.Context, from sources.Positions, to sources.Sink) error {
	err := (&run{source: s, to: to, lookup: newCatalog(s)}).run(ctx, from.Position(""))
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// run is one Run.
type run struct {
	source *Source
	to     sources.Sink
	lookup *catalog

	every  time.Duration // see checkServer
	tables []published
	slot   *slot // nil: there was none
	server server
	at     position
}

func (r *run) run(ctx context.Context, text string) error {
	if text != "" {
		var err error
		if r.at, err = parsePosition(text); err != nil {
			return sources.Permanent(err)
		}
	}
	db, err := r.source.session(ctx)
	if err != nil {
		return err
	}
	defer leave(db)
	begun := text != ""
	made, err := r.prepare(ctx, db, begun)
	if err != nil {
		return err
	}
	sender, err := r.source.sender(ctx)
	if err != nil {
		return err
	}
	defer leave(sender)
	end, err := r.identify(ctx, sender)
	if err != nil {
		return err
	}
	if begun {
		err := r.at.on(r.server, end, func(timeline uint64) ([]byte, error) {
			history, err := pglogrepl.TimelineHistory(ctx, sender, int32(timeline))
			return history.Content, err
		})
		if err != nil {
			return err
		}
		r.at.server = r.server
	}
	tables := !r.source.spec.GetNoSnapshot() && (!begun || r.at.snapshot)
	switch {
	case r.slot == nil:
		err = r.first(ctx, db, sender, tables)
	case tables:
		err = r.again(ctx, db, sender, begun)
	case !begun:
		r.at = position{commit: r.slot.confirmed, server: r.server}
		if made { // which it was not while what is before was written
			r.at.commit = max(r.at.commit, end)
		}
	}
	if err != nil {
		return err
	}
	leave(sender)
	leave(db)
	r.at.snapshot = false
	if !begun || tables { // where there was nothing to take, nothing else has said so
		if err := r.to.Pass(ctx, "", r.at.String()); err != nil {
			return err
		}
	}
	return r.follow(ctx, r.at, 0)
}

// prepare looks at the server, the slot and the publication.
func (r *run) prepare(ctx context.Context, db *pgx.Conn, begun bool) (made bool, err error) {
	if r.every, err = checkServer(ctx, db); err != nil {
		return false, err
	}
	if r.slot, err = r.source.findSlot(ctx, db); err != nil {
		return false, err
	}
	if r.slot == nil && begun {
		return false, r.source.lost("is gone")
	}
	made, r.tables, err = r.source.publish(ctx, db, begun)
	return made, err
}

// identify asks for the server's identity, and where its log ends.
func (r *run) identify(ctx context.Context, sender *pgconn.PgConn) (pglogrepl.LSN, error) {
	id, err := pglogrepl.IdentifySystem(ctx, sender)
	if err != nil {
		return 0, err
	}
	r.server.timeline = uint64(id.Timeline)
	r.server.system, err = strconv.ParseUint(id.SystemID, 10, 64)
	return id.XLogPos, err
}

// first makes the slot, and reads the tables as they are where it begins.
func (r *run) first(ctx context.Context, db *pgx.Conn, sender *pgconn.PgConn, tables bool) error {
	if !tables {
		_, err := r.create(ctx, sender, r.source.slot, noExportSnapshot, false)
		return err
	}
	exported, err := r.create(ctx, sender, r.source.slot, exportSnapshot, false)
	if err != nil {
		return err
	}
	snap, err := r.open(ctx, db, exported)
	if err != nil {
		return err
	}
	return r.read(ctx, snap)
}

// read reads the tables. From now on each change is an event, also if that is interrupted
// before any row was taken.
func (r *run) read(ctx context.Context, snap *snapshot) error {
	begins := r.at
	begins.snapshot = true
	if err := r.to.Pass(ctx, "", begins.String()); err != nil {
		return err
	}
	r.to.Connected()
	return snap.run(ctx)
}

// again reads the tables anew, after a snapshot that was interrupted or not begun. What has
// changed since then is taken before, if anything was taken of them.
func (r *run) again(ctx context.Context, db *pgx.Conn, sender *pgconn.PgConn, begun bool) error {
	was := r.at
	exported, err := r.create(ctx, sender, "watchroute_"+strings.ToLower(rand.Text()), exportSnapshot, true)
	if err != nil {
		return err
	}
	snap, err := r.open(ctx, db, exported)
	if err != nil {
		return err
	}
	leave(sender)
	if begun {
		was.snapshot = true
		if err := r.follow(ctx, was, r.at.commit); err != nil {
			return err
		}
	}
	return r.read(ctx, snap)
}

// create makes a slot, which waits for the transactions that are open, and sets r.at to
// where it begins. The snapshot that it exports lasts until something else happens on the
// connection.
func (r *run) create(ctx context.Context, sender *pgconn.PgConn, name, export string, temporary bool) (exported string, err error) {
	made, err := pglogrepl.CreateReplicationSlot(ctx, sender, quote(name), "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Mode: pglogrepl.LogicalReplication, SnapshotAction: export, Temporary: temporary,
	})
	switch {
	case hasCode(err, codeDuplicate):
		return "", r.source.busy(err)
	case err != nil:
		return "", fmt.Errorf("the slot %s cannot be made: %w", name, err)
	}
	r.at = position{server: r.server}
	r.at.commit, err = parseLSN(made.ConsistentPoint)
	return made.SnapshotName, err
}

func (r *run) open(ctx context.Context, db *pgx.Conn, exported string) (*snapshot, error) {
	when, err := openSnapshot(ctx, db, exported, r.tables)
	if err != nil {
		return nil, err
	}
	return &snapshot{db: db, lookup: r.lookup, tables: r.tables, to: r.to, at: r.at, when: when}, nil
}

// follow takes what is behind a position until an LSN; 0: for ever.
func (r *run) follow(ctx context.Context, from position, until pglogrepl.LSN) error {
	sender, err := r.source.sender(ctx)
	if err != nil {
		return err
	}
	w, err := follow(ctx, sender, r.source.slot, r.source.publication, from.commit)
	if err != nil {
		return r.source.explain(err)
	}
	defer w.close()
	r.to.Connected()
	s := stream{
		wire: w, to: r.to, every: r.every, from: from, until: until,
		relations: &relations{lookup: r.lookup, wanted: r.source.wants, tables: map[uint32]*table{}},
	}
	s.taken.Store(uint64(from.commit))
	if r.slot != nil {
		s.taken.Store(uint64(max(from.commit, r.slot.confirmed)))
	}
	return r.source.explain(s.run(ctx))
}

// explain says what an error of the stream means.
func (s *Source) explain(err error) error {
	switch {
	case hasCode(err, codeInUse):
		return s.busy(err)
	case hasCode(err, codeNotReady), hasCode(err, codeNoFile):
		return s.lost("cannot be read any more (" + err.Error() + ")")
	case hasCode(err, codeUndefined):
		return sources.Permanent(fmt.Errorf("the slot %s or the publication %s is gone, or was made anew: %w; to read the tables anew, drop the slot if it is there (select pg_drop_replication_slot('%s')), and write the source under another id", s.slot, s.publication, err, s.slot))
	}
	return err
}

// hasCode says whether an error is the server's, of a code.
func hasCode(err error, code string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == code
}

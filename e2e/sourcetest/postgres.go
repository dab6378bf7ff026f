package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/watchroute/watchroute/e2e/brokers"
	"github.com/watchroute/watchroute/e2e/process"
)

const (
	// postgresWriters is how many connections publish.
	postgresWriters = 8
	// postgresRows is how many events are published in one transaction.
	postgresRows = 250
)

// Postgres starts a PostgreSQL. An event is a row of a table, which it inserts or updates.
func Postgres(t testing.TB) Broker {
	t.Helper()
	server := brokers.Postgres(t, brokers.Options{Settings: []string{
		"max_replication_slots = 50", // sources leave theirs behind
		"max_wal_senders = 50",
	}})
	return newPostgres(t, server, new(atomic.Int64))
}

type postgresBroker struct {
	server   *brokers.Broker
	tables   *atomic.Int64 // how many were made
	table    string
	password string // a file that has it
	poisoned atomic.Int64
	idle     chan *postgresWriter // until the test ends
}

func newPostgres(t testing.TB, server *brokers.Broker, tables *atomic.Int64) Broker {
	t.Helper()
	b := &postgresBroker{server: server, tables: tables, password: filepath.Join(t.TempDir(), "password"), idle: make(chan *postgresWriter, postgresWriters)}
	t.Cleanup(func() {
		for len(b.idle) > 0 {
			(<-b.idle).close(context.Background())
		}
	})
	b.table = fmt.Sprintf("things_%d", tables.Add(1))
	if err := os.WriteFile(b.password, []byte(brokers.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	err := b.write(ctx, func(batch *pgx.Batch) {
		batch.Queue("create table " + b.table + " (key text primary key, n bigint, pad text)")
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Another implements Sharer.
func (b *postgresBroker) Another(t testing.TB) Broker {
	t.Helper()
	return newPostgres(t, b.server, b.tables)
}

// Source implements Broker.
func (b *postgresBroker) Source(testing.TB) map[string]any {
	return map[string]any{
		"postgres": map[string]any{
			"url":    "postgres://" + b.server.Addr + "/test",
			"login":  map[string]any{"username": brokers.User, "password": map[string]any{"file": b.password}},
			"tables": []any{b.table},
		},
		"mappings": []any{map[string]any{
			"when": "data.new != null", "collection": "things", "id": "data.key.key",
			"put": `{"n": int(data.new.n), "pad": data.new.pad}`,
		}},
	}
}

// Publish implements Broker. A row never goes back to a smaller n, so that events which
// are sent again change nothing.
func (b *postgresBroker) Publish(t testing.TB, _ *process.Server, events []Event) {
	t.Helper()
	sql := "insert into " + b.table + " as there values ($1, $2, $3) on conflict (key) do update set n = excluded.n, pad = excluded.pad where excluded.n > there.n"
	eachKey(t, postgresWriters, events, func(ctx context.Context, own []Event) error {
		for ; len(own) > 0; own = own[min(postgresRows, len(own)):] {
			err := b.write(ctx, func(batch *pgx.Batch) {
				for _, e := range own[:min(postgresRows, len(own))] {
					batch.Queue(sql, e.Key, e.N, e.Pad)
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Poison implements Broker: a row whose n is null, of which int() makes no number.
func (b *postgresBroker) Poison(t testing.TB, _ *process.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	err := b.write(ctx, func(batch *pgx.Batch) {
		batch.Queue("insert into "+b.table+" values ($1, null, '') on conflict do nothing", fmt.Sprintf("poison-%d", b.poisoned.Add(1)))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Restart implements Broker.
func (b *postgresBroker) Restart(t testing.TB) bool {
	t.Helper()
	b.server.Kill()
	b.server.Start()
	return true
}

// Snapshots implements Broker.
func (b *postgresBroker) Snapshots() bool { return true }

// write makes one transaction of what fill queues, until the server says that it is
// committed, or that it is wrong.
func (b *postgresBroker) write(ctx context.Context, fill func(*pgx.Batch)) error {
	var w *postgresWriter
	select {
	case w = <-b.idle:
	default:
		w = &postgresWriter{}
	}
	defer func() {
		select {
		case b.idle <- w:
		default:
			w.close(ctx)
		}
	}()
	for {
		err := w.connect(ctx, b.server.URL)
		if err == nil {
			var batch pgx.Batch // it knows the statements of its connection
			fill(&batch)
			if err = w.conn.SendBatch(ctx, &batch).Close(); err == nil {
				return nil
			}
		}
		w.close(ctx)
		var said *pgconn.PgError
		if errors.As(err, &said) && !strings.HasPrefix(said.Code, "57") { // it shuts down, or starts
			return err
		}
		if wait(ctx) != nil {
			return err
		}
	}
}

// postgresWriter is a connection that is made when it is needed.
type postgresWriter struct{ conn *pgx.Conn } // nil: there is none

func (w *postgresWriter) connect(ctx context.Context, url string) (err error) {
	if w.conn == nil {
		w.conn, err = pgx.Connect(ctx, url)
	}
	return err
}

func (w *postgresWriter) close(ctx context.Context) {
	if w.conn != nil {
		_ = w.conn.Close(ctx)
		w.conn = nil
	}
}

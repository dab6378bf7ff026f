package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/watchroute/watchroute/server/sources"
)

const (
	connectTime = 15 * time.Second
	// silence is how long the server may say nothing, though it is asked every second.
	silence = 2 * time.Minute
	// closeTime bounds how long it takes to say goodbye.
	closeTime = 2 * time.Second
)

// settings make the text of values the same on each connection, and say that nothing is
// given up or left out while tables are read.
var settings = map[string]string{
	"client_encoding":                     "UTF8",
	"datestyle":                           "ISO, YMD",
	"intervalstyle":                       "iso_8601",
	"timezone":                            "UTC",
	"extra_float_digits":                  "3",
	"bytea_output":                        "hex",
	"search_path":                         "pg_catalog",
	"row_security":                        "off",
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_in_transaction_session_timeout": "0",
}

// config gives how to connect. It reads the secrets.
func (s *Source) config() (*pgx.ConnConfig, error) {
	// What libpq takes from the environment does not count here.
	c, err := pgx.ParseConfig("host=localhost port=5432 user=none password=none dbname=none sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, err
	}
	password, err := sources.Secret(s.spec.GetLogin().GetPassword())
	if err != nil {
		return nil, fmt.Errorf("postgres.login.password: %w", err)
	}
	secure, err := sources.TLS(s.spec.GetTls())
	if err != nil {
		return nil, err
	}
	if secure != nil && secure.ServerName == "" {
		secure.ServerName = s.host
	}
	c.Host, c.Port, c.Database, c.User, c.Password = s.host, s.port, s.database, s.spec.GetLogin().GetUsername(), password
	c.TLSConfig, c.Fallbacks, c.ConnectTimeout = secure, nil, connectTime
	c.RuntimeParams = map[string]string{"application_name": "watchroute " + s.id}
	for name, value := range settings {
		c.RuntimeParams[name] = value
	}
	return c, nil
}

// session opens an ordinary connection.
func (s *Source) session(ctx context.Context) (*pgx.Conn, error) {
	c, err := s.config()
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, c)
}

// sender opens a connection on which the server sends its log.
func (s *Source) sender(ctx context.Context) (*pgconn.PgConn, error) {
	c, err := s.config()
	if err != nil {
		return nil, err
	}
	c.RuntimeParams["replication"] = "database"
	return pgconn.ConnectConfig(ctx, &c.Config)
}

type closer interface{ Close(context.Context) error }

// leave closes a connection, also where its context has ended.
func leave(c closer) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_ = c.Close(ctx)
}

// logWire is a connection that sends the log. Reading and writing it at once is what
// pgconn does not allow, so the parts that it is made of are used.
type logWire struct {
	conn     net.Conn
	messages *pgproto3.Frontend
	stop     func() bool
}

// follow begins the stream of a slot at an LSN. The connection is the wire's from then on.
func follow(ctx context.Context, c *pgconn.PgConn, slot, publication string, from pglogrepl.LSN) (*logWire, error) {
	err := pglogrepl.StartReplication(ctx, c, quote(slot), from, pglogrepl.StartReplicationOptions{PluginArgs: []string{
		"proto_version '1'", "publication_names " + literal(quote(publication)),
	}})
	if err != nil {
		leave(c)
		return nil, err
	}
	parts, err := c.Hijack()
	if err != nil {
		leave(c)
		return nil, err
	}
	w := &logWire{conn: parts.Conn, messages: parts.Frontend}
	w.stop = context.AfterFunc(ctx, func() { _ = w.conn.SetDeadline(time.Unix(1, 0)) })
	return w, nil
}

// close says goodbye, so that the server frees the slot at once.
func (w *logWire) close() {
	w.stop()
	_ = w.conn.SetDeadline(time.Now().Add(closeTime))
	_, _ = w.conn.Write([]byte{'X', 0, 0, 0, 4})
	_ = w.conn.Close()
}

var errStreamEnded = errors.New("the server has ended the stream")

func (w *logWire) receive(ctx context.Context) ([]byte, error) {
	for {
		_ = w.conn.SetReadDeadline(time.Now().Add(silence))
		if err := ctx.Err(); err != nil { // it may have moved the deadline before
			return nil, err
		}
		m, err := w.messages.Receive()
		if err != nil {
			return nil, fmt.Errorf("the stream: %w", err)
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			return m.Data, nil
		case *pgproto3.ErrorResponse:
			return nil, pgconn.ErrorResponseToPgError(m)
		case *pgproto3.CopyDone, *pgproto3.CommandComplete:
			return nil, errStreamEnded
		}
	}
}

func (w *logWire) confirm(at pglogrepl.LSN) error {
	raw, err := (&pgproto3.CopyData{Data: statusUpdate(at, time.Now())}).Encode(nil)
	if err != nil {
		return err
	}
	_, err = w.conn.Write(raw)
	return err
}

// statusUpdate gives the message that confirms an LSN and asks for a sign of life.
// pglogrepl has it too, for connections that are not written and read at once.
func statusUpdate(at pglogrepl.LSN, now time.Time) []byte {
	b := make([]byte, 0, 34)
	b = append(b, pglogrepl.StandbyStatusUpdateByteID)
	for range 3 { // written, flushed, applied
		b = binary.BigEndian.AppendUint64(b, uint64(at))
	}
	const epoch = 946684800 // 2000
	b = binary.BigEndian.AppendUint64(b, uint64(now.UnixMicro()-epoch*1_000_000))
	return append(b, 1)
}

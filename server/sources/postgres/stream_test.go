package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgtype"
	"go.uber.org/goleak"

	"github.com/watchroute/watchroute/server/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Messages, as the server writes them.

func i16(b []byte, n int) []byte     { return binary.BigEndian.AppendUint16(b, uint16(n)) }
func i32(b []byte, n uint32) []byte  { return binary.BigEndian.AppendUint32(b, n) }
func i64(b []byte, n uint64) []byte  { return binary.BigEndian.AppendUint64(b, n) }
func text(b []byte, s string) []byte { return append(append(b, s...), 0) }
func wal(b []byte) []byte            { return append(i64(i64(i64([]byte{'w'}, 0), 0), 0), b...) }
func alive(at uint64) []byte         { return append(i64(i64([]byte{'k'}, at), 0), 0) }
func begin(commit uint64) []byte     { return wal(i32(i64(i64([]byte{'B'}, commit), 60e6), 1)) }
func commit(at uint64) []byte        { return wal(i64(i64(i64([]byte{'C', 0}, at), at+8), 60e6)) }
func insert(id uint32, row ...any) []byte {
	return wal(tuple(append(i32([]byte{'I'}, id), 'N'), row))
}
func remove(id uint32, kind byte, row ...any) []byte {
	return wal(tuple(append(i32([]byte{'D'}, id), kind), row))
}
func update(id uint32, kind byte, old, new []any) []byte {
	b := i32([]byte{'U'}, id)
	if kind != 0 {
		b = tuple(append(b, kind), old)
	}
	return wal(tuple(append(b, 'N'), new))
}
func truncate(ids ...uint32) []byte {
	b := append(i32([]byte{'T'}, uint32(len(ids))), 0)
	for _, id := range ids {
		b = i32(b, id)
	}
	return wal(b)
}

// missing is a value that the server does not send.
type missing struct{}

func tuple(b []byte, row []any) []byte {
	b = i16(b, len(row))
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case missing:
			b = append(b, 'u')
		default:
			s := fmt.Sprint(v)
			b = append(i32(append(b, 't'), uint32(len(s))), s...)
		}
	}
	return b
}

// col is a column: its name, with * before it if it is of the key, and its type.
type col struct {
	name string
	oid  uint32
}

func relation(id uint32, name string, identity byte, columns ...col) []byte {
	b := append(text(text(i32([]byte{'R'}, id), "public"), name), identity)
	b = i16(b, len(columns))
	for _, c := range columns {
		name, key := strings.CutPrefix(c.name, "*")
		flags := byte(0)
		if key {
			flags = 1
		}
		b = i32(i32(text(append(b, flags), name), c.oid), 0)
	}
	return wal(b)
}

var (
	id   = col{"*id", pgtype.Int8OID}
	n    = col{"n", pgtype.Int4OID}
	note = col{"note", pgtype.TextOID}
)

// script is a server: it sends messages, and then nothing until the context ends or, with
// `end`, that error.
type script struct {
	messages [][]byte
	end      error

	mu        sync.Mutex
	confirmed []pglogrepl.LSN
}

func (s *script) receive(ctx context.Context) ([]byte, error) {
	if len(s.messages) == 0 {
		if s.end != nil {
			return nil, s.end
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	m := slices.Clone(s.messages[0])
	s.messages = s.messages[1:]
	return m, nil
}

func (s *script) confirm(at pglogrepl.LSN) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed = append(s.confirmed, at)
	return nil
}

func (s *script) last() (at pglogrepl.LSN, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.confirmed[len(s.confirmed)-1], len(s.confirmed)
}

// bucket is a sink.
type bucket struct {
	hold chan struct{} // not nil: Take waits for it
	fail error

	mu     sync.Mutex
	events []sources.Event
	takes  []int
	lag    int64
}

func (b *bucket) Connected() {}

func (b *bucket) Lag(_ string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lag = n
}

func (b *bucket) Pass(context.Context, string, string) error { return nil }

func (b *bucket) Take(ctx context.Context, events []sources.Event) error {
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.takes = append(b.takes, len(events))
	b.events = append(b.events, events...)
	return b.fail
}

// facts is a lookup.
type facts struct{ key []string }

func (facts) types(_ context.Context, oids []uint32) (out []valueType, err error) {
	known := pgtype.NewMap()
	for _, oid := range oids {
		out = append(out, builtin(known, oid))
	}
	return out, nil
}

func (f facts) primaryKey(context.Context, uint32) ([]string, error) { return f.key, nil }

func newStream(wire *script, to sources.Sink) *stream {
	return &stream{wire: wire, to: to, every: time.Second, from: position{server: server{7, 1}}, relations: &relations{
		lookup: facts{[]string{"id"}}, tables: map[uint32]*table{}, wanted: func(_, name string) bool { return name != "other" },
	}}
}

var errOver = errors.New("over")

// all runs a stream of messages and gives what was taken.
func all(t *testing.T, from position, messages ...[]byte) []sources.Event {
	t.Helper()
	to := &bucket{}
	s := newStream(&script{messages: append(slices.Clone(messages), begin(1<<40)), end: errOver}, to)
	s.from, s.until = from, 1<<40
	if s.from.server == (server{}) {
		s.from.server = server{7, 1}
	}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return to.events
}

func values(events []sources.Event) (out []string) {
	for _, e := range events {
		out = append(out, string(e.Value))
	}
	return out
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestStream_ChangesBecomeEvents(t *testing.T) {
	events := all(t, position{},
		relation(1, "orders", 'd', id, n, note), begin(100),
		insert(1, 1, 5, "a"), update(1, 0, nil, []any{1, 6, nil}), remove(1, 'K', 1, nil, nil), truncate(1), commit(100),
	)
	expect(t, values(events),
		`{"op":"insert","schema":"public","table":"orders","key":{"id":1},"old":null,"new":{"id":1,"n":5,"note":"a"}}`,
		`{"op":"update","schema":"public","table":"orders","key":{"id":1},"old":null,"new":{"id":1,"n":6,"note":null}}`,
		`{"op":"delete","schema":"public","table":"orders","key":{"id":1},"old":{"id":1},"new":null}`,
		`{"op":"truncate","schema":"public","table":"orders","key":{},"old":null,"new":null}`,
	)
	e := events[1]
	if e.Position != "0/64#2@7.1" || e.Topic != "public.orders" || string(e.Key) != `{"id":1}` || e.Partition != "" ||
		!e.Time.Equal(time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)) || e.Time.Location() != time.UTC {
		t.Errorf("%+v", e)
	}
	if events[3].Key != nil {
		t.Errorf("a truncate has the key %s", events[3].Key)
	}
}

func TestStream_FullIdentityHasTheRowBefore(t *testing.T) {
	columns := []col{{"*id", pgtype.Int8OID}, {"*n", pgtype.Int4OID}}
	messages := [][]byte{relation(1, "orders", 'f', columns...), begin(100),
		update(1, 'O', []any{1, 5}, []any{1, 6}), remove(1, 'O', 1, 6), commit(100)}
	expect(t, values(all(t, position{}, messages...)),
		`{"op":"update","schema":"public","table":"orders","key":{"id":1},"old":{"id":1,"n":5},"new":{"id":1,"n":6}}`,
		`{"op":"delete","schema":"public","table":"orders","key":{"id":1},"old":{"id":1,"n":6},"new":null}`,
	)
	// Without a primary key the row is the key, and an update stays one.
	to := &bucket{}
	s := newStream(&script{messages: messages, end: errOver}, to)
	s.relations.lookup = facts{}
	for _, raw := range messages {
		if _, err := s.message(withQueue(t, s), raw); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, values(s.queue.events),
		`{"op":"update","schema":"public","table":"orders","key":{"id":1,"n":6},"old":{"id":1,"n":5},"new":{"id":1,"n":6}}`,
		`{"op":"delete","schema":"public","table":"orders","key":{"id":1,"n":6},"old":{"id":1,"n":6},"new":null}`,
	)
}

func withQueue(t *testing.T, s *stream) context.Context {
	if s.queue == nil {
		s.queue = newQueue()
	}
	return t.Context()
}

func TestStream_KeyThatChangesIsADeleteAndAnInsert(t *testing.T) {
	events := all(t, position{}, relation(1, "orders", 'd', id, n), begin(100), update(1, 'K', []any{1, nil}, []any{2, 5}), commit(100))
	expect(t, values(events),
		`{"op":"delete","schema":"public","table":"orders","key":{"id":1},"old":{"id":1},"new":null}`,
		`{"op":"insert","schema":"public","table":"orders","key":{"id":2},"old":null,"new":{"id":2,"n":5}}`,
	)
}

func TestStream_LargeValuesThatDidNotChange(t *testing.T) {
	d := relation(1, "orders", 'd', id, n, note)
	expect(t, values(all(t, position{}, d, begin(100), update(1, 0, nil, []any{1, 6, missing{}}), commit(100))),
		`{"op":"update","schema":"public","table":"orders","key":{"id":1},"old":null,"new":{"id":1,"n":6},"unchanged":["note"]}`)
	f := relation(1, "orders", 'f', col{"*id", pgtype.Int8OID}, col{"*n", pgtype.Int4OID}, col{"*note", pgtype.TextOID})
	expect(t, values(all(t, position{}, f, begin(100), update(1, 'O', []any{1, 5, "large"}, []any{1, 6, missing{}}), commit(100))),
		`{"op":"update","schema":"public","table":"orders","key":{"id":1},"old":{"id":1,"n":5,"note":"large"},"new":{"id":1,"n":6,"note":"large"}}`)
	// A large key is logged with each update, and is the same one.
	k := relation(1, "orders", 'd', col{"*id", pgtype.TextOID}, n)
	expect(t, values(all(t, position{}, k, begin(100), update(1, 'K', []any{"large", nil}, []any{missing{}, 6}), commit(100))),
		`{"op":"update","schema":"public","table":"orders","key":{"id":"large"},"old":null,"new":{"id":"large","n":6}}`)
}

func TestStream_ColumnsChangeBetweenChanges(t *testing.T) {
	expect(t, values(all(t, position{},
		relation(1, "orders", 'd', id, n), begin(100), insert(1, 1, 5),
		relation(1, "orders", 'd', id, n, note), insert(1, 2, 5, "added"), commit(100),
		relation(1, "orders", 'd', id, col{"remark", pgtype.TextOID}), begin(200), insert(1, 3, "renamed, and n dropped"), commit(200),
		relation(1, "purchases", 'd', col{"*id", pgtype.TextOID}), begin(300), insert(1, "4"), commit(300),
	)),
		`{"op":"insert","schema":"public","table":"orders","key":{"id":1},"old":null,"new":{"id":1,"n":5}}`,
		`{"op":"insert","schema":"public","table":"orders","key":{"id":2},"old":null,"new":{"id":2,"n":5,"note":"added"}}`,
		`{"op":"insert","schema":"public","table":"orders","key":{"id":3},"old":null,"new":{"id":3,"remark":"renamed, and n dropped"}}`,
		`{"op":"insert","schema":"public","table":"purchases","key":{"id":"4"},"old":null,"new":{"id":"4"}}`,
	)
}

// From the position of each event on comes exactly what follows it, also where the server
// sends the transaction again.
func TestStream_GoesOnBehindEachPosition(t *testing.T) {
	orders, other := relation(1, "orders", 'd', id, n), relation(2, "other", 'd', id)
	first := [][]byte{orders, other, begin(100), insert(1, 1, 1), insert(2, 1), update(1, 'K', []any{1, nil}, []any{2, 1}), truncate(2, 1, 1), commit(100)}
	second := [][]byte{orders, other, begin(200), update(1, 'K', []any{2, nil}, []any{3, 1}), insert(2, 1), commit(200)}
	whole := all(t, position{}, append(slices.Clone(first), second...)...)
	if len(whole) != 7 {
		t.Fatalf("%d events", len(whole))
	}
	seen := map[string]bool{}
	for i, e := range whole {
		if seen[e.Position] {
			t.Errorf("%s is the position of two", e.Position)
		}
		seen[e.Position] = true
		from, err := parsePosition(e.Position)
		if err != nil {
			t.Fatal(err)
		}
		script := second
		if from.commit <= 100 {
			script = append(slices.Clone(first), second...)
		}
		expect(t, values(all(t, from, script...)), values(whole[i+1:])...)
	}
}

func TestStream_TakesTransactionsWholeAndLargeOnesInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := [][]byte{relation(1, "orders", 'd', id)}
		for tx := range uint64(3) {
			messages = append(messages, begin(100+100*tx))
			for i := range 400 {
				messages = append(messages, insert(1, i))
			}
			messages = append(messages, commit(100+100*tx))
		}
		messages = append(messages, begin(900))
		for i := range 2500 {
			messages = append(messages, insert(1, i))
		}
		messages = append(messages, commit(900))
		wire, to := &script{messages: messages}, &bucket{hold: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- newStream(wire, to).run(ctx) }()
		at := map[int]pglogrepl.LSN{0: 0, 400: 108, 800: 208, 1200: 308, 3700: 908}
		for taken := 0; ; {
			synctest.Wait()
			time.Sleep(1500 * time.Millisecond) // virtual: a report
			synctest.Wait()
			to.mu.Lock()
			taken = len(to.events)
			to.mu.Unlock()
			// What belongs to a transaction that is not taken whole is not confirmed.
			want, whole := at[taken]
			if !whole {
				want = 308
				if taken < 1200 {
					t.Errorf("a transaction was cut: %v", to.takes)
				}
			}
			if got, _ := wire.last(); got != want {
				t.Errorf("%d events were taken, and %v was confirmed, expected %v", taken, got, want)
			}
			if taken == 3700 {
				break
			}
			to.hold <- struct{}{}
		}
		cancel()
		if err := <-over; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for _, n := range to.takes {
			if n > mostEvents {
				t.Errorf("%d events at once", n)
			}
		}
	})
}

func TestStream_ServerHearsOfItWhileTakeIsBusyAndWhileNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := &script{messages: [][]byte{relation(1, "orders", 'd', id), begin(100), insert(1, 1), commit(100), alive(500)}}
		to := &bucket{hold: make(chan struct{}), lag: -1}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- newStream(wire, to).run(ctx) }()
		time.Sleep(10*time.Second + 500*time.Millisecond) // virtual
		if at, times := wire.last(); at != 0 || times != 11 {
			t.Errorf("after 10 seconds in Take %v was confirmed, %d times", at, times)
		}
		close(to.hold)
		time.Sleep(time.Second)
		if at, _ := wire.last(); at != 500 { // which only other tables have reached
			t.Errorf("idle: %v was confirmed", at)
		}
		cancel()
		<-over
		if to.lag != 0 {
			t.Errorf("the lag is %d", to.lag)
		}
	})
}

func TestStream_SignOfLifeWithinATransactionConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := &script{messages: [][]byte{relation(1, "orders", 'd', id), begin(100), insert(1, 1), alive(500)}}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- newStream(wire, &bucket{}).run(ctx) }()
		time.Sleep(5 * time.Second) // virtual
		if at, _ := wire.last(); at != 0 {
			t.Errorf("%v was confirmed", at)
		}
		cancel()
		<-over
	})
}

func TestStream_EndsBeforeAnLSN(t *testing.T) {
	orders := relation(1, "orders", 'd', id)
	for name, rest := range map[string][][]byte{
		"by a transaction":    {begin(200), insert(1, 2), commit(200)},
		"by a sign of life":   {alive(199), alive(200)},
		"after empty commits": {begin(150), commit(150), alive(300)},
	} {
		wire, to := &script{messages: append([][]byte{orders, begin(100), insert(1, 1), commit(100)}, rest...), end: errOver}, &bucket{}
		s := newStream(wire, to)
		s.until = 200
		if err := s.run(t.Context()); err != nil || len(to.events) != 1 {
			t.Errorf("%s: %d events, %v", name, len(to.events), err)
		}
		if at, _ := wire.last(); at < 108 || at >= 200 {
			t.Errorf("%s: %v was confirmed", name, at)
		}
	}
}

func TestStream_ErrorsEndIt(t *testing.T) {
	full := errors.New("the log is full")
	for name, test := range map[string]struct {
		wire *script
		to   *bucket
		want string
	}{
		"of the server":          {&script{end: errOver}, &bucket{}, "over"},
		"of the sink":            {&script{messages: [][]byte{relation(1, "t", 'd', id), begin(1), insert(1, 1), commit(1)}}, &bucket{fail: full}, "full"},
		"an unknown table":       {&script{messages: [][]byte{begin(1), insert(9, 1)}}, &bucket{}, "did not describe"},
		"a row of another shape": {&script{messages: [][]byte{relation(1, "t", 'd', id), begin(1), insert(1, 1, 2)}}, &bucket{}, "columns"},
		"a damaged message":      {&script{messages: [][]byte{insert(1, "x")[:34]}}, &bucket{}, "damaged"},
		"an empty message":       {&script{messages: [][]byte{{}}}, &bucket{}, "empty"},
		"an unknown message":     {&script{messages: [][]byte{{'?'}}}, &bucket{}, "not known"},
	} {
		err := newStream(test.wire, test.to).run(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMessage: whatever the server sends, it is an error at the worst.
func FuzzMessage(f *testing.F) {
	for _, raw := range [][]byte{alive(1), begin(1), commit(1), relation(1, "t", 'd', id), insert(1, 1), update(1, 'K', []any{1}, []any{missing{}}), remove(1, 'O', 1), truncate(1)} {
		f.Add(raw, raw)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		if len(one)+len(two) > 1<<10 || large(one) || large(two) {
			t.Skip()
		}
		s := newStream(&script{}, &bucket{})
		s.queue = newQueue()
		for _, raw := range [][]byte{relation(1, "t", 'd', id), begin(1), one, two, commit(2)} {
			if _, err := s.message(t.Context(), raw); err != nil {
				return
			}
		}
	})
}

// large says whether a message might announce a value of gigabytes, for which pglogrepl
// would make room.
func large(raw []byte) bool {
	for i := 0; i+4 <= len(raw); i++ {
		if binary.BigEndian.Uint32(raw[i:]) > 1<<20 && (raw[0] == 'w' && i > 25) {
			return true
		}
	}
	return false
}

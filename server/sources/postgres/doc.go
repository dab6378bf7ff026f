// Package postgres reads tables of PostgreSQL, 13 or later, by logical replication
// (pgoutput): first what they have, then what changes.
//
// # Events
//
// The value of an event is the JSON object
//
//	{"op": "snapshot" | "insert" | "update" | "delete" | "truncate",
//	 "schema": "public", "table": "orders", "key": {...},
//	 "old": {...} or null, "new": {...} or null, "unchanged": ["column", ...]}
//
// Its topic is SCHEMA.TABLE, its time that of the commit (of a snapshot: that of the
// snapshot), its key the JSON of `key`, which has the columns of the replica identity: the
// primary key, or the index that REPLICA IDENTITY names. With REPLICA IDENTITY FULL it is
// the primary key all the same, and the whole row where there is none; with NOTHING it is
// empty.
//
// `old` is null, or what PostgreSQL logs of the row before: with REPLICA IDENTITY FULL all
// of it, otherwise the key of a row that is deleted. An update that changes the key is two
// events, the delete of the old key and the insert of the new one, so that a mapping whose
// id is made of the key leaves nothing behind. A truncate is one event for each table,
// whose key is empty: no mapping can say what was in the table.
//
// PostgreSQL does not log a large value (one that it keeps out of line, TOAST) which an
// update leaves as it was. With REPLICA IDENTITY FULL it is taken from `old`; otherwise the
// column is missing in `new` and named in `unchanged`, which is only there in that case.
// For tables with such columns `merge` is the right action of a mapping: `put` would drop
// them.
//
// Values are: boolean, null; integers as numbers, beyond ±2^53 as strings, as everywhere in
// this server's JSON; real and double precision as numbers, but "NaN", "Infinity" and
// "-Infinity"; json and jsonb as the JSON that they are; timestamptz in RFC 3339, in UTC;
// timestamp the same without a zone; bytea in base64; arrays as lists of such values; a
// domain as what it is made of. Everything else is a string, as PostgreSQL writes it:
// numeric, which is exact (`double(data.new.price)` makes it a number), text, uuid, enums,
// date, time, interval (ISO 8601), ranges, composites. The timestamps that have no form in
// RFC 3339, infinity and years before 1 or after 9999, are such strings, too.
//
// Columns that are added, dropped or renamed are so in the events of later transactions:
// each is read as the table was when it was written.
//
// # Each change once
//
// The position of a change is the LSN of its transaction's commit, and which change of the
// transaction it is: 0/16B3748#3, then the server's system identifier and timeline. They
// only grow, and the order in which PostgreSQL sends is that of the commits. Sink.Take makes
// it durable together with what the change caused; what PostgreSQL sends again after a
// crash, at most one transaction and what follows it, is left out by comparing. PostgreSQL
// is told that it need not keep a transaction when all of it has been taken, never before,
// so that it has whatever is behind the position. Transactions of up to 1,000 changes are
// given to one Take, larger ones in pieces.
//
// The snapshot is that which CREATE_REPLICATION_SLOT exports: it has exactly the
// transactions that were committed before the slot's first LSN, and the stream begins with
// the others. From the beginning until all of it has been taken the position says so:
// 0/16B3748#0, ..., /snapshot/ROWS. A snapshot that was interrupted cannot be gone on with, since PostgreSQL
// forgets it with the connection. It is read anew, and the slot is kept, whose changes tell
// what happened to the rows that were taken: a second, temporary slot exports a new
// snapshot, at a later LSN; first the changes up to exactly there are taken from the first
// slot, then the new snapshot, then the changes behind it. So no row goes back to an older
// state, a row that was deleted meanwhile is deleted, and a row that is read twice is, the
// second time, as the events before left it, which changes nothing.
//
// What cannot be gone on with is never gone on with in silence: a slot that is gone or was
// invalidated, another server, a server that was restored to before the position, and a
// publication that is gone make the source fail with an error that says what to do. The
// one thing that the connector cannot see is a slot that somebody else has moved on, or a
// node's data that are older than its slot: a slot belongs to one source.
//
// # Order, blocking, lifetime
//
// There is one partition, "". Reading goes on while Take is busy, until 1,000 events or
// 4 MiB wait. PostgreSQL hears from the source about once a second whatever Take does, so
// that it does not end the connection, and also while only other tables change, so that it
// can let its log go. The lag is 0 when the source has caught up, otherwise the number of
// events that it has read and not taken yet, which is the least that it can be: PostgreSQL
// counts bytes.
//
// The publication and the slot are made where they are missing and there is no position
// yet. Neither is ever dropped: a slot that nobody reads keeps the server's log until the
// disk is full, so who deletes a source for good drops it.
//
// # Tests
//
// What is told from bytes (relations, changes, values, positions) is tested here, with a
// server that is a script; the rest by the suite in e2e/sourcetest against a real one.
package postgres

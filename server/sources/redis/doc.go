// Package redis is the connector of Redis Streams.
//
// A source reads streams (XREAD) in the order of their ids, and is in no consumer group:
// where it has come to is in the log, from the first look at a stream on. A stream that is
// not there yet is waited for, and then read from its start.
//
// Nothing is skipped in silence. A position is an entry's id, and how many entries the
// stream had ever had with it: 1764108766000-0/42. Each read is one transaction with XINFO
// STREAM, so `entries-added` says how many entries must still come. Where there are fewer,
// some were trimmed or deleted before they were read; where the stream ends before the
// position, or is gone, Redis has lost it or it was made anew. Each of these is a permanent
// error. Redis before 7 does not count: there a position that has been trimmed is such an
// error itself, since what was trimmed behind it is not known, and entries that were
// deleted one by one (XDEL) are not missed.
//
// What Redis has acknowledged and lost before it was read, nobody can know: `appendonly
// yes` keeps it from a crash of Redis, `appendfsync always` from one of the machine.
//
// Reading blocks nobody. The next entries are read while those before them are made
// durable.
//
// Tests have a server of their own, see Source.connect.
package redis

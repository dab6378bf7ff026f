// Package store is the indexed copy of the log that this node reads: Pebble, on
// disk or in memory. Sequencers feed it; it orders nothing itself.
//
// Writing: a sequencer opens a Group, puts batches into it and commits it. There
// is one group at a time; Commit returns when the group is on the disk and readers
// see it. Preparing one group while the disk syncs the one before was measured and
// did not pay: groups become smaller.
//
// Reading: no method shows a change that is not durable. Every iteration sees
// the one state of its beginning and, once begun, is not disturbed by
// compaction; a caller who breaks off and comes back may be told Compacted. Reads
// wait for no write.
//
// Compaction: a superseded record is dropped when the change that superseded it
// is at or below the floor Bounds.History, a tombstone that is still the newest
// of its name when it is at or below Bounds.Tombstones. The floors move only as
// far as something was dropped: where nothing was, everything can still be read.
// The work grows with what is dropped and what was written since the last
// compaction, not with the size of the store.
//
// Lifetime: Close waits for the reads under way. After a failed write the store
// refuses all writes until it is opened again, since nobody knows what reached
// the disk; reads go on with what was durable before. Where Pebble itself sees no
// way on, as when it can begin no new write-ahead log or cannot write its manifest,
// it panics: the process ends, and a restart recovers all that was acknowledged.
//
// Test with the suite in package changelogtest, through a sequencer; disks that
// fail or forget come in through Config.FS.
package store

// Package changelog defines the log that everything else reads: for each
// collection one ordered, durable sequence of changes, compacted by name.
//
// A log is a store (package store: the indexed copy that this node reads) and a
// sequencer (package local, later others), which decides the one order of
// changes and makes them durable.
//
// Order: revisions of a collection grow by at least one from batch to batch; all
// changes of a batch share its revision, so a revision can cut nothing in two.
// Subscribers see batches in that order, each after it is durable and before its
// writer is answered.
//
// Retention: of every name at least the newest change is kept (a tombstone only
// for a while). Every change after Bounds.History is kept together with the
// change of the same name before it, whatever its age.
//
// Blocking: Write waits for the disk and can be left by its context, in which
// case the write may or may not take effect. Reads do not wait for writes.
// Subscribers are called by the sequencer and must not block.
//
// Records that the log hands out are shared: nobody may change them.
//
// Test an engine with package changelogtest.
package changelog

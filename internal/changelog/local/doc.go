// Package local is the sequencer of one machine: one goroutine orders the writes
// of all collections and makes them durable in groups, in one store.
//
// Order: writes take effect one after the other, in the order in which they come
// to the committer; revisions of a collection are 1, 2, 3 and so on, one for each
// write that changes something. Times of a collection do not go back, whatever the
// clock does.
//
// Groups: the committer takes all the writes that wait, up to a bound in number
// and in bytes; where many come it lets them wait for others first, see gather. It checks them one by one, each seeing those before it, writes what
// they change as one batch, and waits for the disk. Then it calls the subscribers
// and answers the writers. A write that changed nothing or was refused is answered
// with its group: everything that it saw is durable.
//
// Blocking: writers wait in a queue whose length is their number; whoever calls
// Write bounds that. A writer can leave by its context; its write may still take
// effect, unless it was not looked at yet.
//
// Failure: when the disk refuses a group, its writes fail with StoreUnavailable
// and so do all later ones, until the log is opened again: what of the group
// reached the disk is not known before. Reads go on with what was durable.
//
// Lifetime: Close refuses new writes, finishes those that wait, stops the
// background compaction and closes the store, waiting for reads under way.
//
// The suite in changelogtest is run by this package's tests; changelogtest.NewMem
// gives other packages a log in memory.
package local

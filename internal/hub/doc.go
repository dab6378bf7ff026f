// Package hub fans the changes of a log out to any number of watches.
//
// A Watch is a cursor into the log, never a queue: a revision, a view and one
// wake-up. Watches of the same scope (names, filter, mask, access, delivery,
// delta) share a View. The way of a change:
//
//	log.Subscribe -> collection.publish   append the batch to the ring; never waits
//	              -> collection.pump      ask each view that the change may concern
//	                                      once (found by name, by a term of its
//	                                      filter, or asked in vain); keep its events;
//	                                      wake its groups of watches
//	              -> shard, or a Reader   take the watches of the woken groups
//	              -> Watch.Next           hand out a range of the view's tape: frames,
//	                                      encoded once for each view and codec, by
//	                                      whoever asks first
//	              -> Outlet.TrySend       write it, without waiting for anybody
//
// A watch whose cursor lies before what its view has in memory reads the log
// instead, in pieces, and joins the view where it has caught up: the snapshot
// (from revision 0), the resume (from a token) and the reader who fell behind are
// the same code. The view is joined before the log is read, so there is no seam.
//
// Order: the frames of a watch are in revision order. A frame with a token stands
// where everything before it was handed out and no batch is cut; the frames of a
// snapshot, of a split batch and of a catch-up carry none but for the last, and those of
// what a slow reader missed, folded, where a name is half told.
//
// Newcomers share snapshots: the state of a view at a revision is read and encoded
// once for all that begin at about the same time.
//
// Blocking: nothing here waits for a reader. Next reads memory or the log and
// returns; to read the log it waits for its turn, as only half as many watches do so
// at a time as there are processors. The log's sequencer is held up by appending a
// pointer to a ring. Shards pace themselves, see Pass.
//
// Bounds: rings, frames and shared snapshots are bounded in bytes
// (Config.MemoryBytes); what falls out is read from the log again. A reader that falls
// behind what the log retains is reset.
//
// Lifetime: every Watch must be closed by its owner, or be given to Serve. Hub.Close
// ends all watches, and waits for its goroutines, not for the watches' owners.
package hub

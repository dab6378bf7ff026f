// Package hub fans the changes of a log out to any number of watches.
//
// A Watch is a cursor into the log, never a queue: a revision, a view and one
// wake-up. Watches of the same scope (names, filter, mask, access, delivery,
// delta) share a View. The way of a change:
//
//	log.Subscribe -> collection.publish   append the batch to the ring; never waits
//	              -> collection.pump      ask each view that the change may concern
//	                                      once; keep its events; wake its watches
//	              -> Watch.Next           hand out frames, encoded once for each
//	                                      view and codec, whoever asks first
//
// A watch whose cursor lies before what its view has in memory reads the log
// instead, in pieces, and joins the view where it has caught up: the snapshot
// (from revision 0), the resume (from a token) and the reader who fell behind are
// the same code. The view is joined before the log is read, so there is no seam.
//
// Order: the frames of a watch are in revision order. A frame with a token stands
// where everything before it was handed out and no batch is cut; the frames of a
// snapshot, of a split batch and of a catch-up carry none but for the last.
//
// Blocking: nothing here waits for a reader. Next reads memory or the log and
// returns. The log's sequencer is held up by appending a pointer to a ring.
//
// Bounds: the ring of a collection and the frames made from it are bounded in
// bytes (Config.RingBytes); what falls out is read from the log again. A reader
// that falls behind what the log retains is reset.
//
// Lifetime: every Watch must be closed by its owner. Hub.Close ends all watches,
// and waits for its goroutines, not for the watches' owners.
package hub

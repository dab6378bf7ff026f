// Package sourcetest is what every connector of Watchroute is tested with: the real
// binary, as a process of its own, reads a real broker, and what a watch of the
// collection `things` says is compared with what was published.
//
// A [Broker] is a fixture: one for each connector, in a file of its own. [Run] runs the
// suite with it. Its promise is one sentence, which most scenarios only try to break, by
// killing the node, killing the broker, or changing the source: the changes of things/KEY
// have n = 1, 2, 3, ... without a gap, a double or a step back, at revisions that rise, and
// nothing else is changed. It is checked twice: as a watch sees it live across the node's
// processes, resumed by its token, and in the history that the log has at the end. Before
// that each key gets one event more, so that what a broker gives again comes first.
//
// Ordering: scenarios run one after the other, each with a node and a topic of its own.
// Those about correctness run the binary with the race detector, those that measure the
// one that users have.
//
// Blocking: whatever is waited for is waited for patience at most, and then what is
// missing is told, with the status of the source and the end of what the node said.
//
// WATCHROUTE_SOURCETEST=full lets the measuring scenarios take their full size: a million
// events, and half a minute of latency.
package sourcetest

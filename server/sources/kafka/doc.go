// Package kafka is the connector of Apache Kafka, and of what speaks its protocol.
//
// A [Source] is a member of a consumer group. A partition is named TOPIC/PARTITION, and the
// position of an event is its offset. What transactions have not committed is not read.
//
// Where a partition begins: behind its position in this node's log or at the offset that
// the group has committed, whichever is later; where there is neither, at SourceStart, and
// that is committed before anything is read. A partition that was added since the source
// began is read from its start. Under a topic's name is kept which one it was, and how many
// partitions it had. Offsets are committed when what lies before
// them is durable: once a second, when a partition is given up, and when Run ends. A commit
// that fails loses nothing, since the log knows better; another node of the group may then
// take the same events into its own log.
//
// Order and blocking: the events of a partition are taken in their order, those of several
// partitions together. A partition is not given up while events of it are being taken, and
// they are committed before it is.
//
// Loss: Run fails for good, and says which offsets it is about, where the broker has no
// longer what comes next, where it ends before what was read already, and where a topic was
// made anew. Somebody has to decide: to go on behind what is gone, commit an offset to the
// group (kafka-consumer-groups --reset-offsets) and change the source; to read what there
// is from its start, give the source another id. Brokers before Kafka 2.8 tell no ids of
// topics: there one that was made anew while no node was looking, and has more events by
// now than were read of the old one, cannot be told from it. A log that was restored from a
// backup goes on where the group is, not where the log is: set the group's offset back
// before.
//
// What is waited for: an unreachable broker, a refused login and a missing topic end Run
// with an error that is not for good. Files and variables with secrets are read whenever a
// connection is made.
//
// Tests run against kfake, a broker in the process.
package kafka

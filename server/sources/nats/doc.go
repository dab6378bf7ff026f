// Package nats is the connector of NATS JetStream.
//
// A [Source] reads one stream in its order, all of it or some subjects. There is one
// partition, without a name, and the position of an event is its sequence in the stream.
// Nothing is kept on the server but a consumer in memory, for as long as Run runs: several
// nodes that have the same source each read the whole stream.
//
// Where it begins: behind its position in this node's log; where there is none, at
// SourceStart as it is at the first connection, which becomes the position at once. Under
// the stream's name is kept when it was made.
//
// Order and blocking: events are taken in the order of the stream, those together that
// have come, and none waits for more. While they are being taken the next are read, up to
// MaxEvents and 16 MiB.
//
// Loss: Run fails for good, and says which sequences it is about, where the stream has no
// longer what comes next, and where it ends before what was read already. Somebody has to
// decide: a source with another id reads what there is from its start. A stream that keeps
// the last messages of each subject, and has no other limit, loses only what newer messages
// have replaced: that is no loss. Where only some subjects are read, nobody knows whether
// there was one of them among what is gone, and it is taken for a loss; while the source
// runs, what others have is passed every LookInterval. A stream that was made anew is told
// from the old one by when it was made.
//
// What is waited for: a server that cannot be reached, a refused login and a missing stream
// end Run with an error that is not for good; so does every loss of the connection, since
// the position must be looked at again. Files and variables with secrets are read whenever
// Run begins.
//
// Tests give a reader messages and states of a stream; the suite in e2e/sourcetest has a
// real server.
package nats

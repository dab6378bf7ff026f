// Package watchroute reads, writes and watches the resources of a Watchroute server.
//
// A watch is a loop:
//
//	for event, err := range watchroute.Watch[*shopv1.Order](ctx, client, "orders") {
//
// It goes on by itself, on a new stream from where it was, when a connection breaks, a
// server restarts or a credential expires; an error is yielded once, when that is of no
// use or ctx ends, and is the last thing yielded. docs/clients.md is the specification
// of what it does, common to the clients of all languages.
//
// # Values
//
// The type argument says what a value is: a message of a contract, such as
// *shopv1.Order; for collections without one json.RawMessage, which is exact, or any
// type that encoding/json reads an object into; or proto.Message, for any message that
// is compiled in. A value of another message ends a watch with [ReasonWrongType].
//
// # Order, blocking, lifetime
//
// Events come in the order of the contract. A watch reads when the program asks for the
// next event, in the program's goroutine: a program that is slow makes the server fold
// changes, or keep them in its log (see [EveryChange]), and nothing is buffered beyond
// the windows of the transport and one message; see also [Batches]. A watch starts no
// goroutine of its own, but that of a gRPC stream, and those of the client's session if
// [WithSession] is given; one in batches has one more. All end with the loop or with ctx.
// A [Mirror] has one goroutine, until it is closed. A [Client], a [Mirror] and the
// functions of this package may be used from several goroutines at a time; the sequence of
// one watch from one.
//
// What a watch, a read or a mirror hands out is the program's own.
//
// # Testing
//
// [New] takes any grpc.ClientConnInterface: one over bufconn, or a scripted one under
// testing/synctest, since all waiting is done with package time.
package watchroute

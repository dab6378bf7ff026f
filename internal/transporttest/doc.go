// Package transporttest is the suite that every transport must pass: one list of
// scenarios for the promises P1 to P10 and the basics of P12 (DESIGN, section 2),
// run unchanged against each.
//
// A [Node] is a whole node in this process on real TCP listeners: log, hub, server
// and gateway. A [Transport] opens watches on a node and turns what arrives into
// [Message], the same for all transports. A [Fold] applies messages as the contract
// tells a client to, and checks on the way what holds for every watch: order,
// uniqueness, where tokens may stand. Scenarios read through a [Reader], which has
// all three, and say what they expect.
//
// To add a transport: write a file with a type that implements Transport, and add
// it to [Transports], and to [TLS] if encryption or HTTP/2 goes another way through the
// node: those run the same scenarios on ports of the same nodes that speak TLS. To add a scenario: write a function and put it into the table
// of its file, with a name that is a sentence and begins with its promise.
//
// A node with a [Guard] asks for credentials; [Case.as] gives the case as somebody sees
// it, and what a scenario does beside its transport is an operator's doing. A [Tap] keeps
// the bytes that clients receive, which [RunHidden] searches for what they must not see.
//
// Nothing here sleeps: readers wait for messages, at most [patience] for each, and
// nodes tell of watches that open and close. Every reader, transport and node that
// a test starts ends with the test.
package transporttest

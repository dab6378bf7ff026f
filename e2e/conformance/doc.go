// Package conformance is the suite of docs/clients.md: every client is driven through the
// same scenarios and faults.
//
// Each scenario is a real node, a [Proxy] that injects the fault, and a [Driver], a process
// in the client's language; a [World] is the three together. A [Writer] writes past the
// proxy and notes in a [Journal] what the node has acknowledged. Of what a driver reports,
// a [Ledger] says whether it is what the journal allows, and [Legal] whether the states of
// a watch follow each other as docs/clients.md draws it; a World does both for every watch
// when its test ends, and looks through the driver's log for values and credentials.
//
// Where a node cannot be had that says what a scenario needs, such as one of a newer
// contract, [Scripted] plays one. A driver may have a [WallClock], a time of day of its own that a scenario sets.
//
// Tests run beside each other, as most of them wait for silence. A client whose driver or
// runtime is not there is skipped with the reason. WATCHROUTE_CONFORMANCE=full cuts each
// transport at every byte, and faults last longer.
package conformance

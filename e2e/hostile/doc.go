// Package hostile is what the tests of hostile clients are made of: raw connections of
// HTTP/2 and WebSocket that do what no library would let them, tokens that nobody
// issued, relays that vanish, and neighbours, who show what an attack does to others.
//
// Everything stays on loopback. An address of its own (127.0.0.0/8) for each attacker and
// for the neighbours keeps limits by address apart. Attackers, node and neighbours share
// one machine, so that a latency tells of all three. What the node adds is told by a
// control: the neighbours' latency while the same attack befalls another node.
//
// Lifetime: what is started here ends with Close or with the test.
package hostile

// Package node puts one node together: the log, the contracts, the hub, the gRPC
// server and the HTTP front, listening.
//
// Lifetime: Start returns when the node serves, and everything that it started is
// over when Stop returns. Stop takes at most the drain time of the configuration
// and then a moment to close the log; it is done in this order, so that nothing
// that was acknowledged is lost and every client is told where to go on:
//
//  1. not ready: /readyz and the gRPC health service say so
//  2. every watch gets `drain`, with a time to come back, and ends
//  3. gRPC: calls under way may finish, then the connections are cut
//  4. HTTP: likewise
//  5. the hub and the log are closed
//
// To test against it, start it on port 0 with a folder of t.TempDir(), as
// node_test.go does; Addresses tells what it listens on.
package node

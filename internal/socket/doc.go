// Package socket keeps TCP connections that cost almost nothing while they are
// quiet: no goroutine, no buffer and no timer belong to one. A Poller tells what
// clients send, with one goroutine for all; whoever has something to send writes
// from his own goroutine. Frames reads what a WebSocket client may say.
//
// The way of a connection: it is taken over from net/http by Hijack, adopted, written
// to and heard, and closed by whoever adopted it, also after Left.
//
// Order: the calls to one Handler are one at a time and in the order of the stream:
// what was pending at Adopt, what came later, then Left. Calls may begin before Adopt
// has returned. Between connections there is no order, and each gets one read of
// at most 4 KiB a turn, so one that never stops talking does not starve the others.
// Writes to one connection are not queued: their callers agree who writes next.
//
// Blocking: a Handler must not block; all the connections of its poller wait for it.
// TryWrite never waits, neither for the client nor for another writer. Write waits as
// long as its timeout says. Close, CloseWrite and Adopt do not wait; Poller.Close
// waits for the call that is running, and so must not be called by a Handler.
//
// Lifetime: after Conn.Close no call to the Handler is begun; one that was begun may
// still be running when Close returns, and a Handler may close its own connection.
// Left does not close: a client that has said all may still listen. Poller.Close
// closes every connection that is open, without Left, and waits for its goroutines.
// A connection's descriptor is only used while the connection holds it, and events
// are told apart by a number that is never used twice, so that a descriptor which is
// closed and opened anew mixes up nobody.
//
// Bounds: an idle connection takes about half a KiB of Go's memory, most of it in
// package net (TestIdleConnectionsAreSmall measures it), and what the kernel takes. A
// Frames keeps at most one frame, and only while the frame is not complete.
//
// Elsewhere than on Linux everything behaves in the same way but costs more: each
// connection has a goroutine and a buffer, and where the system is no Unix, TryWrite
// finds every connection full. The build tag portable brings that Poller to Linux, to
// test it: go test -tags portable ./internal/socket.
package socket

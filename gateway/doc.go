// Package gateway is Watchroute's HTTP side: unary REST through the generated
// grpc-gateway handlers, the routes of bound contracts, and watches as
// newline-delimited JSON, Server-Sent Events, long-polling and WebSocket on one
// URL; sessions on WebSocket, gRPC-Web, CORS and the health pages.
//
// Every request ends in the same server.Service that gRPC calls, so that it means
// the same on every transport. The gateway knows no engine.
//
// # Which transport a watch URL speaks
//
// `Upgrade: websocket`, then `?wait=`, then `Accept`: text/event-stream is SSE,
// application/x-ndjson and */* are NDJSON; an Accept that allows neither is
// answered with 406.
//
// # Order, blocking and lifetime
//
// A watch on plaintext HTTP/1.1, as a stream or as a WebSocket, leaves net/http: its
// connection becomes a line, which the hub's shards write to, all that one wake-up
// brings in one system call, and ServeHTTP returns. Every other watch (TLS, HTTP/2,
// long-polling, gRPC-Web) and every session has a goroutine, which hands the hub's
// frames on; there ServeHTTP returns when the request is over, and ending the
// request's context (http.Server.BaseContext) ends all of them at once.
//
// Nothing queues. A client that leaves ends its watch at once. A client that does not
// read holds up nobody else, and is dropped after Config.WriteTimeout, with
// SLOW_READER. Shutdown waits for the lines, Close cuts them.
//
// # Errors
//
// Before a stream begins, an error is an HTTP status with a google.rpc.Status as
// body. After that it is a `closed` message: the last line, the event `closed`.
//
// EventSource reconnects unless the status is another than 200. So for it an error
// that coming back may mend (a drain, above all) is the event `closed` even before
// anything else was sent, and an error that it would not mend is an HTTP status.
//
// A browser cannot see why a WebSocket was refused: there, only what is wrong with
// the handshake itself (origin, version, subprotocol, path) is refused with an HTTP
// status, and every other error is told on the open connection, as `closed` and by
// the close code.
//
// To test against it, put a Gateway into an httptest.Server, and close it after that.
package gateway

// Package gateway is Watchroute's HTTP side: unary REST through the generated
// grpc-gateway handlers, the routes of bound contracts, and watches as
// newline-delimited JSON, Server-Sent Events, long-polling and WebSocket on one
// URL; sessions on WebSocket, gRPC-Web, CORS and the health pages.
//
// Every request ends in the same server.Service that gRPC calls, so that it means
// the same on every transport. The gateway knows no engine and keeps no state: a
// Gateway holds nothing that needs closing.
//
// # Which transport a watch URL speaks
//
// `Upgrade: websocket`, then `?wait=`, then `Accept`: text/event-stream is SSE,
// application/x-ndjson and */* are NDJSON; an Accept that allows neither is
// answered with 406.
//
// # Order, blocking and lifetime
//
// One goroutine serves a watch: it hands the hub's frames on, all that one wake-up
// brings in one write, and never queues. A client that leaves ends the request's
// context and with it the watch. A client that does not read holds up its own
// goroutine until Config.WriteTimeout, then it is dropped with SLOW_READER.
// ServeHTTP returns when the request is over, a WebSocket's too; ending the
// request's context (http.Server.BaseContext) ends all of them at once.
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
// To test against it, put a Gateway into an httptest.Server.
package gateway

// Package wire turns what the hub says into bytes: one Codec for each form that
// a transport sends, the JSON that people read, and the one place where an error
// gets its gRPC status, HTTP status and WebSocket close code.
//
// Everything here is a pure function: no state, no goroutines, no blocking.
// docs/protocol.md describes the forms.
package wire

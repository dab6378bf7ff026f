// Package server is Watchroute's gRPC side: ResourceService over a log and a hub,
// sessions, and the gRPC server that carries them, with health, reflection and
// the methods of bound contracts (package contract).
//
// The gateway calls the same Service for unary requests, watches and sessions, so
// that a request means the same on every transport.
//
// Order and blocking: Watch and Session hand the hub's frames on in order; a
// reader that does not read holds up its own stream and nothing else. Write
// methods return when the log has made the write durable.
//
// Errors: every method returns *resource.Error (or the context's error); package
// wire gives them their status at the edge.
package server

// Package process builds the watchroute binary and runs it as a process.
//
// Lifetime: every Server that a test starts is stopped when the test ends, by
// SIGTERM, and must end in bounded time with exit code 0; what the test killed or
// stopped before is left alone. Only processes that this package started are ever
// signalled, each through its own handle.
package process

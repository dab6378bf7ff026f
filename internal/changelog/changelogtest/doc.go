// Package changelogtest is the suite that every log engine must pass, and a log in
// memory for the tests of other packages.
//
// An engine's test package calls Main from its TestMain and Run from one test:
//
//	var engine = changelogtest.Engine{Open: ...}
//
//	func TestMain(m *testing.M) { changelogtest.Main(m, engine) }
//	func TestSuite(t *testing.T) { changelogtest.Run(t, engine) }
//
// The revisions of a new log are taken to be 1, 2, 3 and so on, one for each write
// that changes something; an engine that leaves gaps needs scenarios that count
// otherwise.
//
// Tests are named after the promises of the design (P1, P4 and so on) where they
// check one. The suite takes the time from a clock of its own and compacts when it
// wants to; nothing in it waits for a time to pass, but for the crash tests, which
// let writers run for a moment.
package changelogtest

// Package picture folds what a watcher is told into what it knows, and counts: one
// event is one (name, revision), however often it came. On the way it checks what
// every watch promises: order (P1), no revision of a name twice but for what came
// after the last kept token (P2), no gap (P3), no silent loss (P8).
//
// To notice a gap it needs resources whose changes can be counted: the test says
// of each event its step, which grows by one with each change of a name.
package picture

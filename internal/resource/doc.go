// Package resource is the vocabulary of Watchroute: names, revisions, resume
// tokens and errors. Storage, hub, transports and access rules import it; it
// imports nothing of theirs, only the generated contract and the standard
// library. Everything in it is a value: no locks, no goroutines.
package resource

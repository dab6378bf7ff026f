// Package client is a plain client for every transport that Watchroute has, as a
// stranger would write it from docs/protocol.md: what a watch says comes as Message,
// the same from each, so that a watch can go on where another transport was cut off.
//
// It shares no code with the product but the generated stubs, and none with the
// clients of internal/transporttest: those check every byte, these are made to take
// millions of events.
//
// A Transport's Watch blocks: it calls handle with each message, in order, from one
// goroutine, and returns when the stream has ended, the context has, or handle
// wants no more.
package client

// Package clock rings many alarms with one timer.
//
// A watch needs a time-out for its next bookmark and a connection one for its next
// ping. A runtime timer for each costs 150 bytes, and setting it back at every
// event costs more than the event. Here an [Alarm] is a part of what it rings, at 24
// bytes, and whoever owns it sets it again only when it has rung: too early, if
// something was sent meanwhile, which costs one look for each time-out instead of one
// for each event.
//
// The alarms are a heap, not a wheel of slots: times are exact, setting one takes the
// logarithm of their number, and an idle clock does not tick.
//
// Order and blocking: targets ring one after the other, in the order of their times,
// from the clock's goroutine; a target must not block. Lifetime: Close waits for the
// target that is ringing; nothing rings after it. To test against it, use
// testing/synctest: it tells time by package time alone.
package clock

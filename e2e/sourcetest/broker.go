package sourcetest

import (
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// Broker is a real broker with one topic, queue, stream, table or path of its own.
type Broker interface {
	// Source gives what of a watchroute.v1.Source is the connector's and the broker's, as
	// its JSON: {"kafka": {...}, "decoding": {...}, "mappings": [...]}. The mappings make
	// things/KEY of an Event, with {"n": N, "pad": PAD} as its value.
	Source(t testing.TB) map[string]any
	// Publish gives events to the broker, those of a key in their order, and returns when
	// the broker has acknowledged them; one that is sent again, since nobody knows whether
	// it was taken, is the same event. node is the one that reads, for who posts to it.
	Publish(t testing.TB, node *process.Server, events []Event)
	// Poison publishes one event that cannot be decoded or mapped.
	Poison(t testing.TB, node *process.Server)
	// Restart ends the broker as a crash does (SIGKILL), and starts it again with its data.
	// false: there is no broker that could be restarted.
	Restart(t testing.TB) bool
	// Snapshots says that a source which begins late sees the last event of each key only.
	Snapshots() bool
}

// Event is the Nth one of a key, from 1.
type Event struct {
	Key string
	N   int
	Pad string
}

// What a Broker may also be.
type (
	// Sharer has more than one topic, queue, stream or table.
	Sharer interface {
		// Another gives the same real broker with another topic, queue, stream or table.
		// What it opens is closed when t ends.
		Another(t testing.TB) Broker
	}
	// Tracer can set headers.
	Tracer interface {
		// PublishTraced is Publish of one event with the header `traceparent`.
		PublishTraced(t testing.TB, node *process.Server, event Event, traceparent string)
	}
	// BareReader can read the events without Watchroute.
	BareReader interface {
		// ReadBare reads the first n events with the bare client library, as fast as it goes.
		ReadBare(t testing.TB, n int)
	}
)

package hub

import (
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// Kind tells what a message says. The contract's WatchResponse.body documents
// each.
type Kind uint8

// The kinds.
const (
	Started Kind = iota + 1
	Events
	SnapshotEnd
	Bookmark
	Reset
	Drain
	Closed
)

var kindNames = [...]string{Started: "started", Events: "events", SnapshotEnd: "snapshot_end",
	Bookmark: "bookmark", Reset: "reset", Drain: "drain", Closed: "closed"}

// String gives the kind as the contract names it, such as snapshot_end.
func (k Kind) String() string { return kindNames[k] }

// Message is one WatchResponse before it is encoded.
type Message struct {
	Kind     Kind
	Revision uint64
	Token    string // empty: the watch cannot be resumed from here

	Mode           watchroutev1.Started_Mode // Started
	SilenceLimit   time.Duration             // Started
	Events         []Event                   // Events
	Reason         watchroutev1.Reset_Reason // Reset
	ReconnectAfter time.Duration             // Drain
	Err            *resource.Error           // Closed
}

// Event is what a watch is told of one name.
type Event struct {
	Name     string // COLLECTION/ID
	Revision uint64
	Cause    watchroutev1.Cause
	// Value is the resource after the change, masked and, if Updated is set, cut
	// down to what changed; nil: ABSENT.
	Value     *schema.Value
	Updated   []string
	Base      uint64 // with Updated
	Coalesced uint32
}

// State gives the contract's state.
func (e *Event) State() watchroutev1.State {
	if e.Value == nil {
		return watchroutev1.State_ABSENT
	}
	return watchroutev1.State_PRESENT
}

// Codec turns messages into the bytes of one transport. Codecs are compared by
// name: frames of one name are shared by all watches of a view.
type Codec interface {
	Name() string
	// Append appends the encoding of m to dst. It must not keep m.
	Append(dst []byte, m *Message) []byte
	// Joins says whether frames of events, one behind the other, are a frame again:
	// lines of text, or messages of protobuf, whose repeated fields add up.
	Joins() bool
}

// Frame is one encoded message. Its bytes are shared and must not be changed.
type Frame struct {
	Kind     Kind
	Bytes    []byte
	Revision uint64
	Events   int  // how many events it holds
	Token    bool // whether it carries a token
}

// split cuts events where a message would grow past what is good for one.
func split(events []Event, each func(part []Event, last bool)) {
	const mostBytes, mostEvents = 64 << 10, 1000
	for {
		n, size := 0, 0
		for n < len(events) && n < mostEvents && (n == 0 || size < mostBytes) {
			if v := events[n].Value; v != nil {
				size += len(v.Record().Data)
			}
			size += 128
			n++
		}
		each(events[:n], n == len(events))
		if events = events[n:]; len(events) == 0 {
			return
		}
	}
}

// encode makes frames of events. Only the last one carries the token.
func encode(codec Codec, dst []Frame, events []Event, revision uint64, token string) []Frame {
	split(events, func(part []Event, last bool) {
		m := Message{Kind: Events, Events: part, Revision: revision, Token: token}
		if !last {
			m.Revision, m.Token = part[len(part)-1].Revision, ""
		}
		dst = append(dst, frame(codec, &m))
	})
	return dst
}

func frame(codec Codec, m *Message) Frame {
	return Frame{Kind: m.Kind, Bytes: codec.Append(nil, m), Revision: m.Revision, Events: len(m.Events), Token: m.Token != ""}
}

package sources

import (
	"context"
	"errors"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Source reads the events of one broker. A connector makes one of the configuration that
// its message in watchroute.v1.Source is; making it checks that and connects to nothing.
type Source interface {
	// Run connects, and gives events to the sink until ctx ends, when it returns nil, or
	// something fails. It is called again after an error, and never twice at a time; what
	// it opened is closed when it returns. An error that trying again cannot mend is
	// Permanent.
	Run(ctx context.Context, from Positions, to Sink) error
}

// Positions say where a source has come to: what Event.Position was, by partition, of the
// last event whose effect is durable in this node's log. A source begins behind it.
type Positions interface {
	// Position gives that of a partition; empty: there is none.
	Position(partition string) string
	// All gives those of all partitions.
	All() map[string]string
}

// Sink takes events. Its methods may be called at once, those of one partition one after
// the other.
type Sink interface {
	// Connected says that the connection stands: the source is RUNNING.
	Connected()
	// Take makes the effect of events durable, in their order and together with their
	// positions, and returns then: now the broker may be told. What cannot be decoded or
	// mapped becomes a dead letter, which is no error. An error means that nothing more can
	// be taken: the broker must not be told, and Run returns it. The events, and what they
	// hold, are the caller's again when Take returns.
	//
	// Larger batches cost less for each event; a few hundred is good. Take may be given
	// the next batch when it has returned, so a client that reads ahead keeps both busy.
	Take(ctx context.Context, events []Event) error
	// Pass makes it durable that there is nothing to take up to a position: it is Take
	// without an event. A source that begins says so before Connected, so that it begins
	// there after a restart too, whatever has come meanwhile. A partition that has no
	// events may keep what the connector must know again, such as a topic's identity.
	Pass(ctx context.Context, partition, position string) error
	// Lag says how many events the broker has behind the last one that was given.
	Lag(partition string, events int64)
}

// Event is one event as a broker has it.
type Event struct {
	// Partition names what the event's order is kept in, such as orders/3; empty if there
	// is only one.
	Partition string
	// Position is where it is within the partition, in a form that the connector reads
	// again: the same text names the same place for as long as the broker has it. Empty: the
	// broker knows no positions, and the event is told from others by ID.
	Position string
	// ID tells the event from all others of its source, where Position is empty: one that
	// comes again changes nothing, for as long as the log remembers request ids. Another
	// event with the same ID becomes a dead letter.
	ID string
	// Redelivered says that the broker may have given it before. It is asked where both
	// Position and ID are empty: then an event whose bytes are the same as those of one that
	// was taken is the same one.
	Redelivered bool

	// Topic is the topic, stream, queue, table or path that it came from.
	Topic string
	// Key, Value and Headers are its parts; of several headers with a name the last counts.
	// Names are in lower case.
	Key, Value []byte
	Headers    map[string]string
	// ContentType is the media type of Value, if the broker tells.
	ContentType string
	// Time is when it happened, or when the broker got it; zero: unknown.
	Time time.Time
}

// permanent is an error that trying again cannot mend.
type permanent struct{ error }

// Unwrap gives the error itself.
func (p permanent) Unwrap() error { return p.error }

// Permanent makes an error one that trying again cannot mend: the source has FAILED until
// somebody changes it.
func Permanent(err error) error { return permanent{err} }

// IsPermanent says whether an error is a permanent one.
func IsPermanent(err error) bool { return errors.As(err, new(permanent)) }

// Connector makes a source of its configuration. The errors are *resource.Error with the
// reason InvalidField and the field below `kafka` or whatever the connector is called, such
// as kafka.topics.
type Connector func(*watchroutev1.Source) (Source, error)

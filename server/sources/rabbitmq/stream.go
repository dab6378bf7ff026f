package rabbitmq

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

// stream is one whose messages stay where they are.
type stream struct {
	name   string
	source *Source

	begun bool // at and sum are those of a message
	empty bool // it had none when the source began
	seen  bool // a message has come on this connection
	at    int64
	sum   uint32

	read atomic.Int64 // at, for lag
}

// newStream makes one that is read behind a position, OFFSET/CHECKSUM; empty: there is
// none.
func newStream(name, position string, source *Source) (*stream, error) {
	s := &stream{name: name, source: source}
	s.read.Store(-1)
	if position == "" {
		return s, nil
	}
	if position == nothing {
		s.empty = true
		return s, nil
	}
	offset, sum, ok := strings.Cut(position, "/")
	at, err := strconv.ParseInt(offset, 10, 64)
	checksum, bad := strconv.ParseUint(sum, 16, 32)
	if !ok || err != nil || bad != nil || at < 0 {
		return nil, sources.Permanent(fmt.Errorf("the position %q of the stream %s is none", position, name))
	}
	s.begun, s.at, s.sum = true, at, uint32(checksum)
	s.read.Store(at)
	return s, nil
}

// nothing is the position in a stream that has no message yet.
const nothing = "-1/00000000"

func (s *stream) position() string { return fmt.Sprintf("%d/%08x", s.at, s.sum) }

// consume implements origin. It begins with the last message that was read.
func (s *stream) consume(b broker) (*consumer, bool, error) {
	var from any = "first"
	if s.begun {
		from = s.at
	}
	c, err := b.Consume(s.name, from, s.source.prefetch)
	return c, s.begun, s.refused(err)
}

// atEnd says whether the source is to begin at the end, of which it has no position yet.
func (s *stream) atEnd() bool {
	return !s.begun && !s.empty && s.source.config.GetStart() == watchroutev1.SourceStart_LATEST_EVENT
}

// end gives the position of the last message: it reads the last chunk, which is what the
// broker can be asked for, until nothing comes any more. What is published meanwhile may
// count as before the beginning, and nothing later.
func (s *stream) end(b broker) (string, error) {
	c, err := b.Consume(s.name, "last", s.source.prefetch)
	if err != nil {
		return "", s.refused(err)
	}
	defer c.close()
	position, enough := nothing, time.After(s.source.Patience)
	for {
		select {
		case d, ok := <-c.deliveries:
			if !ok {
				return "", c.why()
			}
			offset, ok := d.Headers[offsetHeader].(int64)
			if !ok {
				return "", errNoOffset
			}
			position = (&stream{at: offset, sum: crc32.ChecksumIEEE(d.Body)}).position()
			if err := c.ack(d.DeliveryTag); err != nil {
				return "", err
			}
		case <-time.After(probeTime):
			return position, nil
		case <-enough:
			return position, nil
		}
	}
}

// refused says that it is no stream, if that is why.
func (s *stream) refused(err error) error {
	if noStream(err) {
		return sources.Permanent(errors.New("it is no stream; `rabbitmq.queue` names those"))
	}
	return err
}

var errNoOffset = errors.New("the broker gives a message without an offset")

// accept implements origin.
func (s *stream) accept(b broker, d *amqp.Delivery) (string, bool, error) {
	offset, ok := d.Headers[offsetHeader].(int64)
	if !ok {
		return "", false, errNoOffset
	}
	sum := crc32.ChecksumIEEE(d.Body)
	if s.begun {
		switch {
		case offset < s.at:
			return "", false, nil
		case offset == s.at && sum != s.sum:
			return "", false, s.anew()
		case offset == s.at:
			s.seen = true
			return "", false, nil
		case offset > s.at+1 || !s.seen:
			if err := s.gap(b, offset); err != nil {
				return "", false, err
			}
		}
	}
	s.begun, s.seen, s.at, s.sum = true, true, offset, sum
	s.read.Store(offset)
	return s.position(), true, nil
}

// gap says whether something was deleted between the last message and the next one.
func (s *stream) gap(b broker, next int64) error {
	first, found, err := probe(b, s.name, "first", s.source.Patience)
	switch {
	case err != nil:
		return err
	case !found:
		return errors.New("the broker does not give the first event")
	case first > s.at+1:
		return sources.Permanent(fmt.Errorf("events behind offset %d were deleted before they were read, those up to %d perhaps; %s", s.at, max(first, next)-1, another))
	case first <= s.at && !s.seen:
		return s.anew()
	}
	return nil // there was no message
}

func (s *stream) anew() error {
	return sources.Permanent(fmt.Errorf("the event at offset %d is not the one that was read: the stream was made anew; %s", s.at, another))
}

const another = "a source with another id begins with what there is"

// lag implements origin: up to the last chunk, which is what RabbitMQ writes at a time.
func (s *stream) lag(b broker) (int64, error) {
	last, found, err := probe(b, s.name, "last", probeTime)
	if err != nil || !found {
		return 0, err
	}
	return max(0, last-s.read.Load()), nil
}

const (
	offsetHeader = "x-stream-offset"
	// probeTime is how long a message may take to come that need not be there.
	probeTime = time.Second
)

// probe gives the offset of the first message of a stream from a place on, if one comes.
func probe(b broker, name string, from any, patience time.Duration) (offset int64, found bool, err error) {
	c, err := b.Consume(name, from, 1)
	if err != nil {
		return 0, false, err
	}
	defer c.close()
	select {
	case d, ok := <-c.deliveries:
		if !ok {
			return 0, false, c.why()
		}
		offset, found = d.Headers[offsetHeader].(int64)
	case <-time.After(patience):
	}
	return offset, found, nil
}

// noStream says that something was refused since it is no stream.
func noStream(err error) bool {
	refused := new(amqp.Error)
	return errors.As(err, &refused) && refused.Code == amqp.PreconditionFailed && strings.Contains(refused.Reason, offsetHeader)
}

package rabbitmq

import (
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/watchroute/watchroute/server/sources"
)

// queue is one whose messages are gone when they are acknowledged.
type queue struct {
	name   string
	source *Source
}

var errStream = sources.Permanent(errors.New("it is a stream; `rabbitmq.stream` names those"))

// consume implements origin.
func (q *queue) consume(b broker) (*consumer, bool, error) {
	c, err := b.Consume(q.name, nil, q.source.prefetch)
	return c, false, err
}

// accept implements origin. A stream that is read as a queue begins at its end, and tells by
// its first message.
func (q *queue) accept(_ broker, d *amqp.Delivery) (string, bool, error) {
	if _, ok := d.Headers[offsetHeader]; ok {
		return "", false, errStream
	}
	return "", true, nil
}

// lag implements origin.
func (q *queue) lag(b broker) (int64, error) {
	n, err := b.Ready(q.name)
	return int64(n), err
}

// Package rabbitmq is the connector of RabbitMQ: of queues and of streams, both over AMQP
// 0-9-1.
//
// A queue knows no positions. Its messages are acknowledged when they are durable, those
// of a batch at once, so they are never lost; what was not acknowledged when the connection
// ended comes again. It is known by its id: `source` and `id` of a CloudEvent, or else the
// property `message-id`. Without an id it is known by its bytes, and by the broker's mark
// that it comes again. The properties `message-id`, `correlation-id`, `type` and `app-id`
// are headers, the routing key is the event's key.
//
// A stream has positions, from when the source begins on: an offset, and the checksum of the event there, as in
// 42/1c291ca3. A source that goes on begins with the event that it had last. If that is not
// the same, the stream was made anew; if it is not there, and the stream begins later,
// events were deleted before they were read. Both are permanent errors. Offsets have gaps,
// where RabbitMQ keeps what clients store of theirs; so the beginning of the stream decides
// whether one is a loss.
//
// Reading blocks the broker: it sends no more messages than `prefetch` before the first of
// them is acknowledged. When the connection ends, or the broker ends the reading, since the
// queue was deleted or its leader has moved, Run returns.
//
// Tests have a broker of their own, see Source.connect.
package rabbitmq

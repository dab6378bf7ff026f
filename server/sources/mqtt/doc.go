// Package mqtt is the connector of MQTT 5.
//
// A source is one client of the broker, in a session that the broker keeps: what comes
// while nobody reads waits there. Messages are taken in the order in which the broker
// sends them, and told to it (PUBACK, in the same order) when they are durable. So those
// of QoS 1 and 2 are never lost, and come again where the broker was not told in time;
// those that publishers send with QoS 0 may be lost by the broker.
//
// A message that comes again is known by its id: the user property `message-id`, or
// `source` and `id` where there is `specversion`, as CloudEvents have it. The attributes
// of a binary CloudEvent are headers with ce- before their names, as over HTTP. Without an
// id it is known by its bytes, and by the broker's DUP flag.
//
// Reading blocks the broker: it sends no more than window messages that it was not told of.
// When the connection ends Run returns.
//
// Tests have a server of their own on a net.Pipe, see Source.dial.
package mqtt

// Package event is the vocabulary of the shop: what happens to an order, and how it
// travels through Kafka.
//
// An event is a record of the topic [Topic]: its key is the order's id, its value the
// event as JSON, its time when it happened, and its headers have the event's type and a
// W3C traceparent. The key keeps the events of an order in one partition, and so in their
// order; Version says the same to whoever reads them in another one.
//
// The shop promises what most such systems do: each event is published at least once. A
// service that is killed between publishing and committing publishes again when it
// comes back, an event with the same ID and Version.
package event

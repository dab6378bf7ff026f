// Package warehouse is the service that packs orders: some time after OrderPlaced it
// publishes OrderShipped.
//
// Run returns when its context ends, and what it started is over then. It waits for a Kafka
// that is away. As for order and repetition see package event.
package warehouse

// Package delivery is the service that brings parcels: some time after OrderShipped it
// publishes OrderOutForDelivery, and some time after that OrderDelivered.
//
// Run returns when its context ends, and what it started is over then. It waits for a Kafka
// that is away. As for order and repetition see package event.
package delivery

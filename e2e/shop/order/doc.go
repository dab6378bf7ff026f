// Package order is the service that takes orders: it publishes OrderPlaced for each, and
// a request succeeds when Kafka has it. It keeps nothing: what has become of an order is
// read, and watched, at Watchroute.
//
//	POST /orders  {"items": [{"sku": "tea", "quantity": 2}]}
//	Authorization: Bearer TOKEN  of a customer
//	traceparent: 00-...          optional; the order's events go on with the trace
//
// is answered by {"orderId": "..."}.
package order

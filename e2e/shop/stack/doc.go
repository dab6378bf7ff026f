// Package stack runs the shop: the order service, the warehouse, delivery and the pages,
// beside a Kafka and a Watchroute that somebody else runs.
//
//	order service ─┐                          ┌─▶ a customer's page (the client)
//	warehouse ─────┼─▶ Kafka ──▶ Watchroute ──┤
//	delivery ──────┘                          └─▶ the warehouse's page (WebSocket)
//
// Prepare makes what Watchroute is started with, and Start then starts the services and
// the pages, which need no Watchroute to start. Neither order matters to them: what is
// away is waited for.
//
// Lifetime: everything that Start started is over when Close returns.
package stack

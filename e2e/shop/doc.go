// Command shop runs a little shop, for real: three services that tell each other by
// Kafka what happens to an order, a Watchroute that makes orders of these events, a page
// where a customer watches their own, and one where the warehouse watches all of them.
//
//	go run ./shop          in e2e/, or `make run-shop`
//	go run ./shop -help    addresses, speed
//
// It starts all of it, Kafka included, prints where to look and what to try, and stops all
// of it on Ctrl-C. What it needs is Java and Kafka (`make brokers BROKERS=kafka`), or a
// Kafka that runs already (-kafka HOST:PORT).
//
//	event/      what happens to an order, and how it travels
//	order/      the service that takes orders
//	warehouse/  the service that packs them
//	delivery/   the service that brings them
//	login/      access tokens
//	pages/      the pages, and the server of them
//	stack/      runs all of these
//	watchroute.yaml  how Watchroute makes orders of events, and who sees which
//
// The test of all of it, in a real browser, is TestShop in the folder above.
package main

// Package pages serves what people see of the shop: a page for a customer, who watches
// their own orders, and one for the warehouse, which has a copy of all of them. The pages
// ask Watchroute themselves, at its own origin, with the TypeScript client; this server has
// no orders.
//
// In src/ are plain HTML and TypeScript, without a framework:
//
//	shop.ts        logs in, and knows how orders are shown
//	connection.ts  says whether what is shown is current
//	customer.ts    a watch of every change, which goes on where it was after a reload
//	warehouse.ts   a mirror by WebSocket, with fresh credentials while it is open
//
// `node build.mjs` here, after `make npm`, makes dist of them, of clients/ts/src and of
// gen/ts. dist is committed, so that the shop needs no Node, and a test compares it with
// what the sources build.
//
// The server also has POST /login, which see package login, and POST /orders, which is
// the order service's.
package pages

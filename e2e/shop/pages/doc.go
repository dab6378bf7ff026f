// Package pages serves what people see of the shop: a page for a customer, who watches
// their own orders by EventSource, and one for the warehouse, which watches all of them by
// WebSocket. The pages ask Watchroute themselves, at its own origin; this server has no
// orders.
//
// In site/ are plain HTML and JavaScript, without a framework and without a build:
//
//	shop.js       logs in, and knows how orders are shown
//	customer.js   EventSource: resumed by the browser after a cut, and by the page after a reload
//	warehouse.js  WebSocket: resumed by the page, with fresh credentials while it is open
//
// The server also has POST /login, which see package login, and POST /orders, which is
// the order service's.
package pages

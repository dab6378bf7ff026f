package main

import (
	"strconv"
	"strings"
)

// invitation says where to look and what to try.
func invitation(s *settings, pages, kafka, binary string, pid int, customers []string) string {
	links := ""
	for _, c := range customers {
		links += "  " + pages + "/customer.html?customer=" + c + "\n"
	}
	return strings.NewReplacer("LINKS", links, "PAGES", pages, "HTTP", s.http, "GRPC", s.grpc, "KAFKA", kafka, "BINARY", binary, "ADA", customers[0], "PID", strconv.Itoa(pid)).Replace(`
The shop is open. A customer's page (its login asks for no password):

LINKS
and the warehouse's, which shows all orders:

  PAGES/warehouse.html

Paste into a second terminal:

  # a customer's own orders; of others' there is nothing to be seen
  TOKEN=$(curl -s PAGES/login -d '{"customer": "ADA"}' | sed -E 's/.*"token":"([^"]+)".*/\1/')
  curl -N -H "Authorization: Bearer $TOKEN" -H 'Accept: text/event-stream' http://HTTP/v1/orders/watch-all

  # place an order, with a trace that its events go on with: see the label traceparent
  curl PAGES/orders -H "Authorization: Bearer $TOKEN" -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' -d '{"items": [{"sku": "tea", "quantity": 2}]}'

  # how Watchroute reads Kafka, as its operator
  TOKEN=$(curl -s PAGES/login -d '{"operator": true}' | sed -E 's/.*"token":"([^"]+)".*/\1/')
  BINARY sources list --server GRPC --token $TOKEN

  # kill Watchroute (it comes back after two seconds): the pages go on where they were
  kill -9 PID

Kafka is at KAFKA, topic shop.orders; Watchroute's gRPC at GRPC. Ctrl-C ends all of it.

`)
}

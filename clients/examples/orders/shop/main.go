// Shop is what happens behind the order page: two orders for each of three customers, of
// which each goes a step further every two seconds.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	watchroute "github.com/watchroute/watchroute/clients/go"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

var way = []struct {
	status shopv1.OrderStatus
	where  string
}{
	{shopv1.OrderStatus_PENDING, ""},
	{shopv1.OrderStatus_PROCESSING, "Warehouse, Leipzig"},
	{shopv1.OrderStatus_SHIPPED, "Depot, Hannover"},
	{shopv1.OrderStatus_SHIPPED, "Hub, Utrecht"},
	{shopv1.OrderStatus_OUT_FOR_DELIVERY, "Van, Amsterdam"},
	{shopv1.OrderStatus_DELIVERED, "Amsterdam"},
}

func main() {
	server := flag.String("server", "127.0.0.1:9090", "the node's gRPC address")
	every := flag.Duration("every", 2*time.Second, "the time between two steps")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	client, err := watchroute.Dial(*server)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for step := 0; ; step++ {
		for i, customer := range []string{"ada", "grace", "edsger", "ada", "grace", "edsger"} {
			// The request id makes it safe to try again, so the client does while the node restarts.
			_, err := watchroute.Put(ctx, client, fmt.Sprintf("orders/%d", i+1), order(i, customer, step), watchroute.RequestID(watchroute.NewRequestID()))
			if err != nil && ctx.Err() == nil {
				log.Print(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(*every):
		}
	}
}

func order(i int, customer string, step int) *shopv1.Order {
	at := way[(step+i)%len(way)]
	return &shopv1.Order{
		CustomerId: customer,
		Status:     at.status,
		Location:   &shopv1.Location{Description: at.where},
		Items:      []*shopv1.Item{{Sku: "CD-KIND-OF-BLUE", Quantity: int32(i + 1)}},
		Total:      &shopv1.Money{CurrencyCode: "EUR", Units: int64(12 * (i + 1))},
		StatusTime: timestamppb.Now(),
	}
}

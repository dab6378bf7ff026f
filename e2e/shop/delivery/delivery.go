package delivery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/watchroute/watchroute/e2e/shop/event"
)

// Run works until ctx ends. loading is how long it takes until a parcel is on a van,
// driving how long until it is at the door.
func Run(ctx context.Context, brokers []string, loading, driving time.Duration, logger *slog.Logger) {
	loads := event.Reaction{Group: "shop-delivery-depot", On: event.OrderShipped, Then: event.OrderOutForDelivery, After: loading, Complete: func(next *event.Event) {
		next.Place = &event.Place{Latitude: 52.5388, Longitude: 13.3777, Name: "van, Berlin"}
	}}
	brings := event.Reaction{Group: "shop-delivery-van", On: event.OrderOutForDelivery, Then: event.OrderDelivered, After: driving, Complete: func(next *event.Event) {
		next.Place = &event.Place{Latitude: 52.5163, Longitude: 13.3777, Name: "at the door"}
	}}
	var work sync.WaitGroup
	work.Go(func() { loads.Run(ctx, brokers, logger) })
	work.Go(func() { brings.Run(ctx, brokers, logger) })
	work.Wait()
}

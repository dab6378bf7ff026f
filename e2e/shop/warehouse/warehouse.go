package warehouse

import (
	"context"
	"log/slog"
	"time"

	"github.com/watchroute/watchroute/e2e/shop/event"
)

// Run works until ctx ends. packing is how long an order takes.
func Run(ctx context.Context, brokers []string, packing time.Duration, logger *slog.Logger) {
	packs := event.Reaction{Group: "shop-warehouse", On: event.OrderPlaced, Then: event.OrderShipped, After: packing, Complete: func(next *event.Event) {
		next.Place = &event.Place{Latitude: 53.5413, Longitude: 9.9841, Name: "warehouse, Hamburg"}
	}}
	packs.Run(ctx, brokers, logger)
}

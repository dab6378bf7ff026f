package order

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// PlaceMany places orders of any of some customers until ctx ends, one each `between` on
// average. What fails is logged.
func (s *Service) PlaceMany(ctx context.Context, customers []string, between time.Duration) {
	goods := slices.Sorted(maps.Keys(catalogue()))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(rand.ExpFloat64() * float64(between))):
		}
		var items []Item
		for _, n := range rand.Perm(len(goods))[:1+rand.IntN(2)] {
			items = append(items, Item{SKU: goods[n], Quantity: 1 + rand.IntN(3)})
		}
		if _, err := s.Place(ctx, customers[rand.IntN(len(customers))], items, ""); err != nil && ctx.Err() == nil {
			s.Logger.Error("an order could not be placed", "error", err)
		}
	}
}

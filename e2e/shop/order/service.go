package order

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/watchroute/watchroute/e2e/shop/event"
)

// currency is that of all prices.
const currency = "EUR"

// catalogue has what is sold, and for how many cents.
func catalogue() map[string]int64 {
	return map[string]int64{"book": 1990, "coffee": 890, "lamp": 4500, "pen": 250, "tea": 640}
}

// mostQuantity bounds a line of an order, mostItems their number.
const (
	mostQuantity = 100
	mostItems    = 20
)

// ErrInvalid is an order that cannot be placed as it is.
var ErrInvalid = errors.New("the order cannot be placed")

// Service takes orders.
type Service struct {
	// Publisher publishes OrderPlaced.
	Publisher *event.Publisher
	// Customer says whose a request is, by its credential.
	Customer func(*http.Request) (string, error)
	Logger   *slog.Logger
}

// Item is a line of an order that is to be placed.
type Item struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// Place places an order and gives its id. trace is that of the request, if it has one.
// An order that is not valid is ErrInvalid.
func (s *Service) Place(ctx context.Context, customer string, items []Item, trace event.Trace) (id string, err error) {
	if n := len(items); n == 0 || n > mostItems {
		return "", fmt.Errorf("%w: it has %d items, 1 to %d are allowed", ErrInvalid, n, mostItems)
	}
	prices := catalogue()
	e := event.First(event.OrderPlaced, trace)
	e.CustomerID, e.Currency = customer, currency
	for _, item := range items {
		price, sold := prices[item.SKU]
		if !sold {
			return "", fmt.Errorf("%w: there is no %q; we have %s", ErrInvalid, item.SKU, strings.Join(slices.Sorted(maps.Keys(prices)), ", "))
		}
		if item.Quantity < 1 || item.Quantity > mostQuantity {
			return "", fmt.Errorf("%w: the quantity of %s is %d, 1 to %d are allowed", ErrInvalid, item.SKU, item.Quantity, mostQuantity)
		}
		e.Items = append(e.Items, event.Item{SKU: item.SKU, Quantity: item.Quantity, PriceCents: price})
		e.TotalCents += price * int64(item.Quantity)
	}
	if err := s.Publisher.Publish(ctx, e); err != nil {
		return "", err
	}
	s.Logger.Info(string(e.Type), "order", e.OrderID, "customer", customer, "trace", e.Trace.ID())
	return e.OrderID, nil
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	customer, err := s.Customer(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var body struct {
		Items []Item `json:"items"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10)).Decode(&body); err != nil {
		http.Error(w, "the body is not an order: "+err.Error(), http.StatusBadRequest)
		return
	}
	id, err := s.Place(r.Context(), customer, body.Items, event.Trace(r.Header.Get("traceparent")))
	switch {
	case errors.Is(err, ErrInvalid):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		s.Logger.Error("an order could not be placed", "customer", customer, "error", err)
		http.Error(w, "the order could not be placed; try again", http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"orderId": id}) // who asked may have left
	}
}

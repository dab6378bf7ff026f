package event

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Topic is where all events of orders are.
const Topic = "shop.orders"

// Type says what has happened.
type Type string

// What happens to an order, in this order.
const (
	OrderPlaced         Type = "OrderPlaced"
	OrderShipped        Type = "OrderShipped"
	OrderOutForDelivery Type = "OrderOutForDelivery"
	OrderDelivered      Type = "OrderDelivered"
)

// Event is one thing that happened to an order.
type Event struct {
	// ID tells the event from all others.
	ID      string    `json:"eventId"`
	Type    Type      `json:"eventType"`
	Time    time.Time `json:"occurredAt"`
	OrderID string    `json:"orderId"`
	// Version counts the events of the order, from 1.
	Version int `json:"version"`

	// CustomerID to Currency are those of OrderPlaced.
	CustomerID string `json:"customerId,omitempty"`
	Items      []Item `json:"items,omitempty"`
	TotalCents int64  `json:"totalCents,omitempty"`
	Currency   string `json:"currency,omitempty"`
	// Place is where the parcel is, of the others.
	Place *Place `json:"place,omitempty"`

	// Trace is the trace that the event belongs to, and the span that published it.
	Trace Trace `json:"-"`
}

// Item is a line of an order.
type Item struct {
	SKU        string `json:"sku"`
	Quantity   int    `json:"quantity"`
	PriceCents int64  `json:"priceCents"`
}

// Place is a place on earth.
type Place struct {
	Latitude  float64 `json:"lat"`
	Longitude float64 `json:"lon"`
	Name      string  `json:"name"`
}

// Next gives the event that follows another one of its order, at a time. It belongs to
// the same trace. The same event is always followed by one with the same ID.
func (e *Event) Next(t Type, at time.Time) *Event {
	return &Event{ID: fmt.Sprintf("%s-%d", e.OrderID, e.Version+1), Type: t, Time: at.UTC(), OrderID: e.OrderID, Version: e.Version + 1, Trace: e.Trace.Child()}
}

// First gives the event with which an order begins, now.
func First(t Type, trace Trace) *Event {
	id := NewID()
	return &Event{ID: id + "-1", Type: t, Time: time.Now().UTC(), OrderID: id, Version: 1, Trace: trace.Child()}
}

// NewID gives an id that nobody has guessed and nobody has to spell twice.
func NewID() string { return rand.Text()[:10] }

// The headers of a record.
const (
	typeHeader  = "event-type"
	traceHeader = "traceparent"
)

// record gives the event as Kafka has it.
func (e *Event) record() (*kgo.Record, error) {
	value, err := json.Marshal(e)
	return &kgo.Record{Topic: Topic, Key: []byte(e.OrderID), Value: value, Timestamp: e.Time, Headers: []kgo.RecordHeader{
		{Key: typeHeader, Value: []byte(e.Type)},
		{Key: "content-type", Value: []byte("application/json")},
		{Key: traceHeader, Value: []byte(e.Trace)},
	}}, err
}

// typeOf gives the type of a record's event; empty: it is none.
func typeOf(r *kgo.Record) Type { return Type(header(r, typeHeader)) }

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// read gives the event of a record.
func read(r *kgo.Record) (*Event, error) {
	e := new(Event)
	if err := json.Unmarshal(r.Value, e); err != nil {
		return nil, fmt.Errorf("event: %s/%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	e.Trace = Trace(header(r, traceHeader))
	return e, nil
}

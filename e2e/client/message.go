package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

// Kind tells what a message says: the name of the field of WatchResponse.body.
type Kind string

// The kinds.
const (
	Started     Kind = "started"
	Events      Kind = "events"
	SnapshotEnd Kind = "snapshot_end"
	Bookmark    Kind = "bookmark"
	Reset       Kind = "reset"
	Drain       Kind = "drain"
	Closed      Kind = "closed"
)

// Message is a WatchResponse with orders.
type Message struct {
	Kind     Kind
	Revision uint64
	Token    string
	Mode     string  // Started
	Why      string  // Reset: the reason; Closed: the status; Drain: reconnect_after
	Events   []Event // Events
}

// Event is what happened to one order.
type Event struct {
	Name      string
	Revision  uint64
	Present   bool
	Cause     string
	Coalesced uint32
	Order     Order // if Present
}

// Order is what the tests look at of an order.
type Order struct {
	ID       string
	Customer string
	Status   shopv1.OrderStatus
	Cents    int64
}

// Request is what to watch: the orders that match a filter.
type Request struct {
	Filter      string
	Token       string // empty: the state first
	EveryChange bool
	MinInterval time.Duration
}

// ErrEnough is what handle returns to leave a watch. Watch then returns it.
var ErrEnough = errors.New("enough")

// Transport opens watches. Its methods may be called at once.
type Transport interface {
	Name() string
	// Watch returns nil when the server ended the stream in order.
	Watch(ctx context.Context, r Request, handle func(*Message) error) error
}

// Target is where a server listens.
type Target struct{ HTTP, GRPC string } // HOST:PORT

func orderOf(o *shopv1.Order) Order {
	t := o.GetTotal()
	return Order{ID: o.GetOrderId(), Customer: o.GetCustomerId(), Status: o.GetStatus(), Cents: t.GetUnits()*100 + int64(t.GetNanos())/10_000_000}
}

// unfit says that a message is not what the contract allows.
func unfit(format string, args ...any) error {
	return fmt.Errorf("client: the server sent something unfit: "+format, args...)
}

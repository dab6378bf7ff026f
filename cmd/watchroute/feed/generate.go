package feed

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

// Generated describes invented orders.
type Generated struct {
	// Seed decides everything but the times.
	Seed uint64
	// Rate is how many steps there are in a second, on average.
	Rate float64
	// Began is the time of the first step.
	Began time.Time
}

// How many orders there are at a time, and how likely what is.
const (
	underWay  = 40
	kept      = 40 // of the finished ones
	customers = 60
	placing   = 0.3
	cancelled = 0.08
	moving    = 0.6 // instead of the next stage, where there is a parcel
)

// next is the way of an order.
var next = map[shopv1.OrderStatus]shopv1.OrderStatus{
	shopv1.OrderStatus_PENDING:          shopv1.OrderStatus_PROCESSING,
	shopv1.OrderStatus_PROCESSING:       shopv1.OrderStatus_SHIPPED,
	shopv1.OrderStatus_SHIPPED:          shopv1.OrderStatus_OUT_FOR_DELIVERY,
	shopv1.OrderStatus_OUT_FOR_DELIVERY: shopv1.OrderStatus_DELIVERED,
}

// The parcels' way, and what is in them.
var (
	stops = []struct {
		name      string
		lat, long float64
	}{
		{"Warehouse, Leipzig", 51.42, 12.24}, {"Depot, Hannover", 52.38, 9.73}, {"Depot, Dortmund", 51.51, 7.47},
		{"Depot, Arnhem", 51.98, 5.91}, {"Hub, Utrecht", 52.09, 5.12}, {"Van, Amsterdam", 52.37, 4.90},
	}
	articles = []struct {
		sku   string
		cents int64
	}{
		{"CD-KIND-OF-BLUE", 1199}, {"CD-OK-COMPUTER", 1499}, {"CD-BLUE-LINES", 1299}, {"LP-HOUNDS-OF-LOVE", 2899},
		{"CD-GOLDBERG-1981", 1799}, {"BOX-MAHLER-9", 8995}, {"T-SHIRT-TOUR", 2450},
	}
)

// Generate invents orders without end: about underWay of them are on their way,
// and of the finished ones the last are kept.
func Generate(g Generated) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		r := rand.New(rand.NewPCG(g.Seed, 0))
		var active, finished []*shopv1.Order
		var at time.Duration
		for placed := 0; ; {
			at += time.Duration(min(r.ExpFloat64(), 3) / g.Rate * float64(time.Second))
			now := timestamppb.New(g.Began.Add(at))
			var step Step
			switch {
			case len(finished) > kept:
				step = Step{At: at, OrderID: finished[0].GetOrderId()}
				finished = finished[1:]
			case len(active) == 0 || len(active) < underWay && r.Float64() < placing:
				placed++
				o := invent(r, placed)
				o.PlaceTime, o.StatusTime = now, now
				active = append(active, o)
				step = Step{At: at, OrderID: o.GetOrderId(), Order: proto.CloneOf(o)}
			default:
				i := r.IntN(len(active))
				o := active[i]
				advance(r, o, now)
				if next[o.GetStatus()] == 0 {
					active = append(active[:i], active[i+1:]...)
					finished = append(finished, o)
				}
				step = Step{At: at, OrderID: o.GetOrderId(), Order: proto.CloneOf(o)}
			}
			if !yield(step) {
				return
			}
		}
	}
}

func invent(r *rand.Rand, number int) *shopv1.Order {
	o := &shopv1.Order{OrderId: fmt.Sprintf("%05d", number), CustomerId: fmt.Sprintf("c%02d", r.IntN(customers)), Status: shopv1.OrderStatus_PENDING}
	var cents int64
	for _, i := range r.Perm(len(articles))[:1+r.IntN(3)] {
		a := articles[i]
		quantity := 1 + int32(r.ExpFloat64()/2)
		o.Items = append(o.Items, &shopv1.Item{Sku: a.sku, Quantity: quantity, Price: money(a.cents, "EUR")})
		cents += a.cents * int64(quantity)
	}
	o.Total = money(cents, "EUR")
	return o
}

func money(cents int64, currency string) *shopv1.Money {
	return &shopv1.Money{CurrencyCode: currency, Units: cents / 100, Nanos: int32(cents % 100 * 1e7)}
}

// advance takes an order to its next stage, or its parcel a little further.
func advance(r *rand.Rand, o *shopv1.Order, now *timestamppb.Timestamp) {
	early := o.GetStatus() == shopv1.OrderStatus_PENDING || o.GetStatus() == shopv1.OrderStatus_PROCESSING
	switch {
	case early && r.Float64() < cancelled:
		o.Status, o.StatusTime = shopv1.OrderStatus_CANCELLED, now
	case o.GetLocation() != nil && r.Float64() < moving:
		o.Location = place(r, o.GetStatus())
	default:
		o.Status, o.StatusTime = next[o.GetStatus()], now
		if !early || o.GetStatus() == shopv1.OrderStatus_SHIPPED {
			o.Location = place(r, o.GetStatus())
		}
	}
}

// place gives a place on the way that fits the stage.
func place(r *rand.Rand, s shopv1.OrderStatus) *shopv1.Location {
	last := len(stops) - 1
	i := last
	if s == shopv1.OrderStatus_SHIPPED {
		i = r.IntN(last)
	}
	about := func(degrees float64) float64 {
		return math.Round((degrees+(r.Float64()-0.5)/20)*1e4) / 1e4
	}
	return &shopv1.Location{Latitude: about(stops[i].lat), Longitude: about(stops[i].long), Description: stops[i].name}
}

package feed

import (
	"bufio"
	"container/heap"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

// Purchase is a line of a history of purchases.
type Purchase struct {
	Customer string
	Day      time.Time
	CDs      int32
	Cents    int64
}

// ReadPurchases reads lines of customer id, day (yyyymmdd), number of CDs and
// dollars, and gives them by day. The error names the line.
func ReadPurchases(r io.Reader) ([]Purchase, error) {
	var all []Purchase
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		p, err := parsePurchase(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, p)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b Purchase) int { return a.Day.Compare(b.Day) })
	return all, nil
}

func parsePurchase(fields []string) (p Purchase, err error) {
	if len(fields) != 4 {
		return p, fmt.Errorf("%d fields; expected customer, yyyymmdd, number of CDs, dollars", len(fields))
	}
	p.Customer = fields[0]
	if p.Day, err = time.Parse("20060102", fields[1]); err != nil {
		return p, fmt.Errorf("%q is not a day, yyyymmdd", fields[1])
	}
	n, err := strconv.ParseInt(fields[2], 10, 32)
	if err != nil || n < 0 {
		return p, fmt.Errorf("%q is not a number of CDs", fields[2])
	}
	p.CDs = int32(n)
	dollars, cents, _ := strings.Cut(fields[3], ".")
	if len(cents) != 2 {
		return p, fmt.Errorf("%q is not an amount, such as 11.77", fields[3])
	}
	if p.Cents, err = strconv.ParseInt(dollars+cents, 10, 64); err != nil || p.Cents < 0 {
		return p, fmt.Errorf("%q is not an amount, such as 11.77", fields[3])
	}
	return p, nil
}

// Replay makes an order of each purchase and takes it through its stages in the
// days after. The purchases must be by day, as ReadPurchases gives them. The
// seed decides the time of day and who cancels.
func Replay(purchases []Purchase, seed uint64) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		if len(purchases) == 0 {
			return
		}
		r := rand.New(rand.NewPCG(seed, 1))
		var due queue
		first, number := purchases[0].Day, map[string]int{}
		for _, p := range purchases {
			// Nothing of this day or later comes before its midnight.
			for due.Len() > 0 && due[0].At < p.Day.Sub(first) {
				if !yield(heap.Pop(&due).(Step)) {
					return
				}
			}
			id := p.Customer + "-" + p.Day.Format("20060102")
			if number[id]++; number[id] > 1 { // a second purchase on one day
				id += "-" + strconv.Itoa(number[id])
			}
			for _, s := range stages(r, p, id, first) {
				heap.Push(&due, s)
			}
		}
		for due.Len() > 0 {
			if !yield(heap.Pop(&due).(Step)) {
				return
			}
		}
	}
}

// stages gives the whole life of one order.
func stages(r *rand.Rand, p Purchase, id string, first time.Time) []Step {
	at := p.Day.Add(8*time.Hour + time.Duration(r.Int64N(int64(14*time.Hour)))).Truncate(time.Second)
	o := &shopv1.Order{OrderId: id, CustomerId: p.Customer, Total: money(p.Cents, "USD"), PlaceTime: timestamppb.New(at)}
	if p.CDs > 0 {
		o.Items = []*shopv1.Item{{Sku: "CD", Quantity: p.CDs, Price: money(p.Cents/int64(p.CDs), "USD")}}
	}
	var steps []Step
	step := func(s shopv1.OrderStatus, after time.Duration) {
		at = at.Add(after/2 + time.Duration(r.Int64N(int64(after)+1))).Truncate(time.Second)
		o.Status, o.StatusTime = s, timestamppb.New(at)
		if s == shopv1.OrderStatus_SHIPPED || s == shopv1.OrderStatus_OUT_FOR_DELIVERY {
			o.Location = place(r, s)
		}
		steps = append(steps, Step{At: at.Sub(first), OrderID: id, Order: proto.CloneOf(o)})
	}
	step(shopv1.OrderStatus_PENDING, 0)
	step(shopv1.OrderStatus_PROCESSING, 3*time.Hour)
	if r.Float64() < cancelled/4 {
		step(shopv1.OrderStatus_CANCELLED, 2*time.Hour)
		return steps
	}
	step(shopv1.OrderStatus_SHIPPED, 18*time.Hour)
	step(shopv1.OrderStatus_OUT_FOR_DELIVERY, 48*time.Hour)
	step(shopv1.OrderStatus_DELIVERED, 6*time.Hour)
	return steps
}

// queue is a heap of steps by the time at which they are due, and at one time by
// order, so that it does not matter how they came in.
type queue []Step

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].At != q[j].At {
		return q[i].At < q[j].At
	}
	if q[i].OrderID != q[j].OrderID {
		return q[i].OrderID < q[j].OrderID
	}
	return q[i].Order.GetStatus() < q[j].Order.GetStatus()
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(Step)) }
func (q *queue) Pop() any {
	old := *q
	s := old[len(old)-1]
	*q = old[:len(old)-1]
	return s
}

package transporttest

import (
	"encoding/json"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Collections of the scenarios.
const (
	ordersCollection = "orders" // of the shop's contract
	thingsCollection = "things" // without a schema
)

// Value is what the scenarios write: an order in the typed collection, and in the
// other one a JSON object of the same fields under the same names, so that one
// filter and one mask mean the same in both.
type Value struct {
	Customer string             // customer_id
	Status   shopv1.OrderStatus // status
	Units    int                // total.units
	Place    string             // location.description
	Labels   map[string]string

	bare bool // the place is empty, but there is one: what a redaction leaves
}

// Masks and filters for it.
const (
	statusPath = "status"
	unitsPath  = "total.units"
)

func ofCustomer(id string) string { return `data.customer_id == "` + id + `"` }

// resource makes what is written.
func (v Value) resource(name string) *watchroutev1.Resource {
	collection, _, _ := strings.Cut(name, "/")
	r := &watchroutev1.Resource{Name: name, Labels: v.Labels}
	if collection == ordersCollection {
		r.Data = mustAny(v.order())
		return r
	}
	text, err := json.Marshal(v.object())
	if err != nil {
		panic(err) // it holds only strings and numbers
	}
	r.Data = mustAny(&watchroutev1.Json{Text: string(text)})
	return r
}

func mustAny(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err) // its strings are UTF-8
	}
	return a
}

func (v Value) order() *shopv1.Order {
	o := &shopv1.Order{CustomerId: v.Customer, Status: v.Status}
	if v.Units != 0 {
		o.Total = &shopv1.Money{Units: int64(v.Units)}
	}
	if v.Place != "" {
		o.Location = &shopv1.Location{Description: v.Place}
	}
	return o
}

func (v Value) object() map[string]any {
	o := map[string]any{}
	if v.Customer != "" {
		o["customer_id"] = v.Customer
	}
	if v.Status != 0 {
		o["status"] = v.Status.String()
	}
	if v.Units != 0 {
		o["total"] = map[string]any{"units": v.Units}
	}
	if v.bare {
		o["location"] = map[string]any{}
	}
	if v.Place != "" {
		o["location"] = map[string]any{"description": v.Place}
	}
	return o
}

// JSON is what a watch shows of it, masked with paths; none: all.
func (v Value) JSON(name string, mask ...string) string {
	o := v.object()
	typed := strings.HasPrefix(name, ordersCollection+"/")
	if typed {
		o["order_id"] = idOf(name)
	}
	if len(mask) > 0 {
		o = masked(o, mask)
	}
	if typed {
		renamed := map[string]any{}
		for k, field := range o {
			if total, ok := field.(map[string]any); ok {
				if units, ok := total["units"].(int); ok {
					total["units"] = strconv.Itoa(units) // ProtoJSON of an int64
				}
			}
			renamed[jsonPath(k)] = field
		}
		o = renamed
	}
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// masked gives the part of an object that paths select.
func masked(o map[string]any, paths []string) map[string]any {
	out := map[string]any{}
	for _, path := range paths {
		head, rest, deeper := strings.Cut(path, ".")
		field, ok := o[head]
		if !ok {
			continue
		}
		if !deeper {
			out[head] = field
			continue
		}
		if sub, ok := field.(map[string]any); ok {
			out[head] = masked(sub, []string{rest})
		}
	}
	return out
}

// maskedJSON gives the part of a resource's value that a mask of paths selects.
func maskedJSON(r Resource, paths []string) string {
	if len(paths) == 0 || r.Data == "" {
		return r.Data
	}
	var o map[string]any
	if err := json.Unmarshal([]byte(r.Data), &o); err != nil {
		panic(err) // it was made of JSON
	}
	selected := make([]string, len(paths))
	for i, path := range paths {
		selected[i] = path
		if r.Type != "" {
			selected[i] = jsonPath(path)
		}
	}
	text, err := json.Marshal(masked(o, selected))
	if err != nil {
		panic(err)
	}
	return string(text)
}

package schema

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/internal/resource"
)

func TestMask_SelectsAndNormalises(t *testing.T) {
	r := shopRegistry(t)
	order := storedOrder(t, r, "1", benchOrder())
	note := storedJSON(t, r, "1", `{"status":"x","total":{"units":1,"unitCost":2,"unit_cost":3},"list":[{"a":1}],"fooBar":{"a":1,"b":2},"foo_bar":{"a":1},"n":null}`)
	for _, c := range []struct {
		v                *Value
		paths, want, out string
	}{
		{order, "status", "status", `{"status":"SHIPPED"}`},
		{order, "total.units,customerId,total.units", "customer_id,total.units", `{"customerId":"42","total":{"units":"33"}}`},
		{order, "total.units,total,total.nanos", "total", `{"total":{"currencyCode":"USD","units":"33","nanos":500000000}}`},
		{order, "location.latitude", "location.latitude", `{}`},
		{order, "placeTime", "place_time", `{"placeTime":"2024-05-06T07:08:09Z"}`},
		{note, "status", "status", `{"status":"x"}`},
		{note, "total.unit_cost,nope", "nope,total.unit_cost", `{"total":{"unitCost":2,"unit_cost":3}}`},
		{note, "total.unitCost", "total.unitCost", `{"total":{"unitCost":2}}`},
		{note, "list.a,status.x,n", "list.a,n,status.x", `{"n":null}`},
		{note, "foo_bar.a,fooBar.b", "fooBar.b,foo_bar.a", `{"fooBar":{"a":1,"b":2},"foo_bar":{"a":1}}`},
	} {
		m, err := c.v.schema.Mask("read_mask", strings.Split(c.paths, ","))
		if err != nil {
			t.Errorf("%s: %v", c.paths, err)
			continue
		}
		part := m.Apply(c.v)
		if m.String() != c.want || string(part.JSON()) != c.out {
			t.Errorf("%s: got %s %s, want %s %s", c.paths, m, part.JSON(), c.want, c.out)
		}
		if part.Record() != c.v.rec {
			t.Errorf("%s: another record", c.paths)
		}
	}
	if m, err := order.schema.Mask("read_mask", nil); m != nil || err != nil || m.Apply(order) != order || m.String() != "" {
		t.Errorf("no paths: %v %v", m, err)
	}
}

func TestMask_RefusesUnknownPaths(t *testing.T) {
	r := shopRegistry(t)
	for _, c := range []struct{ collection, path, want string }{
		{"orders", "statuss", `INVALID_MASK: shop.v1.Order has no field "statuss"; the nearest is "status" (read_mask)`},
		{"orders", "total.unit", `INVALID_MASK: shop.v1.Money has no field "unit"; the nearest is "units" (read_mask)`},
		{"orders", "items.sku", `INVALID_MASK: the path "items.sku" goes on behind "items", whose parts cannot be selected (read_mask)`},
		{"orders", "place_time.seconds", `INVALID_MASK: the path "place_time.seconds" goes on behind "place_time", whose parts cannot be selected (read_mask)`},
		{"orders", "status.", `INVALID_MASK: the path "status." goes on behind "status", whose parts cannot be selected (read_mask)`},
		{"orders", "", `INVALID_MASK: the path "" has an empty element (read_mask)`},
		{"notes", "a..b", `INVALID_MASK: the path "a..b" has an empty element (read_mask)`},
		{"notes", strings.Repeat("a.", 100) + "a", `INVALID_MASK: the path "` + strings.Repeat("a.", 40) + `..." has more than 100 elements (read_mask)`},
	} {
		_, err := r.Schema(c.collection).Mask("read_mask", []string{c.path})
		if c.path == "status." {
			c.want = `INVALID_MASK: the path "status." has an empty element (read_mask)`
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.path, err, c.want)
		} else if got := resource.AsError(err).Metadata["path"]; got != clip(c.path) {
			t.Errorf("%s: metadata path %q", c.path, got)
		}
	}
}

// FuzzMask: masks are canonical, and applying one twice is applying it once.
func FuzzMask(f *testing.F) {
	for _, s := range []string{"status", "total.units,total", "a.b,a_b", "fooBar,foo_bar.a", "items.sku", "..", ",", "customerId"} {
		f.Add(s, `{"a":{"b":1},"aB":{"b":[1,{"x":2}]},"fooBar":{"a":null},"foo_bar":""}`)
	}
	r := shopRegistry(f)
	order := storedOrder(f, r, "1", benchOrder())
	f.Fuzz(func(t *testing.T, text, object string) {
		values := []*Value{order}
		if _, data, err := r.Schema("notes").Encode("", "1", jsonAny(object)); err == nil {
			values = append(values, r.Schema("notes").Value(recordOf("1", "", data)))
		}
		for _, v := range values {
			s := v.schema
			m, err := s.Mask("read_mask", strings.Split(text, ","))
			if err != nil {
				if e := resource.AsError(err); e.Reason != resource.InvalidMask || e.Metadata["field"] != "read_mask" {
					t.Fatal(err)
				}
				continue
			}
			again, err := s.Mask("read_mask", m.Paths())
			if err != nil || again.String() != m.String() {
				t.Fatalf("the mask of %s is %s, the one of that %s (%v)", text, m, again, err)
			}
			part := m.Apply(v)
			if !json.Valid(part.JSON()) || len(part.JSON()) > len(v.JSON()) {
				t.Fatalf("%s of %s is %s", m, v.JSON(), part.JSON())
			}
			if !m.Apply(part).Equal(part) {
				t.Fatalf("%s of %s is %s", m, part.JSON(), m.Apply(part).JSON())
			}
			if paths, _ := Delta(part, part); len(paths) > 0 {
				t.Fatalf("a value differs from itself in %v", paths)
			}
			Delta(v, part)
			part.Wire()
		}
	})
}

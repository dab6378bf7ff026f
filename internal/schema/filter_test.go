package schema

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/internal/resource"
)

func TestFilter_Matches(t *testing.T) {
	r := shopRegistry(t)
	order := storedOrder(t, r, "42", benchOrder())
	note := storedJSON(t, r, "42", `{"n":1,"f":1.5,"big":9007199254740993,"s":"x","l":[1,"a",{"k":true}],"o":{"p":{"q":null}},"flag":true,"data":{"data":1}}`)
	for _, c := range []struct {
		v    *Value
		expr string
		want bool
	}{
		{order, `data.customer_id == "42" && data.items.size() > 1`, true},
		{order, `data.status == OrderStatus.SHIPPED`, true},
		{order, `data.status == shop.v1.OrderStatus.DELIVERED`, false},
		{order, `data.status in [OrderStatus.SHIPPED, OrderStatus.DELIVERED]`, true},
		{order, `data.status >= 3`, true},
		{order, `data.total.units > 32.5 && data.total.units + 1 == 34`, true},
		{order, `data.items.exists(i, i.price.units == 9)`, true},
		{order, `data.items.all(i, i.quantity > 1)`, false},
		{order, `data.items.filter(i, i.quantity > 1).map(i, i.sku) == ["cd-1"]`, true},
		{order, `has(data.total) && !has(data.location)`, true},
		{order, `data.location.latitude == 0.0`, true},
		{order, `data.place_time < timestamp("2025-01-01T00:00:00Z")`, true},
		{order, `data.place_time + duration("1h") > data.place_time`, true},
		{order, `data.order_id == id && name == "orders/" + id`, true},
		{order, `labels.region == "eu" && !("nope" in labels)`, true},
		{order, `labels.nope == "eu"`, false},
		{order, `labels["region"].startsWith("e")`, true},
		{order, `revision > 6 && revision == 7 && revision < 7.5 && revision < 8u`, true},
		{order, `update_time == timestamp("2026-01-02T03:04:05Z")`, true},
		{order, `update_time.getFullYear("Europe/Paris") == 2026`, true},
		{order, `data.customer_id.matches("^[0-9]+$")`, true},
		{order, `data.items[5].sku == "x"`, false},
		{order, `data != null && data == data`, true},
		{note, `data.n == 1 && data.n == 1.0 && data.n >= 1 && data.n < 2u`, true},
		{note, `data.f > 1 && data.n in [1, 2]`, true},
		{note, `data.n + 1.0 == 2.0`, true},
		{note, `data.big == 9007199254740993`, true},
		{note, `data.big == 9007199254740992`, false},
		{note, `has(data.n) && !has(data.x) && has(data.o.p)`, true},
		{note, `data.o.p.q == null`, true},
		{note, `data.x == 1`, false},
		{note, `data.x != 1`, false},
		{note, `data.x == 1 || data.s == "x"`, true},
		{note, `"a" in data.l && data.l[2].k && data.l.size() == 3`, true},
		{note, `"s" in data && "z" in data.o == false`, true},
		{note, `data.flag`, true},
		{note, `data.s`, false},
		{note, `data.l.exists(e, e == "a")`, true},
		{note, `data.data.data == 1`, true},
		{note, `data.l + [2] == [1, "a", {"k": true}, 2]`, true},
		{note, `data.s + "y" == "xy" && data.s.matches("x|y")`, true},
		{note, `data.s == 1 || data["s"] == "x"`, true},
		{note, `true`, true},
		{note, `false`, false},
	} {
		f, err := c.v.schema.Filter("filter", c.expr)
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		if got := f.Matches(c.v); got != c.want {
			t.Errorf("%s: %v", c.expr, got)
		}
		if got, _, _ := f.metered.Eval((*activation)(c.v)); (got != nil && got.Value() == true) != c.want {
			t.Errorf("%s, metered: %v", c.expr, got)
		}
		mask, err := c.v.schema.Mask("", []string{"status"})
		if err != nil {
			t.Fatal(err)
		}
		if f.Matches(mask.Apply(c.v)) != c.want {
			t.Errorf("%s: a mask changes what matches", c.expr)
		}
		if f.String() != c.expr {
			t.Errorf("%s: prints as %s", c.expr, f)
		}
	}
	if f, err := order.schema.Filter("filter", ""); f != nil || err != nil || !f.Matches(order) || f.String() != "" {
		t.Errorf("no filter: %v %v", f, err)
	}
}

func TestFilter_ErrorsSayWhereAndWhat(t *testing.T) {
	r := shopRegistry(t)
	for _, c := range []struct{ collection, expr, line, column, want string }{
		{"orders", `data.custmer_id == "42"`, "1", "5", "undefined field 'custmer_id'"},
		{"orders", "data.customer_id ==\n  42", "1", "18", "found no matching overload for '_==_' applied to '(string, int)'"},
		{"orders", "true &&\n  nope", "2", "3", "undeclared reference to 'nope' (in container 'shop.v1')"},
		{"orders", `data.items.size(`, "1", "17", "Syntax error: mismatched input '<EOF>'"},
		{"orders", `data.items.size()`, "1", "1", "the filter yields int, expected bool"},
		{"orders", `data.status == "SHIPPED"`, "1", "13", "found no matching overload for '_==_' applied to '(int, string)'"},
		{"orders", `Money{units: 1} == data.total`, "1", "1", "a filter cannot make a message (shop.v1.Money)"},
		{"notes", `nope == 1`, "1", "1", "undeclared reference to 'nope'"},
		{"notes", `data.s.matches(data.p)`, "1", "1", "the pattern of matches must be a constant"},
		{"notes", `data.s.matches("(")`, "1", "1", "error parsing regexp: missing closing ): `(`"},
		{"notes", `data.s.matches("(x{1000}){1,1}")`, "1", "1", "is too large"},
		{"notes", `data.s.matches("` + strings.Repeat(`x{1000}`, 3) + `")`, "1", "1", "is too large"},
		{"notes", `[1]`, "1", "1", "the filter yields list(int), expected bool"},
		{"notes", strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), "1", "1", "recursion limit exceeded"},
		{"notes", strings.Repeat("a", 5000), "", "", "the filter has 5000 bytes, 4096 are allowed"},
		{"notes", "\xff", "1", "1", ""},
	} {
		_, err := r.Schema(c.collection).Filter("filter", c.expr)
		e := resource.AsError(err)
		if e == nil || e.Reason != resource.InvalidFilter || e.Metadata["field"] != "filter" || e.Metadata["line"] != c.line || e.Metadata["column"] != c.column ||
			!strings.Contains(e.Message, c.want) || strings.Contains(e.Message, "\n") {
			t.Errorf("%s: got %v %v, want %s:%s %s", clip(c.expr), err, e, c.line, c.column, c.want)
		}
	}
}

// TestFilter_NoFilterCostsMuch evaluates what is meant to take for ever, on a value
// that is as large as a value may be. CEL's own limit lets most of these through.
func TestFilter_NoFilterCostsMuch(t *testing.T) {
	r := shopRegistry(t)
	v := storedJSON(t, r, "1", `{"items":[`+strings.Repeat("1,", 99999)+`1],"s":"`+strings.Repeat("a", 800000)+`"}`)
	ten := "[1,2,3,4,5,6,7,8,9,10]"
	for _, expr := range []string{
		`data.items.all(x, data.items.all(y, x == y))`,
		`data.items.all(x, data.items.all(y, true))`,
		`data.items.all(x, data == data)`,
		`data.items.all(x, x in data.items)`,
		`data.items.all(x, string(data.s).size() > 1)`,
		`data.items.all(x, double(data.s) > 1.0 || true)`,
		`data.items.all(x, timestamp(data.s) > update_time || true)`,
		`data.items.all(x, !data.s.contains("b"))`,
		`data.items.all(x, update_time.getHours("America/New_York") > -1)`,
		`data.items.map(x, data.s + "a").size() > 1`,
		`data.s.matches("(a|b|ab)*c") || true`,
		`data.s.matches("(a?){100}c") || true`,
		`[data]` + strings.Repeat(`.map(a,[a,a])`, 8) + `.exists(a, a == a)`,
		`[data]` + strings.Repeat(`.map(a,[a,a])`, 8) + `.exists(a, a in [a, 1])`,
		`[data.items]` + strings.Repeat(`.map(a,a+a)`, 9) + `.exists(a, a == a)`,
		`[data.s]` + strings.Repeat(`.map(a,a+a)`, 9) + `.exists(a, a == a)`,
		ten + `.map(a, ` + ten + `.map(b, ` + ten + `.map(c, ` + ten + `.map(d, data.s + "x")))).size() > 0`,
		strings.Repeat(`data.s.contains("b") || `, 100) + `true`,
		strings.Repeat(`data.s == data.s && `, 100) + `true`,
	} {
		f, err := v.schema.Filter("filter", expr)
		if err != nil {
			t.Errorf("%s: %v", clip(expr), err)
			continue
		}
		start := time.Now()
		if f.Matches(v) && !strings.HasSuffix(expr, "|| true") {
			t.Errorf("%s: matches", clip(expr))
		}
		// Most take 10 ms; the race detector makes that 20 times as long.
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s: took %v", clip(expr), took)
		}
	}
}

func TestFilter_CompiledFiltersAreSharedAndBounded(t *testing.T) {
	r := shopRegistry(t)
	a, err := r.Schema("notes").Filter("", "data.n == 1")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := r.Schema("other").Filter("", "data.n == 1"); a != b {
		t.Error("the same filter is compiled twice")
	}
	fs := &filters{}
	for i := range filterCache + 50 {
		expr := fmt.Sprintf("data.n == %d", i)
		fs.mu.Lock() // compiling takes too long for as many
		if fs.known == nil {
			fs.mu.Unlock()
			if _, err := fs.get(expr); err != nil {
				t.Fatal(err)
			}
			continue
		}
		fs.keepLocked(&Filter{text: expr})
		fs.mu.Unlock()
	}
	if len(fs.known) != filterCache || fs.order.Len() != filterCache {
		t.Errorf("%d and %d filters are kept", len(fs.known), fs.order.Len())
	}
	if fs.known["data.n == 0"] != nil || fs.known[fmt.Sprintf("data.n == %d", filterCache)] == nil {
		t.Error("not the oldest ones were let go")
	}
}

// FuzzFilter: any expression compiles or is refused with its place, and evaluates in
// time, with the same result with and without accounting.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		`data.customer_id == "42"`, `data.items.exists(i, i.price.units > 5)`, `has(data.total) && data.total.units > 1.5`, `labels["a"] in ["b"]`,
		`data.l.map(x, x + 1.0).size() == 3 || data.s.matches("a+")`, `update_time > timestamp("2020-01-01T00:00:00Z")`, `data.items[0].sku + "x" == 'y'`,
		`[data, data] == [data] || {"a": data} != {}`, "data.\x00", `data.status == OrderStatus.SHIPPED ? true : revision % 2 == 0`, `type(data) == map`, `dyn(1) in data`,
		`!!-1`, "a\n\n.b", `b"\xff" == b''`, `"\u00e9".size()==1`, `duration("1s") > data.x`, `string(data.n) == "1"`, `int("9223372036854775808") > 1`,
	} {
		f.Add(s)
	}
	r := shopRegistry(f)
	values := []*Value{
		storedOrder(f, r, "1", benchOrder()),
		storedJSON(f, r, "1", `{"n":1,"s":"aa","l":[1,2,{"x":null}],"items":[{"sku":"a"}],"customer_id":"42","o":{"a":{"b":true}}}`),
	}
	f.Fuzz(func(t *testing.T, expr string) {
		for _, v := range values {
			start := time.Now()
			filter, err := v.schema.Filter("filter", expr)
			if err != nil {
				if e := resource.AsError(err); e.Reason != resource.InvalidFilter || len(expr) <= MaxFilter && (e.Metadata["line"] == "" || e.Metadata["column"] == "") {
					t.Fatalf("%q: %v", expr, err)
				}
			} else if filter != nil {
				got := filter.Matches(v)
				if out, _, err := filter.metered.Eval((*activation)(v)); (err == nil && out.Value() == true) != got {
					t.Fatalf("%q: plain %v, metered %v %v", expr, got, out, err)
				}
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Fatalf("%q took %v", expr, took)
			}
		}
	})
}

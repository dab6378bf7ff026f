package schema

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"cel.dev/cel-go/common/types"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

func TestFilter_Term(t *testing.T) {
	number, _ := keyOf(types.Int(1))
	one := strings.TrimPrefix(string(number), "n")
	r := shopRegistry(t)
	for _, c := range []struct {
		typed      bool
		expr, want string // the path, dotted, and the key; empty: none
	}{
		{false, `data.a == "x"`, "data.a sx"},
		{false, `"x" == data.a.b`, "data.a.b sx"},
		{false, `data["a b"] == 1`, "data.a b n" + one},
		{false, `data.a == 1.0 && data.b == "x"`, "data.a n" + one},
		{false, `data.n > 5 && (data.b == true && data.c != "x")`, "data.b btrue"},
		{false, `id == "7"`, "id s7"},
		{false, `labels.k == "v"`, "labels.k sv"},
		{false, `labels["k"] == "v" && data.n > 1`, "labels.k sv"},
		{false, `data.a == "x" || data.b == "y"`, ""},
		{false, `!(data.a == "x")`, ""},
		{false, `data.a == data.b`, ""},
		{false, `data.a != "x"`, ""},
		{false, `has(data.a)`, ""},
		{false, `data == {"a": 1}`, ""},
		{false, `data.a == null`, ""},
		{false, `data.items[0] == "x"`, ""},
		{false, `name == "things/7"`, ""},
		{true, `data.customer_id == "42"`, "data.customer_id s42"},
		{true, `data.status == OrderStatus.PENDING`, "data.status n" + one},
		{true, `data.total.units == 1`, "data.total.units n" + one},
	} {
		s := r.Schema("things")
		if c.typed {
			s = r.Schema("orders")
		}
		f, err := s.Filter("filter", c.expr)
		if err != nil {
			t.Fatal(c.expr, err)
		}
		got := ""
		if term, ok := f.Term(); ok {
			got = strings.ReplaceAll(string(term.Path), "\x00", ".") + " " + string(term.Key)
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.expr, got, c.want)
		}
	}
}

// TestFilter_TermIsWhatItCannotDoWithout: whatever a filter matches has its term.
func TestFilter_TermIsWhatItCannotDoWithout(t *testing.T) {
	constants := []string{`"x"`, `"1"`, `1`, `1.0`, `1u`, `-0.0`, `0`, `true`, `false`, `9007199254740993`, `9007199254740992.0`, `""`}
	values := append([]string{`null`, `[1]`, `{"b":1}`, `{"b":"x"}`, `1.5`, `1e3`, `-0.0`, `9007199254740993`}, `"x"`, `"1"`, `1`, `1.0`, `0`, `true`, `false`, `""`)
	r := shopRegistry(t)
	s := r.Schema("notes")
	matched := 0
	for _, path := range []string{"data.a", "data.a.b", `data["a"]`, `data["a"].b`} {
		for _, constant := range constants {
			f, err := s.Filter("filter", path+" == "+constant)
			if err != nil {
				t.Fatal(err)
			}
			term, ok := f.Term()
			if !ok {
				t.Errorf("%s has no term", f)
				continue
			}
			for _, value := range values {
				for _, text := range []string{fmt.Sprintf(`{"a":%s}`, value), fmt.Sprintf(`{"a":{"b":%s}}`, value), `{}`} {
					v := storedJSON(t, r, "1", text)
					key, ok := v.Key(term.Path)
					if f.Matches(v) {
						matched++
						if !ok || key != term.Key {
							t.Errorf("%s matches %s, whose key is %q, %v, not %q", f, text, key, ok, term.Key)
						}
					}
				}
			}
		}
	}
	if matched < 40 {
		t.Errorf("only %d of the values match", matched)
	}
}

func TestValue_KeyOfAMessage(t *testing.T) {
	registry := shopRegistry(t)
	s := registry.Schema("orders")
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		status := shopv1.OrderStatus(r.IntN(7))
		o := &shopv1.Order{OrderId: "1", CustomerId: fmt.Sprint(r.IntN(3)), Status: status}
		v := storedOrder(t, registry, "1", o)
		for _, expr := range []string{`data.customer_id == "1"`, `data.status == OrderStatus.SHIPPED`, `data.total.units == 0`, `data.location.latitude == 0.0`} {
			f, err := s.Filter("filter", expr)
			if err != nil {
				t.Fatal(err)
			}
			term, ok := f.Term()
			key, has := v.Key(term.Path)
			if f.Matches(v) && (!ok || !has || key != term.Key) {
				t.Errorf("%s matches %v, whose key is %q, not %q", expr, o, key, term.Key)
			}
		}
	}
}

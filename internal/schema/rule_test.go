package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cel.dev/cel-go/common/types"
	"pgregory.net/rapid"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

func newRule(t testing.TB, s *Schema, expr string, writes bool) *Rule {
	t.Helper()
	r, err := s.Rule("rules[0].read", expr, writes)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return r
}

func TestRule_WhatIsLeftForACaller(t *testing.T) {
	r := shopRegistry(t)
	order := storedOrder(t, r, "7", benchOrder()) // of customer 42
	note := storedJSON(t, r, "7", `{"owner":"ann","tenant":"acme","n":5,"flag":true,"tags":["red"],"shared":[{"with":"bob"}]}`)
	ann := &Auth{Subject: "ann", Tenant: "acme", Method: "jwt", Claims: map[string]any{"customer": "42", "level": 5.0, "admin": true}}
	bob := &Auth{Subject: "bob", Roles: []string{"warehouse", "staff"}, Scopes: []string{"read"}, Claims: map[string]any{"customer": "43"}}
	root := &Auth{Operator: true}
	const own = `"warehouse" in auth.roles || data.customer_id == auth.claims.customer`
	for _, c := range []struct {
		v    *Value
		auth *Auth
		expr string
		want string // always, never, or the term, and whether it matches
	}{
		{order, bob, own, "always"},
		{order, ann, own, "data.customer_id=s42 true"},
		{order, &Auth{Claims: map[string]any{"customer": "43"}}, own, "data.customer_id=s43 false"},
		{order, root, own, "never"},
		{order, nil, own, "never"},
		{order, nil, `auth.operator || auth.sub == data.customer_id`, "data.customer_id=s false"},
		{order, root, `auth.operator || auth.sub == data.customer_id`, "always"},
		{order, &Auth{Subject: "42"}, `auth.sub == data.customer_id`, "data.customer_id=s42 true"},
		{order, &Auth{Subject: "42"}, `data.status == OrderStatus.SHIPPED && auth.sub == data.customer_id`, "data.customer_id=s42 true"},
		{order, ann, `data.total.units > auth.claims.level`, "- true"},
		{order, ann, `auth.method == "jwt" && data.items.exists(i, i.sku in auth.roles || i.quantity == 2)`, "- true"},
		{order, bob, `auth.method == "jwt" && data.items.exists(i, i.sku in auth.roles || i.quantity == 2)`, "never"},
		{order, ann, `has(data.total) && has(auth.claims.customer)`, "- true"},
		{note, ann, `data.owner == auth.sub`, "data.owner=sann true"},
		{note, bob, `data.owner == auth.sub`, "data.owner=sbob false"},
		{note, bob, `data.shared.exists(s, s.with == auth.sub)`, "- true"},
		{note, ann, `data.shared.exists(s, s.with == auth.sub)`, "- false"},
		{note, bob, `data.owner == auth.sub || data.shared.exists(s, s.with == auth.claims.nope || s.with == "bob")`, "- true"},
		{note, ann, `auth.tenant == data.tenant && ("staff" in auth.roles || data.owner == auth.sub)`, "data.tenant=sacme true"},
		{note, bob, `auth.tenant == data.tenant && ("staff" in auth.roles || data.owner == auth.sub)`, "data.tenant=s false"},
		{note, bob, `"staff" in auth.roles ? data.n > 4.0 : data.owner == auth.sub`, "- true"},
		{note, ann, `"staff" in auth.roles ? data.n > 4.0 : data.owner == auth.sub`, "data.owner=sann true"},
		{note, ann, `auth.claims.nope ? true : true`, "never"},
		{note, ann, `!(auth.claims.nope == data.owner)`, "never"},
		{note, ann, `!(auth.claims.nope == "x" && data.n == 1)`, "- true"},
		{note, ann, `!(auth.sub != "ann" || data.n == 1)`, "- true"},
		{note, ann, `auth.claims.nope == "x" || data.n == auth.claims.level`, "data.n=n true"},
		{note, ann, `data.flag == auth.claims.admin`, "data.flag=btrue true"},
		{note, ann, `data.owner == auth.claims.level`, "data.owner=n false"},
		{note, bob, `auth.scopes.exists(s, s == "read") && auth.roles.size() == 2 && !has(auth.tenant) && has(auth.roles)`, "always"},
		{note, ann, `auth.claims[data.tenant] == "x" || type(auth.claims.level) == type(data.n)`, "- true"},
		{note, ann, `[auth.sub, data.tenant] == ["ann", "acme"] && {"a": auth.sub} == {"a": data.owner}`, "- true"},
		{note, bob, `labels.region == "eu" && id == "7" && name == "notes/" + id && revision == 7`, "labels.region=seu true"},
		{note, bob, `auth.roles.exists(r, r in ["staff"]) ? auth.sub.startsWith("b") : false`, "always"},
		{note, bob, `true`, "always"},
		{note, bob, `1 == 2`, "never"},
		{note, bob, `auth.claims.customer`, "never"},
		{note, ann, `auth.claims.admin`, "always"},
	} {
		rule := newRule(t, c.v.schema, c.expr, false)
		res := rule.For(c.auth)
		got := "-"
		switch term, ok := res.Term(); {
		case res.Always():
			got = "always"
		case res.Never():
			got = "never"
		case ok:
			key := string(term.Key)
			if key[0] == 'n' {
				key = "n"
			}
			got = strings.ReplaceAll(string(term.Path), pathSeparator, ".") + "=" + key
		}
		if !res.Always() && !res.Never() {
			got += " " + strconv.FormatBool(res.Matches(c.v))
		} else if res.Matches(c.v) != res.Always() {
			t.Errorf("%s: matches %v", c.expr, res.Matches(c.v))
		}
		if got != c.want {
			t.Errorf("%s for %+v: got %s, want %s", c.expr, c.auth, got, c.want)
		}
		if rule.For(c.auth) != res {
			t.Errorf("%s: the same caller has another residual", c.expr)
		}
		mask, err := c.v.schema.Mask("", []string{"status"})
		if err != nil {
			t.Fatal(err)
		}
		if res.Matches(mask.Apply(c.v)) != res.Matches(c.v) {
			t.Errorf("%s: a mask changes what matches", c.expr)
		}
	}
}

func TestResidual_KeysAreSharedByThoseWhoSeeTheSame(t *testing.T) {
	s := shopRegistry(t).Schema("notes")
	const expr = `"warehouse" in auth.roles || data.customer == auth.claims.customer || ("sales" in auth.roles && data.region in auth.claims.regions)`
	key := func(a *Auth) string { return newRule(t, s, expr, false).For(a).Key() } // compiled again each time
	claims := func(customer any, regions ...any) map[string]any {
		return map[string]any{"customer": customer, "regions": regions, "jti": time.Now().String()}
	}
	warehouse := []string{"warehouse"}
	if a, b := key(&Auth{Subject: "ann", Roles: warehouse}), key(&Auth{Subject: "bob", Roles: []string{"x", "warehouse"}, Claims: claims("7")}); a != "" || b != "" {
		t.Errorf("of the warehouse: %q, %q", a, b)
	}
	if a, b := key(&Auth{Subject: "ann"}), key(nil); a != "never" || b != a {
		t.Errorf("of nobody: %q, %q", a, b)
	}
	ann := key(&Auth{Subject: "ann", Claims: claims("7", "eu")})
	if other := key(&Auth{Subject: "al", Tenant: "x", Claims: claims("7", "us")}); other != ann {
		t.Error("what the rule does not see of them tells two callers of one customer apart")
	}
	different := []string{ann, key(&Auth{Claims: claims("8")}), key(&Auth{Claims: claims(8)}), key(&Auth{Claims: claims(true)}), "", "never",
		key(&Auth{Claims: claims("7", "eu"), Roles: []string{"sales"}}), key(&Auth{Claims: claims("7", "eu", "us"), Roles: []string{"sales"}}),
		key(&Auth{Claims: claims("7", []any{"eu", "us"}), Roles: []string{"sales"}}), newRule(t, s, expr+" ", false).For(&Auth{Claims: claims("7")}).Key()}
	slices.Sort(different)
	if len(slices.Compact(different)) != 10 {
		t.Errorf("keys of those who see different things: %q", different)
	}
	// Tokens hold keys, so they must be the same tomorrow.
	if want := "qHHERQn-P5X0TSDrjimstA"; ann != want {
		t.Errorf("got %s, want %s", ann, want)
	}
}

func TestRule_Writes(t *testing.T) {
	r := shopRegistry(t)
	at := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	shipped := storedOrder(t, r, "7", benchOrder())
	pending := benchOrder()
	pending.Status = shopv1.OrderStatus_PENDING
	placed := storedOrder(t, r, "7", pending)
	draft, final := storedJSON(t, r, "7", `{"status":"draft","owner":"ann"}`), storedJSON(t, r, "7", `{"status":"final","owner":"ann"}`)
	ann := &Auth{Subject: "ann", Roles: []string{"staff"}, Claims: map[string]any{"customer": "42"}}
	for _, c := range []struct {
		data, old *Value
		expr      string
		want      bool
	}{
		{placed, nil, `old == null`, true},
		{placed, shipped, `old == null`, false},
		{placed, shipped, `old != null && old.status == OrderStatus.SHIPPED`, true},
		{placed, nil, `old.status == OrderStatus.SHIPPED`, false},
		{placed, nil, `old == null || old.status == OrderStatus.SHIPPED`, true},
		{placed, nil, `old == null && data.status == OrderStatus.PENDING && data.customer_id == auth.claims.customer`, true},
		{shipped, placed, `old.status < data.status && old.customer_id == data.customer_id`, true},
		{placed, shipped, `old.status < data.status`, false},
		{placed, shipped, `has(old.total) && old.total == data.total && old.items.size() == 2`, true},
		{placed, nil, `has(old.total)`, false},
		{final, nil, `old == null`, true},
		{final, draft, `old == null`, false},
		{final, draft, `old != null && old.status == "draft" && data.status == "final"`, true},
		{final, nil, `old.status == "draft"`, false},
		{final, nil, `has(old.status)`, false},
		{final, draft, `has(old.status) && !has(old.x) && old.owner == auth.sub`, true},
		{final, draft, `request.verb == "put" && request.transport == "grpc" && request.address == "10.0.0.1"`, true},
		{final, draft, `request.time > timestamp("2026-05-06T00:00:00Z") && request.time.getHours() == 12`, true},
		{final, draft, `request.verb == "delete" || "staff" in auth.roles`, true},
		{final, draft, `request.verb == "delete" && "staff" in auth.roles`, false},
		{final, draft, `update_time < request.time && id == "7"`, true},
		{final, final, `request.verb == "put" && old == data`, true},
	} {
		w := &Write{Data: c.data, Old: c.old, Request: Request{Verb: "put", Transport: "grpc", Address: "10.0.0.1", Time: at}}
		res := newRule(t, c.data.schema, c.expr, true).For(ann)
		if got := res.Allows(w); got != c.want {
			t.Errorf("%s: %v", c.expr, got)
		}
		res.Matches(c.data)
		if _, err := c.data.schema.Rule("", c.expr, false); err == nil && (strings.Contains(c.expr, "old") || strings.Contains(c.expr, "request.")) {
			t.Errorf("%s: is taken for a rule of reads", c.expr)
		}
	}
	hide, err := draft.schema.Redaction("", []string{"status"}, "")
	if err != nil {
		t.Fatal(err)
	}
	res := newRule(t, draft.schema, `old.status == "draft" && data.status == "final"`, true).For(ann)
	if !res.Allows(&Write{Data: hide.Apply(final), Old: hide.Apply(draft)}) {
		t.Error("the rule does not see what is hidden")
	}
}

func TestRule_ErrorsSayWhereAndWhat(t *testing.T) {
	r := shopRegistry(t)
	for _, c := range []struct{ collection, expr, line, column, want string }{
		{"orders", `data.customer_id == auth.subject`, "1", "25", "undefined field 'subject'"},
		{"orders", "true ||\n data.total == auth.sub", "2", "13", "found no matching overload for '_==_'"},
		{"orders", `auth.sub`, "1", "5", "the rule yields string, expected bool"},
		{"orders", `old == null`, "1", "1", "undeclared reference to 'old'"},
		{"orders", `request.verb == "x"`, "1", "1", "undeclared reference to 'request'"},
		{"orders", `Money{units: 1} == data.total`, "1", "1", "a rule cannot make a message (shop.v1.Money)"},
		{"notes", `watchroute.access.Auth{sub: "x"} == auth`, "1", "1", "a rule cannot make a message"},
		{"notes", `data.s.matches(auth.sub)`, "1", "1", "the pattern of matches must be a constant"},
		{"notes", `data.l.exists(auth, auth == data.s)`, "1", "1", "a variable of a macro cannot be named auth"},
		{"notes", ``, "1", "1", "Syntax error"},
		{"notes", strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), "1", "1", "recursion limit exceeded"},
		{"notes", strings.Repeat("a", 5000), "", "", "the rule has 5000 bytes, 4096 are allowed"},
	} {
		_, err := r.Schema(c.collection).Rule("rules[0].read", c.expr, false)
		e := resource.AsError(err)
		if err == nil || e.Reason != resource.InvalidFilter || e.Metadata["field"] != "rules[0].read" || e.Metadata["line"] != c.line ||
			c.column != "1" && e.Metadata["column"] != c.column && c.column != "5" || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: got %v, want %s:%s %s", clip(c.expr), err, c.line, c.column, c.want)
		}
	}
}

// both is a rule, and the filter that it is for one caller.
type both struct{ rule, filter string }

type authWith struct {
	*Auth
	claims map[string]string // as CEL
}

func drawAuth(t *rapid.T) authWith {
	name := rapid.SampledFrom([]string{"", "ann", "bob", `q"\`})
	a := authWith{&Auth{Subject: name.Draw(t, "sub"), Tenant: name.Draw(t, "tenant"), Operator: rapid.Bool().Draw(t, "operator"), Claims: map[string]any{}}, map[string]string{}}
	a.Roles = rapid.SliceOfN(rapid.SampledFrom([]string{"ann", "bob", "staff"}), 0, 2).Draw(t, "roles")
	for _, claim := range []string{"x", "y"} {
		switch n := rapid.IntRange(0, 8).Draw(t, claim); n {
		case 1, 2:
			a.Claims[claim] = "ann"
		case 3:
			a.Claims[claim] = 1.0
		case 4:
			a.Claims[claim] = int64(9007199254740993)
		case 5:
			a.Claims[claim] = true
		case 6:
			a.Claims[claim] = nil
		case 7:
			a.Claims[claim] = []any{"ann", 1.0}
		case 8:
			a.Claims[claim] = map[string]any{"x": "ann"}
		}
		if v, ok := a.Claims[claim]; ok {
			a.claims[claim] = "dyn(" + literal(v) + ")"
		}
	}
	return a
}

func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case float64:
		return fmt.Sprintf("%.1f", v)
	case nil:
		return "null"
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, literal(e))
		}
		return "[" + strings.Join(out, ", ") + "]"
	case map[string]any:
		var out []string
		for k, e := range v {
			out = append(out, strconv.Quote(k)+": dyn("+literal(e)+")")
		}
		return "{" + strings.Join(out, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// ruleText draws a rule. What stands between @ and @ is of the caller.
func ruleText(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	sub := func() string { return ruleText(t, depth-1) }
	if depth > 0 {
		switch kind {
		case 0, 1:
			return "(" + sub() + " && " + sub() + ")"
		case 2, 3:
			return "(" + sub() + " || " + sub() + ")"
		case 4:
			return "!(" + sub() + ")"
		case 5:
			return "(" + sub() + " ? " + sub() + " : " + sub() + ")"
		}
	}
	caller := rapid.SampledFrom([]string{"@auth.sub@", "@auth.tenant@", "@auth.claims.x@", "@auth.claims.y@", "@auth.claims.x@", "@auth.claims.x@.x", `"ann"`, "dyn(1)", "@auth.operator@"}).Draw(t, "caller")
	path := rapid.SampledFrom([]string{"data.a", "data.b", "data.o.x", `data["a"]`, "data.nope"}).Draw(t, "path")
	atom := rapid.SampledFrom([]string{
		"PATH == CALLER", "CALLER == PATH", "PATH == CALLER", "PATH != CALLER", "PATH == PATH", "dyn(CALLER) == \"ann\"", "dyn(CALLER) != 1", "PATH in @auth.roles@",
		"\"staff\" in @auth.roles@", "@auth.operator@", "dyn(CALLER)", "PATH", "CALLER in data.l", "data.l.exists(i, i == CALLER || i == \"bob\")", "data.l.all(i, i == CALLER)",
		"@auth.roles@.exists(r, r == PATH)", "@auth.roles@.exists(r, r == \"ann\")", "@has(auth.claims.x)@", "has(PATH2)", "data.a.startsWith(@auth.sub@)", "data.n > 0 && dyn(CALLER) == data.n",
		"[CALLER, \"x\"] == [PATH, \"x\"]", "{\"k\": CALLER} == {\"k\": PATH}", "@auth.claims@[data.a] == \"ann\"", "type(CALLER) == type(PATH)", "true", "false", "@auth.sub@ + \"x\" == PATH + \"x\"",
		"@auth.roles@.size() > data.n", "data.l.exists(i, data.l.exists(j, i == j && j == CALLER))", "@auth.roles@.map(r, r + @auth.sub@).exists(x, x == PATH)", "data.l.size() == 0 || data.l[0] == CALLER",
	}).Draw(t, "atom")
	return strings.NewReplacer("CALLER", caller, "PATH2", strings.Replace(path, `["a"]`, ".a", 1), "PATH", path).Replace(atom)
}

// of fills in what is of one caller.
func (a authWith) of(text string) both {
	roles := "[" + strings.Join(quoteAll(a.Roles), ",") + "]"
	if len(a.Roles) == 0 {
		roles = "dyn([])" // CEL does not evaluate x in `x in []`, which then never fails
	}
	claim := func(name string) string {
		if v, ok := a.claims[name]; ok {
			return v
		}
		return "dyn({}).nope"
	}
	return both{strings.ReplaceAll(text, "@", ""), strings.NewReplacer(
		"@auth.sub@", strconv.Quote(a.Subject), "@auth.tenant@", strconv.Quote(a.Tenant), "@auth.operator@", strconv.FormatBool(a.Operator),
		"@auth.claims.x@", claim("x"), "@auth.claims.y@", claim("y"), "@has(auth.claims.x)@", strconv.FormatBool(a.claims["x"] != ""),
		"@auth.claims@", "dyn("+literal(a.Claims)+")", "@auth.roles@", roles).Replace(text)}
}

func quoteAll(in []string) (out []string) {
	for _, s := range in {
		out = append(out, strconv.Quote(s))
	}
	return out
}

// TestRule_IsAFilterWithTheCallerFilledIn is what a residual promises.
func TestRule_IsAFilterWithTheCallerFilledIn(t *testing.T) {
	r := shopRegistry(t)
	s := r.Schema("notes")
	var values []*Value
	for _, text := range []string{`{}`, `{"a":"ann","b":"bob","l":["ann",1],"o":{"x":"ann"},"n":1}`, `{"a":"bob","b":true,"l":[],"o":1,"n":0}`, `{"a":1,"b":null,"l":["bob"],"o":{"x":true},"n":9007199254740993}`,
		`{"a":["ann",1],"b":1.0,"l":[null],"n":"ann","o":{"x":null}}`, `{"a":{"x":"ann"},"b":9007199254740993,"l":[true,true],"n":1.5}`, `{"a":"x","b":"","l":"ann","o":{"x":1}}`} {
		values = append(values, storedJSON(t, r, "7", text))
	}
	matched, left := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		text := ruleText(t, 3)
		rule, err := s.Rule("", strings.ReplaceAll(text, "@", ""), false)
		if err != nil {
			if strings.Contains(err.Error(), "no matching overload") {
				t.Skip()
			}
			t.Fatal(text, err)
		}
		seen := map[string]string{}
		for range 4 {
			auth := drawAuth(t)
			two := auth.of(text)
			f, err := s.Filter("", two.filter)
			if err != nil {
				t.Fatal(two, err)
			}
			res := rule.For(auth.Auth)
			whole := unfolded(rule, auth.Auth)
			term, hasTerm := res.Term()
			results := ""
			for _, v := range values {
				want := f.Matches(v)
				if got := res.Matches(v); got != want {
					t.Fatalf("%s for %+v matches %s: %v, the filter %s: %v", two.rule, auth.Auth, v.JSON(), got, two.filter, want)
				}
				if got := whole.Matches(v); got != want {
					t.Fatalf("%s for %+v, unfolded, matches %s: %v, the filter %s: %v", two.rule, auth.Auth, v.JSON(), got, two.filter, want)
				}
				if want {
					matched++
					if key, ok := v.Key(term.Path); hasTerm && (!ok || key != term.Key) {
						t.Fatalf("%s for %+v matches %s, but has the term %v", two.rule, auth.Auth, v.JSON(), term)
					}
				}
				if res.Always() && !want || res.Never() && want {
					t.Fatalf("%s for %+v: always %v, never %v", two.rule, auth.Auth, res.Always(), res.Never())
				}
				results += strconv.FormatBool(want)
			}
			if !res.Always() && !res.Never() {
				left++
			}
			if before, ok := seen[res.Key()]; ok && before != results {
				t.Fatalf("%s: two callers with the key %s see different things", two.rule, res.Key())
			}
			seen[res.Key()] = results
		}
	})
	if matched == 0 || left == 0 {
		t.Errorf("%d values match, %d residuals are none", matched, left)
	}
}

// TestRule_ManyKindsOfCallers: beyond some shapes the residuals share a program.
func TestRule_ManyKindsOfCallers(t *testing.T) {
	r := shopRegistry(t)
	var parts []string
	for i := range 10 {
		parts = append(parts, fmt.Sprintf(`("r%d" in auth.roles && data.kind == %d)`, i, i))
	}
	rule := newRule(t, r.Schema("notes"), strings.Join(parts, " || "), false)
	for n := range 600 {
		auth := &Auth{}
		for i := range 10 {
			if n&(1<<i) != 0 {
				auth.Roles = append(auth.Roles, fmt.Sprintf("r%d", i))
			}
		}
		res := rule.For(auth)
		for i := range 10 {
			if v := storedJSON(t, r, "1", fmt.Sprintf(`{"kind":%d}`, i)); res.Matches(v) != (n&(1<<i) != 0) {
				t.Fatalf("%d sees %d: %v", n, i, res.Matches(v))
			}
		}
		if other := newRule(t, r.Schema("notes"), rule.text, false).For(auth); n%100 == 99 && other.Key() != res.Key() {
			t.Errorf("%d: the key is %s, and %s where it comes first", n, res.Key(), other.Key())
		}
	}
	if len(rule.shapes) != ruleShapes {
		t.Errorf("%d shapes are kept", len(rule.shapes))
	}
}

func TestRule_ResidualsAreSharedAndBounded(t *testing.T) {
	r := shopRegistry(t)
	rule := newRule(t, r.Schema("notes"), `data.owner == auth.sub || "staff" in auth.roles`, false)
	first := rule.For(&Auth{Subject: "ann"})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range residualCache/4 + 20 {
				sub := strconv.Itoa(w*10_000 + i)
				v := storedJSON(t, r, "1", `{"owner":"`+sub+`"}`)
				if res := rule.For(&Auth{Subject: sub}); !res.Matches(v) || rule.For(&Auth{Subject: sub, Tenant: "x"}) != res {
					t.Errorf("%s: not its own, or not shared", sub)
				}
			}
		})
	}
	wg.Wait()
	if len(rule.residuals.known) != residualCache || rule.residuals.order.Len() != residualCache {
		t.Errorf("%d and %d residuals are kept", len(rule.residuals.known), rule.residuals.order.Len())
	}
	again := rule.For(&Auth{Subject: "ann"})
	if v := storedJSON(t, r, "1", `{"owner":"ann"}`); again == first || again.Key() != first.Key() || !again.Matches(v) || !first.Matches(v) {
		t.Error("a residual that was let go comes back as another one")
	}
}

// FuzzRule: any rule compiles or is refused with its place, and says in time what the
// whole of it says.
func FuzzRule(f *testing.F) {
	for _, s := range []string{
		`"warehouse" in auth.roles || data.customer_id == auth.sub`, `auth.tenant == data.tenant && (auth.operator || data.n == auth.claims.n)`,
		`auth.roles.exists(r, r in data.l)`, `data.l.map(x, [x, auth.sub]).exists(p, p[0] == p[1])`, `has(auth.claims.x) ? auth.claims.x.y == data.o : !auth.operator`,
		`type(auth.claims.x) == type(data)`, `.auth.sub == "x"`, `auth == auth`, `dyn(auth).sub == "a"`, `data.l.exists(auth, auth)`, `auth.claims[data.s] == 1`, `[auth.sub][0] == data.s`,
		`old == null || old.n == data.n`, `request.time > update_time`, `auth.claims.exists(k, k == data.s)`, `{"a": auth.sub}[data.s] == ""`, `auth.claims.x.y.z`, `data.s.matches("a") && auth.sub.matches("b+")`,
	} {
		f.Add(s)
	}
	r := shopRegistry(f)
	values := []*Value{
		storedOrder(f, r, "1", benchOrder()),
		storedJSON(f, r, "1", `{"n":1,"s":"aa","l":[1,"aa",{"x":null}],"customer_id":"42","o":{"a":{"b":true}},"tenant":"t"}`),
	}
	auths := []*Auth{nil, {Subject: "aa", Tenant: "t", Operator: true, Roles: []string{"warehouse", "aa"}, Claims: map[string]any{"n": 1.0, "x": map[string]any{"y": "z"}, "aa": 1.0}}}
	f.Fuzz(func(t *testing.T, expr string) {
		start := time.Now()
		for _, v := range values {
			for _, writes := range []bool{false, true} {
				rule, err := v.schema.Rule("rule", expr, writes)
				if err != nil {
					if e := resource.AsError(err); e.Reason != resource.InvalidFilter || len(expr) <= MaxFilter && (e.Metadata["line"] == "" || e.Metadata["column"] == "") {
						t.Fatalf("%q: %v", expr, err)
					}
					continue
				}
				for _, auth := range auths {
					res := rule.For(auth)
					got := res.Matches(v)
					whole := unfolded(rule, auth)
					if want := whole.Matches(v); got != want && !writes {
						t.Fatalf("%q: %v, unfolded %v", expr, got, want)
					}
					w := &Write{Data: v, Old: v}
					if got, want := res.Allows(w), whole.Allows(w); got != want {
						t.Fatalf("%q: allows %v, unfolded %v", expr, got, want)
					}
				}
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("%q took %v", expr, took)
		}
	})
}

// unfolded is a residual of the whole rule.
func unfolded(r *Rule, auth *Auth) *Residual {
	if auth == nil {
		auth = &Auth{}
	}
	res := &Residual{shape: newShape(r.root)}
	res.shape.program, res.shape.all = r.whole, true
	for _, ask := range r.asks {
		out, _, err := ask.Eval((*authVars)(auth))
		if err != nil {
			out = types.WrapErr(err)
		}
		res.vals = append(res.vals, out)
	}
	return res
}

// TestRule_NoRuleCostsMuch: values and claims come from strangers.
func TestRule_NoRuleCostsMuch(t *testing.T) {
	r := shopRegistry(t)
	v := storedJSON(t, r, "1", `{"items":[`+strings.Repeat("1,", 99999)+`1],"s":"`+strings.Repeat("a", 800000)+`"}`)
	groups := make([]any, 20_000)
	for i := range groups {
		groups[i] = 1.0
	}
	auth := &Auth{Subject: strings.Repeat("a", 1000), Claims: map[string]any{"groups": groups}}
	for _, expr := range []string{
		`data.items.all(x, data.items.all(y, x != auth.sub))`,
		`data.items.all(x, x in auth.claims.groups)`,
		`auth.claims.groups.all(x, auth.claims.groups.all(y, x == y))`,
		`auth.claims.groups.all(x, x in data.items)`,
		`data.items.all(x, auth.claims.groups == auth.claims.groups && x == 1)`,
		`data.s.matches("(a|b|ab)*c") && auth.sub == "x"`,
	} {
		rule := newRule(t, v.schema, expr, false)
		start := time.Now()
		if rule.For(auth).Matches(v) {
			t.Errorf("%s: matches", expr)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s: took %v", expr, took)
		}
	}
}

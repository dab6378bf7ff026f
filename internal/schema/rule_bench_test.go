package schema

import (
	"runtime"
	"strconv"
	"testing"
)

const benchRule = `"warehouse" in auth.roles || data.customer_id == auth.claims.customer || (auth.tenant == "acme" && data.total.units > auth.claims.level)`

func benchAuth(i int) *Auth {
	return &Auth{Subject: "user-" + strconv.Itoa(i), Tenant: "acme", Roles: []string{"customer", "reviewer"},
		Claims: map[string]any{"customer": strconv.Itoa(i), "level": 5.0, "iss": "https://login.example.com", "exp": 1.8e9, "groups": []any{"a", "b", "c"}}}
}

// BenchmarkFor is what a caller costs when it comes.
func BenchmarkFor(b *testing.B) {
	typed, _ := benchValues(b)
	for _, c := range []struct{ name, expr string }{{"one", `data.customer_id == auth.sub`}, {"more", benchRule}} {
		rule := newRule(b, typed.schema, c.expr, false)
		b.Run("new/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			auth, i := benchAuth(0), 0
			for b.Loop() {
				i++
				auth.Subject = strconv.Itoa(i)
				auth.Claims["customer"] = auth.Subject
				rule.For(auth)
			}
		})
		b.Run("known/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			auth := benchAuth(0)
			for b.Loop() {
				rule.For(auth)
			}
		})
	}
	warehouse := &Auth{Roles: []string{"warehouse"}}
	rule := newRule(b, typed.schema, benchRule, false)
	b.Run("always", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			rule.For(warehouse)
		}
	})
	b.Run("shape", func(b *testing.B) { // the first caller of a kind
		auth := benchAuth(0)
		for b.Loop() {
			clear(rule.shapes)
			rule.residuals = residuals{}
			rule.For(auth)
		}
	})
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			newRule(b, typed.schema, benchRule, false)
		}
	})
}

// BenchmarkResidual compares residuals with the filters that they amount to.
func BenchmarkResidual(b *testing.B) {
	typed, free := benchValues(b)
	auth := &Auth{Subject: "42", Tenant: "acme", Roles: []string{"x"}, Claims: map[string]any{"customer": "42", "level": 5.0}}
	for _, c := range []struct{ name, rule, filter string }{
		{"equal", `auth.operator || data.customer_id == auth.sub`, `data.customer_id == "42"`},
		{"and", `data.customer_id == auth.sub && data.items.size() > 1`, `data.customer_id == "42" && data.items.size() > 1`},
		{"or", `"warehouse" in auth.roles || data.total.units == auth.claims.level || data.customer_id == auth.sub`, `data.total.units == dyn(5.0) || data.customer_id == "42"`},
		{"number", `data.total.units > auth.claims.level`, `data.total.units > dyn(5.0)`},
		{"exists", `data.items.exists(i, i.sku == auth.sub || i.quantity > 1)`, `data.items.exists(i, i.sku == "42" || i.quantity > 1)`},
	} {
		for kind, v := range map[string]*Value{"typed": typed, "schemaless": free} {
			res := newRule(b, v.schema, c.rule, false).For(auth)
			f, err := v.schema.Filter("", c.filter)
			if err != nil || f.Matches(v) != res.Matches(v) || !f.Matches(v) {
				b.Fatal(c.filter, err)
			}
			b.Run(kind+"/"+c.name+"/filter", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f.Matches(v)
				}
			})
			b.Run(kind+"/"+c.name+"/residual", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					res.Matches(v)
				}
			})
		}
	}
}

// BenchmarkResidualSize is what each of many callers takes, beside what is known of it
// anyway.
func BenchmarkResidualSize(b *testing.B) {
	typed, _ := benchValues(b)
	for _, c := range []struct{ name, expr string }{{"one", `data.customer_id == auth.sub`}, {"more", benchRule}} {
		b.Run(c.name, func(b *testing.B) {
			const n = 100_000
			rule := newRule(b, typed.schema, c.expr, false)
			auths := make([]*Auth, n)
			for i := range auths {
				auths[i] = benchAuth(i)
			}
			all := make([]*Residual, n)
			for b.Loop() {
				clear(all)
				rule.residuals = residuals{}
				before := heap()
				for i, auth := range auths {
					all[i] = rule.For(auth)
				}
				b.ReportMetric(float64(heap()-before)/n, "B/residual")
			}
			runtime.KeepAlive(auths)
			runtime.KeepAlive(all)
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkRedaction(b *testing.B) {
	typed, free := benchValues(b)
	for kind, v := range map[string]*Value{"typed": typed, "schemaless": free} {
		hide, nothing := newRedaction(b, v.schema, "customer_id,total.units", "***"), newRedaction(b, v.schema, "location", "")
		v.JSON()
		v.Wire()
		b.Run(kind+"/hides", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hide.Apply(v)
			}
		})
		b.Run(kind+"/nothing", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				nothing.Apply(v)
			}
		})
	}
}

package schema

import "testing"

const benchJSON = `{"customer_id":"42","status":"SHIPPED","items":[{"sku":"cd-1","quantity":2,"price":{"currency":"USD","units":12}},{"sku":"cd-2","quantity":1,"price":{"currency":"USD","units":9}}],"total":{"currency":"USD","units":33,"nanos":500000000},"place_time":"2024-05-06T07:08:09Z"}`

func benchValues(b *testing.B) (typed, free *Value) {
	r := shopRegistry(b)
	return storedOrder(b, r, "1", benchOrder()), storedJSON(b, r, "1", benchJSON)
}

func again(v *Value) *Value { return v.schema.Value(v.rec) }

func benchFilter(b *testing.B, v *Value, expr string, decode bool) {
	f, err := v.schema.Filter("filter", expr)
	if err != nil {
		b.Fatal(err)
	}
	if !f.Matches(v) {
		b.Fatal("does not match")
	}
	b.ReportAllocs()
	for b.Loop() {
		if decode {
			v = again(v)
		}
		f.Matches(v)
	}
}

func BenchmarkFilter(b *testing.B) {
	typed, free := benchValues(b)
	const equal, more = `data.customer_id == "42"`, `data.customer_id == "42" && data.items.size() > 1 && data.total.units > 5`
	const each = `data.items.exists(i, i.quantity > 1)`
	for _, c := range []struct {
		name   string
		v      *Value
		expr   string
		decode bool
	}{
		{"typed/equal", typed, equal, false}, {"typed/more", typed, more, false}, {"typed/exists", typed, each, false}, {"typed/decode+more", typed, more, true},
		{"schemaless/equal", free, equal, false}, {"schemaless/more", free, more, false}, {"schemaless/exists", free, each, false}, {"schemaless/decode+more", free, more, true},
	} {
		b.Run(c.name, func(b *testing.B) { benchFilter(b, c.v, c.expr, c.decode) })
	}
	b.Run("compile", func(b *testing.B) {
		fs := &filters{desc: typed.schema.desc}
		for b.Loop() {
			if _, err := fs.compile(more); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkForms(b *testing.B) {
	typed, free := benchValues(b)
	mask, err := typed.schema.Mask("", []string{"status", "total.units"})
	if err != nil {
		b.Fatal(err)
	}
	loose, err := free.schema.Mask("", []string{"status", "total.units"})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
	run("JSON/typed", func() { again(typed).JSON() })
	run("JSON/schemaless", func() { again(free).JSON() })
	run("Wire/typed", func() { again(typed).Wire() })
	run("Wire/schemaless", func() { again(free).Wire() })
	run("MaskedJSON/typed", func() { mask.Apply(again(typed)).JSON() })
	run("MaskedJSON/schemaless", func() { loose.Apply(again(free)).JSON() })
	run("Delta/typed", func() { Delta(again(typed), again(typed)) })
	run("Delta/schemaless", func() { Delta(again(free), again(free)) })
	data := jsonAny(benchJSON)
	run("Encode/schemaless", func() {
		if _, _, err := free.schema.Encode("", "1", data); err != nil {
			b.Fatal(err)
		}
	})
	order := anyOf(benchOrder())
	run("Encode/typed", func() {
		if _, _, err := typed.schema.Encode("", "1", order); err != nil {
			b.Fatal(err)
		}
	})
}

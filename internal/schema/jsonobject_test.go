package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"pgregory.net/rapid"
)

// celText gives what CEL makes of a value as JSON; all that a mapping can tell of it.
func celText(v ref.Val) string {
	w := &celWriter{schema: &Schema{}, most: maxMappedBytes}
	if !w.value(v, nil) {
		return "no JSON"
	}
	return string(w.out)
}

// checkLazy checks that jsonVal gives what decode does.
func checkLazy(t rapid.TB, raw []byte) {
	t.Helper()
	lazy, full := jsonVal(raw, 0), types.DefaultTypeAdapter.NativeToValue(decode(raw, 0))
	if a, b := jsonVal(raw, 0), jsonVal(raw, 0); types.Equal(lazy, full) != types.True || types.Equal(full, a) != types.True || types.Equal(a, b) != types.True {
		t.Fatalf("%s: they are not equal", raw)
	}
	if got, want := celText(lazy), celText(full); got != want {
		t.Fatalf("%s: got %s, want %s", raw, got, want)
	}
	var walk func(lazy, full ref.Val)
	walk = func(lazy, full ref.Val) {
		if lazy.Type() != full.Type() {
			t.Fatalf("%s: %v is %v, want %v", raw, lazy, lazy.Type(), full.Type())
		}
		switch full := full.(type) {
		case traits.Lister:
			list := lazy.(traits.Lister)
			if list.Size() != full.Size() {
				t.Fatalf("%s: the size is %v", raw, list.Size())
			}
			for i := types.Int(0); i < full.Size().(types.Int); i++ {
				walk(list.Get(i), full.Get(i))
			}
		case traits.Mapper:
			for it := full.Iterator(); it.HasNext() == types.True; {
				key := it.Next()
				fresh := &jsonObject{raw: lazy.(*jsonObject).raw, next: 1} // has read nothing yet
				if fresh.Contains(key) != types.True || lazy.(traits.Container).Contains(key) != types.True {
					t.Fatalf("%s: it has no %v", raw, key)
				}
				walk(lazy.(traits.Mapper).Get(key), full.Get(key))
			}
			object := lazy.(*jsonObject)
			n := types.Int(0)
			for it := object.Iterator(); it.HasNext() == types.True; n++ {
				if full.Contains(it.Next()) != types.True {
					t.Fatalf("%s: it has more", raw)
				}
			}
			if n != full.Size() || object.Size() != full.Size() || object.IsZeroValue() != (n == 0) || (&jsonObject{raw: object.raw, next: 1}).IsZeroValue() != (n == 0) {
				t.Fatalf("%s: the size is %v", raw, n)
			}
			for _, key := range []ref.Val{types.String("nope"), types.Int(1), types.NullValue} {
				if v, ok := object.Find(key); ok || v != nil || object.Contains(key) != types.False || !reflect.DeepEqual(object.Get(key), full.Get(key)) {
					t.Fatalf("%s: it has %v", raw, key)
				}
			}
			if !reflect.DeepEqual(object.Value(), full.Value()) {
				t.Fatalf("%s: got %v", raw, object.Value())
			}
		}
	}
	walk(lazy, full)
}

func TestJSONObject_IsWhatDecodeMakes(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, manyMembers - 1, manyMembers, manyMembers + 1, 200} {
		var members []string
		for i := range n {
			members = append(members, fmt.Sprintf(`"k%d\n":{"v":%d}`, i, i), fmt.Sprintf(`"l%d":[%d]`, i, i))
		}
		checkLazy(t, []byte("{"+strings.Join(members, ",")+"}"))
	}
	for _, text := range []string{`{"a\nb":1,"a\u006eb":2,"a\\nb":3,"a\\":4}`, `{"":{"":{"":[]}}}`, `[[],[[]],{}]`, `{"\u00e9":1,"e":"\ud83d\ude00"}`, ``} {
		checkLazy(t, []byte(text))
	}
	rapid.Check(t, func(t *rapid.T) {
		checkLazy(t, []byte(drawJSON(t, 4)))
		checkLazy(t, []byte(drawObject(t, 4)))
	})
}

func TestJSONObject_OtherFormsAreThoseOfAMap(t *testing.T) {
	lazy := jsonVal([]byte(`{"a":{"b":[1]}}`), 0)
	full := types.DefaultTypeAdapter.NativeToValue(decode([]byte(`{"a":{"b":[1]}}`), 0))
	for _, to := range []reflect.Type{reflect.TypeFor[map[string]any](), reflect.TypeFor[any](), types.JSONStructType, reflect.TypeFor[int]()} {
		got, err := lazy.ConvertToNative(to)
		want, wantErr := full.ConvertToNative(to)
		if fmt.Sprint(got, err) != fmt.Sprint(want, wantErr) {
			t.Errorf("%v: got %v %v, want %v %v", to, got, err, want, wantErr)
		}
	}
	if lazy.ConvertToType(types.MapType) != lazy || lazy.ConvertToType(types.TypeType) != types.MapType || !types.IsError(lazy.ConvertToType(types.StringType)) || fmt.Sprint(lazy) != `{"a":{"b":[1]}}` {
		t.Errorf("got %v", lazy)
	}
	for _, other := range []string{`{"a":{"b":[2]}}`, `{"b":{"b":[1]}}`, `{}`, `[]`, `{"a":{"b":[1]},"c":1}`} {
		if lazy.Equal(jsonVal([]byte(other), 0)) != types.False {
			t.Errorf("it equals %s", other)
		}
	}
}

// TestJSONObject_ExpressionsCannotTell: a mapping gives the same as over decode's map.
func TestJSONObject_ExpressionsCannotTell(t *testing.T) {
	env, err := eventEnvironment(EventJSON, nil)
	if err != nil {
		t.Fatal(err)
	}
	var programs []program
	exprs := []string{
		`data`, `data.a`, `data.a.b`, `data["a.b"]`, `data[""]`, `has(data.a)`, `has(data.a.b)`, `has(data.a.b.c)`, `"a" in data`, `1 in data`, `data.a in data`, `data == data`, `data.a == data.b`, `data != {}`, `{"a": 1} == data`,
		`size(data)`, `size(data.a)`, `data.map(k, data[k])`, `data.exists(k, data[k] == null)`, `data.all(k, has(data.a))`, `data.filter(k, k > "a")`, `[data, data.a]`, `{"x": data, "y": [data.b]}`, `data.a + data.b`, `data.a[0]`, `data.a[1.0]`,
		`data.a[data.b]`, `data.fooBar`, `type(data)`, `type(data.a) == map`, `string(data.a)`, `dyn(data)`, `data.a < data.b`, `data.a ? 1 : 2`, `!data.a`, `data.a.size()`, `data.a.contains("x")`, `data in [data]`, `data.a in [{}, data.b]`, `{"x": data.c}.x`,
		`data.a.map(x, [x])`, `data.c == 9007199254740993`, `data.c == 1.0`, `data["é"]`, `data["a\"b"]`,
	}
	for _, expr := range exprs {
		a, plain, bad := check(env, "mapping", expr)
		if bad != nil {
			t.Fatalf("%s: %v", expr, bad)
		}
		p, err := plan(env, a, plain)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		programs = append(programs, p)
	}
	rapid.Check(t, func(t *rapid.T) {
		raw := []byte(drawObject(t, 3))
		lazy := &eventVariables{data: jsonVal(raw, 0)} // one for all, as in a mapping
		full := &eventVariables{data: env.CELTypeAdapter().NativeToValue(decode(raw, 0))}
		for i, p := range programs {
			for _, run := range []cel.Program{p.metered, p.plain} {
				if run == nil {
					continue
				}
				got, _, err := run.Eval(lazy)
				want, _, wantErr := run.Eval(full)
				if (err != nil) != (wantErr != nil) || err != nil && kindOfError(err) != kindOfError(wantErr) || err == nil && (celText(got) != celText(want) || got.Type() != want.Type()) {
					t.Fatalf("%s of %s: got %v %v, want %v %v", exprs[i], raw, got, err, want, wantErr)
				}
			}
		}
	})
}

// kindOfError leaves out what a value looks like.
func kindOfError(err error) string {
	text, _, _ := strings.Cut(err.Error(), ":")
	return text
}

// FuzzCompactJSON: what is taken is JSON, stays what it is, and lazily read it is the same.
func FuzzCompactJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,{"b":null}],"\u00e9":"\ud83d\ude00"}`, ` [ ] `, `"\n"`, `-0`, `tru`, `{"a":1,"a":2}`, `[[[[`, `{"a\\":{"\"":1}}`, `1e400`, "\"\x7f\"", `{"a":9007199254740993}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := CompactJSON(text)
		if err != nil {
			if got != nil {
				t.Fatalf("%q: %s and %v", text, got, err)
			}
			checkBroken(text)
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, text); err != nil || want.String() != string(got) {
			t.Fatalf("%q: got %s, want %s %v", text, got, want.String(), err)
		}
		if again, err := CompactJSON(got); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q: again %s %v", text, again, err)
		}
		checkLazy(t, got)
	})
}

// checkBroken: what is no JSON gives something, and neither panics nor takes for ever.
func checkBroken(text []byte) {
	o := &jsonObject{raw: text, next: 1}
	o.Find(types.String("a"))
	for it := o.Iterator(); it.HasNext() == types.True; {
		o.Get(it.Next())
	}
	mergePatch(nil, text, []byte(`{"a":{"b":1}}`))
	mergePatch(nil, []byte(`{"a":{"b":1}}`), text)
	celText(jsonVal(text, 0))
}

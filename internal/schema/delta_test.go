package schema

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
)

// mergeMessage is how a reader applies a delta: clear every path, then put in what
// the delta carries there.
func mergeMessage(old protoreflect.Message, paths []string, delta protoreflect.Message) {
	for _, path := range paths {
		into, from := old, delta
		names := strings.Split(path, ".")
		for i, name := range names {
			fd := into.Descriptor().Fields().ByName(protoreflect.Name(name))
			if i == len(names)-1 {
				into.Clear(fd)
				if from.IsValid() && from.Has(fd) {
					into.Set(fd, from.Get(fd))
				}
				break
			}
			into = into.Mutable(fd).Message()
			from = from.Get(fd).Message()
		}
	}
}

// mergeObject does the same to a JSON object, whose keys are the elements of the
// paths as they are.
func mergeObject(old map[string]any, paths []string, delta map[string]any) {
	for _, path := range paths {
		into, from := old, delta
		names := strings.Split(path, ".")
		for i, name := range names {
			if i == len(names)-1 {
				delete(into, name)
				if v, ok := from[name]; ok {
					into[name] = v
				}
				break
			}
			into = into[name].(map[string]any)
			from, _ = from[name].(map[string]any)
		}
	}
}

func TestDelta_AppliedToOldGivesNew(t *testing.T) {
	for _, m := range []proto.Message{&shopv1.Order{}, &watchroutev1.WatchRequest{}, &watchroutev1.SessionResponse{}, &watchroutev1.Resource{}} {
		mt := m.ProtoReflect().Type()
		t.Run(string(mt.Descriptor().FullName()), rapid.MakeCheck(func(t *rapid.T) {
			s := &Schema{collection: "x", desc: mt.Descriptor(), msgType: mt, types: NewTypes(nil), filters: &filters{desc: mt.Descriptor()}}
			value := func() *Value {
				raw, err := marshalWire(drawMessage(t, mt, 3))
				if err != nil {
					t.Fatal(err)
				}
				return s.Value(&changelog.Record{Type: s.Type(), Data: raw})
			}
			old, new := value(), value()
			paths, delta := Delta(old, new)
			if paths == nil || !slices.IsSorted(paths) {
				t.Fatalf("paths %v", paths)
			}
			if same := old.Equal(new); same != (len(paths) == 0) {
				t.Fatalf("equal: %v, paths %v", same, paths)
			}
			mask, err := s.Mask("", paths)
			if err != nil {
				t.Fatal(err)
			}
			if mask.String() != strings.Join(paths, ",") {
				t.Fatalf("the mask of %v is %s", paths, mask)
			}
			if len(paths) > 0 && !mask.Apply(new).Equal(delta) {
				t.Fatalf("the delta is not the part of new that the paths select")
			}
			got := proto.Clone(old.message().Interface()).ProtoReflect()
			mergeMessage(got, paths, delta.message())
			if !proto.Equal(got.Interface(), new.message().Interface()) {
				t.Fatalf("got %v, want %v, paths %v", got, new.message(), paths)
			}
		}))
	}
}

func TestDelta_AppliedToAnOldObjectGivesTheNew(t *testing.T) {
	s := (&Registry{types: NewTypes(nil), free: &filters{}}).Schema("notes")
	rapid.Check(t, func(t *rapid.T) {
		value := func() *Value { return s.Value(&changelog.Record{Data: []byte(drawObject(t, 3))}) }
		old, new := value(), value()
		paths, delta := Delta(old, new)
		if paths == nil {
			if delta != nil || old.Equal(new) {
				t.Fatalf("delta %v", delta)
			}
			return // the whole is sent
		}
		if same := old.Equal(new); same != (len(paths) == 0) {
			t.Fatalf("equal: %v, paths %v", same, paths)
		}
		if !json.Valid(delta.JSON()) {
			t.Fatalf("the delta is %s", delta.JSON())
		}
		read := func(text []byte) map[string]any {
			var m map[string]any
			d := json.NewDecoder(strings.NewReader(string(text)))
			d.UseNumber()
			if err := d.Decode(&m); err != nil {
				t.Fatal(err)
			}
			return m
		}
		got := read(old.JSON())
		mergeObject(got, paths, read(delta.JSON()))
		text, _ := json.Marshal(got)
		if !sameJSON(text, new.JSON()) {
			t.Fatalf("got %s, want %s, paths %v, delta %s", text, new.JSON(), paths, delta.JSON())
		}
	})
}

func TestDelta_IsAsSmallAsPathsAllow(t *testing.T) {
	r := shopRegistry(t)
	order := benchOrder()
	old := storedOrder(t, r, "1", order)
	order.Status = shopv1.OrderStatus_DELIVERED
	order.Total.Units = 34
	order.Items = order.Items[:1]
	order.PlaceTime = &timestamppb.Timestamp{Seconds: 5}
	order.CustomerId = ""
	paths, delta := Delta(old, storedOrder(t, r, "1", order))
	if got, want := strings.Join(paths, " "), "customer_id items place_time status total.units"; got != want {
		t.Errorf("paths %s, want %s", got, want)
	}
	const want = `{"status":"DELIVERED","items":[{"sku":"cd-1","quantity":2,"price":{"currencyCode":"USD","units":"12"}}],"total":{"units":"34"},"placeTime":"1970-01-01T00:00:05Z"}`
	if got := string(delta.JSON()); got != want {
		t.Errorf("delta %s, want %s", got, want)
	}
	for _, c := range []struct{ old, new, paths, delta string }{
		{`{"a":{"b":1,"c":2}}`, `{"a":{"b":1,"c":3}}`, "[a.c]", `{"a":{"c":3}}`},
		{`{"a":{"b":1}}`, `{"a":{}}`, "[a.b]", `{"a":{}}`},
		{`{"a":1}`, `{}`, "[a]", `{}`},
		{`{"a":1}`, `{"a":1}`, "[]", `{}`},
		{`{"a":{"x":1}}`, `{"a":5}`, "[a]", `{"a":5}`},
		{`{"a":{"x.y":1,"z":1}}`, `{"a":{"x.y":2,"z":1}}`, "[a]", `{"a":{"x.y":2,"z":1}}`},
		{`{"a":[1,2]}`, `{"a":[1,2,3]}`, "[a]", `{"a":[1,2,3]}`},
		{`{"x.y":1}`, `{"x.y":2}`, "none", ""},
		{`{"x.y":1,"b":1}`, `{"x.y":1,"b":2}`, "[b]", `{"b":2}`},
		{`{"n":1}`, `{"n":1.0}`, "[n]", `{"n":1.0}`},
		{`{"fooBar":1,"foo_bar":1}`, `{"fooBar":2}`, "[fooBar foo_bar]", `{"fooBar":2}`},
	} {
		paths, delta := Delta(storedJSON(t, r, "1", c.old), storedJSON(t, r, "1", c.new))
		if paths == nil {
			if c.paths != "none" || delta != nil {
				t.Errorf("%s to %s: no delta", c.old, c.new)
			}
			continue
		}
		if got := "[" + strings.Join(paths, " ") + "]"; got != c.paths || string(delta.JSON()) != c.delta {
			t.Errorf("%s to %s: got %s %s, want %s %s", c.old, c.new, got, delta.JSON(), c.paths, c.delta)
		}
	}
}

func TestDelta_UnknownFieldsNeedTheWhole(t *testing.T) {
	s := shopRegistry(t).Schema("orders")
	old := s.Value(&changelog.Record{Type: s.Type()})
	new := s.Value(&changelog.Record{Type: s.Type(), Data: []byte{0xf8, 0x07, 1}}) // field 127
	if paths, delta := Delta(old, new); paths != nil || delta != nil {
		t.Errorf("got %v %v", paths, delta)
	}
}

package access

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/wire"
)

// person is a principal of the model.
type person struct {
	sub   string
	roles []string
}

var persons = []person{{"ann", nil}, {"bob", []string{"r1"}}, {"cid", []string{"r1", "r2"}}, {"dora", []string{"r2"}}}

// version is a value of the model, as it was once written.
type version struct {
	id, owner, zone string
	level           int
	data            map[string]any
}

// predicate is a rule, and what it means.
type predicate struct {
	text  string
	holds func(person, *version) bool
}

func drawPredicate(t *rapid.T, depth int) predicate {
	if depth > 0 && rapid.IntRange(0, 2).Draw(t, "deeper") > 0 {
		a, b := drawPredicate(t, depth-1), drawPredicate(t, depth-1)
		if rapid.Bool().Draw(t, "or") {
			return predicate{"(" + a.text + " || " + b.text + ")", func(p person, v *version) bool { return a.holds(p, v) || b.holds(p, v) }}
		}
		return predicate{"(" + a.text + " && " + b.text + ")", func(p person, v *version) bool { return a.holds(p, v) && b.holds(p, v) }}
	}
	n := rapid.IntRange(0, 9).Draw(t, "n")
	return rapid.SampledFrom([]predicate{
		{"true", func(person, *version) bool { return true }},
		{"data.owner == auth.sub", func(p person, v *version) bool { return v.owner == p.sub }},
		{"data.owner != auth.sub", func(p person, v *version) bool { return v.owner != p.sub }},
		{`"r1" in auth.roles`, func(p person, _ *version) bool { return slices.Contains(p.roles, "r1") }},
		{`"r2" in auth.roles`, func(p person, _ *version) bool { return slices.Contains(p.roles, "r2") }},
		{fmt.Sprintf("data.level < %d", n), func(_ person, v *version) bool { return v.level < n }},
		{`labels.zone == "x"`, func(_ person, v *version) bool { return v.zone == "x" }},
	}).Draw(t, "predicate")
}

// rules is a policy of the model.
type rules struct {
	reads      predicate
	redactions []redacted
}

type redacted struct {
	paths  []string
	mask   string
	unless *predicate
}

func drawRules(t *rapid.T) rules {
	r := rules{reads: drawPredicate(t, 2)}
	for range rapid.IntRange(0, 3).Draw(t, "redactions") {
		h := redacted{mask: rapid.SampledFrom([]string{"", "###"}).Draw(t, "mask"),
			paths: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"secret", "note", "inner.deep", "items.x"}), 1, 2, rapid.ID).Draw(t, "paths")}
		if rapid.Bool().Draw(t, "unless") {
			p := drawPredicate(t, 1)
			h.unless = &p
		}
		r.redactions = append(r.redactions, h)
	}
	return r
}

func (r rules) message() *watchroutev1.CollectionAccess {
	m := reading("notes", r.reads.text)
	for _, h := range r.redactions {
		unless := ""
		if h.unless != nil {
			unless = h.unless.text
		}
		m.Redactions = append(m.Redactions, hiding(h.mask, unless, h.paths...))
	}
	return m
}

// shows gives what a person may see of a value; nil: nothing.
func (r rules) shows(p person, v *version) map[string]any {
	if v == nil || !r.reads.holds(p, v) {
		return nil
	}
	out := fromJSON(toJSON(v.data))
	for _, mask := range []string{"", "###"} { // what is removed goes first
		for _, h := range r.redactions {
			if h.mask == mask && (h.unless == nil || !h.unless.holds(p, v)) {
				for _, path := range h.paths {
					hide(out, strings.Split(path, "."), mask)
				}
			}
		}
	}
	return out
}

func hide(m map[string]any, path []string, mask string) {
	v, ok := m[path[0]]
	switch {
	case !ok:
	case len(path) == 1 && mask == "":
		delete(m, path[0])
	case len(path) == 1:
		m[path[0]] = mask
	default:
		if inner, ok := v.(map[string]any); ok {
			hide(inner, path[1:], mask)
			return
		}
		for _, e := range v.([]any) {
			hide(e.(map[string]any), path[1:], mask)
		}
	}
}

func toJSON(v any) string { return string(must(json.Marshal(v))) }

func fromJSON(text string) (m map[string]any) {
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		panic(err)
	}
	return m
}

// want is what a watch asks for.
type want struct {
	who          person
	codec        hub.Codec
	filter       string
	ids, mask    []string
	delta, every bool
}

// filters of clients, and what they mean of what is shown.
var filters = map[string]func(map[string]any) bool{
	"":                          func(map[string]any) bool { return true },
	"data.level > 4":            func(m map[string]any) bool { return m["level"].(float64) > 4 },
	"has(data.secret)":          func(m map[string]any) bool { return m["secret"] != nil },
	`data.note.startsWith("v")`: func(m map[string]any) bool { s, _ := m["note"].(string); return strings.HasPrefix(s, "v") },
	`!has(data.inner.deep)`:     func(m map[string]any) bool { i, ok := m["inner"].(map[string]any); return ok && i["deep"] == nil },
	`data.items.exists(i, i.x != "###")`: func(m map[string]any) bool {
		items, _ := m["items"].([]any)
		for _, i := range items {
			if x, ok := i.(map[string]any)["x"]; ok && x != "###" {
				return true
			}
		}
		return false
	},
}

func drawWant(t *rapid.T) want {
	w := want{who: rapid.SampledFrom(persons).Draw(t, "who"), filter: rapid.SampledFrom(slices.Sorted(maps.Keys(filters))).Draw(t, "filter"),
		codec: rapid.SampledFrom([]hub.Codec{wire.JSON, wire.Proto}).Draw(t, "codec"),
		delta: rapid.Bool().Draw(t, "delta"), every: rapid.IntRange(0, 2).Draw(t, "every") == 0}
	if rapid.IntRange(0, 3).Draw(t, "names") == 0 {
		w.ids = []string{"a", "c"}
	}
	if rapid.IntRange(0, 3).Draw(t, "mask") == 0 {
		w.mask = []string{"level", "secret", "inner"}
	}
	return w
}

func (w want) request(token string) *watchroutev1.WatchRequest {
	r := &watchroutev1.WatchRequest{Parent: "notes", Filter: w.filter, Delta: w.delta}
	for _, id := range w.ids {
		r.Names = append(r.Names, "notes/"+id)
	}
	if w.mask != nil {
		r.ReadMask = &fieldmaskpb.FieldMask{Paths: w.mask}
	}
	if w.every {
		r.Delivery = watchroutev1.Delivery_EVERY_CHANGE
	}
	if token != "" {
		r.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: token}
	}
	return r
}

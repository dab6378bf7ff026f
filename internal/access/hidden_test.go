package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
)

// act is a step of a script.
type act struct {
	kind    string // write, delete, policy, read, cut, compact
	version *version
	rules   rules
	watch   int
	budget  hub.Budget
	resume  bool
}

// script draws all that happens, before it happens.
func script(t *rapid.T) (wants []want, first rules, acts []act) {
	first = drawRules(t)
	for range rapid.IntRange(1, 6).Draw(t, "watches") {
		wants = append(wants, drawWant(t))
	}
	present := map[string]map[string]any{}
	serial := 0
	unique := func() string { serial++; return fmt.Sprintf("v%07dx", serial) }
	for range rapid.IntRange(5, 40).Draw(t, "acts") {
		a := act{kind: rapid.SampledFrom([]string{"write", "write", "write", "write", "delete", "policy", "read", "read", "read", "cut", "compact"}).Draw(t, "act")}
		switch a.kind {
		case "write":
			v := &version{id: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id"), owner: rapid.SampledFrom(persons).Draw(t, "owner").sub,
				zone: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "zone"), level: rapid.IntRange(0, 9).Draw(t, "level")}
			before := present[v.id]
			v.data = map[string]any{"owner": v.owner, "level": float64(v.level)}
			for field, made := range map[string]func() any{
				"secret": func() any { return unique() },
				"note":   func() any { return unique() },
				"inner":  func() any { return map[string]any{"deep": unique(), "open": unique()} },
				"items":  func() any { return []any{map[string]any{"x": unique()}, map[string]any{"x": unique(), "y": unique()}} },
			} {
				v.data[field] = made // in an order that does not depend on the map's
			}
			for _, field := range []string{"secret", "note", "inner", "items"} {
				made := v.data[field].(func() any)
				delete(v.data, field)
				switch old, had := before[field]; rapid.IntRange(0, 4).Draw(t, field) {
				case 0:
				case 1, 2:
					if had {
						v.data[field] = old
					}
				default:
					v.data[field] = made()
				}
			}
			present[v.id], a.version = v.data, v
		case "delete":
			a.version = &version{id: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id")}
		case "policy":
			a.rules = drawRules(t)
		case "read", "cut":
			a.watch, a.resume = rapid.IntRange(0, len(wants)-1).Draw(t, "watch"), rapid.IntRange(0, 3).Draw(t, "resume") > 0
			a.budget = hub.Budget{Bytes: rapid.SampledFrom([]int{1, 300, 1 << 20}).Draw(t, "bytes"), Events: rapid.SampledFrom([]int{-1, 1, 2}).Draw(t, "events")}
		}
		acts = append(acts, a)
	}
	return wants, first, acts
}

// TestControl_WhatIsHiddenIsInNoFrame (P10): whatever happens, no frame has a value that the
// policy of that moment hides from its reader, and in the end each has all that is shown.
func TestControl_WhatIsHiddenIsInNoFrame(t *testing.T) {
	_ = ecKey()
	rapid.Check(t, func(rt *rapid.T) {
		wants, first, acts := script(rt)
		ring := rapid.SampledFrom([]int64{0, 1, 4000}).Draw(rt, "ring")
		var err error
		synctest.Test(t, func(t *testing.T) { err = play(newWorld(t, func(c *setup) { c.ring = ring }), wants, first, acts) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// spy is a reader that looks at every byte.
type spy struct {
	want
	caller      *Caller
	w           *hub.Watch // nil: refused
	state, kept map[string]map[string]any
	token       string
}

type stage struct {
	*world
	rules    rules
	versions []*version
	newest   map[string]*version
	at       uint64
}

var secrets = regexp.MustCompile(`v\d{7}x`)

func play(w *world, wants []want, first rules, acts []act) error {
	s := &stage{world: w, rules: first, newest: map[string]*version{}}
	s.policy(first.message())
	callers := map[string]*Caller{}
	for _, p := range persons {
		callers[p.sub] = w.caller(jwt.MapClaims{"sub": p.sub, "roles": p.roles})
	}
	var spies []*spy
	for _, o := range wants {
		y := &spy{want: o, caller: callers[o.who.sub]}
		if err := s.openFor(y, false); err != nil {
			return err
		}
		spies = append(spies, y)
	}
	for _, a := range acts {
		switch a.kind {
		case "write":
			op := changelog.Op{ID: a.version.id, Data: []byte(toJSON(a.version.data)), Labels: map[string]string{"zone": a.version.zone}}
			s.versions = append(s.versions, a.version)
			s.newest[a.version.id], s.at = a.version, s.store("notes", op)
		case "delete":
			delete(s.newest, a.version.id)
			s.at = s.store("notes", deletion(a.version.id))
		case "policy":
			s.rules = a.rules
			s.policy(a.rules.message())
			synctest.Wait()
		case "compact":
			if err := w.log.Compact(w.t.Context()); err != nil {
				return err
			}
		case "cut":
			if y := spies[a.watch]; y.w != nil {
				y.w.Close(nil)
				if err := s.openFor(y, a.resume); err != nil {
					return err
				}
			}
		case "read":
			synctest.Wait()
			if _, err := s.next(spies[a.watch], a.budget); err != nil {
				return err
			}
		}
	}
	for _, y := range spies {
		for open := false; ; {
			if y.w == nil && !open {
				open = true
				if err := s.openFor(y, false); err != nil {
					return err
				}
			}
			synctest.Wait()
			if n, err := s.next(y, hub.Unlimited); err != nil {
				return err
			} else if n == 0 && (y.w != nil || open) {
				break
			}
		}
		if err := s.compare(y); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) openFor(y *spy, resume bool) error {
	token := ""
	if y.state = map[string]map[string]any{}; resume && y.token != "" {
		token = y.token
		for name, v := range y.kept {
			y.state[name] = fromJSON(toJSON(v))
		}
	}
	if token == "" {
		y.token, y.kept = "", nil
	}
	var err error
	y.w, err = s.hub.Open(With(s.t.Context(), y.caller), hub.Request{Watch: y.request(token), Codec: y.codec, Transport: "grpc"})
	if err != nil {
		y.w = nil
		return s.isDenied(y, err)
	}
	w := y.w
	s.t.Cleanup(func() { w.Close(nil) })
	return nil
}

// isDenied says whether it is right that somebody may see nothing at all.
func (s *stage) isDenied(y *spy, err error) error {
	if !resource.HasReason(err, resource.PermissionDenied) {
		return err
	}
	for _, v := range s.versions {
		if s.rules.shows(y.who, v) != nil {
			return fmt.Errorf("%s was refused, who may see %v by %s", y.who.sub, v, s.rules.reads.text)
		}
	}
	return nil
}

func (s *stage) next(y *spy, b hub.Budget) (int, error) {
	if y.w == nil {
		return 0, nil
	}
	frames, err := y.w.Next(nil, b)
	shown := map[string]bool{}
	for _, v := range s.versions {
		if m := s.rules.shows(y.who, v); m != nil {
			for _, secret := range secrets.FindAllString(toJSON(m), -1) {
				shown[secret] = true
			}
		}
	}
	for _, f := range frames {
		for _, secret := range secrets.FindAll(f.Bytes, -1) {
			if !shown[string(secret)] {
				return 0, fmt.Errorf("%s with %+v was told %s in %q\nby %v", y.who.sub, y.request(""), secret, f.Bytes, s.rules.message())
			}
		}
		if err := y.take(f); err != nil {
			return 0, err
		}
	}
	if err != nil {
		y.w.Close(err)
		y.w = nil
		if err = s.isDenied(y, err); err != nil {
			return 0, err
		}
	}
	return len(frames), nil
}

// take folds a frame.
func (y *spy) take(f hub.Frame) error {
	var m struct {
		ResumeToken    string
		Started, Reset *struct{ Mode string }
		Events         struct {
			Events []struct {
				State    string
				Resource struct {
					Name string
					Data map[string]any
				}
				UpdatedFields string
			}
		}
	}
	text := f.Bytes
	if y.codec == wire.Proto {
		var r watchroutev1.WatchResponse
		if err := proto.Unmarshal(f.Bytes, &r); err != nil {
			return err
		}
		text = wire.AppendProtoJSON(nil, &r)
		if e := r.GetEvents(); e != nil {
			text = nil
			m.ResumeToken = r.ResumeToken
			for _, e := range e.Events {
				i := len(m.Events.Events)
				m.Events.Events = slices.Grow(m.Events.Events, 1)[:i+1]
				o := &m.Events.Events[i]
				o.State, o.Resource.Name, o.UpdatedFields = e.State.String(), e.Resource.Name, strings.Join(e.UpdatedFields.GetPaths(), ",")
				if e.Resource.Data != nil {
					var v structpb.Struct
					if err := e.Resource.Data.UnmarshalTo(&v); err != nil {
						return err
					}
					o.Resource.Data = v.AsMap()
				}
			}
		}
	}
	if text != nil {
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
	}
	if m.Reset != nil || m.Started != nil && f.Kind == hub.Started && strings.Contains(string(text), "SNAPSHOT") {
		clear(y.state)
	}
	for _, e := range m.Events.Events {
		switch name := e.Resource.Name; {
		case e.State == "ABSENT":
			delete(y.state, name)
		case e.UpdatedFields == "":
			y.state[name] = e.Resource.Data
		default:
			old := y.state[name]
			if old == nil {
				return fmt.Errorf("a delta for %s, which %s does not hold", name, y.who.sub)
			}
			for path := range strings.SplitSeq(e.UpdatedFields, ",") {
				patch(old, e.Resource.Data, strings.Split(path, "."))
			}
		}
	}
	if m.ResumeToken != "" {
		y.token, y.kept = m.ResumeToken, map[string]map[string]any{}
		for name, v := range y.state {
			y.kept[name] = fromJSON(toJSON(v))
		}
	}
	return nil
}

func patch(old, changed map[string]any, path []string) {
	v, ok := changed[path[0]]
	switch inner, deeper := v.(map[string]any); {
	case !ok:
		delete(old, path[0])
	case len(path) == 1:
		old[path[0]] = v
	case !deeper:
		panic(errors.New("the path leads nowhere: " + path[0]))
	default:
		below, ok := old[path[0]].(map[string]any)
		if !ok {
			below = map[string]any{}
			old[path[0]] = below
		}
		patch(below, inner, path[1:])
	}
}

// compare says whether a reader has all that is shown, and nothing else.
func (s *stage) compare(y *spy) error {
	want := map[string]map[string]any{}
	for id, v := range s.newest {
		m := s.rules.shows(y.who, v)
		if m == nil || !filters[y.filter](m) || y.ids != nil && !slices.Contains(y.ids, id) {
			continue
		}
		if y.mask != nil {
			maps.DeleteFunc(m, func(field string, _ any) bool { return !slices.Contains(y.mask, field) })
		}
		want["notes/"+id] = m
	}
	got := y.state
	if y.w == nil {
		got = map[string]map[string]any{}
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s with %v has\n%s\nwant\n%s\nby %v", y.who.sub, y.request(""), toJSON(got), toJSON(want), s.rules.message())
	}
	return nil
}

// TestControl_PoliciesFlipWhileOthersWrite: in the end every open watch shows what the last
// policy allows, whatever was under way when it came.
func TestControl_PoliciesFlipWhileOthersWrite(t *testing.T) {
	_ = ecKey()
	always := func(person, *version) bool { return true }
	owners := predicate{"data.owner == auth.sub", func(p person, v *version) bool { return v.owner == p.sub }}
	low := predicate{"data.level < 5", func(_ person, v *version) bool { return v.level < 5 }}
	secret := redacted{paths: []string{"secret"}, unless: &owners} // whatever else there is
	flips := []rules{
		{predicate{"true", always}, []redacted{secret}},
		{owners, []redacted{secret}},
		{low, []redacted{secret, {paths: []string{"note"}, mask: "###"}}},
		{predicate{"true", always}, []redacted{secret, {paths: []string{"inner.deep"}}}},
	}
	synctest.Test(t, func(t *testing.T) {
		s := &stage{world: newWorld(t, func(c *setup) { c.ring = 100_000 }), newest: map[string]*version{}}
		s.policy(flips[0].message())
		var spies []*spy
		for i, p := range persons {
			caller := s.caller(jwt.MapClaims{"sub": p.sub})
			for j, o := range []want{{}, {delta: true}, {every: true}, {filter: "data.level > 4"}, {ids: []string{"n0", "n3"}}} {
				o.who, o.codec = p, []hub.Codec{wire.JSON, wire.Proto}[(i+j)%2]
				y := &spy{want: o, caller: caller}
				if err := s.openFor(y, false); err != nil {
					t.Fatal(err)
				}
				spies = append(spies, y)
			}
		}
		var work, readers sync.WaitGroup
		owner := map[string]string{} // of each secret
		var mu sync.Mutex
		for n := range 2 {
			work.Go(func() {
				for i := range 150 {
					v := &version{id: fmt.Sprintf("n%d", n+2*(i%4)), owner: persons[(i+i/7)%4].sub, level: i % 10}
					word := fmt.Sprintf("v%07dx", 2*i+n)
					v.data = map[string]any{"owner": v.owner, "level": float64(v.level), "secret": word, "note": fmt.Sprint(i), "inner": map[string]any{"deep": float64(i), "open": 1.0}}
					mu.Lock()
					owner[word] = v.owner
					s.newest[v.id] = v
					mu.Unlock()
					s.put("notes", v.id, toJSON(v.data))
				}
			})
		}
		work.Go(func() {
			for i := range 60 {
				s.policy(flips[i%len(flips)].message())
				s.rules = flips[i%len(flips)]
			}
		})
		stop, end := context.WithCancel(t.Context())
		readers.Add(len(spies))
		for _, y := range spies {
			go func() {
				defer readers.Done()
				for i := 0; ; i++ {
					n, err := readOne(y, hub.Budget{Bytes: 1 << (4 + i%12), Events: -1}, func(word string) string { mu.Lock(); defer mu.Unlock(); return owner[word] })
					if err != nil {
						t.Error(err)
						return
					}
					if n == 0 && y.w.Wait(stop) != nil {
						return
					}
				}
			}()
		}
		work.Wait()
		synctest.Wait() // they have read all there is
		end()
		readers.Wait()
		for _, y := range spies {
			if err := s.compare(y); err != nil {
				t.Error(err)
			}
		}
	})
}

// readOne is one Next of somebody who is told the secrets of their own only.
func readOne(y *spy, b hub.Budget, owner func(string) string) (int, error) {
	frames, err := y.w.Next(nil, b)
	for _, f := range frames {
		for _, word := range secrets.FindAll(f.Bytes, -1) {
			if owner(string(word)) != y.who.sub {
				return 0, fmt.Errorf("%s was told %s in %q", y.who.sub, word, f.Bytes)
			}
		}
		if err := y.take(f); err != nil {
			return 0, err
		}
	}
	return len(frames), err
}

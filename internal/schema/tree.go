package schema

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// tree is a set of paths: which part of a value is meant.
type tree struct {
	children map[string]*tree // nil: all of it
	// camel holds children by the lowerCamelCase form of their names, where a JSON
	// key may match in that form too.
	camel map[string]*tree
}

// add puts a path in. A path that is covered already changes nothing.
func (t *tree) add(path []string) {
	for i, name := range path {
		next, ok := t.children[name]
		last := i == len(path)-1
		switch {
		case ok && next.children == nil:
			return
		case !ok && last:
			t.set(name, &tree{})
			return
		case last: // covers what is there
			next.children = nil
			return
		case !ok:
			next = &tree{children: map[string]*tree{}}
			t.set(name, next)
		}
		t = next
	}
}

func (t *tree) set(name string, child *tree) {
	if t.children == nil {
		t.children = map[string]*tree{}
	}
	t.children[name] = child
}

// paths gives the paths, sorted element by element.
func (t *tree) paths() []string {
	var out []string
	var walk func(t *tree, prefix string)
	walk = func(t *tree, prefix string) {
		if t.children == nil {
			out = append(out, prefix)
			return
		}
		for name, child := range t.children {
			next := name
			if prefix != "" {
				next = prefix + "." + name
			}
			walk(child, next)
		}
	}
	for name, child := range t.children {
		walk(child, name)
	}
	slices.Sort(out)
	return out
}

// message gives the part of m. It shares with m what it takes whole.
func (t *tree) message(m protoreflect.Message) protoreflect.Message {
	out := m.New()
	for name, child := range t.children {
		fd := out.Descriptor().Fields().ByName(protoreflect.Name(name))
		if fd == nil || !m.Has(fd) {
			continue
		}
		if child.children == nil {
			out.Set(fd, m.Get(fd))
		} else {
			out.Set(fd, protoreflect.ValueOfMessage(child.message(m.Get(fd).Message())))
		}
	}
	return out
}

// appendJSON appends the part of a JSON object. Paths that go on where the value
// is not an object select nothing.
func (t *tree) appendJSON(dst, obj []byte) []byte {
	dst = append(dst, '{')
	empty := true
	for key, value := range members(obj) {
		name := keyText(key)
		child := t.children[name]
		if child == nil {
			child = t.camel[name]
		}
		if child == nil || child.children != nil && value[0] != '{' {
			continue
		}
		if !empty {
			dst = append(dst, ',')
		}
		empty = false
		dst = append(append(dst, key...), ':')
		if child.children == nil {
			dst = append(dst, value...)
		} else {
			dst = child.appendJSON(dst, value)
		}
	}
	return append(dst, '}')
}

// loosen makes each name match keys in its lowerCamelCase form too.
func (t *tree) loosen() {
	for name, child := range t.children {
		child.loosen()
		form := JSONName(name)
		if form == name {
			continue
		}
		if t.camel == nil {
			t.camel = map[string]*tree{}
		}
		t.camel[form] = union(union(t.camel[form], child), t.children[form])
	}
	for form, both := range t.camel {
		if t.children[form] != nil {
			t.children[form] = both
			delete(t.camel, form)
		}
	}
}

// union gives what is in either; nil is nothing.
func union(a, b *tree) *tree {
	if a == nil {
		return b
	}
	if b == nil || a.children == nil {
		return a
	}
	if b.children == nil {
		return b
	}
	out := &tree{children: map[string]*tree{}, camel: map[string]*tree{}}
	for _, t := range []*tree{a, b} {
		for name, child := range t.children {
			out.children[name] = union(out.children[name], child)
		}
		for name, child := range t.camel {
			out.camel[name] = union(out.camel[name], child)
		}
	}
	return out
}

// JSONName turns foo_bar into fooBar, as protobuf makes JSON names.
func JSONName(name string) string {
	if strings.IndexByte(name, '_') < 0 {
		return name
	}
	var b strings.Builder
	upper := false
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_':
			upper = true
			continue
		case upper && c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		}
		upper = false
		b.WriteByte(c)
	}
	return b.String()
}

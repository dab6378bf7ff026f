package schema

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Delta tells what changed from old to new, two values of one schema and mask: the
// changed paths, sorted, and the part of new that they select. Messages and
// objects that both have are gone into, lists, maps and messages of
// google.protobuf are taken whole. A path that the part does not carry was
// cleared. To apply it: clear every path in old, then put in what the part
// carries.
//
// No paths and a nil part mean that no set of paths tells the change, and that the
// whole must be sent: a key at the top of a schemaless value cannot stand in a
// path (it is empty or holds a dot, a comma, white space or a control character;
// further down its object is taken whole), or fields differ that the schema does
// not know. Where the data did not change, the paths are empty but not nil and the
// part is an empty value.
//
// In a schemaless value the elements of the paths are the keys as they are.
func Delta(old, new *Value) (paths []string, delta *Value) {
	t := &tree{children: map[string]*tree{}}
	ok := true
	if new.schema.desc != nil {
		ok = diffMessage(t, old.message(), new.message())
	} else {
		ok = diffJSON(t, old.JSON(), new.JSON())
	}
	if !ok {
		return nil, nil
	}
	if paths = t.paths(); paths == nil {
		paths = []string{}
	}
	return paths, &Value{schema: new.schema, rec: new.rec, whole: new, part: t}
}

// diffMessage adds to t what differs; false where paths cannot tell.
func diffMessage(t *tree, old, new protoreflect.Message) bool {
	if string(old.GetUnknown()) != string(new.GetUnknown()) {
		return false
	}
	ok := true
	compare := func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		name := string(fd.Name())
		if fd.IsExtension() {
			ok = ok && old.Has(fd) == new.Has(fd) && old.Get(fd).Equal(new.Get(fd))
			return ok
		}
		if t.children[name] != nil || old.Has(fd) == new.Has(fd) && old.Get(fd).Equal(new.Get(fd)) {
			return true
		}
		child := &tree{}
		if inside(fd) != nil && old.Has(fd) && new.Has(fd) {
			child.children = map[string]*tree{}
			if !diffMessage(child, old.Get(fd).Message(), new.Get(fd).Message()) {
				child.children = nil
			}
		}
		t.set(name, child)
		return true
	}
	old.Range(compare)
	if ok {
		new.Range(compare)
	}
	return ok
}

// diffJSON adds to t what differs; false where paths cannot tell.
func diffJSON(t *tree, old, new []byte) bool {
	before := map[string][]byte{}
	for key, value := range members(old) {
		before[keyText(key)] = value
	}
	for key, value := range members(new) {
		name := keyText(key)
		was, had := before[name]
		delete(before, name)
		if had && sameJSON(was, value) {
			continue
		}
		if !pathElement(name) {
			return false
		}
		child := &tree{}
		if had && value[0] == '{' && len(was) > 0 && was[0] == '{' {
			child.children = map[string]*tree{}
			if !diffJSON(child, was, value) {
				child.children = nil
			}
		}
		t.set(name, child)
	}
	for name := range before {
		if !pathElement(name) {
			return false
		}
		t.set(name, &tree{})
	}
	return true
}

// pathElement says whether a key can stand in a path, in a field mask's text form
// too.
func pathElement(key string) bool {
	return key != "" && !strings.ContainsFunc(key, func(r rune) bool {
		return r == '.' || r == ',' || r <= ' ' || r == 0x7f
	})
}

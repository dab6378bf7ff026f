package schema

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// mergePatch lays a patch over a JSON value (RFC 7396). Both are valid texts without white
// space; so is what comes out. Names keep their places, new ones come last.
func mergePatch(dst, value, patch []byte) []byte {
	if len(patch) == 0 || patch[0] != '{' {
		return append(dst, patch...)
	}
	var few [8]jsonMember
	changes := jsonObject{raw: patch, next: 1, members: few[:0]}
	for changes.more() {
	}
	dst = append(dst, '{')
	first := true
	put := func(key []byte) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(dst, key...), ':')
	}
	for k, v := range members(value) {
		change := changes.find(keyBytes(k))
		if change == nil {
			put(k)
			dst = append(dst, v...)
			continue
		}
		change.merged = true
		if to := changes.value(change); string(to) != "null" {
			put(k)
			dst = mergePatch(dst, v, to)
		}
	}
	for i := range changes.members {
		change := &changes.members[i]
		if v := changes.value(change); !change.merged && string(v) != "null" {
			put(changes.key(change))
			dst = mergePatch(dst, nil, v)
		}
	}
	return append(dst, '}')
}

// jsonNamer gives a JSON object of a message the names that ProtoJSON writes: those of
// the .proto file are read, too, and would be other ones to mergePatch.
type jsonNamer struct {
	out   []byte
	twice protoreflect.Name // a field that is given by both its names; empty: none
}

// value appends a value; md is nil for one that is no message.
func (n *jsonNamer) value(md protoreflect.MessageDescriptor, value []byte) {
	switch {
	case len(value) == 0 || md == nil:
		n.out = append(n.out, value...)
	case value[0] == '[':
		n.out = append(n.out, '[')
		for v := range elements(value) {
			n.comma('[')
			n.value(md, v)
		}
		n.out = append(n.out, ']')
	case value[0] == '{' && !wellKnown(md):
		n.message(md, value)
	default:
		n.out = append(n.out, value...)
	}
}

// comma appends one where something stands behind the bracket.
func (n *jsonNamer) comma(bracket byte) {
	if n.out[len(n.out)-1] != bracket {
		n.out = append(n.out, ',')
	}
}

func (n *jsonNamer) message(md protoreflect.MessageDescriptor, value []byte) {
	var few [64]bool
	given := few[:]
	if fields := md.Fields().Len(); fields > len(given) {
		given = make([]bool, fields)
	}
	n.out = append(n.out, '{')
	for k, v := range members(value) {
		n.comma('{')
		fd := fieldNamed(md, keyText(k))
		switch {
		case fd == nil:
			n.out = append(append(append(n.out, k...), ':'), v...)
			continue
		case given[fd.Index()]:
			n.twice = fd.Name()
		}
		given[fd.Index()] = true
		n.out = append(appendString(n.out, fd.JSONName()), ':')
		if fd.IsMap() {
			n.values(fd.MapValue().Message(), v)
			continue
		}
		n.value(fd.Message(), v)
	}
	n.out = append(n.out, '}')
}

// values is value for those of a map.
func (n *jsonNamer) values(md protoreflect.MessageDescriptor, value []byte) {
	if len(value) == 0 || value[0] != '{' {
		n.out = append(n.out, value...)
		return
	}
	n.out = append(n.out, '{')
	for k, v := range members(value) {
		n.comma('{')
		n.out = append(append(n.out, k...), ':')
		n.value(md, v)
	}
	n.out = append(n.out, '}')
}

// fieldNamed finds a field by either of its names; nil: there is none.
func fieldNamed(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(name); fd != nil {
		return fd
	}
	return md.Fields().ByName(protoreflect.Name(name))
}

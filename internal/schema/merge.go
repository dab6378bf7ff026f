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
	changes := map[string][]byte{}
	for k, v := range members(patch) {
		changes[keyText(k)] = v
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
		name := keyText(k)
		change, ok := changes[name]
		if !ok {
			put(k)
			dst = append(dst, v...)
			continue
		}
		delete(changes, name)
		if string(change) != "null" {
			put(k)
			dst = mergePatch(dst, v, change)
		}
	}
	for k, v := range members(patch) {
		if _, left := changes[keyText(k)]; left && string(v) != "null" {
			put(k)
			dst = mergePatch(dst, nil, v)
		}
	}
	return append(dst, '}')
}

// jsonNames gives a JSON object of a message the names that ProtoJSON writes: those of
// the .proto file are read, too, and would be other ones to mergePatch.
func jsonNames(dst []byte, md protoreflect.MessageDescriptor, value []byte) []byte {
	switch {
	case len(value) == 0 || md == nil:
		return append(dst, value...)
	case value[0] == '[':
		dst = append(dst, '[')
		for v := range elements(value) {
			if dst[len(dst)-1] != '[' {
				dst = append(dst, ',')
			}
			dst = jsonNames(dst, md, v)
		}
		return append(dst, ']')
	case value[0] != '{' || md.FullName().Parent() == "google.protobuf":
		return append(dst, value...)
	}
	dst = append(dst, '{')
	first := true
	for k, v := range members(value) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		fd := fieldNamed(md, keyText(k))
		if fd == nil {
			dst = append(append(append(dst, k...), ':'), v...)
			continue
		}
		dst = append(appendString(dst, fd.JSONName()), ':')
		if fd.IsMap() {
			dst = jsonValues(dst, fd.MapValue().Message(), v)
			continue
		}
		dst = jsonNames(dst, fd.Message(), v)
	}
	return append(dst, '}')
}

// jsonValues is jsonNames for the values of a map.
func jsonValues(dst []byte, md protoreflect.MessageDescriptor, value []byte) []byte {
	if len(value) == 0 || value[0] != '{' {
		return append(dst, value...)
	}
	dst = append(dst, '{')
	for k, v := range members(value) {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = jsonNames(append(append(dst, k...), ':'), md, v)
	}
	return append(dst, '}')
}

// fieldNamed finds a field by either of its names; nil: there is none.
func fieldNamed(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(name); fd != nil {
		return fd
	}
	return md.Fields().ByName(protoreflect.Name(name))
}

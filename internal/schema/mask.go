package schema

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watchroute/watchroute/internal/resource"
)

// Mask selects fields of a value.
type Mask struct {
	paths []string // canonical
	tree  *tree
}

// Mask makes a mask of paths that begin in the value, such as status or
// total.units; nil of none. They are put in order, and those that others cover are
// taken out. field is the request field that held them, for the error, whose
// reason is InvalidMask.
//
// With a schema each element is a field's name, or its JSON name; a path may not
// go on behind a list, a map or a message of google.protobuf. Without a schema any
// path is valid, and an element matches a key that is equal to it or to its
// lowerCamelCase form: JSON clients send masks in that form, and protobuf makes
// snake_case of it.
func (s *Schema) Mask(field string, paths []string) (*Mask, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	t := &tree{}
	for _, path := range paths {
		bad := func(format string, args ...any) error {
			return resource.Errorf(resource.InvalidMask, format, args...).In(field).With("path", clip(path))
		}
		elements := strings.Split(path, ".")
		if len(elements) > MaxDepth {
			return nil, bad("the path %s has more than %d elements", clipQuote(path), MaxDepth)
		}
		md := s.desc
		for i, name := range elements {
			if name == "" {
				return nil, bad("the path %s has an empty element", clipQuote(path))
			}
			if s.desc == nil {
				continue
			}
			if md == nil {
				return nil, bad("the path %s goes on behind %s, whose parts cannot be selected", clipQuote(path), clipQuote(strings.Join(elements[:i], ".")))
			}
			fd := findField(md, name)
			if fd == nil {
				return nil, bad("%s has no field %s%s", md.FullName(), clipQuote(name), orNearest(name, md))
			}
			elements[i] = string(fd.Name())
			md = inside(fd)
		}
		t.add(elements)
	}
	m := &Mask{paths: t.paths(), tree: t}
	if s.desc == nil {
		t.loosen()
	}
	return m, nil
}

func orNearest(name string, md protoreflect.MessageDescriptor) string {
	if near := nearest(name, fieldNames(md)); near != "" {
		return "; the nearest is " + clipQuote(near)
	}
	return ""
}

func findField(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByName(protoreflect.Name(name)); fd != nil {
		return fd
	}
	return md.Fields().ByJSONName(name)
}

// inside gives the message whose fields a path may go on with; nil where it must
// end.
func inside(fd protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	md := fd.Message()
	if md == nil || fd.Cardinality() == protoreflect.Repeated || strings.HasPrefix(string(md.FullName()), "google.protobuf.") {
		return nil
	}
	return md
}

// Apply gives the part of v that the mask selects. A nil mask gives v.
func (m *Mask) Apply(v *Value) *Value {
	if m == nil {
		return v
	}
	return &Value{schema: v.schema, rec: v.rec, whole: v, part: m.tree}
}

// Paths gives the canonical paths, sorted; none of a nil mask. They must not be
// changed.
func (m *Mask) Paths() []string {
	if m == nil {
		return nil
	}
	return m.paths
}

// String gives the canonical form: masks that select the same fields have the
// same. A nil mask has the empty string.
func (m *Mask) String() string {
	if m == nil {
		return ""
	}
	return strings.Join(m.paths, ",")
}

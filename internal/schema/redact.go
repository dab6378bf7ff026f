package schema

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Redaction hides fields of values. A nil one hides nothing.
type Redaction struct {
	steps []redactionStep // by mask: what is removed goes first
	text  string
}

type redactionStep struct {
	fields *Mask
	mask   string
}

// Redaction makes a redaction of the fields at paths, which are those of Mask; nil of
// none. A string there is replaced by mask, whatever else is there is removed, and
// so are strings where mask is empty. A field that is not set stays so. field is
// where the paths stand, for the error, whose reason is InvalidMask.
//
// Without a schema a path goes on in each element of a list. With one, where it
// cannot, a list or a map is hidden as a whole.
func (s *Schema) Redaction(field string, paths []string, mask string) (*Redaction, error) {
	fields, err := s.Mask(field, paths)
	if err != nil || fields == nil {
		return nil, err
	}
	return redaction([]redactionStep{{fields, strings.ToValidUTF8(mask, "\uFFFD")}}), nil
}

// Redactions hides what any of several redactions of one schema hides; nil if none
// does. What one of them removes is removed.
func Redactions(rs ...*Redaction) *Redaction {
	var steps []redactionStep
	for _, r := range rs {
		if r != nil {
			steps = append(steps, r.steps...)
		}
	}
	return redaction(steps)
}

func redaction(steps []redactionStep) *Redaction {
	if len(steps) == 0 {
		return nil
	}
	slices.SortFunc(steps, func(a, b redactionStep) int {
		return cmp.Or(cmp.Compare(a.mask, b.mask), cmp.Compare(a.fields.String(), b.fields.String()))
	})
	steps = slices.CompactFunc(steps, func(a, b redactionStep) bool { return a.mask == b.mask && a.fields.String() == b.fields.String() })
	r := &Redaction{steps: steps}
	var text []string
	for _, step := range steps {
		text = append(text, strconv.Quote(step.fields.String())+"="+strconv.Quote(step.mask))
	}
	r.text = strings.Join(text, " ")
	return r
}

// String gives a text that only redactions have in common that hide the same; empty
// if r is nil.
func (r *Redaction) String() string {
	if r == nil {
		return ""
	}
	return r.text
}

// Apply gives v without what is hidden; v itself if that is nothing. What it gives
// stands for the value wherever the reader is concerned: no form of it, nor its
// record, has what is hidden, and filters and keys see as little. Only a Residual
// sees through it.
func (r *Redaction) Apply(v *Value) *Value {
	if r == nil {
		return v
	}
	if v.whole != nil { // the part of what is left
		if whole := r.Apply(v.whole); whole != v.whole {
			return &Value{schema: v.schema, rec: whole.rec, whole: whole, part: v.part}
		}
		return v
	}
	rec := *v.Record()
	out := &Value{schema: v.schema, rec: &rec, origin: v}
	if v.schema.desc == nil {
		text := v.JSON()
		hid := false
		for _, step := range r.steps {
			if shorter, some := step.fields.tree.hideJSON(nil, text, quoted(step.mask)); some {
				text, hid = shorter, true
			}
		}
		if !hid {
			return v
		}
		rec.Type, rec.Data = "", text
		return out
	}
	m := v.message()
	for _, step := range r.steps {
		m = step.fields.tree.hide(m, step.mask)
	}
	if m == v.message() {
		return v
	}
	rec.Type = v.schema.Type()
	// What cannot be encoded was not read from a record.
	rec.Data, _ = proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(m.Interface())
	out.msgOnce.Do(func() { out.msg = m })
	return out
}

func quoted(mask string) []byte {
	if mask == "" {
		return nil
	}
	return appendString(nil, mask)
}

// hide gives m without what t has of it, or with strings masked; m itself if that is
// nothing. It shares with m what it does not change.
func (t *tree) hide(m protoreflect.Message, mask string) protoreflect.Message {
	var out protoreflect.Message
	change := func() protoreflect.Message {
		if out == nil {
			out = m.New()
			m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
				out.Set(fd, v)
				return true
			})
			out.SetUnknown(m.GetUnknown())
		}
		return out
	}
	fields := m.Descriptor().Fields()
	unknown := m.GetUnknown()
	for name, child := range t.children {
		fd := fields.ByName(protoreflect.Name(name))
		if fd == nil {
			continue
		}
		unknown = withoutField(unknown, fd.Number())
		if !m.Has(fd) {
			continue
		}
		switch {
		case child.children != nil:
			inner := m.Get(fd).Message()
			if hidden := child.hide(inner, mask); hidden != inner {
				change().Set(fd, protoreflect.ValueOfMessage(hidden))
			}
		case mask != "" && fd.Kind() == protoreflect.StringKind && fd.Cardinality() != protoreflect.Repeated:
			change().Set(fd, protoreflect.ValueOfString(mask))
		default:
			change().Clear(fd)
		}
	}
	if len(unknown) < len(m.GetUnknown()) {
		change().SetUnknown(unknown)
	}
	if out == nil {
		return m
	}
	return out
}

// withoutField takes a field out of those that the schema does not know: it is there
// if it was written with another type.
func withoutField(unknown protoreflect.RawFields, number protowire.Number) protoreflect.RawFields {
	var out protoreflect.RawFields
	for rest := unknown; len(rest) > 0; {
		found, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return out
		}
		if found != number {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	return out
}

// hideJSON appends an object, or a list of some, without what t has of it, or with
// strings replaced by mask if there is one. It says whether it hid anything.
func (t *tree) hideJSON(dst, value, mask []byte) (out []byte, hid bool) {
	var some bool
	if value[0] == '[' {
		dst = append(dst, '[')
		first := true
		for element := range elements(value) {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst, some = t.hideJSON(dst, element, mask)
			hid = hid || some
		}
		return append(dst, ']'), hid
	}
	if value[0] != '{' {
		return append(dst, value...), false
	}
	dst = append(dst, '{')
	empty := true
	for key, member := range members(value) {
		name := keyText(key)
		child := t.children[name]
		if child == nil {
			child = t.camel[name]
		}
		covered := child != nil && child.children == nil
		if covered && (mask == nil || member[0] != '"') {
			hid = true
			continue
		}
		if !empty {
			dst = append(dst, ',')
		}
		empty = false
		dst = append(append(dst, key...), ':')
		switch {
		case covered:
			dst, hid = append(dst, mask...), true
		case child != nil:
			dst, some = child.hideJSON(dst, member, mask)
			hid = hid || some
		default:
			dst = append(dst, member...)
		}
	}
	return append(dst, '}'), hid
}

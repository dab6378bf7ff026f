package contract

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

var (
	resourceDesc = (*watchroutev1.Resource)(nil).ProtoReflect().Descriptor()
	anyName      = protoreflect.FullName("google.protobuf.Any")
)

// needed says which fields a mirror may not leave out.
var needed = map[protoreflect.FullName][]string{
	"watchroute.v1.Resource":      {"name", "revision", "data"},
	"watchroute.v1.ListResponse":  {"resources", "next_page_token", "revision"},
	"watchroute.v1.WatchResponse": {"revision", "resume_token", "started", "events", "snapshot_end", "reset"},
	"watchroute.v1.Started":       {"mode"},
	"watchroute.v1.EventBatch":    {"events"},
	"watchroute.v1.Event":         {"state", "resource"},
	"watchroute.v1.WriteResponse": {"revision"},
}

// neededForDelta is needed too, where a watch can ask for deltas.
var neededForDelta = []string{"updated_fields", "base_revision"}

// mirror says whether have mirrors want with value in place of google.protobuf.Any:
// nil if it does.
type mirror struct {
	value   protoreflect.MessageDescriptor
	delta   bool // the watch can ask for deltas
	request bool // it is part of a request: of a Resource only data is needed
	seen    map[[2]protoreflect.FullName]bool
}

func (m *mirror) check(have, want protoreflect.MessageDescriptor) error {
	pair := [2]protoreflect.FullName{have.FullName(), want.FullName()}
	if m.seen[pair] {
		return nil
	}
	if m.seen == nil {
		m.seen = map[[2]protoreflect.FullName]bool{}
	}
	m.seen[pair] = true
	mismatch := func(format string, args ...any) error {
		return fmt.Errorf("%s is not a mirror of %s: %s", have.FullName(), want.FullName(), fmt.Sprintf(format, args...))
	}
	for i := range have.Fields().Len() {
		fd := have.Fields().Get(i)
		like := want.Fields().ByName(fd.Name())
		if like == nil {
			return mismatch("it has no field %q", fd.Name())
		}
		label := fmt.Sprintf("field %d %q", fd.Number(), fd.Name())
		if fd.Number() != like.Number() {
			return mismatch("%s has the number %d there", label, like.Number())
		}
		if fd.JSONName() != like.JSONName() {
			return mismatch("%s has the JSON name %q, expected %q", label, fd.JSONName(), like.JSONName())
		}
		if err := m.field(fd, like, func(format string, args ...any) error { return mismatch("%s %s", label, fmt.Sprintf(format, args...)) }); err != nil {
			return err
		}
	}
	must := needed[want.FullName()]
	if m.delta && want.FullName() == "watchroute.v1.Event" {
		must = slices.Concat(must, neededForDelta)
	}
	if m.request {
		must = []string{"data"}
	}
	for _, name := range must {
		if have.Fields().ByName(protoreflect.Name(name)) == nil {
			return mismatch("it lacks the field %d %q", want.Fields().ByName(protoreflect.Name(name)).Number(), name)
		}
	}
	return nil
}

// field compares two fields of the same name and number.
func (m *mirror) field(have, want protoreflect.FieldDescriptor, mismatch func(string, ...any) error) error {
	if want.Message() == nil || want.IsMap() {
		if !sameType(have, want) {
			return mismatch("has type %s, expected %s", typeOf(have), typeOf(want))
		}
		return nil
	}
	expected := string(want.Message().FullName())
	isValue := want.Message().FullName() == anyName && want.ContainingMessage().FullName() == resourceDesc.FullName()
	if isValue {
		expected = string(m.value.FullName())
	} else if carriesValue(want.Message()) {
		expected = "a mirror of " + expected
	}
	if have.IsList() && !want.IsList() || want.IsList() && !have.IsList() {
		if want.IsList() {
			expected = "repeated " + expected
		}
		return mismatch("has type %s, expected %s", typeOf(have), expected)
	}
	if have.Kind() != protoreflect.MessageKind || have.IsMap() || have.Cardinality() == protoreflect.Required {
		return mismatch("has type %s, expected %s", typeOf(have), expected)
	}
	switch {
	case isValue:
		if have.Message().FullName() != m.value.FullName() {
			return mismatch("has type %s, expected %s", typeOf(have), expected)
		}
		return nil
	case carriesValue(want.Message()):
		if have.Message().FullName() == want.Message().FullName() {
			return mismatch("has type %s, which holds google.protobuf.Any, expected %s with %s", typeOf(have), expected, m.value.FullName())
		}
		return m.check(have.Message(), want.Message())
	case have.Message().FullName() == want.Message().FullName():
		return nil
	case strings.HasPrefix(expected, "watchroute.v1."):
		return m.check(have.Message(), want.Message())
	}
	return mismatch("has type %s, expected %s", typeOf(have), expected)
}

// carriesValue says whether a generic message holds resources.
func carriesValue(md protoreflect.MessageDescriptor) bool {
	return mentions(md, func(m protoreflect.MessageDescriptor) bool { return m.FullName() == resourceDesc.FullName() })
}

// mentions says whether a message is, or holds at any depth, one that is meant.
func mentions(md protoreflect.MessageDescriptor, meant func(protoreflect.MessageDescriptor) bool) bool {
	seen := map[protoreflect.FullName]bool{}
	var walk func(protoreflect.MessageDescriptor) bool
	walk = func(md protoreflect.MessageDescriptor) bool {
		if meant(md) {
			return true
		}
		if seen[md.FullName()] {
			return false
		}
		seen[md.FullName()] = true
		for i := range md.Fields().Len() {
			if sub := md.Fields().Get(i).Message(); sub != nil && walk(sub) {
				return true
			}
		}
		return false
	}
	return walk(md)
}

// sameType says whether two fields have the same type and cardinality, messages and
// enumerations by their names.
func sameType(a, b protoreflect.FieldDescriptor) bool {
	if a.IsMap() != b.IsMap() || a.IsList() != b.IsList() || a.Cardinality() == protoreflect.Required {
		return false
	}
	if a.IsMap() {
		return sameType(a.MapKey(), b.MapKey()) && sameType(a.MapValue(), b.MapValue())
	}
	if a.Kind() != b.Kind() {
		return false
	}
	switch {
	case a.Message() != nil:
		return a.Message().FullName() == b.Message().FullName()
	case a.Enum() != nil:
		return a.Enum().FullName() == b.Enum().FullName()
	}
	return true
}

// typeOf names the type of a field as a .proto file does.
func typeOf(fd protoreflect.FieldDescriptor) string {
	if fd.IsMap() {
		return fmt.Sprintf("map<%s, %s>", typeOf(fd.MapKey()), typeOf(fd.MapValue()))
	}
	name := fd.Kind().String()
	switch {
	case fd.Message() != nil:
		name = string(fd.Message().FullName())
	case fd.Enum() != nil:
		name = string(fd.Enum().FullName())
	}
	switch {
	case fd.IsList():
		return "repeated " + name
	case fd.Cardinality() == protoreflect.Required:
		return "required " + name
	case fd.Kind() == protoreflect.GroupKind:
		return "group " + name
	}
	return name
}

package contract

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watchroute/watchroute/internal/schema"
)

// binder makes Methods of descriptors, and gathers what cannot be bound.
type binder struct {
	set       *Set
	resources map[protoreflect.FullName]*schema.Schema
	problems  []error
}

func (b *binder) problem(d protoreflect.Descriptor, format string, args ...any) {
	b.problems = append(b.problems, fmt.Errorf("%s: %s: %s", d.ParentFile().Path(), d.FullName(), fmt.Sprintf(format, args...)))
}

// service binds a service, if it is about resources, and says whether it is.
func (b *binder) service(sd protoreflect.ServiceDescriptor) bool {
	var about []protoreflect.FullName
	for i := range sd.Methods().Len() {
		about = append(about, b.about(sd.Methods().Get(i))...)
	}
	if len(about) == 0 {
		return false
	}
	slices.Sort(about)
	about = slices.Compact(about)
	s := service{desc: sd}
	for i := range sd.Methods().Len() {
		md := sd.Methods().Get(i)
		m, err := b.method(md, about)
		if err != nil {
			b.problem(md, "%s", err)
			continue
		}
		s.methods = append(s.methods, m)
		b.set.Methods = append(b.set.Methods, m)
	}
	slices.SortFunc(b.set.Methods, func(x, y *Method) int { return strings.Compare(x.FullName, y.FullName) })
	b.set.services = append(b.set.services, s)
	return true
}

// about gives the resource messages that a method mentions.
func (b *binder) about(md protoreflect.MethodDescriptor) []protoreflect.FullName {
	var out []protoreflect.FullName
	for _, m := range []protoreflect.MessageDescriptor{md.Input(), md.Output()} {
		mentions(m, func(m protoreflect.MessageDescriptor) bool {
			if b.resources[m.FullName()] != nil && !slices.Contains(out, m.FullName()) {
				out = append(out, m.FullName())
			}
			return false
		})
	}
	return out
}

func (b *binder) method(md protoreflect.MethodDescriptor, about []protoreflect.FullName) (*Method, error) {
	kind, rest := kindOf(string(md.Name()))
	if kind == 0 {
		return nil, fmt.Errorf("its name does not begin with Get, List, Watch, Put or Delete")
	}
	if md.IsStreamingClient() {
		return nil, fmt.Errorf("the request is a stream")
	}
	if md.IsStreamingServer() != (kind == Watch) {
		if kind == Watch {
			return nil, fmt.Errorf("the response is not a stream")
		}
		return nil, fmt.Errorf("the response is a stream, which only those of Watch are")
	}
	sc, err := b.choose(md, rest, about)
	if err != nil {
		return nil, err
	}
	m := &Method{
		FullName: "/" + string(md.Parent().FullName()) + "/" + string(md.Name()),
		Kind:     kind, Collection: sc.Collection(), Schema: sc, Input: md.Input(), Output: md.Output(), desc: md,
		input: b.set.Types.MessageType(md.Input()), output: b.set.Types.MessageType(md.Output()),
	}
	delta, err := m.bindRequest()
	if err != nil {
		return nil, fmt.Errorf("the request %w", err)
	}
	want := shapes[kind].response
	if m.Output.FullName() != want.FullName() {
		if m.Output.FullName() == sc.Descriptor().FullName() {
			return nil, fmt.Errorf("the response is %s itself, expected a mirror of %s", m.Output.FullName(), want.FullName())
		}
		if err := (&mirror{value: sc.Descriptor(), delta: delta}).check(m.Output, want); err != nil {
			return nil, fmt.Errorf("the response %w", err)
		}
		m.Typed = true
	}
	if m.Routes, err = routes(m); err != nil {
		return nil, err
	}
	return m, nil
}

// kindOf reads the kind from a method's name, and gives what follows it.
func kindOf(name string) (Kind, string) {
	for kind := Get; kind <= Delete; kind++ {
		rest, ok := strings.CutPrefix(name, kind.String())
		if ok && (rest == "" || rest[0] < 'a' || rest[0] > 'z') {
			return kind, rest
		}
	}
	return 0, ""
}

// choose finds the resource that a method is about.
func (b *binder) choose(md protoreflect.MethodDescriptor, rest string, service []protoreflect.FullName) (*schema.Schema, error) {
	own := b.about(md)
	for _, candidates := range [][]protoreflect.FullName{own, service} {
		if len(candidates) == 1 {
			return b.resources[candidates[0]], nil
		}
		var named []protoreflect.FullName
		for _, c := range candidates {
			if name := string(c.Name()); slices.Contains([]string{name, name + "s", name + "es", strings.TrimSuffix(name, "y") + "ies"}, rest) {
				named = append(named, c)
			}
		}
		if len(named) == 1 {
			return b.resources[named[0]], nil
		}
		if len(candidates) > 0 {
			return nil, fmt.Errorf("it could be about any of %s: name it after one of them, as in Get%s", join(candidates), candidates[0].Name())
		}
	}
	return nil, fmt.Errorf("it is about no resource")
}

func join(names []protoreflect.FullName) string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}

// bindRequest finds out what each field of the request is, and says whether the
// request can ask for deltas.
func (m *Method) bindRequest() (delta bool, err error) {
	like := shapes[m.Kind].request
	if m.Input.FullName() == like.FullName() {
		return false, fmt.Errorf("is %s itself, which can name any collection; declare one with the fields that are needed", like.FullName())
	}
	mismatch := func(fd protoreflect.FieldDescriptor, format string, args ...any) error {
		return fmt.Errorf("%s: field %d %q %s", m.Input.FullName(), fd.Number(), fd.Name(), fmt.Sprintf(format, args...))
	}
	r := &m.request
	for i := range m.Input.Fields().Len() {
		fd := m.Input.Fields().Get(i)
		generic := like.Fields().ByName(fd.Name())
		isID := m.Schema.IDField() != nil && fd.Name() == m.Schema.IDField().Name()
		switch {
		case (isID || fd.Name() == "name") && m.Kind != List:
			if !isString(fd) {
				return false, mismatch(fd, "has type %s, expected string", typeOf(fd))
			}
			if isID {
				r.id = fd
			} else {
				r.name = fd
			}
		case fd.Name() == "parent" && (m.Kind == List || m.Kind == Watch):
			if !isString(fd) {
				return false, mismatch(fd, "has type %s, expected string", typeOf(fd))
			}
			r.parent = fd
		case m.Kind == Put && fd.Name() == "resource", m.Kind == Put && isValue(fd, m.Schema):
			if err := m.bindValue(fd); err != nil {
				return false, err
			}
		case generic == nil:
			return false, mismatch(fd, "is not one of %s%s", like.FullName(), m.orID())
		case !sameType(fd, generic):
			return false, mismatch(fd, "has type %s, expected %s", typeOf(fd), typeOf(generic))
		default:
			r.others = append(r.others, pair{fd, generic})
			delta = delta || fd.Name() == "delta"
		}
	}
	return delta, m.checkRequest()
}

// checkRequest looks for what is missing, or too much.
func (m *Method) checkRequest() error {
	r := &m.request
	named := r.id != nil || r.name != nil
	m.One = m.Kind != List && (m.Kind != Watch || named)
	switch {
	case m.Kind == Put && r.resource == nil && r.value == nil:
		return fmt.Errorf("%s has neither a field \"resource\" nor one of type %s", m.Input.FullName(), m.Schema.Type())
	case m.Kind == Put && !named && !m.valueNames():
		return fmt.Errorf("%s has no field for the id%s", m.Input.FullName(), m.orID())
	case (m.Kind == Get || m.Kind == Delete) && !named:
		return fmt.Errorf("%s has no field for the id%s", m.Input.FullName(), m.orID())
	case m.Kind == Watch && named:
		for _, p := range r.others {
			if p.typed.Name() == "names" {
				return fmt.Errorf("%s has a field for one resource and field %d \"names\"", m.Input.FullName(), p.typed.Number())
			}
		}
	}
	return nil
}

// valueNames says whether what is put can name itself.
func (m *Method) valueNames() bool {
	r := &m.request
	return m.Schema.IDField() != nil || r.resource != nil && r.resource.Message().Fields().ByName("name") != nil
}

// orID says how the field for the id may be named.
func (m *Method) orID() string {
	switch {
	case m.Kind == List:
		return ""
	case m.Schema.IDField() == nil || m.Schema.IDField().Name() == "name":
		return `, nor "name"`
	}
	return fmt.Sprintf(", nor %q or \"name\"", m.Schema.IDField().Name())
}

func isString(fd protoreflect.FieldDescriptor) bool {
	return fd.Kind() == protoreflect.StringKind && fd.Cardinality() == protoreflect.Optional
}

func isValue(fd protoreflect.FieldDescriptor, s *schema.Schema) bool {
	return fd.Message() != nil && string(fd.Message().FullName()) == s.Type()
}

// bindValue takes the field of a Put that holds what is put.
func (m *Method) bindValue(fd protoreflect.FieldDescriptor) error {
	r := &m.request
	if r.resource != nil || r.value != nil {
		return fmt.Errorf("%s: field %d %q is the second one with a value", m.Input.FullName(), fd.Number(), fd.Name())
	}
	if fd.Kind() != protoreflect.MessageKind || fd.Cardinality() != protoreflect.Optional {
		return fmt.Errorf("%s: field %d %q has type %s, expected a mirror of %s, or %s", m.Input.FullName(), fd.Number(), fd.Name(), typeOf(fd), resourceDesc.FullName(), m.Schema.Type())
	}
	if isValue(fd, m.Schema) {
		r.value = fd
		return nil
	}
	if fd.Message().FullName() != resourceDesc.FullName() {
		if err := (&mirror{value: m.Schema.Descriptor(), request: true}).check(fd.Message(), resourceDesc); err != nil {
			return fmt.Errorf("%s: field %d %q: %w", m.Input.FullName(), fd.Number(), fd.Name(), err)
		}
	}
	r.resource = fd
	return nil
}

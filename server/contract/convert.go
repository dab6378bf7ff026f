package contract

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// Request turns a typed request into the generic one: *watchroutev1.GetRequest,
// ListRequest, WatchRequest, PutRequest or DeleteRequest. Errors are
// *resource.Error; their field is one of the typed request. in is not kept, but
// the result may share with it.
func (m *Method) Request(in proto.Message) (proto.Message, error) {
	typed := in.ProtoReflect()
	if typed.Descriptor() != m.Input {
		again := m.input.New()
		raw, err := proto.Marshal(in)
		if err == nil {
			err = proto.Unmarshal(raw, again.Interface())
		}
		if err != nil {
			return nil, resource.Errorf(resource.Internal, "internal error").Because(err)
		}
		typed = again
	}
	out := shapes[m.Kind].make()
	generic := out.ProtoReflect()
	for _, p := range m.request.others {
		if !typed.Has(p.typed) {
			continue
		}
		if oneof := p.generic.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			if other := generic.WhichOneof(oneof); other != nil {
				return nil, resource.Errorf(resource.InvalidField, "%s and %s exclude each other", other.Name(), p.typed.Name()).In(string(p.typed.Name()))
			}
		}
		if err := copyField(generic, p.generic, typed, p.typed); err != nil {
			return nil, err
		}
	}
	if err := m.checkParent(typed); err != nil {
		return nil, err
	}
	switch r := out.(type) {
	case *watchroutev1.GetRequest:
		name, err := m.named(typed, "")
		r.Name = name
		return r, err
	case *watchroutev1.DeleteRequest:
		name, err := m.named(typed, "")
		r.Name = name
		return r, err
	case *watchroutev1.ListRequest:
		r.Parent = m.Collection
	case *watchroutev1.WatchRequest:
		r.Parent = m.Collection
		if m.One {
			name, err := m.named(typed, "")
			r.Names = []string{name}
			return r, err
		}
	case *watchroutev1.PutRequest:
		return r, m.put(typed, r)
	}
	return out, nil
}

// put fills in what is put.
func (m *Method) put(typed protoreflect.Message, r *watchroutev1.PutRequest) error {
	r.Resource = &watchroutev1.Resource{}
	fd := m.request.resource
	if fd == nil {
		fd = m.request.value
	}
	if !typed.Has(fd) {
		return resource.Errorf(resource.InvalidField, "the value is missing").In(string(fd.Name()))
	}
	var err error
	if m.request.value != nil {
		r.Resource.Data, err = pack(typed.Get(fd).Message())
	} else {
		err = copyMessage(r.Resource.ProtoReflect(), typed.Get(fd).Message())
	}
	if err != nil {
		return err
	}
	r.Resource.Name, err = m.named(typed, r.GetResource().GetName())
	return err
}

// named gives the name that a request says in up to four places, which must agree.
// The value's own id counts where there is no other: writing compares it.
func (m *Method) named(typed protoreflect.Message, inResource string) (string, error) {
	var id, from string
	say := func(field, said string) error {
		if id != "" && id != said {
			return resource.Errorf(resource.InvalidName, "%s says %q, %s says %q", from, id, field, said).In(field)
		}
		id, from = said, field
		return nil
	}
	full := func(field, text string) error {
		name, err := resource.ParseName(field, text)
		if err != nil {
			return err
		}
		if name.Collection != m.Collection {
			return resource.Errorf(resource.InvalidName, "%q is not of the collection %s", text, m.Collection).In(field)
		}
		return say(field, name.ID)
	}
	r := &m.request
	if r.id != nil {
		if text := typed.Get(r.id).String(); text != "" {
			if err := resource.CheckID(string(r.id.Name()), text); err != nil {
				return "", err
			}
			id, from = text, string(r.id.Name())
		}
	}
	if r.name != nil {
		if text := typed.Get(r.name).String(); text != "" {
			if err := full(string(r.name.Name()), text); err != nil {
				return "", err
			}
		}
	}
	if inResource != "" {
		if err := full("resource.name", inResource); err != nil {
			return "", err
		}
	}
	if id == "" && m.Kind == Put {
		field, text := m.ownID(typed)
		if text != "" {
			if err := resource.CheckID(field, text); err != nil {
				return "", err
			}
			id = text
		}
	}
	if id == "" {
		return "", resource.Errorf(resource.InvalidName, "the id is missing").In(m.idPath())
	}
	return resource.Name{Collection: m.Collection, ID: id}.String(), nil
}

// ownID gives the id in the value that is put.
func (m *Method) ownID(typed protoreflect.Message) (field, id string) {
	fd := m.Schema.IDField()
	if fd == nil {
		return "", ""
	}
	if v := m.request.value; v != nil {
		return string(v.Name()) + "." + string(fd.Name()), typed.Get(v).Message().Get(fd).String()
	}
	res := m.request.resource
	data := res.Message().Fields().ByName("data")
	if data.Message().FullName() == anyName {
		return "", ""
	}
	return string(res.Name()) + ".data." + string(fd.Name()), typed.Get(res).Message().Get(data).Message().Get(fd).String()
}

func (m *Method) checkParent(typed protoreflect.Message) error {
	fd := m.request.parent
	if fd == nil {
		return nil
	}
	if text := typed.Get(fd).String(); text != "" && text != m.Collection {
		return resource.Errorf(resource.InvalidName, "the collection is %s", m.Collection).In(string(fd.Name()))
	}
	return nil
}

// Response turns a generic response into the typed one; where the method is not
// Typed it gives it back. Of a Watch it turns one WatchResponse. generic is not
// changed.
func (m *Method) Response(generic proto.Message) (proto.Message, error) {
	if !m.Typed {
		return generic, nil
	}
	out := m.output.New()
	if err := copyMessage(out, generic.ProtoReflect()); err != nil {
		return nil, err
	}
	return out.Interface(), nil
}

// copyMessage copies a message into its mirror, either way: field by field, by
// number, packing or unpacking values. What the mirror lacks is left out.
func copyMessage(dst, src protoreflect.Message) (err error) {
	fields := dst.Descriptor().Fields()
	src.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if to := fields.ByNumber(fd.Number()); to != nil {
			err = copyField(dst, to, src, fd)
		}
		return err == nil
	})
	return err
}

func copyField(dst protoreflect.Message, to protoreflect.FieldDescriptor, src protoreflect.Message, from protoreflect.FieldDescriptor) (err error) {
	v := src.Get(from)
	switch {
	case from.IsMap():
		in, out := v.Map(), dst.Mutable(to).Map()
		in.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			if to.MapValue().Message() != nil {
				err = copyMessage(out.Mutable(k).Message(), v.Message())
			} else {
				out.Set(k, v)
			}
			return err == nil
		})
	case from.IsList():
		in, out := v.List(), dst.Mutable(to).List()
		for i := range in.Len() {
			if from.Message() == nil {
				out.Append(in.Get(i))
				continue
			}
			e := out.NewElement()
			if err := copyMessage(e.Message(), in.Get(i).Message()); err != nil {
				return err
			}
			out.Append(e)
		}
	case from.Message() == nil:
		dst.Set(to, v)
	case from.Message().FullName() == anyName && to.Message().FullName() != anyName:
		return unpack(dst.Mutable(to).Message(), v.Message())
	case to.Message().FullName() == anyName && from.Message().FullName() != anyName:
		value, err := pack(v.Message())
		if err != nil {
			return err
		}
		return copyMessage(dst.Mutable(to).Message(), value.ProtoReflect())
	default:
		return copyMessage(dst.Mutable(to).Message(), v.Message())
	}
	return err
}

func pack(m protoreflect.Message) (*anypb.Any, error) {
	raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m.Interface())
	if err != nil {
		return nil, resource.Errorf(resource.InvalidValue, "%s", cleanError(err))
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.Descriptor().FullName()), Value: raw}, nil
}

func unpack(dst, any protoreflect.Message) error {
	fields := any.Descriptor().Fields()
	url, value := any.Get(fields.ByName("type_url")).String(), any.Get(fields.ByName("value")).Bytes()
	err := error(nil)
	if want := "/" + string(dst.Descriptor().FullName()); len(url) < len(want) || url[len(url)-len(want):] != want {
		err = fmt.Errorf("a %s holds %s", dst.Descriptor().FullName(), url)
	} else {
		err = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(value, dst.Interface())
	}
	if err != nil {
		return resource.Errorf(resource.Internal, "internal error").Because(err)
	}
	return nil
}

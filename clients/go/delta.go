package watchroute

import (
	"encoding/json"
	"maps"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

func (f messageForm) merge(old any, part *anypb.Any, paths []string) (any, error) {
	decoded, err := f.decode(part)
	if err != nil {
		return nil, err
	}
	from, to := decoded.(proto.Message).ProtoReflect(), proto.Clone(old.(proto.Message)).ProtoReflect()
	if from.Descriptor().FullName() != to.Descriptor().FullName() {
		return nil, wrongType(string(from.Descriptor().FullName()), string(to.Descriptor().FullName()))
	}
	for _, path := range paths {
		if err := mergePath(to, from, path); err != nil {
			return nil, err
		}
	}
	return to.Interface(), nil
}

// mergePath makes one path of to what it is in from, whose value may be taken. A field that
// the program's contract does not have is one that a newer contract added: it is left out.
func mergePath(to, from protoreflect.Message, path string) error {
	whole := path
	for {
		name, rest, deeper := strings.Cut(path, ".")
		field := to.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case field == nil:
			return nil
		case deeper && (field.Message() == nil || field.IsList() || field.IsMap()):
			return failure(codes.FailedPrecondition, ReasonWrongType, "%s has no field %q, which changed", to.Descriptor().FullName(), whole)
		case !deeper && from.Has(field):
			to.Set(field, from.Get(field))
			return nil
		case !deeper, !from.Has(field) && !to.Has(field):
			to.Clear(field)
			return nil
		}
		// Get of a message that from does not have is empty: what lies in it is cleared.
		to, from, path = to.Mutable(field).Message(), from.Get(field).Message(), rest
	}
}

func (f jsonForm) merge(old any, part *anypb.Any, paths []string) (any, error) {
	decoded, err := f.decode(part)
	if err != nil {
		return nil, err
	}
	to, err := members(old.(json.RawMessage))
	if err != nil {
		return nil, err
	}
	from, err := members(decoded.(json.RawMessage))
	if err != nil {
		return nil, err
	}
	if err := mergeMembers(to, from, paths); err != nil {
		return nil, err
	}
	text, err := jsonOf(to)
	return text, err
}

// mergeMembers changes the members of an object that the paths lead to.
func mergeMembers(to, from map[string]json.RawMessage, paths []string) error {
	inner := map[string][]string{}
	for _, path := range paths {
		name, rest, deeper := strings.Cut(path, ".")
		if deeper {
			inner[name] = append(inner[name], rest)
		} else if value, ok := from[name]; ok {
			to[name] = value
		} else {
			delete(to, name)
		}
	}
	for name := range maps.Keys(inner) {
		a, err := members(to[name])
		if err != nil {
			return err
		}
		b, err := members(from[name])
		if err != nil {
			return err
		}
		if err := mergeMembers(a, b, inner[name]); err != nil {
			return err
		}
		text, err := jsonOf(a)
		if err != nil {
			return err
		}
		to[name] = text
	}
	return nil
}

// members gives the members of an object; none of what is not there.
func members(text json.RawMessage) (map[string]json.RawMessage, error) {
	m := map[string]json.RawMessage{}
	if len(text) == 0 {
		return m, nil
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, failure(codes.FailedPrecondition, ReasonWrongType, "a value is not a JSON object: %v", err)
	}
	return m, nil
}

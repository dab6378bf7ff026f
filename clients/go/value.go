package watchroute

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// form is how values are kept: as messages, or as the text of JSON objects. A value is
// never changed.
type form interface {
	decode(*anypb.Any) (any, error)
	// merge gives old with the given paths changed to what part has there.
	merge(old any, part *anypb.Any, paths []string) (any, error)
	equal(a, b any) bool
}

// shape is how a program's type relates to a form.
type shape[T any] struct {
	form
	// give makes the program's value; copied: the form's value is kept, and must not be
	// handed out itself.
	give func(value any, copied bool) (T, error)
	take func(T) (*anypb.Any, error)
}

func shapeOf[T any]() shape[T] {
	var zero T
	switch any(zero).(type) {
	case json.RawMessage:
		return jsonShape(func(text json.RawMessage, copied bool) (T, error) {
			if copied {
				text = bytes.Clone(text)
			}
			return any(text).(T), nil
		})
	case *watchroutev1.Json:
		return jsonShape(func(text json.RawMessage, _ bool) (T, error) {
			return any(&watchroutev1.Json{Text: string(text)}).(T), nil
		})
	case *structpb.Struct:
		return jsonShape(func(text json.RawMessage, _ bool) (T, error) {
			s := &structpb.Struct{}
			return any(s).(T), protojson.Unmarshal(text, s)
		})
	case proto.Message:
		return messageShape[T](messageForm{any(zero).(proto.Message).ProtoReflect().Type()})
	}
	if reflect.TypeFor[T]() == reflect.TypeFor[proto.Message]() {
		return messageShape[T](messageForm{})
	}
	return jsonShape(func(text json.RawMessage, _ bool) (value T, err error) {
		if err := json.Unmarshal(text, &value); err != nil {
			return value, failure(codes.FailedPrecondition, ReasonWrongType, "the JSON of a value is not of the type that the program expects: %v", err)
		}
		return value, nil
	})
}

// messageForm keeps values as messages.
type messageForm struct {
	of protoreflect.MessageType // nil: any that is compiled in
}

func messageShape[T any](f messageForm) shape[T] {
	return shape[T]{form: f,
		give: func(value any, copied bool) (T, error) {
			if copied {
				value = proto.Clone(value.(proto.Message))
			}
			return value.(T), nil
		},
		take: func(value T) (*anypb.Any, error) { return anypb.New(any(value).(proto.Message)) },
	}
}

func (f messageForm) decode(data *anypb.Any) (any, error) {
	name := messageName(data)
	if f.of == nil {
		m, err := data.UnmarshalNew()
		if err != nil {
			return nil, wrongType(name, "a message that the program knows")
		}
		return m, nil
	}
	if expected := f.of.Descriptor().FullName(); name != string(expected) {
		return nil, wrongType(name, string(expected))
	}
	m := f.of.New().Interface()
	if err := proto.Unmarshal(data.GetValue(), m); err != nil {
		return nil, failure(codes.FailedPrecondition, ReasonWrongType, "a value of %s cannot be read: %v", name, err)
	}
	return m, nil
}

func (f messageForm) equal(a, b any) bool { return proto.Equal(a.(proto.Message), b.(proto.Message)) }

// jsonForm keeps values as text.
type jsonForm struct{}

func jsonShape[T any](give func(json.RawMessage, bool) (T, error)) shape[T] {
	return shape[T]{form: jsonForm{},
		give: func(value any, copied bool) (T, error) { return give(value.(json.RawMessage), copied) },
		take: func(value T) (*anypb.Any, error) {
			switch v := any(value).(type) {
			case *watchroutev1.Json:
				return anypb.New(v)
			case json.RawMessage:
				return anypb.New(&watchroutev1.Json{Text: string(v)})
			}
			text, err := jsonOf(value)
			if err != nil {
				return nil, err
			}
			return anypb.New(&watchroutev1.Json{Text: string(text)})
		},
	}
}

func (jsonForm) decode(data *anypb.Any) (any, error) {
	switch name := messageName(data); name {
	case "watchroute.v1.Json":
		m := &watchroutev1.Json{}
		if err := proto.Unmarshal(data.GetValue(), m); err != nil {
			return nil, failure(codes.FailedPrecondition, ReasonWrongType, "a value cannot be read: %v", err)
		}
		return json.RawMessage(m.GetText()), nil
	case "google.protobuf.Struct":
		m := &structpb.Struct{}
		if err := proto.Unmarshal(data.GetValue(), m); err != nil {
			return nil, failure(codes.FailedPrecondition, ReasonWrongType, "a value cannot be read: %v", err)
		}
		text, err := m.MarshalJSON()
		return json.RawMessage(text), err
	default:
		return nil, wrongType(name, "JSON")
	}
}

func (jsonForm) equal(a, b any) bool { return bytes.Equal(a.(json.RawMessage), b.(json.RawMessage)) }

// jsonOf gives the JSON of a value, with strings as they are: json.Marshal would escape
// what is special in HTML, also in a json.RawMessage.
func jsonOf(value any) (json.RawMessage, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(text.Bytes(), "\n"), nil
}

func messageName(data *anypb.Any) string {
	url := data.GetTypeUrl()
	return url[strings.LastIndexByte(url, '/')+1:]
}

func wrongType(got, expected string) *Error {
	if got == "" {
		got = "of no type"
	}
	return failure(codes.FailedPrecondition, ReasonWrongType, "a value is %s, not %s", got, expected)
}

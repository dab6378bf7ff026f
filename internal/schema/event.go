package schema

import (
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Event is what a Mapping makes changes of.
type Event struct {
	// ID to Subject are `event.id` to `event.subject`.
	ID, Type, Source, Topic, Partition, Position, Key, Subject string
	Headers                                                    map[string]string
	// Attributes are the extensions of a CloudEvent.
	Attributes map[string]any
	Time       time.Time // zero: 1970
	Data       EventData
}

// EventData is the decoded value of an event: one of its fields. The zero value is null.
type EventData struct {
	// JSON is a valid text without white space between its tokens; see CompactJSON.
	JSON    []byte
	Message proto.Message
	Text    *string
	Bytes   []byte
}

// CompactJSON checks a JSON text and takes the white space between its tokens out, as
// writing a value does. The error's reason is InvalidValue, and its `path` says where.
func CompactJSON(text []byte) ([]byte, error) {
	out, bad := compactJSON(string(text))
	if bad != nil {
		return nil, invalid("", bad.path, "%s", bad.msg)
	}
	return out, nil
}

// eventFields are what is known of each event, beside `data`.
var eventFields = []struct {
	name string
	typ  *cel.Type
	get  func(*Event) any
}{
	{"event.id", cel.StringType, func(e *Event) any { return types.String(e.ID) }},
	{"event.type", cel.StringType, func(e *Event) any { return types.String(e.Type) }},
	{"event.source", cel.StringType, func(e *Event) any { return types.String(e.Source) }},
	{"event.topic", cel.StringType, func(e *Event) any { return types.String(e.Topic) }},
	{"event.partition", cel.StringType, func(e *Event) any { return types.String(e.Partition) }},
	{"event.position", cel.StringType, func(e *Event) any { return types.String(e.Position) }},
	{"event.key", cel.StringType, func(e *Event) any { return types.String(e.Key) }},
	{"event.subject", cel.StringType, func(e *Event) any { return types.String(e.Subject) }},
	{"event.time", cel.TimestampType, func(e *Event) any {
		if e.Time.IsZero() {
			return types.Timestamp{Time: time.Unix(0, 0).UTC()}
		}
		return types.Timestamp{Time: e.Time}
	}},
	{"event.headers", cel.MapType(cel.StringType, cel.StringType), func(e *Event) any {
		if e.Headers == nil {
			return map[string]string{}
		}
		return e.Headers
	}},
	{"event.attributes", cel.MapType(cel.StringType, cel.DynType), func(e *Event) any {
		if e.Attributes == nil {
			return map[string]any{}
		}
		return e.Attributes
	}},
}

// eventVariables resolves the variables of a mapping for one event.
type eventVariables struct {
	env   *cel.Env
	event *Event
	data  ref.Val // nil: not made yet
	item  ref.Val // nil: there is none
}

// ResolveName implements interpreter.Activation.
func (v *eventVariables) ResolveName(name string) (any, bool) {
	switch name {
	case "data":
		if v.data == nil {
			v.data = v.event.Data.value(v.env)
		}
		return v.data, true
	case "item":
		return v.item, v.item != nil
	}
	for i := range eventFields {
		if eventFields[i].name == name {
			return eventFields[i].get(v.event), true
		}
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (v *eventVariables) Parent() interpreter.Activation { return nil }

func (d *EventData) value(env *cel.Env) ref.Val {
	switch {
	case d.JSON != nil:
		return jsonVal(d.JSON, 0)
	case d.Message != nil:
		return env.CELTypeAdapter().NativeToValue(d.Message)
	case d.Text != nil:
		return types.String(*d.Text)
	case d.Bytes != nil:
		return types.Bytes(d.Bytes)
	}
	return types.NullValue
}

// size is how large what an expression may read is, in bytes.
func (e *Event) size() int {
	n := len(e.Data.JSON) + len(e.Data.Bytes) + len(e.Key)
	if e.Data.Text != nil {
		n += len(*e.Data.Text)
	}
	if e.Data.Message != nil {
		n += proto.Size(e.Data.Message)
	}
	for k, v := range e.Headers {
		n += len(k) + len(v)
	}
	return n
}

// EventKind says what the data of a source's events is.
type EventKind int

// The kinds of data.
const (
	EventJSON EventKind = iota
	EventMessage
	EventText
	EventBytes
	EventAny // any of these, as each event says
)

// eventEnvironment gives what mappings of events with such data are compiled in.
func eventEnvironment(kind EventKind, desc protoreflect.MessageDescriptor) (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(maxNesting),
		cel.ExpressionNestingDepthLimit(maxNesting),
		ext.Strings(), // topics and keys have parts
	}
	for _, f := range eventFields {
		options = append(options, cel.Variable(f.name, f.typ))
	}
	if desc != nil {
		for _, fd := range withImports(desc.ParentFile()) {
			options = append(options, cel.TypeDescs(own(fd)))
		}
		options = append(options, cel.Container(string(desc.ParentFile().Package())))
	}
	data := cel.DynType
	switch {
	case kind == EventMessage:
		data = cel.ObjectType(string(desc.FullName()))
	case kind == EventText:
		data = cel.StringType
	case kind == EventBytes:
		data = cel.BytesType
	}
	return cel.NewEnv(append(options, cel.Variable("data", data))...)
}

package schema

import (
	"bytes"
	"maps"
	"sync"

	"cel.dev/cel-go/common/types/ref"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watchroute/watchroute/internal/changelog"
)

// Value is a present record seen through its schema, whole or in part. Each of its
// forms is made when it is first asked for, once, and then shared: what Value
// hands out must not be changed.
type Value struct {
	schema *Schema
	rec    *changelog.Record
	// A part has the whole and what it is of it.
	whole *Value
	part  *tree
	// origin is the value that this one is a redaction or a projection of, itself one
	// perhaps.
	origin *Value
	// projection makes the JSON of origin. The record has it as its data from then on.
	projection *Projection

	msgOnce sync.Once
	msg     protoreflect.Message // typed only

	jsonOnce sync.Once
	json     []byte

	wireOnce sync.Once
	wire     []byte

	celOnce sync.Once
	cel     ref.Val // of the whole only
}

// Record gives the record, the whole of it also where the value is a part. What a
// Redaction hid is not in it, and the data is what a Projection made of it.
func (v *Value) Record() *changelog.Record {
	whole := v
	for whole.whole != nil {
		whole = whole.whole
	}
	if whole.projection != nil {
		whole.JSON()
	}
	return v.rec
}

// original gives the whole value as it was written.
func (v *Value) original() *Value {
	for {
		switch {
		case v.whole != nil:
			v = v.whole
		case v.origin != nil:
			v = v.origin
		default:
			return v
		}
	}
}

// Schema gives the schema.
func (v *Value) Schema() *Schema { return v.schema }

// JSON gives the value as one line of JSON: ProtoJSON with lowerCamelCase names,
// the same bytes each time, where there is a schema, and otherwise the object as
// it was written, or as a Projection made it.
func (v *Value) JSON() []byte {
	v.jsonOnce.Do(func() {
		switch {
		case v.projection != nil:
			v.json = v.projection.json(v.origin)
			v.rec.Data = v.json
		case v.schema.desc != nil:
			text, err := v.schema.marshalJSON(v.message())
			if err != nil {
				text = []byte("{}")
			}
			v.json = text
		case v.whole != nil:
			v.json = v.part.appendJSON(nil, v.whole.JSON())
		case v.rec.Type != "":
			v.json = v.schema.foreignJSON(v.rec)
		case len(v.rec.Data) == 0:
			v.json = []byte("{}")
		default:
			v.json = v.rec.Data
		}
	})
	return v.json
}

// Wire gives the contents of a google.protobuf.Any: the message where there is a
// schema, otherwise a google.protobuf.Struct.
func (v *Value) Wire() (typeURL string, value []byte) {
	v.wireOnce.Do(func() {
		switch {
		case v.schema.desc == nil:
			v.wire = appendStruct(nil, v.JSON(), 0)
		case v.whole == nil && v.rec.Type == v.schema.Type():
			v.wire = v.rec.Data
		default:
			v.wire, _ = marshalWire(v.message())
		}
	})
	if v.schema.desc == nil {
		return urlPrefix + structType, v.wire
	}
	return urlPrefix + v.schema.Type(), v.wire
}

// Equal says whether the data, as far as a mask leaves it, and the labels are the
// same. JSON objects are the same whatever the order of their names.
func (v *Value) Equal(o *Value) bool {
	return maps.Equal(v.rec.Labels, o.rec.Labels) && v.sameData(o)
}

func (v *Value) sameData(o *Value) bool {
	if v.schema.desc == nil {
		return sameJSON(v.JSON(), o.JSON())
	}
	_, a := v.Wire()
	_, b := o.Wire()
	return bytes.Equal(a, b)
}

// message gives the message of a value with a schema.
func (v *Value) message() protoreflect.Message {
	v.msgOnce.Do(func() {
		if v.whole != nil {
			v.msg = v.part.message(v.whole.message())
			return
		}
		v.msg = v.schema.decode(v.rec)
	})
	return v.msg
}

// decode makes the message of a record, whatever it was written as: the schema may
// have come, or changed its name, later. What cannot be read is the empty message.
func (s *Schema) decode(rec *changelog.Record) protoreflect.Message {
	m := s.msgType.New()
	fromJSON := func(text []byte) bool {
		opts := protojson.UnmarshalOptions{DiscardUnknown: true, AllowPartial: true, Resolver: s.types, RecursionLimit: wireDepth}
		return opts.Unmarshal(text, m.Interface()) == nil
	}
	fromWire := func(data []byte) bool {
		opts := proto.UnmarshalOptions{AllowPartial: true, Resolver: s.types, RecursionLimit: wireDepth}
		return opts.Unmarshal(data, m.Interface()) == nil
	}
	ok := false
	switch rec.Type {
	case s.Type():
		ok = fromWire(rec.Data)
	case "":
		ok = fromJSON(rec.Data)
	default:
		if old, err := s.types.FindMessageByName(protoreflect.FullName(rec.Type)); err == nil {
			ok = fromJSON(s.anyJSON(old, rec.Data))
		} else {
			ok = fromWire(rec.Data) // renamed, most likely
		}
	}
	if !ok {
		return s.msgType.New()
	}
	return m
}

// foreignJSON gives the JSON of a message in a collection without a schema.
func (s *Schema) foreignJSON(rec *changelog.Record) []byte {
	mt, err := s.types.FindMessageByName(protoreflect.FullName(rec.Type))
	if err != nil {
		return []byte("{}")
	}
	text := s.anyJSON(mt, rec.Data)
	if len(text) == 0 || text[0] != '{' { // a well-known type
		return []byte("{}")
	}
	return text
}

func (s *Schema) anyJSON(mt protoreflect.MessageType, data []byte) []byte {
	m := mt.New()
	opts := proto.UnmarshalOptions{AllowPartial: true, Resolver: s.types, RecursionLimit: wireDepth}
	if opts.Unmarshal(data, m.Interface()) != nil {
		return []byte("{}")
	}
	text, err := s.marshalJSON(m)
	if err != nil {
		return []byte("{}")
	}
	return text
}

// marshalJSON gives ProtoJSON without the white space that protojson puts in at
// random.
func (s *Schema) marshalJSON(m protoreflect.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{AllowPartial: true, Resolver: s.types}.Marshal(m.Interface())
	if err != nil {
		return nil, err
	}
	return squeeze(text), nil
}

// squeeze takes the white space between the tokens out of valid JSON, in place.
func squeeze(text []byte) []byte {
	out := text[:0]
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted && c == '\\' && i+1 < len(text):
			out = append(out, c)
			i++
			c = text[i]
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\n'):
			continue
		}
		out = append(out, c)
	}
	return out
}

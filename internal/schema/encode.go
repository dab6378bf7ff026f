package schema

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

const (
	jsonType   = "watchroute.v1.Json"
	structType = "google.protobuf.Struct"
)

// Encode checks a value that is to be written as COLLECTION/id and gives what is
// stored of it: changelog.Record's Type and Data. field is the request field that
// held the value, for the error, whose reason is InvalidValue and whose `path` is
// the path in the value, such as items[2].quantity.
//
// With a schema the value is an Any of its message, or of watchroute.v1.Json or
// google.protobuf.Struct, which are read as its ProtoJSON, unknown fields being
// refused; no value is the empty message. An empty id_field is filled in, one
// that contradicts the id is refused. Fields of the wire form that the schema
// does not know are kept. Stored is the deterministic wire form.
//
// Without a schema the value is watchroute.v1.Json, one JSON object, which is
// stored as it was written but for the white space between tokens, or
// google.protobuf.Struct, which is stored as JSON with sorted names.
func (s *Schema) Encode(field, id string, data *anypb.Any) (typ string, stored []byte, err error) {
	if s.desc == nil {
		stored, err = s.encodeJSON(field, data)
		return "", stored, err
	}
	m, err := s.parse(field, data)
	if err != nil {
		return "", nil, err
	}
	return s.encodeMessage(field, id, m)
}

func (s *Schema) encodeMessage(field, id string, m protoreflect.Message) (typ string, stored []byte, err error) {
	if s.idField != nil {
		switch have := m.Get(s.idField).String(); have {
		case id:
		case "":
			m.Set(s.idField, protoreflect.ValueOfString(id))
		default:
			return "", nil, invalid(field, string(s.idField.Name()), "%s is %s, the name says %s", s.idField.Name(), clipQuote(have), clipQuote(id))
		}
	}
	if path, err := s.check(m, nil); err != nil {
		return "", nil, invalid(field, pathString(path), "%s", cleanError(err))
	}
	stored, err = marshalWire(m)
	if err != nil {
		return "", nil, invalid(field, "", "%s", cleanError(err))
	}
	return s.Type(), stored, nil
}

func invalid(field, path, format string, args ...any) *resource.Error {
	e := resource.Errorf(resource.InvalidValue, format, args...).In(field)
	if path != "" {
		e.Message = path + ": " + e.Message
		e = e.With("path", path)
	}
	return e
}

func (s *Schema) encodeJSON(field string, data *anypb.Any) ([]byte, error) {
	const expected = "a JSON object as watchroute.v1.Json or google.protobuf.Struct is expected"
	switch name := typeName(data.GetTypeUrl()); name {
	case "":
		return nil, invalid(field, "", "the value is missing; %s", expected)
	case jsonType, structType:
		text, err := jsonText(field, name, data.GetValue())
		if err != nil {
			return nil, err
		}
		return text, nil
	default:
		return nil, invalid(field, "", "the collection %s has no schema; %s, not %s", s.collection, expected, clip(name))
	}
}

// jsonText gives the compact text of a watchroute.v1.Json or
// google.protobuf.Struct.
func jsonText(field, name string, value []byte) ([]byte, error) {
	var text []byte
	var bad *jsonError
	if name == jsonType {
		var j watchroutev1.Json
		if err := proto.Unmarshal(value, &j); err != nil {
			return nil, invalid(field, "", "not a watchroute.v1.Json: %s", cleanError(err))
		}
		text, bad = compactObject(j.GetText())
	} else {
		var st structpb.Struct
		if err := unmarshalWire.Unmarshal(value, &st); err != nil {
			return nil, invalid(field, "", "not a google.protobuf.Struct: %s", cleanError(err))
		}
		text, bad = structJSON(&st)
	}
	if bad != nil {
		return nil, invalid(field, bad.path, "%s", bad.msg)
	}
	return text, nil
}

// wireDepth bounds the nesting of messages. A Struct takes three levels for one
// of JSON.
const wireDepth = 3*MaxDepth + 3

var unmarshalWire = proto.UnmarshalOptions{RecursionLimit: wireDepth}

func marshalWire(m protoreflect.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
}

// parse makes the schema's message of what was written.
func (s *Schema) parse(field string, data *anypb.Any) (protoreflect.Message, error) {
	m := s.msgType.New()
	switch name := typeName(data.GetTypeUrl()); name {
	case "":
		if len(data.GetValue()) > 0 {
			return nil, invalid(field, "", "the value has no type_url; %s is expected", s.Type())
		}
	case s.Type():
		opts := unmarshalWire
		opts.Resolver = s.types
		if err := opts.Unmarshal(data.GetValue(), m.Interface()); err != nil {
			return nil, invalid(field, "", "not a %s: %s", s.Type(), cleanError(err))
		}
	case jsonType, structType:
		text, err := jsonText(field, name, data.GetValue())
		if err != nil {
			return nil, err
		}
		opts := protojson.UnmarshalOptions{Resolver: s.types, RecursionLimit: wireDepth}
		if err := opts.Unmarshal(text, m.Interface()); err != nil {
			msg := cleanError(err)
			path, msg := jsonPath(string(text), msg)
			return nil, invalid(field, path, "%s", msg)
		}
	default:
		return nil, invalid(field, "", "the collection %s holds %s, not %s", s.collection, s.Type(), clip(name))
	}
	return m, nil
}

// cleanError takes protobuf's prefix, which comes in two spellings, from the
// text.
func cleanError(err error) string {
	msg := err.Error()
	msg = strings.TrimPrefix(msg, "proto:")
	return strings.TrimLeft(msg, " \u00a0")
}

var position = regexp.MustCompile(`^(?:syntax error )?\(line 1:(\d+)\): `)

// jsonPath turns the position in a message of protojson on a text of one line into
// the path of what stands there.
func jsonPath(text, msg string) (path, rest string) {
	found := position.FindStringSubmatch(msg)
	if found == nil {
		return "", msg
	}
	column, _ := strconv.Atoi(found[1])
	offset := 0
	for ; column > 1 && offset < len(text); column-- {
		_, n := utf8.DecodeRuneInString(text[offset:])
		offset += n
	}
	return pathString(pathAt([]byte(text), offset, nil)), msg[len(found[0]):]
}

// pathAt gives the path of the innermost member or element whose name or value
// covers the offset.
func pathAt(raw []byte, offset int, path []element) []element {
	if offset <= 0 { // the bracket, or in the name
		return path
	}
	at := 1
	for key, value := range members(raw) {
		end := at + len(key) + 1 + len(value)
		if offset < end {
			path = append(path, element{key: keyText(key), index: -1})
			return pathAt(value, offset-(end-len(value)), path)
		}
		at = end + 1
	}
	i := 0
	for value := range elements(raw) {
		if offset < at+len(value) {
			return pathAt(value, offset-at, append(path, element{index: i}))
		}
		at += len(value) + 1
		i++
	}
	return path
}

// check finds what could not be shown as JSON: strings that are not UTF-8 and
// well-known types out of their ranges. It returns the path of the first of them.
func (s *Schema) check(m protoreflect.Message, path []element) (where []element, err error) {
	if strings.HasPrefix(string(m.Descriptor().FullName()), "google.protobuf.") {
		_, err := s.marshalJSON(m)
		return path, err
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		path := append(path, element{key: fd.TextName(), index: -1})
		switch {
		case fd.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				if fd.MapKey().Kind() == protoreflect.StringKind && !utf8.ValidString(k.String()) {
					where, err = path, fmt.Errorf("a key is not UTF-8")
					return false
				}
				where, err = s.checkValue(fd.MapValue(), v, append(path, element{key: clip(k.String()), index: -1}))
				return err == nil
			})
		case fd.IsList():
			for i := range v.List().Len() {
				if where, err = s.checkValue(fd, v.List().Get(i), append(path, element{index: i})); err != nil {
					break
				}
			}
		default:
			where, err = s.checkValue(fd, v, path)
		}
		return err == nil
	})
	return where, err
}

func (s *Schema) checkValue(fd protoreflect.FieldDescriptor, v protoreflect.Value, path []element) ([]element, error) {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return s.check(v.Message(), path)
	case protoreflect.StringKind:
		if !utf8.ValidString(v.String()) {
			return path, fmt.Errorf("the text is not UTF-8")
		}
	}
	return nil, nil
}

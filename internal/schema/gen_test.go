package schema

import (
	"encoding/json"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// drawMessage makes any message of a type.
func drawMessage(t *rapid.T, mt protoreflect.MessageType, depth int) protoreflect.Message {
	m := mt.New()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if rapid.IntRange(0, 2).Draw(t, "set "+string(fd.Name())) == 0 || fd.Message() != nil && depth <= 0 {
			continue
		}
		switch {
		case fd.IsMap():
			for range rapid.IntRange(0, 2).Draw(t, "entries") {
				k := drawScalar(t, fd.MapKey()).MapKey()
				if fd.MapValue().Message() != nil {
					copyInto(m.Mutable(fd).Map().Mutable(k).Message(), drawField(t, fd.MapValue(), m.Mutable(fd).Map().NewValue().Message(), depth))
				} else {
					m.Mutable(fd).Map().Set(k, drawScalar(t, fd.MapValue()))
				}
			}
		case fd.IsList():
			for range rapid.IntRange(0, 2).Draw(t, "elements") {
				if fd.Message() != nil {
					e := m.Mutable(fd).List().NewElement().Message()
					m.Mutable(fd).List().Append(protoreflect.ValueOfMessage(drawField(t, fd, e, depth)))
				} else {
					m.Mutable(fd).List().Append(drawScalar(t, fd))
				}
			}
		case fd.Message() != nil:
			m.Set(fd, protoreflect.ValueOfMessage(drawField(t, fd, m.NewField(fd).Message(), depth)))
		default:
			m.Set(fd, drawScalar(t, fd))
		}
	}
	return m
}

func copyInto(dst, src protoreflect.Message) {
	src.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		dst.Set(fd, v)
		return true
	})
}

// drawField keeps to what the well-known types allow.
func drawField(t *rapid.T, fd protoreflect.FieldDescriptor, empty protoreflect.Message, depth int) protoreflect.Message {
	fields := empty.Descriptor().Fields()
	switch fd.Message().FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration":
		empty.Set(fields.ByName("seconds"), protoreflect.ValueOfInt64(rapid.Int64Range(0, 3).Draw(t, "seconds")))
		return empty
	case "google.protobuf.FieldMask":
		empty.Mutable(fields.ByName("paths")).List().Append(protoreflect.ValueOfString("a_b"))
		return empty
	case "google.protobuf.Any":
		empty.Set(fields.ByName("type_url"), protoreflect.ValueOfString(urlPrefix+"shop.v1.Money"))
		return empty
	}
	return drawMessage(t, empty.Type(), depth-1)
}

func drawScalar(t *rapid.T, fd protoreflect.FieldDescriptor) protoreflect.Value {
	n := rapid.IntRange(0, 3).Draw(t, string(fd.Name()))
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n%2 == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n) / 2)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(strings.Repeat("b", n)))
	}
	return protoreflect.ValueOfString(strings.Repeat("s", n))
}

// drawObject makes the text of any JSON object. Its keys are few, so that two
// objects have some in common, and odd.
func drawObject(t *rapid.T, depth int) string {
	keys := []string{"a", "b", "c", "fooBar", "foo_bar", "a.b", "", "x y", "é", "a\"b", "\n"}
	var b strings.Builder
	b.WriteByte('{')
	chosen := rapid.SliceOfNDistinct(rapid.SampledFrom(keys), 0, 4, rapid.ID[string]).Draw(t, "keys")
	for i, k := range chosen {
		if i > 0 {
			b.WriteByte(',')
		}
		quoted, _ := json.Marshal(k)
		b.Write(quoted)
		b.WriteByte(':')
		b.WriteString(drawJSON(t, depth))
	}
	b.WriteByte('}')
	return b.String()
}

func drawJSON(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	if depth <= 0 {
		kind = min(kind, 4)
	}
	switch kind {
	case 0:
		return strconv.Itoa(rapid.IntRange(-2, 2).Draw(t, "n"))
	case 1:
		return rapid.SampledFrom([]string{"1.0", "1e2", "-0", "9007199254740993", "18446744073709551615"}).Draw(t, "number")
	case 2:
		return rapid.SampledFrom([]string{`""`, `"x"`, `"\u00e9\n"`, `"é\n"`, `"\ud83d\ude00"`}).Draw(t, "string")
	case 3:
		return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "bool")
	case 4:
		return "null"
	case 5:
		var parts []string
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			parts = append(parts, drawJSON(t, depth-1))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return drawObject(t, depth-1)
}

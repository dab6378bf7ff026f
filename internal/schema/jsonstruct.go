package schema

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/structpb"
)

// appendStruct appends a JSON object as google.protobuf.Struct in wire form, its
// fields in the order of the text.
func appendStruct(dst, obj []byte, depth int) []byte {
	if depth > MaxDepth {
		return dst
	}
	for k, v := range members(obj) {
		dst = appendNested(dst, 1, func(dst []byte) []byte { // Struct.fields
			dst = protowire.AppendTag(dst, 1, protowire.BytesType)
			dst = protowire.AppendString(dst, keyText(k))
			return appendNested(dst, 2, func(dst []byte) []byte { return appendJSONValue(dst, v, depth+1) })
		})
	}
	return dst
}

// appendJSONValue appends google.protobuf.Value.
func appendJSONValue(dst, raw []byte, depth int) []byte {
	if len(raw) == 0 {
		return dst
	}
	varint := func(field protowire.Number, n uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), n)
	}
	switch raw[0] {
	case 'n':
		return varint(1, 0)
	case 't':
		return varint(4, 1)
	case 'f':
		return varint(4, 0)
	case '"':
		return protowire.AppendString(protowire.AppendTag(dst, 3, protowire.BytesType), keyText(raw))
	case '{':
		return appendNested(dst, 5, func(dst []byte) []byte { return appendStruct(dst, raw, depth) })
	case '[':
		return appendNested(dst, 6, func(dst []byte) []byte {
			if depth > MaxDepth {
				return dst
			}
			for v := range elements(raw) {
				dst = appendNested(dst, 1, func(dst []byte) []byte { return appendJSONValue(dst, v, depth+1) })
			}
			return dst
		})
	}
	f, _ := strconv.ParseFloat(string(raw), 64)
	return protowire.AppendFixed64(protowire.AppendTag(dst, 2, protowire.Fixed64Type), math.Float64bits(f))
}

// appendNested appends what fill appends as a length-delimited field. The length
// is guessed to take one byte; longer contents are moved.
func appendNested(dst []byte, field protowire.Number, fill func([]byte) []byte) []byte {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	at := len(dst)
	dst = fill(append(dst, 0))
	n := len(dst) - at - 1
	if n < 0x80 {
		dst[at] = byte(n)
		return dst
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	dst = append(dst, make([]byte, more)...)
	copy(dst[at+1+more:], dst[at+1:at+1+n])
	protowire.AppendVarint(dst[:at], uint64(n))
	return dst
}

// structJSON writes a Struct as compact JSON with sorted names.
func structJSON(s *structpb.Struct) ([]byte, *jsonError) {
	w := &structWriter{}
	if err := w.object(s); err != nil {
		return nil, err
	}
	return w.out, nil
}

type structWriter struct {
	out  []byte
	path []element
}

func (w *structWriter) errorf(format string, args ...any) *jsonError {
	return &jsonError{path: pathString(w.path), msg: fmt.Sprintf(format, args...)}
}

func (w *structWriter) object(s *structpb.Struct) *jsonError {
	if len(w.path) >= MaxDepth {
		return w.errorf("the value is nested more than %d deep", MaxDepth)
	}
	fields := s.GetFields()
	w.out = append(w.out, '{')
	for i, key := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.path = append(w.path, element{key: key, index: -1})
		w.out = append(appendString(w.out, key), ':')
		if err := w.value(fields[key]); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	w.out = append(w.out, '}')
	return nil
}

func (w *structWriter) value(v *structpb.Value) *jsonError {
	switch k := v.GetKind().(type) {
	case *structpb.Value_NullValue:
		w.out = append(w.out, "null"...)
	case *structpb.Value_BoolValue:
		w.out = strconv.AppendBool(w.out, k.BoolValue)
	case *structpb.Value_NumberValue:
		if math.IsNaN(k.NumberValue) || math.IsInf(k.NumberValue, 0) {
			return w.errorf("%v is not a JSON number", k.NumberValue)
		}
		w.out = appendNumber(w.out, k.NumberValue)
	case *structpb.Value_StringValue:
		w.out = appendString(w.out, k.StringValue)
	case *structpb.Value_StructValue:
		return w.object(k.StructValue)
	case *structpb.Value_ListValue:
		if len(w.path) >= MaxDepth {
			return w.errorf("the value is nested more than %d deep", MaxDepth)
		}
		w.out = append(w.out, '[')
		for i, e := range k.ListValue.GetValues() {
			if i > 0 {
				w.out = append(w.out, ',')
			}
			w.path = append(w.path, element{index: i})
			if err := w.value(e); err != nil {
				return err
			}
			w.path = w.path[:len(w.path)-1]
		}
		w.out = append(w.out, ']')
	default:
		return w.errorf("the google.protobuf.Value has no kind")
	}
	return nil
}

// appendNumber writes a double as JavaScript does: as an integer where it is one
// below 1e21, and otherwise as short as it can be read back.
func appendNumber(dst []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

// appendString writes a JSON string with no more escapes than there must be.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}

package schema

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxExact is up to which number each integer is a double.
const maxExact = 1 << 53

// celWriter writes what expressions yield as JSON, the same bytes each time.
type celWriter struct {
	schema *Schema // knows the types in google.protobuf.Any
	out    []byte
	most   int // how long out may become; it is given up soon after
}

// value appends a value. as is the field that it comes from, if it is known. It says
// whether it could; otherwise some of it stands there all the same.
func (w *celWriter) value(v ref.Val, as protoreflect.FieldDescriptor) bool {
	if len(w.out) > w.most {
		return false
	}
	switch v := v.(type) {
	case types.Null:
		w.out = append(w.out, "null"...)
	case types.Bool:
		w.out = strconv.AppendBool(w.out, bool(v))
	case types.Int:
		w.int(int64(v), as)
	case types.Uint:
		w.number(strconv.FormatUint(uint64(v), 10), v <= maxExact)
	case types.Double:
		w.double(float64(v), as)
	case types.String:
		return w.text(string(v))
	case types.Bytes:
		if base64.StdEncoding.EncodedLen(len(v)) > w.most-len(w.out) {
			return false
		}
		w.out = append(base64.StdEncoding.AppendEncode(append(w.out, '"'), v), '"')
	case types.Timestamp:
		return w.message(timestamppb.New(v.Time))
	case types.Duration:
		return w.message(durationpb.New(time.Duration(v.Duration)))
	case traits.Mapper:
		return w.object(v, as)
	case traits.Lister:
		return w.list(v, as)
	default:
		m, ok := v.Value().(proto.Message)
		return ok && w.message(m)
	}
	return true
}

func (w *celWriter) int(n int64, as protoreflect.FieldDescriptor) {
	if as != nil && as.Enum() != nil && n == int64(int32(n)) {
		if known := as.Enum().Values().ByNumber(protoreflect.EnumNumber(n)); known != nil {
			w.out = appendString(w.out, string(known.Name()))
			return
		}
	}
	w.number(strconv.FormatInt(n, 10), n >= -maxExact && n <= maxExact)
}

func (w *celWriter) number(digits string, exact bool) {
	if !exact {
		digits = `"` + digits + `"`
	}
	w.out = append(w.out, digits...)
}

func (w *celWriter) double(f float64, as protoreflect.FieldDescriptor) {
	switch {
	case math.IsNaN(f):
		w.out = append(w.out, `"NaN"`...)
	case math.IsInf(f, 1):
		w.out = append(w.out, `"Infinity"`...)
	case math.IsInf(f, -1):
		w.out = append(w.out, `"-Infinity"`...)
	default:
		if as != nil && as.Kind() == protoreflect.FloatKind { // no digits that it never had
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'g', -1, 32), 64)
		}
		w.out = appendNumber(w.out, f)
	}
}

func (w *celWriter) text(s string) bool {
	if len(s) > w.most-len(w.out) {
		return false
	}
	w.out = appendString(w.out, s)
	return true
}

func (w *celWriter) message(m proto.Message) bool {
	text, err := w.schema.marshalJSON(m.ProtoReflect())
	w.out = append(w.out, text...)
	return err == nil
}

func (w *celWriter) list(l traits.Lister, as protoreflect.FieldDescriptor) bool {
	w.out = append(w.out, '[')
	for it, i := l.Iterator(), 0; it.HasNext() == types.True; i++ {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if !w.value(it.Next(), as) {
			return false
		}
	}
	w.out = append(w.out, ']')
	return true
}

// object appends a map with sorted names. Two keys must not become one name.
func (w *celWriter) object(m traits.Mapper, as protoreflect.FieldDescriptor) bool {
	if as != nil && as.IsMap() {
		as = as.MapValue()
	}
	type entry struct {
		name string
		key  ref.Val
	}
	entries := make([]entry, 0, min(length(m), 1024))
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := memberName(key)
		if !ok || len(entries) > w.most {
			return false
		}
		entries = append(entries, entry{name, key})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	w.out = append(w.out, '{')
	for i, e := range entries {
		if i > 0 {
			if e.name == entries[i-1].name {
				return false
			}
			w.out = append(w.out, ',')
		}
		value, ok := m.Find(e.key)
		if !ok || !w.text(e.name) {
			return false
		}
		w.out = append(w.out, ':')
		if !w.value(value, as) {
			return false
		}
	}
	w.out = append(w.out, '}')
	return true
}

// memberName gives the name that a key has in JSON.
func memberName(key ref.Val) (string, bool) {
	switch key := key.(type) {
	case types.String:
		return strings.ToValidUTF8(string(key), "\uFFFD"), true
	case types.Bool:
		return strconv.FormatBool(bool(key)), true
	case types.Int:
		return strconv.FormatInt(int64(key), 10), true
	case types.Uint:
		return strconv.FormatUint(uint64(key), 10), true
	}
	return "", false
}

// nesting says how deep a JSON value nests: 0 for one that is no object or list.
func nesting(text []byte) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

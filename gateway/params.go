package gateway

import (
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/watchroute/watchroute/internal/resource"
)

// query reads the parameters of a URL.
func query(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, resource.Errorf(resource.InvalidField, "the URL's parameters are malformed: %s", strings.TrimPrefix(err.Error(), "invalid "))
	}
	if p := acceptedProjection(r); p != "" && !values.Has(projectionName) {
		values.Set(projectionName, p)
	}
	return values, nil
}

// projectionName is the parameter of Accept's media types, and of the URL, by which a
// reader asks for a shape.
const projectionName = "projection"

// acceptedProjection gives the projection that the Accept header of a read asks for, as
// in `application/json; projection=summary.v1`.
func acceptedProjection(r *http.Request) string {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return ""
	}
	for _, text := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		if _, params, err := mime.ParseMediaType(text); err == nil && params[projectionName] != "" {
			return params[projectionName]
		}
	}
	return ""
}

// takeWait takes the parameter wait out of the others; 0: there is none. More than
// most means most.
func takeWait(values url.Values, most time.Duration) (wait time.Duration, ok bool, err error) {
	text, ok := values["wait"]
	if !ok {
		return 0, false, nil
	}
	delete(values, "wait")
	if len(text) > 1 {
		return 0, false, invalidField("wait", "it is given %d times", len(text))
	}
	if wait, err = parseDuration("wait", text[0]); err != nil {
		return 0, false, err
	}
	if wait < 0 {
		return 0, false, invalidField("wait", "%v is negative", wait)
	}
	return min(wait, most), true, nil
}

func invalidField(field, format string, args ...any) error {
	return resource.Errorf(resource.InvalidField, format, args...).In(field)
}

func parseDuration(field, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, invalidField(field, "%q is not a duration, such as 500ms, 0.5s or 2m", clip(text))
	}
	return d, nil
}

// populate fills a request from the parameters of its URL. Their names are those of
// the fields, in either spelling, dotted where they are within a message. taken has
// the fields that the path or the body has filled, and which of both. extra are
// parameters besides, for the hint in an error.
func populate(m protoreflect.Message, values url.Values, taken map[string]string, extra ...string) error {
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key == "" {
			return resource.Errorf(resource.InvalidField, "a parameter of the URL has no name")
		}
		path, ok := fieldPath(m.Descriptor(), key)
		if !ok {
			return invalidField(clip(key), "there is no parameter %q%s", clip(key), orNearest(key, append(paramNames(m.Descriptor(), "", taken), extra...)))
		}
		name := pathName(path)
		for i := range path {
			if by, isTaken := taken[pathName(path[:i+1])]; isTaken {
				return invalidField(name, "%s is given by %s already", name, by)
			}
		}
		if by, isTaken := taken["*"]; isTaken {
			return invalidField(name, "%s belongs into %s", name, by)
		}
		if other, twice := seen[name]; twice {
			return invalidField(name, "%s and %s are the same parameter", other, key)
		}
		seen[name] = key
		if err := setField(m, path, values[key]); err != nil {
			return err
		}
	}
	return nil
}

// fieldPath finds the fields that a dotted name goes through.
func fieldPath(md protoreflect.MessageDescriptor, dotted string) ([]protoreflect.FieldDescriptor, bool) {
	var path []protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(dotted, ".") {
		if md == nil {
			return nil, false
		}
		fd := md.Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			fd = md.Fields().ByJSONName(name)
		}
		if fd == nil {
			return nil, false
		}
		path = append(path, fd)
		md = nil
		if fd.Message() != nil && fd.Cardinality() != protoreflect.Repeated && !isText(fd.Message()) {
			md = fd.Message()
		}
	}
	return path, true
}

func pathName(path []protoreflect.FieldDescriptor) string {
	names := make([]string, len(path))
	for i, fd := range path {
		names[i] = string(fd.Name())
	}
	return strings.Join(names, ".")
}

// isText says whether a message is written as one text.
func isText(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.Duration", "google.protobuf.Timestamp", "google.protobuf.FieldMask":
		return true
	}
	return false
}

// paramNames lists what a request's parameters can be.
func paramNames(md protoreflect.MessageDescriptor, prefix string, taken map[string]string) []string {
	var names []string
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		name := prefix + string(fd.Name())
		switch {
		case taken[name] != "" || taken["*"] != "" || fd.IsMap():
		case fd.Message() != nil && !isText(fd.Message()):
			if prefix == "" && !fd.IsList() {
				names = append(names, paramNames(fd.Message(), name+".", taken)...)
			}
		default:
			names = append(names, name)
		}
	}
	return names
}

// setField sets one field to what a URL says of it.
func setField(m protoreflect.Message, path []protoreflect.FieldDescriptor, texts []string) error {
	name, last := pathName(path), path[len(path)-1]
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return invalidField(name, "%q is not UTF-8", clip(text))
		}
	}
	for _, fd := range path[:len(path)-1] {
		m = m.Mutable(fd).Message()
	}
	if oneof := last.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
		if other := m.WhichOneof(oneof); other != nil {
			return invalidField(name, "%s and %s exclude each other", other.Name(), last.Name())
		}
	}
	switch {
	case last.IsMap(), last.Message() != nil && !isText(last.Message()):
		return invalidField(name, "%s cannot be given in a URL", name)
	case last.IsList():
		list := m.Mutable(last).List()
		for _, text := range texts {
			v, err := parseValue(name, last, text)
			if err != nil {
				return err
			}
			list.Append(v)
		}
		return nil
	case last.Message() != nil && last.Message().FullName() == "google.protobuf.FieldMask":
		setMask(m.Mutable(last).Message(), texts)
		return nil
	case len(texts) != 1:
		return invalidField(name, "%s is given %d times", name, len(texts))
	}
	v, err := parseValue(name, last, texts[0])
	if err != nil {
		return err
	}
	m.Set(last, v)
	return nil
}

// setMask fills a google.protobuf.FieldMask, of whatever Go type.
func setMask(m protoreflect.Message, texts []string) {
	paths := m.Mutable(m.Descriptor().Fields().ByName("paths")).List()
	for _, text := range texts {
		if text == "" {
			continue
		}
		for path := range strings.SplitSeq(text, ",") {
			paths.Append(protoreflect.ValueOfString(path))
		}
	}
}

func parseValue(name string, fd protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	bad := func(expected string) (protoreflect.Value, error) {
		return protoreflect.Value{}, invalidField(name, "%q is not %s", clip(text), expected)
	}
	const number = "a whole number in range"
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BoolKind:
		switch text {
		case "true", "1":
			return protoreflect.ValueOfBool(true), nil
		case "false", "0":
			return protoreflect.ValueOfBool(false), nil
		}
		return bad("true or false")
	case protoreflect.EnumKind:
		return parseEnum(fd.Enum(), text, bad)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			return protoreflect.ValueOfInt32(int32(n)), nil
		}
		return bad(number)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return protoreflect.ValueOfInt64(n), nil
		}
		return bad(number)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			return protoreflect.ValueOfUint32(uint32(n)), nil
		}
		return bad(number)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return protoreflect.ValueOfUint64(n), nil
		}
		return bad(number)
	case protoreflect.FloatKind:
		if f, err := strconv.ParseFloat(text, 32); err == nil {
			return protoreflect.ValueOfFloat32(float32(f)), nil
		}
		return bad("a number")
	case protoreflect.DoubleKind:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return protoreflect.ValueOfFloat64(f), nil
		}
		return bad("a number")
	case protoreflect.MessageKind:
		return parseMessage(name, fd.Message(), text)
	}
	return bad("something that a URL can give") // bytes: no request has any
}

func parseEnum(ed protoreflect.EnumDescriptor, text string, bad func(string) (protoreflect.Value, error)) (protoreflect.Value, error) {
	values := ed.Values()
	if v := values.ByName(protoreflect.Name(text)); v != nil {
		return protoreflect.ValueOfEnum(v.Number()), nil
	}
	if n, err := strconv.ParseInt(text, 10, 32); err == nil && values.ByNumber(protoreflect.EnumNumber(n)) != nil {
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)), nil
	}
	var names []string
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			names = append(names, string(v.Name()))
		}
	}
	return bad("one of " + strings.Join(names, ", "))
}

func parseMessage(name string, md protoreflect.MessageDescriptor, text string) (protoreflect.Value, error) {
	switch md.FullName() {
	case "google.protobuf.Duration":
		d, err := parseDuration(name, text)
		return protoreflect.ValueOfMessage(durationpb.New(d).ProtoReflect()), err
	case "google.protobuf.Timestamp":
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			err = invalidField(name, "%q is not a time, such as 2006-01-02T15:04:05Z", clip(text))
		}
		return protoreflect.ValueOfMessage(timestamppb.New(t).ProtoReflect()), err
	}
	return protoreflect.Value{}, invalidField(name, "%s cannot be given in a URL", name)
}

// orNearest ends an error about an unknown name.
func orNearest(name string, known []string) string {
	best, least := "", 0
	for _, k := range known {
		if d := distance(name, k); best == "" || d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; the nearest is " + strconv.Quote(best)
}

// distance is Levenshtein's, of the beginnings and without regard to case.
func distance(a, b string) int {
	a, b = strings.ToLower(a[:min(len(a), 64)]), strings.ToLower(b[:min(len(b), 64)])
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// clip shortens what a stranger sent before it goes into a message.
func clip(text string) string {
	const most = 80
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
)

// members takes a JSON object apart. field is what holds it, for errors; empty at
// the top of a body.
func members(field string, text []byte, f func(key string, value json.RawMessage) error) error {
	in := field
	if in == "" {
		in = "body"
	}
	if err := checkJSON(in, text); err != nil {
		return err
	}
	if c := firstByte(text); c != '{' {
		return invalidField(in, "a JSON object is expected")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return badJSON(in, err, len(text))
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return badJSON(in, err, len(text))
		}
		key := token.(string) // the text is known to be valid
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return badJSON(in, err, len(text))
		}
		if seen[key] {
			return invalidField(join(field, clip(key)), "%q stands there twice", clip(key))
		}
		seen[key] = true
		if bytes.Equal(value, []byte("null")) {
			continue // as if it were not there
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// checkJSON says where a text stops being JSON.
func checkJSON(field string, text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return invalidField(field, "a JSON object is expected, there is nothing")
	}
	if !utf8.Valid(text) {
		return invalidField(field, "the text is not UTF-8")
	}
	var raw json.RawMessage
	return badJSON(field, json.Unmarshal(text, &raw), len(text))
}

func badJSON(field string, err error, size int) error {
	if err == nil {
		return nil
	}
	at, syntax := size, (*json.SyntaxError)(nil)
	if errors.As(err, &syntax) {
		at = int(syntax.Offset)
	}
	return resource.Errorf(resource.InvalidField, "not JSON at byte %d: %s", at, err).In(field).With("offset", strconv.Itoa(at))
}

func firstByte(text []byte) byte {
	if text = bytes.TrimLeft(text, " \t\r\n"); len(text) > 0 {
		return text[0]
	}
	return 0
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}

// names are an object's members: in ProtoJSON's spelling, and what they mean.
type names map[string]func(field string, value json.RawMessage) error

// read takes an object apart; a member that is not known is an error.
func (n names) read(field string, text []byte) error {
	seen := map[string]bool{}
	return members(field, text, func(key string, value json.RawMessage) error {
		name, at := camel(key), join(field, clip(key))
		f := n[name]
		if f == nil {
			return invalidField(at, "there is no field %q%s", clip(key), orNearest(key, slices.Sorted(maps.Keys(n))))
		}
		if seen[name] {
			return invalidField(at, "%q stands there twice, in two spellings", name)
		}
		seen[name] = true
		return f(at, value)
	})
}

// camel makes resource_name resourceName.
func camel(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '_' && i+1 < len(name) && name[i+1] >= 'a' && name[i+1] <= 'z' {
			i++
			b.WriteByte(name[i] - 'a' + 'A')
			continue
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

func text(into *string) func(string, json.RawMessage) error {
	return func(field string, value json.RawMessage) error {
		if err := json.Unmarshal(value, into); err != nil {
			return invalidField(field, "a string is expected")
		}
		return nil
	}
}

// ignored takes what only the server sets, so that what was read can be written
// back.
func ignored(string, json.RawMessage) error { return nil }

// readResource reads a resource as clients write it: its name, labels and data
// count. known is the name as the path gives it, or only the collection with a
// slash behind it.
func readResource(schemas *schema.Registry, field string, body []byte, known string) (*watchroutev1.Resource, error) {
	r := &watchroutev1.Resource{}
	var typ string
	err := names{
		"name": text(&r.Name), "type": text(&typ),
		"uid": ignored, "revision": ignored, "createRevision": ignored, "etag": ignored, "createTime": ignored, "updateTime": ignored,
		"labels": func(field string, value json.RawMessage) error {
			r.Labels = map[string]string{}
			return members(field, value, func(key string, value json.RawMessage) error {
				var label string
				err := text(&label)(join(field, clip(key)), value)
				r.Labels[key] = label
				return err
			})
		},
		"data": func(_ string, value json.RawMessage) error {
			r.Data = wire.JSONText(value)
			return nil
		},
	}.read(field, body)
	if err != nil {
		return nil, err
	}
	collection, id, _ := strings.Cut(known, "/")
	if id != "" && r.Name != "" && r.Name != known {
		return nil, resource.Errorf(resource.InvalidName, "the body says %q, the path %q", clip(r.Name), known).In(join(field, "name"))
	}
	if collection == "" {
		collection, _, _ = strings.Cut(r.Name, "/")
	}
	if want := schemas.Schema(collection).Type(); typ != "" && typ != want {
		expected := "there is no type, as the collection has no schema"
		if want != "" {
			expected = "it is " + want
		}
		return nil, resource.Errorf(resource.InvalidValue, "the type cannot be %q: %s", clip(typ), expected).In(join(field, "type")).With("path", "type")
	}
	return r, nil
}

// readWrite reads the body of a batch for a collection.
func readWrite(schemas *schema.Registry, body []byte, collection string) (*watchroutev1.WriteRequest, error) {
	r := &watchroutev1.WriteRequest{}
	err := names{
		"parent": text(&r.Parent), "requestId": text(&r.RequestId),
		"operations": func(field string, value json.RawMessage) error {
			var list []json.RawMessage
			if err := json.Unmarshal(value, &list); err != nil {
				return invalidField(field, "a list is expected")
			}
			for i, body := range list {
				op, err := readOperation(schemas, field+"["+strconv.Itoa(i)+"]", body, collection)
				if err != nil {
					return err
				}
				r.Operations = append(r.Operations, op)
			}
			return nil
		},
	}.read("", body)
	if err != nil {
		return nil, err
	}
	if r.Parent != "" && r.Parent != collection {
		return nil, resource.Errorf(resource.InvalidName, "the body says %q, the path %q", clip(r.Parent), collection).In("parent")
	}
	return r, nil
}

func readOperation(schemas *schema.Registry, field string, body []byte, collection string) (*watchroutev1.Operation, error) {
	op := &watchroutev1.Operation{}
	once := func(field string) error {
		if op.Action != nil {
			return invalidField(field, "put and delete exclude each other")
		}
		return nil
	}
	err := names{
		"put": func(field string, value json.RawMessage) error {
			if err := once(field); err != nil {
				return err
			}
			r, err := readResource(schemas, field, value, collection+"/")
			op.Action = &watchroutev1.Operation_Put{Put: r}
			return err
		},
		"delete": func(field string, value json.RawMessage) error {
			if err := once(field); err != nil {
				return err
			}
			name := ""
			err := text(&name)(field, value)
			op.Action = &watchroutev1.Operation_Delete{Delete: name}
			return err
		},
		"precondition": func(field string, value json.RawMessage) error {
			op.Precondition = &watchroutev1.Precondition{}
			return inField(field, protojson.Unmarshal(value, op.Precondition))
		},
	}.read(field, body)
	return op, err
}

// What protojson says is wrong. Its spaces may be of two kinds.
var (
	protoPrefix = regexp.MustCompile(`^(?:proto:[ \x{a0}])?(?:syntax error )?(?:\(line \d+:\d+\): )?`)
	protoPlace  = regexp.MustCompile(`\(line (\d+):(\d+)\)`)
	protoField  = regexp.MustCompile(`(?:unknown field |unexpected field )"([^"]+)"|field (?:")?([A-Za-z0-9_.]+)(?:")?`)
)

// inField makes a client's error of one of protojson's.
func inField(field string, err error) error {
	if err == nil {
		return nil
	}
	msg := err.Error()
	e := resource.Errorf(resource.InvalidField, "%s", clip(protoPrefix.ReplaceAllString(msg, "")))
	if place := protoPlace.FindStringSubmatch(msg); place != nil && place[1] == "1" {
		if column, err := strconv.Atoi(place[2]); err == nil {
			e = e.With("offset", strconv.Itoa(column-1))
		}
	}
	if name := protoField.FindStringSubmatch(msg); name != nil {
		field = join(field, clip(name[1]+name[2]))
	}
	return e.In(field)
}

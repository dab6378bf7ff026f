package wire

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/watchroute/watchroute/internal/hub"
)

// JSON encodes WatchResponse as ProtoJSON, but that `data` is the plain JSON of
// the value and its type stands beside it.
var JSON hub.Codec = jsonCodec{}

// NDJSON is JSON with a newline after it.
var NDJSON hub.Codec = ndjsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

// Joins: an object is not two.
func (jsonCodec) Joins() bool { return false }

// Append appends the message's encoding.
func (jsonCodec) Append(dst []byte, m *hub.Message) []byte {
	if m.Kind != hub.Events {
		return AppendProtoJSON(dst, control(m))
	}
	dst = append(dst, '{')
	dst = appendRevision(dst, m.Revision)
	if m.Token != "" {
		dst = append(dst, `,"resumeToken":`...)
		dst = quote(dst, m.Token)
	}
	dst = append(dst, `,"events":{"events":[`...)
	for i := range m.Events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendEvent(dst, &m.Events[i])
	}
	return append(dst, "]}}"...)
}

type ndjsonCodec struct{}

func (ndjsonCodec) Name() string { return "ndjson" }

// Joins: they are lines.
func (ndjsonCodec) Joins() bool { return true }

// Append appends the message's encoding.
func (ndjsonCodec) Append(dst []byte, m *hub.Message) []byte {
	return append(JSON.Append(dst, m), '\n')
}

// AppendProtoJSON appends a message of the contract that holds no value, in one
// line and always the same.
func AppendProtoJSON(dst []byte, m protoMessage) []byte {
	text, err := protojson.Marshal(m)
	if err != nil {
		panic("wire: a control message has no JSON: " + err.Error()) // its Any details are all compiled in
	}
	return compact(dst, text)
}

// compact takes the spaces out that protojson puts in at random.
func compact(dst, text []byte) []byte {
	inside, escaped := false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case inside && c == '\\':
			escaped = true
		case c == '"':
			inside = !inside
		case !inside && c == ' ':
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func appendEvent(dst []byte, e *hub.Event) []byte {
	dst = append(dst, `{"state":"`...)
	dst = append(dst, e.State().String()...)
	dst = append(dst, `","cause":"`...)
	dst = append(dst, e.Cause.String()...)
	dst = append(dst, `","resource":`...)
	if e.Value == nil {
		dst = append(dst, `{"name":`...)
		dst = quote(dst, e.Name)
		dst = append(dst, ',')
		dst = append(appendRevision(dst, e.Revision), '}')
	} else {
		r := e.Value.Record()
		res := Resource{Name: e.Name, UID: r.UID, Revision: r.Revision, CreateRevision: r.CreateRevision, ETag: r.ETag(), Labels: r.Labels,
			CreateTime: r.CreateTime, UpdateTime: r.Time, Type: e.Value.Schema().Type(), Data: e.Value.JSON()}
		dst = res.Append(dst)
	}
	if len(e.Updated) > 0 {
		dst = append(dst, `,"updatedFields":`...)
		paths := e.Updated
		if e.Value.Schema().Type() != "" {
			paths = lowerCamel(paths)
		}
		dst = quote(dst, strings.Join(paths, ","))
		dst = append(dst, `,"baseRevision":"`...)
		dst = append(strconv.AppendUint(dst, e.Base, 10), '"')
	}
	if e.Coalesced > 0 {
		dst = append(dst, `,"coalesced":`...)
		dst = strconv.AppendUint(dst, uint64(e.Coalesced), 10)
	}
	return append(dst, '}')
}

// Resource is a resource as JSON shows it.
type Resource struct {
	Name, UID                string
	Revision, CreateRevision uint64
	ETag                     string
	Labels                   map[string]string
	CreateTime, UpdateTime   time.Time // zero: left out
	Type                     string    // empty: left out
	Data                     []byte    // empty: left out
}

// Append appends the resource's JSON.
func (r *Resource) Append(dst []byte) []byte {
	dst = append(dst, `{"name":`...)
	dst = quote(dst, r.Name)
	if r.UID != "" {
		dst = append(dst, `,"uid":`...)
		dst = quote(dst, r.UID)
	}
	dst = append(dst, ',')
	dst = appendRevision(dst, r.Revision)
	if r.CreateRevision != 0 {
		dst = append(dst, `,"createRevision":"`...)
		dst = append(strconv.AppendUint(dst, r.CreateRevision, 10), '"')
	}
	if r.ETag != "" {
		dst = append(dst, `,"etag":`...)
		dst = quote(dst, r.ETag)
	}
	if len(r.Labels) > 0 {
		dst = append(dst, `,"labels":`...)
		for i, k := range slices.Sorted(maps.Keys(r.Labels)) {
			dst = append(dst, "{,"[min(i, 1)])
			dst = append(quote(dst, k), ':')
			dst = quote(dst, r.Labels[k])
		}
		dst = append(dst, '}')
	}
	dst = appendTimeJSON(dst, `,"createTime":"`, r.CreateTime)
	dst = appendTimeJSON(dst, `,"updateTime":"`, r.UpdateTime)
	if r.Type != "" {
		dst = append(dst, `,"type":`...)
		dst = quote(dst, r.Type)
	}
	if len(r.Data) > 0 {
		dst = append(dst, `,"data":`...)
		dst = append(dst, r.Data...)
	}
	return append(dst, '}')
}

func appendTimeJSON(dst []byte, key string, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	dst = append(dst, key...)
	return append(t.UTC().AppendFormat(dst, time.RFC3339Nano), '"')
}

func appendRevision(dst []byte, revision uint64) []byte {
	dst = append(dst, `"revision":"`...)
	return append(strconv.AppendUint(dst, revision, 10), '"')
}

// quote appends a JSON string.
func quote(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // a string always has JSON
			return append(dst, text...)
		}
	}
	dst = append(dst, '"')
	return append(append(dst, s...), '"')
}

// lowerCamel writes the paths of a mask as ProtoJSON does.
func lowerCamel(paths []string) []string {
	out := make([]string, len(paths))
	for i, path := range paths {
		var b strings.Builder
		for j := 0; j < len(path); j++ {
			if path[j] == '_' && j+1 < len(path) {
				j++
				b.WriteString(strings.ToUpper(path[j : j+1]))
				continue
			}
			b.WriteByte(path[j])
		}
		out[i] = b.String()
	}
	return out
}

// SessionJSON appends a SessionResponse that carries a WatchResponse's JSON, for one
// watch or for several.
func SessionJSON(dst []byte, watchIDs []string, response []byte) []byte {
	dst = append(dst, `{"watchId":`...)
	dst = append(quote(dst, watchIDs[0]), `,"watch":`...)
	dst = append(dst, response...)
	for i, id := range watchIDs[1:] {
		if i == 0 {
			dst = append(dst, `,"alsoWatchIds":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = quote(dst, id)
	}
	if len(watchIDs) > 1 {
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// SessionJSONMore appends a SessionResponse's JSON to the `more` of the one that dst
// ends with.
func SessionJSONMore(dst, response []byte) []byte {
	if end := len(dst) - 2; end > 0 && string(dst[end-1:]) == "}]}" {
		dst = append(dst[:end], ',')
	} else {
		dst = append(dst[:len(dst)-1], `,"more":[`...)
	}
	return append(append(dst, response...), "]}"...)
}

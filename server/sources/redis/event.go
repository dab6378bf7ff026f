package redis

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/watchroute/watchroute/server/sources"
)

// event passes an entry and gives the event that it is. The fields beside the one that is
// the event are its headers.
func event(c *cursor, in entry, field string) (sources.Event, error) {
	if err := c.pass(in.id); err != nil {
		return sources.Event{}, err
	}
	e := sources.Event{Partition: c.key, Topic: c.key, Position: c.position(), Time: time.UnixMilli(int64(c.at.ms)).UTC()}
	if field == "" {
		e.Value, e.ContentType = object(in.fields), "application/json"
		return e, nil
	}
	for name, value := range in.fields {
		if name == field {
			e.Value = []byte(text(value))
			continue
		}
		if e.Headers == nil {
			e.Headers = make(map[string]string, len(in.fields))
		}
		e.Headers[strings.ToLower(name)] = text(value)
	}
	e.ContentType = e.Headers["content-type"]
	return e, nil
}

// object gives fields as a JSON object of strings. What is not UTF-8 stays as it is, so
// that it is found to be no JSON instead of being changed.
func object(fields map[string]any) []byte {
	out := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(quote(out, name), ':')
		out = quote(out, text(fields[name]))
	}
	return append(out, '}')
}

func quote(out []byte, s string) []byte {
	if !utf8.ValidString(s) {
		return append(append(append(out, '"'), s...), '"')
	}
	quoted, _ := json.Marshal(s) // a string is always one
	return append(out, quoted...)
}

// text gives a value as Redis has it, which is a string.
func text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	return fmt.Sprint(value)
}

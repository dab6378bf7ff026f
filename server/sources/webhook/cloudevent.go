package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server/sources"
)

// The media types of CloudEvents: what begins with family is one of them.
const (
	family     = "application/cloudevents"
	structured = family + "+json"
	batch      = family + "-batch+json"
)

// traceHeaders go on with the event (W3C Trace Context).
var traceHeaders = []string{"traceparent", "tracestate"}

// isBinary says whether a request is a binary CloudEvent, whose attributes are headers.
func isBinary(h http.Header) bool {
	return !strings.HasPrefix(mediaType(h), family) && h.Get("Ce-Specversion") != ""
}

func mediaType(h http.Header) string {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media
}

// parse gives the events of a request, all or none.
func parse(topic string, h http.Header, body []byte) ([]sources.Event, error) {
	p := parser{topic: topic, trace: map[string]string{}, time: time.Now()}
	for _, name := range traceHeaders {
		if value := h.Get(name); value != "" && utf8.ValidString(value) {
			p.trace[name] = value
		}
	}
	media := mediaType(h)
	switch {
	case isBinary(h):
		e, err := p.binary(h, body)
		return []sources.Event{e}, err
	case media != structured && media != batch:
		return nil, wire.Refuse(http.StatusUnsupportedMediaType,
			"a CloudEvent is expected: the content type %s or %s, or the header ce-specversion; this has the content type %q", structured, batch, h.Get("Content-Type"))
	case !utf8.Valid(body):
		return nil, invalid("the body is not UTF-8")
	case media == batch:
		return p.batch(body)
	case !json.Valid(body):
		return nil, invalid("the body is not JSON")
	}
	e, err := p.structured(body)
	return []sources.Event{e}, err
}

// parser makes events of one request.
type parser struct {
	topic string
	trace map[string]string
	time  time.Time // of the request
}

// event gives the event that a valid CloudEvent is, without its bytes. Its own trace
// counts where the request has none.
func (p *parser) event(e *event.Event) sources.Event {
	out := sources.Event{ID: sources.CloudEventID(e.Source(), e.ID()), Topic: p.topic, Headers: map[string]string{}, Time: e.Time()}
	if out.Time.IsZero() {
		out.Time = p.time
	}
	for _, name := range traceHeaders {
		if own, _ := e.Extensions()[name].(string); own != "" {
			out.Headers[name] = own
		}
		if value := p.trace[name]; value != "" {
			out.Headers[name] = value
		}
	}
	return out
}

// structured reads a CloudEvent in JSON.
func (p *parser) structured(raw []byte) (sources.Event, error) {
	e, err := sources.UnmarshalCloudEvent(raw)
	switch {
	case err != nil:
		return sources.Event{}, invalid("not a CloudEvent: %s", told(err))
	case e.SpecVersion() != event.CloudEventsVersionV1:
		return sources.Event{}, invalid("specversion is %q, expected 1.0", e.SpecVersion())
	}
	if err := e.Validate(); err != nil {
		return sources.Event{}, invalid("not a valid CloudEvent: %s", told(err))
	}
	out := p.event(&e)
	out.Value, out.ContentType = raw, structured
	return out, nil
}

// batch reads a list of structured ones.
func (p *parser) batch(body []byte) (events []sources.Event, err error) {
	elements := json.NewDecoder(bytes.NewReader(body))
	if open, err := elements.Token(); err != nil || open != json.Delim('[') {
		return nil, invalid("the body is not a JSON list")
	}
	for elements.More() {
		var raw json.RawMessage
		if err := elements.Decode(&raw); err != nil {
			return nil, invalid("[%d]: not JSON", len(events))
		}
		e, err := p.structured(raw)
		if err != nil {
			return nil, invalid("[%d]: %s", len(events), resource.AsError(err).Message)
		}
		events = append(events, e)
	}
	if _, err := elements.Token(); err != nil {
		return nil, invalid("the list does not end")
	}
	if _, err := elements.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("something follows the list")
	}
	return events, nil
}

// binary reads a CloudEvent whose attributes are headers.
func (p *parser) binary(h http.Header, body []byte) (sources.Event, error) {
	e := event.New(event.CloudEventsVersionV1)
	attributes := map[string]string{}
	for header, values := range h {
		name, is := strings.CutPrefix(strings.ToLower(header), "ce-")
		if !is {
			continue
		}
		value := unescape(values[len(values)-1])
		if !utf8.ValidString(value) {
			return sources.Event{}, invalid("the header ce-%s is not UTF-8", name)
		}
		attributes["ce-"+name] = value
		if err := set(&e, name, value); err != nil {
			return sources.Event{}, invalid("the header ce-%s: %s", name, told(err))
		}
	}
	contentType := h.Get("Content-Type")
	if contentType != "" {
		e.SetDataContentType(contentType)
	}
	if err := e.Validate(); err != nil {
		return sources.Event{}, invalid("not a valid CloudEvent: %s", told(err))
	}
	out := p.event(&e)
	for name, value := range attributes {
		out.Headers[name] = value
	}
	out.Value, out.ContentType = body, contentType
	return out, nil
}

// set sets an attribute. What it does not return, Validate does.
func set(e *event.Event, name, value string) error {
	switch name {
	case "specversion":
		if value != event.CloudEventsVersionV1 {
			return fmt.Errorf("%q, expected 1.0", value)
		}
	case "id":
		e.SetID(value)
	case "source":
		e.SetSource(value)
	case "type":
		e.SetType(value)
	case "subject":
		e.SetSubject(value)
	case "dataschema":
		e.SetDataSchema(value)
	case "time":
		at, err := types.ParseTime(value)
		if err != nil {
			return err
		}
		e.SetTime(at)
	default:
		e.SetExtension(name, value)
	}
	return nil
}

// unescape reads the value of a header (CloudEvents' HTTP binding, section 3.1.3.2): it may
// be quoted, and then is percent-encoded. Where it is not, it stays as it is.
func unescape(value string) string {
	if inner, ok := strings.CutPrefix(value, `"`); ok && len(inner) > 0 && inner[len(inner)-1] == '"' {
		var b strings.Builder
		inner = inner[:len(inner)-1]
		for i := 0; i < len(inner); i++ {
			if inner[i] == '\\' && i+1 < len(inner) {
				i++
			}
			b.WriteByte(inner[i])
		}
		value = b.String()
	}
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}

func invalid(format string, args ...any) error {
	return resource.Errorf(resource.InvalidValue, format, args...).In("body")
}

// told gives an error of the SDK as one line of UTF-8.
func told(err error) string {
	return strings.ToValidUTF8(strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; "), "\uFFFD")
}

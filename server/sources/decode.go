package sources

import (
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// decoder reads the bytes of a source's events.
type decoder struct {
	format  watchroutev1.Decoding_Format
	message protoreflect.MessageType // nil: none
}

// newDecoder checks how events are read.
func newDecoder(types *schema.Types, d *watchroutev1.Decoding) (*decoder, error) {
	out := &decoder{format: d.GetFormat()}
	if out.format == watchroutev1.Decoding_FORMAT_UNSPECIFIED {
		out.format = watchroutev1.Decoding_JSON
	}
	if _, known := watchroutev1.Decoding_Format_name[int32(out.format)]; !known {
		return nil, resource.Errorf(resource.InvalidField, "this server knows no format %d", out.format).In("decoding.format")
	}
	named := d.GetMessage() != ""
	switch out.format {
	case watchroutev1.Decoding_PROTOBUF:
		if !named {
			return nil, resource.Errorf(resource.InvalidField, "the message is missing; a full name such as shop.v1.OrderPlaced is expected").In("decoding.message")
		}
	case watchroutev1.Decoding_CLOUDEVENTS:
	default:
		if named {
			return nil, resource.Errorf(resource.InvalidField, "a message is for PROTOBUF and CLOUDEVENTS").In("decoding.message")
		}
	}
	if named {
		mt, err := types.FindMessageByName(protoreflect.FullName(d.GetMessage()))
		if err != nil {
			return nil, resource.Errorf(resource.InvalidField, "no contract has the message %s", d.GetMessage()).In("decoding.message")
		}
		out.message = mt
	}
	return out, nil
}

// kind says what mappings see as `data`, and of which message.
func (d *decoder) kind() (schema.EventKind, protoreflect.MessageDescriptor) {
	var desc protoreflect.MessageDescriptor
	if d.message != nil {
		desc = d.message.Descriptor()
	}
	switch d.format {
	case watchroutev1.Decoding_PROTOBUF:
		return schema.EventMessage, desc
	case watchroutev1.Decoding_CLOUDEVENTS:
		return schema.EventAny, desc
	case watchroutev1.Decoding_TEXT:
		return schema.EventText, nil
	case watchroutev1.Decoding_BYTES:
		return schema.EventBytes, nil
	}
	return schema.EventJSON, nil
}

// decode reads an event. The error's reason is InvalidValue.
func (d *decoder) decode(in *Event) (*schema.Event, error) {
	out := &schema.Event{ID: in.ID, Topic: in.Topic, Partition: in.Partition, Position: in.Position, Key: string(in.Key), Headers: in.Headers, Time: in.Time}
	if !utf8.ValidString(out.Key) {
		out.Key = strings.ToValidUTF8(out.Key, "\uFFFD")
	}
	var err error
	switch d.format {
	case watchroutev1.Decoding_PROTOBUF:
		err = d.protobuf(&out.Data, in.Value)
	case watchroutev1.Decoding_CLOUDEVENTS:
		err = d.cloudEvent(out, in)
	case watchroutev1.Decoding_TEXT:
		err = text(&out.Data, in.Value)
	case watchroutev1.Decoding_BYTES:
		out.Data.Bytes = in.Value
		if in.Value == nil {
			out.Data.Bytes = []byte{}
		}
	default:
		err = json(&out.Data, in.Value)
	}
	return out, err
}

func json(data *schema.EventData, raw []byte) (err error) {
	if len(raw) > 0 { // a tombstone of Kafka has nothing
		data.JSON, err = schema.CompactJSON(raw)
	}
	return err
}

func text(data *schema.EventData, raw []byte) error {
	if !utf8.Valid(raw) {
		return resource.Errorf(resource.InvalidValue, "the text is not UTF-8")
	}
	s := string(raw)
	data.Text = &s
	return nil
}

func (d *decoder) protobuf(data *schema.EventData, raw []byte) error {
	m := d.message.New().Interface()
	if err := proto.Unmarshal(raw, m); err != nil {
		return resource.Errorf(resource.InvalidValue, "not a %s: %v", d.message.Descriptor().FullName(), err)
	}
	data.Message = m
	return nil
}

// cloudEvent reads a CloudEvent in either mode. Its id, type, source, subject and time
// are the event's.
func (d *decoder) cloudEvent(out *schema.Event, in *Event) error {
	bad := func(format string, args ...any) error { return resource.Errorf(resource.InvalidValue, format, args...) }
	contentType := in.ContentType
	if contentType == "" {
		contentType = in.Headers["content-type"]
	}
	media, _, _ := mime.ParseMediaType(contentType)
	attributes := CloudEventAttributes(in.Headers)
	if media == StructuredCloudEvent || attributes["specversion"] == "" {
		e, err := UnmarshalCloudEvent(in.Value)
		if err != nil {
			return bad("not a CloudEvent: %s", strings.ToValidUTF8(err.Error(), "\uFFFD"))
		}
		if err := e.Validate(); err != nil {
			return bad("not a valid CloudEvent: %v", err)
		}
		out.ID, out.Type, out.Source, out.Subject = e.ID(), e.Type(), e.Source(), e.Subject()
		if !e.Time().IsZero() {
			out.Time = e.Time()
		}
		out.Attributes = map[string]any{}
		for name, value := range e.Extensions() {
			switch value.(type) {
			case bool, int32, string, []byte:
			default: // the SDK's own types
				text, err := types.Format(value)
				if err != nil {
					return bad("the attribute %s: %v", name, err)
				}
				value = text
			}
			out.Attributes[name] = value
		}
		return d.cloudData(out, e.DataContentType(), e.Data())
	}
	if v := attributes["specversion"]; v != "1.0" {
		return bad("specversion is %q, expected 1.0", v)
	}
	e := event.New()
	e.SetID(attributes["id"])
	e.SetType(attributes["type"])
	e.SetSource(attributes["source"])
	if err := e.Validate(); err != nil {
		return bad("not a valid CloudEvent: %v", err)
	}
	out.ID, out.Type, out.Source, out.Subject = attributes["id"], attributes["type"], attributes["source"], attributes["subject"]
	if t := attributes["time"]; t != "" {
		at, err := time.Parse(time.RFC3339Nano, t)
		if err != nil {
			return bad("the attribute time is %q, expected RFC 3339", t)
		}
		out.Time = at
	}
	out.Attributes = map[string]any{}
	for name, value := range attributes {
		switch name {
		case "specversion", "id", "type", "source", "subject", "time", "datacontenttype", "dataschema":
		default:
			out.Attributes[name] = value
		}
	}
	return d.cloudData(out, contentType, in.Value)
}

// cloudData reads what a CloudEvent is about.
func (d *decoder) cloudData(out *schema.Event, contentType string, raw []byte) error {
	media, _, _ := mime.ParseMediaType(contentType)
	switch {
	case media == "" || media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json"):
		return json(&out.Data, raw)
	case d.message != nil && (media == "application/protobuf" || media == "application/x-protobuf"):
		return d.protobuf(&out.Data, raw)
	case strings.HasPrefix(media, "text/"):
		return text(&out.Data, raw)
	}
	out.Data.Bytes = append([]byte{}, raw...)
	return nil
}

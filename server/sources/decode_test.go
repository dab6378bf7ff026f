package sources

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/schema"
)

func decoderOf(t *testing.T, format watchroutev1.Decoding_Format, message string) *decoder {
	t.Helper()
	d, err := newDecoder(schema.NewTypes(protoregistry.GlobalFiles), &watchroutev1.Decoding{Format: format, Message: message})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDecode_Formats(t *testing.T) {
	order, err := proto.Marshal(&shopv1.Order{OrderId: "7"})
	if err != nil {
		t.Fatal(err)
	}
	json := func(text string) func(schema.EventData) bool {
		return func(d schema.EventData) bool { return string(d.JSON) == text }
	}
	for name, c := range map[string]struct {
		format  watchroutev1.Decoding_Format
		message string
		value   []byte
		is      func(schema.EventData) bool // nil: it is refused
	}{
		"JSON":                 {0, "", []byte(` {"a": [1, 2]} `), json(`{"a":[1,2]}`)},
		"a JSON scalar":        {watchroutev1.Decoding_JSON, "", []byte("1.50"), json("1.50")},
		"nothing":              {watchroutev1.Decoding_JSON, "", nil, func(d schema.EventData) bool { return d.JSON == nil }},
		"no JSON":              {watchroutev1.Decoding_JSON, "", []byte("{"), nil},
		"a message":            {watchroutev1.Decoding_PROTOBUF, "shop.v1.Order", order, func(d schema.EventData) bool { return proto.Equal(d.Message, &shopv1.Order{OrderId: "7"}) }},
		"no message":           {watchroutev1.Decoding_PROTOBUF, "shop.v1.Order", []byte{0xff}, nil},
		"text":                 {watchroutev1.Decoding_TEXT, "", []byte("hé"), func(d schema.EventData) bool { return *d.Text == "hé" }},
		"text that is not one": {watchroutev1.Decoding_TEXT, "", []byte{0xff}, nil},
		"bytes":                {watchroutev1.Decoding_BYTES, "", []byte{0xff}, func(d schema.EventData) bool { return string(d.Bytes) == "\xff" }},
		"no bytes":             {watchroutev1.Decoding_BYTES, "", nil, func(d schema.EventData) bool { return d.Bytes != nil && len(d.Bytes) == 0 }},
	} {
		out, err := decoderOf(t, c.format, c.message).decode(&Event{Value: c.value})
		if (err == nil) != (c.is != nil) || err == nil && !c.is(out.Data) {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
}

func TestDecode_CloudEvents(t *testing.T) {
	d := decoderOf(t, watchroutev1.Decoding_CLOUDEVENTS, "shop.v1.Order")
	order, err := proto.Marshal(&shopv1.Order{OrderId: "7"})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	structuredEvent := Event{ContentType: "application/cloudevents+json; charset=utf-8", Value: []byte(
		`{"specversion":"1.0","id":"1","type":"placed","source":"/shop","subject":"7","time":"2026-01-02T03:04:05Z","tenant":"acme","data":{"a":1}}`)}
	binary := func(prefix string, contentType string, value []byte) Event {
		return Event{ContentType: contentType, Value: value, Headers: map[string]string{"other": "x", prefix + "specversion": "1.0", prefix + "id": "1", prefix + "type": "placed",
			prefix + "source": "/shop", prefix + "subject": "7", prefix + "time": "2026-01-02T03:04:05Z", prefix + "tenant": "acme"}}
	}
	untyped := structuredEvent
	untyped.ContentType = ""
	viaHeader := binary("ce_", "", []byte(`{"a":1}`))
	viaHeader.Headers["content-type"] = "application/json"
	for name, e := range map[string]Event{
		"structured": structuredEvent, "structured, not said": untyped, "over HTTP": binary("ce-", "application/json", []byte(`{"a":1}`)),
		"over Kafka": viaHeader, "over AMQP": binary("cloudevents:", "application/vnd.x+json", []byte(`{"a":1}`)),
	} {
		out, err := d.decode(&e)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out.ID != "1" || out.Type != "placed" || out.Source != "/shop" || out.Subject != "7" || !out.Time.Equal(at) || out.Attributes["tenant"] != "acme" || len(out.Attributes) != 1 || string(out.Data.JSON) != `{"a":1}` {
			t.Errorf("%s: %+v", name, out)
		}
	}
	for name, c := range map[string]struct {
		contentType string
		value       []byte
		is          func(schema.EventData) bool
	}{
		"protobuf": {"application/protobuf", order, func(d schema.EventData) bool { return proto.Equal(d.Message, &shopv1.Order{OrderId: "7"}) }},
		"text":     {"text/plain", []byte("x"), func(d schema.EventData) bool { return d.Text != nil && *d.Text == "x" }},
		"bytes":    {"image/png", []byte{1}, func(d schema.EventData) bool { return len(d.Bytes) == 1 }},
	} {
		e := binary("ce-", c.contentType, c.value)
		if out, err := d.decode(&e); err != nil || !c.is(out.Data) {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	old, noID, badTime := binary("ce-", "", nil), binary("ce-", "", nil), binary("ce-", "", nil)
	old.Headers["ce-specversion"] = "0.3"
	delete(noID.Headers, "ce-id")
	badTime.Headers["ce-time"] = "yesterday"
	for want, e := range map[string]Event{"specversion": old, "id": noID, "time": badTime, "not a": {Value: []byte(`{"a":1}`)}, "CloudEvent": {Value: []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":1}`)}} {
		if _, err := d.decode(&e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if typed, err := d.decode(&Event{Value: []byte(`{"specversion":"1.0","id":"1","type":"t","source":"/s","count":3,"when":"2026-01-02T03:04:05Z"}`)}); err != nil || typed.Attributes["count"] != int32(3) {
		t.Errorf("%+v, %v", typed, err)
	}
}

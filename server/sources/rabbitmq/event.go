package rabbitmq

import (
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/watchroute/watchroute/server/sources"
)

// event gives the event that a message is.
func event(name, position string, d *amqp.Delivery) sources.Event {
	e := sources.Event{Partition: name, Position: position, Topic: name, Key: []byte(d.RoutingKey), Value: d.Body, ContentType: d.ContentType,
		Redelivered: d.Redelivered, Time: d.Timestamp, Headers: make(map[string]string, len(d.Headers)+2)}
	for _, property := range [...]struct{ name, value string }{{"message-id", d.MessageId}, {"correlation-id", d.CorrelationId}, {"type", d.Type}, {"app-id", d.AppId}} {
		if property.value != "" {
			e.Headers[property.name] = property.value
		}
	}
	for name, value := range d.Headers {
		if name != offsetHeader {
			e.Headers[strings.ToLower(name)] = text(value)
		}
	}
	if e.ID = cloudEventID(&e); e.ID == "" {
		e.ID = d.MessageId
	}
	return e
}

// cloudEventID gives what tells a CloudEvent from all others; empty: it is none.
func cloudEventID(e *sources.Event) string {
	var source, id string
	if attributes := sources.CloudEventAttributes(e.Headers); attributes["specversion"] != "" {
		source, id = attributes["source"], attributes["id"]
	}
	if media, _, _ := mime.ParseMediaType(e.ContentType); media == sources.StructuredCloudEvent {
		var attributes struct{ Source, ID string }
		_ = json.Unmarshal(e.Value, &attributes) // it becomes a dead letter
		source, id = attributes.Source, attributes.ID
	}
	return sources.CloudEventID(source, id)
}

// text gives a header's value: tables and lists as JSON.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case amqp.Table, []any:
		if raw, err := json.Marshal(v); err == nil {
			return string(raw)
		}
	}
	return fmt.Sprint(value)
}

package sources

import (
	"fmt"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// StructuredCloudEvent is the media type of a CloudEvent in JSON.
const StructuredCloudEvent = "application/cloudevents+json"

// cloudEventPrefixes begin the attributes of a binary CloudEvent: over HTTP and NATS, over
// Kafka, and over AMQP.
var cloudEventPrefixes = []string{"ce-", "ce_", "cloudevents:", "cloudevents_"}

// CloudEventAttributes gives the attributes of a binary CloudEvent, which has `specversion`.
func CloudEventAttributes(headers map[string]string) map[string]string {
	attributes := map[string]string{}
	for name, value := range headers {
		for _, prefix := range cloudEventPrefixes {
			if attribute, ok := strings.CutPrefix(name, prefix); ok {
				attributes[attribute] = value
			}
		}
	}
	return attributes
}

// CloudEventID gives what tells a CloudEvent from all others; empty: one of the two is.
func CloudEventID(source, id string) string {
	if source == "" || id == "" {
		return ""
	}
	// A source that has spaces in it must not be taken for another source and id.
	return strings.ReplaceAll(source, " ", "%20") + " " + id
}

// UnmarshalCloudEvent reads a structured event. The SDK panics (v2.16.2) at some texts that
// are not one.
func UnmarshalCloudEvent(text []byte) (e event.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("an attribute is of the wrong type: %v", p)
		}
	}()
	return e, e.UnmarshalJSON(text)
}

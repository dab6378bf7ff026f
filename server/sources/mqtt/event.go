package mqtt

import (
	"slices"
	"strings"

	"github.com/eclipse/paho.golang/paho"

	"github.com/watchroute/watchroute/server/sources"
)

// event gives the event that a message is. A property `id` alone says nothing: it may be
// that of a device.
func event(m *paho.Publish) sources.Event {
	e := sources.Event{Topic: m.Topic, Value: m.Payload, ContentType: m.Properties.ContentType, Redelivered: m.Duplicate(), Headers: map[string]string{}}
	for _, p := range m.Properties.User {
		e.Headers[strings.ToLower(p.Key)] = p.Value
	}
	if e.Headers["specversion"] == "" {
		e.ID = e.Headers["message-id"]
		return e
	}
	e.ID = sources.CloudEventID(e.Headers["source"], e.Headers["id"])
	for _, p := range m.Properties.User { // a binary CloudEvent
		e.Headers["ce-"+strings.ToLower(p.Key)] = p.Value
	}
	return e
}

// shared begins the filters that several clients share: $share/GROUP/FILTER.
const shared = "$share/"

// valid says whether a topic filter is one (MQTT 5, section 4.7).
func valid(filter string) bool {
	if rest, ok := strings.CutPrefix(filter, shared); ok {
		group, inner, _ := strings.Cut(rest, "/")
		if group == "" || strings.ContainsAny(group, "+#") {
			return false
		}
		filter = inner
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && i < len(levels)-1 {
			return false
		}
	}
	return filter != "" && len(filter) <= 65535 && !strings.ContainsRune(filter, 0)
}

// wanted says whether a topic is one of those. The broker's session may know filters that
// the source no longer has.
func wanted(filters []string, topic string) bool {
	return slices.ContainsFunc(filters, func(filter string) bool { return matches(filter, topic) })
}

// matches says whether a valid filter has a topic.
func matches(filter, topic string) bool {
	if rest, ok := strings.CutPrefix(filter, shared); ok {
		_, filter, _ = strings.Cut(rest, "/")
	}
	if strings.HasPrefix(topic, "$") && filter[0] != '$' {
		return false
	}
	levels := strings.Split(topic, "/")
	for i, level := range strings.Split(filter, "/") {
		switch {
		case level == "#":
			return true
		case i >= len(levels), level != "+" && level != levels[i]:
			return false
		}
	}
	return strings.Count(filter, "/") == strings.Count(topic, "/")
}

package event

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
)

// Trace is a W3C traceparent: 00-TRACE-SPAN-FLAGS.
type Trace string

var traceparent = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$`)

// ID gives the trace's own id; empty: it is no traceparent.
func (t Trace) ID() string {
	parts := traceparent.FindStringSubmatch(string(t))
	if parts == nil {
		return ""
	}
	return parts[1]
}

// Child gives a new span of the trace, or of a new one where this is none.
func (t Trace) Child() Trace {
	id, flags := t.ID(), "01"
	if id == "" {
		id = random(16)
	} else {
		flags = string(t[len(t)-2:])
	}
	return Trace("00-" + id + "-" + random(8) + "-" + flags)
}

func random(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

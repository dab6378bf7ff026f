package conformance

import (
	"encoding/json"
	"fmt"
)

// Report is one line that a driver has written; README.md has its fields.
type Report struct {
	Ready   bool            `json:"ready"`
	ID      string          `json:"id"`
	State   string          `json:"state"`
	Cause   string          `json:"cause"`
	Via     string          `json:"via"`
	Event   *Event          `json:"event"`
	Ended   *Failure        `json:"ended"`
	Dump    *Dump           `json:"dump"`
	Reached uint64          `json:"reached,string"`
	N       int             `json:"n"`
	Op      string          `json:"op"`
	Answer  json.RawMessage `json:"answer"`
	Error   *Failure        `json:"error"`
}

// Event is what a program was told.
type Event struct {
	Kind      string          `json:"kind"`
	Name      string          `json:"name"`
	Revision  uint64          `json:"revision,string"`
	Cause     string          `json:"cause"`
	Coalesced int             `json:"coalesced"`
	Reason    string          `json:"reason"`
	Data      json.RawMessage `json:"data"`
	Before    json.RawMessage `json:"before"`
}

func (e *Event) String() string {
	return fmt.Sprintf("%s %s@%d %s%s %s", e.Kind, e.Name, e.Revision, e.Cause, e.Reason, e.Data)
}

// Failure is an error. That of a watch that was cancelled is empty.
type Failure struct {
	Code     string            `json:"code"`
	Reason   string            `json:"reason"`
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata"`
}

// Dump is what a mirror holds.
type Dump struct {
	Revision  uint64                    `json:"revision,string"`
	LiveAsOf  string                    `json:"liveAsOf"`
	State     string                    `json:"state"`
	Resources map[string]DumpedResource `json:"resources"`
}

// DumpedResource is one of its resources.
type DumpedResource struct {
	Revision uint64          `json:"revision,string"`
	Data     json.RawMessage `json:"data"`
}

// plain gives JSON of one form, so that what is the same is equal.
func plain(text json.RawMessage) string {
	if len(text) == 0 || string(text) == "null" {
		return ""
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return "not JSON: " + string(text)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

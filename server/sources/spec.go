package sources

import (
	"errors"
	"fmt"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// The collections of sources.
const (
	Collection      = "system.sources"
	StatusOf        = "system.source-status"
	DeadLettersOf   = "system.deadletters"
	MaxSourceID     = 64
	positionsPrefix = "source/" // of marks: source/ID/PARTITION
)

// spec is a source that was checked: how its events are read and what they change.
type spec struct {
	source   *watchroutev1.Source
	reads    Source // new for each run of the spec
	decoder  *decoder
	mappings []*schema.Mapping
}

// compile checks a source. Errors have the field below the source, such as mappings[0].id.
func (c *Config) compile(s *watchroutev1.Source) (*spec, error) {
	if err := resource.CheckID("source_id", s.GetSourceId()); err != nil {
		return nil, err
	}
	if len(s.GetSourceId()) > MaxSourceID {
		return nil, resource.Errorf(resource.InvalidField, "the id has %d characters, %d are allowed", len(s.GetSourceId()), MaxSourceID).In("source_id")
	}
	if s.GetTenant() != "" {
		if err := resource.CheckTenant("tenant", s.GetTenant()); err != nil {
			return nil, err
		}
	}
	out := &spec{source: s}
	var err error
	if out.decoder, err = newDecoder(c.Schemas.Types(), s.GetDecoding()); err != nil {
		return nil, err
	}
	if n := len(s.GetMappings()); n == 0 || n > schema.MaxMappings {
		return nil, resource.Errorf(resource.InvalidField, "%d mappings are given, 1 to %d are allowed", n, schema.MaxMappings).In("mappings")
	}
	kind, desc := out.decoder.kind()
	for i, m := range s.GetMappings() {
		compiled, err := c.Schemas.Mapping(fmt.Sprintf("mappings[%d]", i), kind, desc, m)
		if err != nil {
			return nil, err
		}
		out.mappings = append(out.mappings, compiled)
	}
	which := s.ProtoReflect().WhichOneof(s.ProtoReflect().Descriptor().Oneofs().ByName("connector"))
	if which == nil {
		return nil, resource.Errorf(resource.InvalidField, "where events come from is missing, such as `kafka`").In("connector")
	}
	connector := c.Connectors[string(which.Name())]
	if connector == nil {
		return nil, resource.Errorf(resource.Unsupported, "this server has no connector %s", which.Name()).In(string(which.Name()))
	}
	if out.reads, err = connector(s); err != nil {
		return nil, err
	}
	return out, nil
}

// traceLabel is how the trace of an event goes on.
const traceLabel = "traceparent"

// apply makes the changes of an event. Its error says why it is a dead letter.
func (s *spec) apply(e *Event) ([]schema.Mapped, error) {
	in, err := s.decoder.decode(e)
	if err != nil {
		return nil, err
	}
	var all []schema.Mapped
	for i, m := range s.mappings {
		changes, err := m.Changes(in)
		if err != nil {
			return nil, within(err, fmt.Sprintf("mappings[%d].", i))
		}
		all = append(all, changes...)
	}
	if trace := e.Headers[traceLabel]; trace != "" && len(trace) <= 128 {
		for i := range all {
			if all[i].Labels == nil {
				all[i].Labels = map[string]string{}
			}
			if all[i].Labels[traceLabel] == "" {
				all[i].Labels[traceLabel] = trace
			}
		}
	}
	return all, nil
}

// within puts the field of an error where it stands.
func within(err error, prefix string) error {
	if e := new(resource.Error); errors.As(err, &e) {
		return e.In(prefix + e.Metadata["field"])
	}
	return err
}

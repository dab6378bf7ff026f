package config

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// ReadSources reads what Config.Sources names, or has: a list of watchroute.v1.Source as
// its JSON has it. nil: there is nothing.
func (c *Config) ReadSources() ([]*watchroutev1.Source, error) {
	if c.Sources == "" {
		return nil, nil
	}
	text, where, err := fileOrInline(c.Sources)
	if err != nil {
		return nil, err
	}
	var list []map[string]any
	if err := yaml.UnmarshalWithOptions(text, &list, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s%s", where, yaml.FormatError(err, false, true))
	}
	var out []*watchroutev1.Source
	var errs []error
	for i, v := range list {
		s := new(watchroutev1.Source)
		if err := message(fmt.Sprintf("sources[%d]", i), v, s); err != nil {
			errs = append(errs, fmt.Errorf("%s%w", where, err))
		}
		out = append(out, s)
	}
	return out, errors.Join(errs...)
}

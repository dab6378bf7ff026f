package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
)

// Access says who may call, and what they may do: the mapping `access` of watchroute.yaml,
// or a file of its own.
type Access struct {
	access.Config `yaml:",inline"`
	// Keys are API keys, as watchroute.v1.ApiKey has them in JSON; those of system.keys win.
	Keys []*watchroutev1.ApiKey `yaml:"-"`
	// Collections are rules, as watchroute.v1.CollectionAccess has them in JSON; those of
	// system.collections win.
	Collections []*watchroutev1.CollectionAccess `yaml:"-"`
	// Cookie may hold a credential. Default: watchroute.
	Cookie string `yaml:"cookie"`
	// TrustedProxies are addresses, or networks, of proxies whose X-Forwarded-For is
	// believed.
	TrustedProxies []netip.Prefix `yaml:"-"`
}

// inline begins the value of a setting that could be a file's name and is not.
const inline = "\n"

// ReadAccess reads what Config.Access names, or has. nil: there is nothing.
func (c *Config) ReadAccess() (*Access, error) {
	if c.Access == "" {
		return nil, nil
	}
	text, where, err := fileOrInline(c.Access)
	if err != nil {
		return nil, err
	}
	a, err := parseAccess(text)
	if err != nil {
		return nil, fmt.Errorf("%s%w", where, err)
	}
	return a, nil
}

// fileOrInline gives what a setting names, or has, and what errors of it begin with.
func fileOrInline(setting string) (text []byte, where string, err error) {
	if text, ok := strings.CutPrefix(setting, inline); ok {
		return []byte(text), "", nil
	}
	text, err = os.ReadFile(setting)
	return text, setting + ": ", err
}

func parseAccess(text []byte) (*Access, error) {
	var in struct {
		Access         `yaml:",inline"`
		Keys           []map[string]any `yaml:"keys"`
		Collections    []map[string]any `yaml:"collections"`
		TrustedProxies []string         `yaml:"trusted-proxies"`
	}
	if err := yaml.UnmarshalWithOptions(text, &in, yaml.Strict()); err != nil {
		return nil, errors.New(yaml.FormatError(err, false, true))
	}
	a := &in.Access
	errs := []error{a.Config.Validate()}
	for i, v := range in.Keys {
		k := new(watchroutev1.ApiKey)
		errs = append(errs, message(fmt.Sprintf("keys[%d]", i), v, k))
		a.Keys = append(a.Keys, k)
	}
	for i, v := range in.Collections {
		m := new(watchroutev1.CollectionAccess)
		errs = append(errs, message(fmt.Sprintf("collections[%d]", i), v, m))
		a.Collections = append(a.Collections, m)
	}
	for i, text := range in.TrustedProxies {
		n, err := access.ParseNetwork(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("trusted-proxies[%d]: %q is not an address or a network, such as 10.0.0.0/8", i, text))
		}
		a.TrustedProxies = append(a.TrustedProxies, n)
	}
	if len(a.Issuers)+len(a.Certificates)+len(a.Keys) == 0 {
		errs = append(errs, errors.New("none of issuers, certificates and keys is given, so nobody could call"))
	}
	return a, errors.Join(errs...)
}

// message reads a message as its JSON has it.
func message(field string, v map[string]any, m proto.Message) error {
	text, err := json.Marshal(v)
	if err == nil {
		err = protojson.Unmarshal(text, m)
	}
	if err != nil {
		// protojson varies its spaces on purpose.
		return fmt.Errorf("%s: %s", field, strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\u00a0", " ")), " "))
	}
	return nil
}

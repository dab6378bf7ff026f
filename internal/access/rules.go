package access

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// policy is a CollectionAccess, compiled. A rule that is nil allows nothing.
type policy struct {
	get, list, watch, write, delete *schema.Rule
	anonymous                       bool
	route                           *watchroutev1.WatchRoute
	redactions                      []redaction
	projections                     map[string]*schema.Projection
}

// redaction is a Redaction, compiled.
type redaction struct {
	hides  *schema.Redaction
	unless *schema.Rule // nil: never
}

// Transports are those that a watch route can be limited to.
var Transports = []string{"grpc", "session", "grpc-web", "sse", "ndjson", "websocket", "websocket-session", "long-poll"}

// compile makes a policy. field is where it stands, for the errors, which name each
// place and what is wrong there.
func compile(schemas *schema.Registry, field string, m *watchroutev1.CollectionAccess) (*policy, error) {
	at := func(name string) string { return strings.TrimPrefix(field+"."+name, ".") }
	if err := resource.CheckCollection(at("collection"), m.GetCollection()); err != nil {
		return nil, err
	}
	if resource.IsSystem(m.GetCollection()) {
		return nil, resource.Errorf(resource.InvalidField, "who may use %s is not to be changed", m.GetCollection()).In(at("collection"))
	}
	values := schemas.Schema(m.GetCollection())
	p := &policy{anonymous: m.GetAnonymous(), route: m.GetWatchRoute()}
	var errs []error
	rule := func(name, text string, writes bool) *schema.Rule {
		if text == "" {
			return nil
		}
		r, err := values.Rule(at(name), text, writes)
		if err != nil {
			errs = append(errs, err)
		}
		return r
	}
	rules := m.GetRules()
	p.get = rule("rules.get", rules.GetGet(), false)
	if p.list = p.get; rules.GetList() != "" {
		p.list = rule("rules.list", rules.GetList(), false)
	}
	if p.watch = p.list; rules.GetWatch() != "" {
		p.watch = rule("rules.watch", rules.GetWatch(), false)
	}
	p.write = rule("rules.write", rules.GetWrite(), true)
	if p.delete = p.write; rules.GetDelete() != "" {
		p.delete = rule("rules.delete", rules.GetDelete(), true)
	}
	for i, r := range m.GetRedactions() {
		name := fmt.Sprintf("redactions[%d]", i)
		hides, err := values.Redaction(at(name+".fields"), r.GetFields().GetPaths(), r.GetMask())
		if err == nil && hides == nil {
			err = resource.Errorf(resource.InvalidField, "no field is named").In(at(name + ".fields"))
		}
		if err != nil {
			errs = append(errs, err)
		}
		p.redactions = append(p.redactions, redaction{hides, rule(name+".unless", r.GetUnless(), false)})
	}
	for i, m := range m.GetProjections() {
		name := at(fmt.Sprintf("projections[%d]", i))
		shape, err := values.Projection(name+".fields", m.GetFields())
		if err == nil {
			err = checkVersion(name+".version", m.GetVersion(), p.projections)
		}
		if err != nil {
			errs = append(errs, err)
		}
		if p.projections == nil {
			p.projections = map[string]*schema.Projection{}
		}
		p.projections[m.GetVersion()] = shape
	}
	for i, t := range p.route.GetTransports() {
		if !slices.Contains(Transports, t) {
			errs = append(errs, resource.Errorf(resource.InvalidField, "%q is none of %s", t, strings.Join(Transports, ", ")).In(at(fmt.Sprintf("watch_route.transports[%d]", i))))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

func checkVersion(field, text string, taken map[string]*schema.Projection) error {
	if text == "" || len(text) > 64 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
		return resource.Errorf(resource.InvalidField, "expected 1 to 64 letters, digits, `.`, `-` and `_`, such as summary.v1").In(field)
	}
	if taken[text] != nil {
		return resource.Errorf(resource.InvalidField, "there are two projections %q", text).In(field)
	}
	return nil
}

// projection gives the shape that a call asks for; nil: the value as it is.
func (p *policy) projection(version string) (*schema.Projection, error) {
	if version == "" {
		return nil, nil
	}
	var known []string
	if p != nil {
		if shape := p.projections[version]; shape != nil {
			return shape, nil
		}
		known = slices.Sorted(maps.Keys(p.projections))
	}
	if len(known) == 0 {
		return nil, resource.Errorf(resource.InvalidField, "the collection has no projections").In("projection")
	}
	return nil, resource.Errorf(resource.InvalidField, "there is no projection of that version; there are %s", strings.Join(known, ", ")).In("projection")
}

// auth is a principal as rules see it.
func (p *Principal) auth() *schema.Auth {
	return &schema.Auth{Subject: p.Subject, Tenant: p.Tenant, Method: p.Method.String(), Roles: p.Roles, Scopes: p.Scopes, Claims: p.Claims, Operator: p.Operator}
}

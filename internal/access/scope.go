package access

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// grant is what one call goes on under: it implements hub.Grant.
type grant struct {
	control *Control
	caller  *Caller
	call    hub.Call

	// Of an open watch.
	opened int64      // when, in nanoseconds since 1970
	as     *Principal // who opened it
}

// Scope implements hub.Grant.
func (g *grant) Scope() (hub.Scope, error) {
	s, err := g.scope()
	// A question of our own has no transport.
	if err != nil && g.call.Transport != "" {
		g.control.refused(g.caller, verbs[g.call.Verb], resource.Shared(g.call.Collection), g.call.Transport, err)
	}
	return s, err
}

var verbs = map[hub.Verb]string{hub.Get: "get", hub.List: "list", hub.Watching: "watch"}

func (g *grant) scope() (hub.Scope, error) {
	c, p := g.control, g.caller.Principal()
	if err := c.valid(p, g.caller); err != nil {
		return nil, err
	}
	until := p.Expires
	collection := resource.Shared(g.call.Collection)
	if resource.Of(g.caller.Tenant(), collection) != g.call.Collection { // another credential, of another tenant
		return nil, denied(p, verbs[g.call.Verb], collection)
	}
	if resource.IsSystem(collection) {
		return c.systemScope(p, collection, g.call.Verb, until)
	}
	pol := c.policy(collection)
	if g.call.Verb == hub.Watching {
		if err := pol.routed(collection, g.call.Transport); err != nil {
			return nil, err
		}
	}
	shape, err := pol.projection(g.call.Projection)
	if err != nil {
		return nil, err
	}
	if p.Operator && shape == nil && until.IsZero() {
		return hub.Everything{}, nil
	}
	if p.Operator {
		return newScope(nil, nil, nil, shape, until), nil
	}
	verb, rule := verbs[g.call.Verb], pol.rule(func(p *policy) *schema.Rule { return p.get })
	switch g.call.Verb {
	case hub.List:
		rule = pol.rule(func(p *policy) *schema.Rule { return p.list })
	case hub.Watching:
		rule = pol.rule(func(p *policy) *schema.Rule { return p.watch })
	}
	if err := pol.opens(p); err != nil {
		return nil, err
	}
	if g.call.Verb == hub.Watching && pol != nil && pol.route.GetApproval() {
		expires, err := c.approved(p, collection)
		if err != nil {
			return nil, err
		}
		until = earlier(until, expires)
	}
	if rule == nil {
		return nil, denied(p, verb, collection)
	}
	auth := p.auth()
	residual := rule.For(auth)
	if residual.Never() {
		return nil, denied(p, verb, collection)
	}
	return newScope(residual, pol.redactions, auth, shape, until), nil
}

// rule gives a rule of a policy; nil, which allows nothing, where there is no policy.
func (p *policy) rule(of func(*policy) *schema.Rule) *schema.Rule {
	if p == nil {
		return nil
	}
	return of(p)
}

// routed says whether a collection may be watched on a transport, by anybody.
func (p *policy) routed(collection, transport string) error {
	if p == nil {
		return nil
	}
	if p.route.GetOff() {
		return resource.Errorf(resource.Unsupported, "%s has no watch route", collection).With("collection", collection)
	}
	if allowed := p.route.GetTransports(); transport != "" && len(allowed) > 0 && !slices.Contains(allowed, transport) {
		return resource.Errorf(resource.Unsupported, "%s is not watched over %s, but over %s", collection, transport, strings.Join(allowed, ", ")).With("collection", collection)
	}
	return nil
}

// opens says whether the rules are asked at all.
func (p *policy) opens(who *Principal) error {
	if who.Method == Anonymous && (p == nil || !p.anonymous) {
		return Missing()
	}
	return nil
}

func denied(p *Principal, verb, collection string) error {
	if p.Method == Anonymous {
		return Missing()
	}
	return resource.Errorf(resource.PermissionDenied, "this caller may not %s %s", verb, collection).With("verb", verb).With("collection", collection)
}

// scope is what one caller sees of one collection: it implements hub.Scope.
type scope struct {
	key   string
	sees  *schema.Residual // nil: everything
	hides []hidden
	shape *schema.Projection // nil: as it is
	until time.Time
}

// hidden is a redaction that may concern the caller.
type hidden struct {
	fields *schema.Redaction
	unless *schema.Residual // nil: never
}

func newScope(sees *schema.Residual, redactions []redaction, auth *schema.Auth, shape *schema.Projection, until time.Time) *scope {
	s := &scope{shape: shape, until: until}
	if sees != nil && !sees.Always() {
		s.sees, s.key = sees, sees.Key()
	}
	text := ""
	if shape != nil {
		text = "shape " + shape.String()
	}
	for _, r := range redactions {
		h := hidden{fields: r.hides}
		key := ""
		if r.unless != nil {
			h.unless = r.unless.For(auth)
			if h.unless.Always() {
				continue
			}
			key = h.unless.Key()
			if h.unless.Never() {
				h.unless = nil
			}
		}
		s.hides = append(s.hides, h)
		text += strconv.Quote(r.hides.String()) + strconv.Quote(key)
	}
	if text != "" {
		sum := sha256.Sum256([]byte(strconv.Quote(s.key) + text))
		s.key = base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	return s
}

// Key implements hub.Scope.
func (s *scope) Key() string { return s.key }

// Whole implements hub.Scope.
func (s *scope) Whole() bool { return s.sees == nil }

// Term implements hub.Scope.
func (s *scope) Term() (schema.Term, bool) {
	if s.sees == nil {
		return schema.Term{}, false
	}
	return s.sees.Term()
}

// Visible implements hub.Scope.
func (s *scope) Visible(v *schema.Value) bool { return s.sees == nil || s.sees.Matches(v) }

// Redacts implements hub.Scope.
func (s *scope) Redacts() bool { return len(s.hides) > 0 }

// Shown implements hub.Scope.
func (s *scope) Shown(v *schema.Value) *schema.Value {
	var one *schema.Redaction
	var more []*schema.Redaction
	for i := range s.hides {
		h := &s.hides[i]
		if h.unless != nil && h.unless.Matches(v) {
			continue
		}
		if one == nil {
			one = h.fields
		} else {
			more = append(more, h.fields)
		}
	}
	if len(more) > 0 {
		one = schema.Redactions(append(more, one)...)
	}
	return one.Apply(v)
}

// Shape implements hub.Scope.
func (s *scope) Shape(v *schema.Value) *schema.Value { return s.shape.Apply(v) }

// Shapes implements hub.Scope.
func (s *scope) Shapes() bool { return s.shape != nil }

// Until implements hub.Scope.
func (s *scope) Until() time.Time { return s.until }

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// approved says until when a caller may watch a collection whose route needs approval.
func (c *Control) approved(p *Principal, collection string) (until time.Time, err error) {
	id := GrantID(collection, p.Tenant, p.Subject)
	c.mu.RLock()
	g := c.grants[id]
	c.mu.RUnlock()
	if g.GetState() == watchroutev1.Grant_APPROVED {
		if g.GetExpireTime() == nil {
			return time.Time{}, nil
		}
		if until = g.GetExpireTime().AsTime(); time.Now().Before(until) {
			return until, nil
		}
	}
	name := GrantsCollection + "/" + id
	hint := "ask for it by writing " + name
	switch {
	case g.GetState() == watchroutev1.Grant_REFUSED:
		hint = "it was refused"
	case g != nil && g.GetState() != watchroutev1.Grant_APPROVED:
		hint = "nobody has answered the request yet"
	}
	return time.Time{}, resource.Errorf(resource.ApprovalRequired, "watching %s needs an approval: %s", collection, hint).
		With("collection", collection).With("grant", name)
}

// GrantID is the id of the Grant of a caller: COLLECTION~TENANT~SUBJECT. What an id
// cannot hold of the subject is written as `=` and two hexadecimal digits, and a long one
// as its hash.
func GrantID(collection, tenant, subject string) string {
	const hex = "0123456789ABCDEF"
	var b []byte
	for _, c := range []byte(subject) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._@+,", c) >= 0:
			b = append(b, c)
		default:
			b = append(b, '=', hex[c>>4], hex[c&15])
		}
	}
	id := collection + "~" + tenant + "~" + string(b)
	if len(id) <= resource.MaxID {
		return id
	}
	sum := sha256.Sum256([]byte(cmp.Or(tenant, "~") + "~" + subject))
	return collection + "~~=" + base64.RawURLEncoding.EncodeToString(sum[:24])
}

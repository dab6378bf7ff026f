package access

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// What callers who are no operators may do with system.grants: see their own, and ask.
const (
	ownGrants = `data.tenant == auth.tenant && data.subject == auth.sub`
	askGrants = ownGrants + ` && data.state <= 1 && (old == null || old.state <= 1)`
)

// compileOwn compiles the rules of the system's own collections.
func (c *Control) compileOwn() (err error) {
	grants := c.cfg.Schemas.Schema(GrantsCollection)
	if c.ownGrants, err = grants.Rule("", ownGrants, false); err != nil {
		return err
	}
	if c.askGrants, err = grants.Rule("", askGrants, true); err != nil {
		return err
	}
	c.hidesHash, err = c.cfg.Schemas.Schema(KeysCollection).Redaction("", []string{"hash"}, "")
	return err
}

// systemScope is what a caller sees of one of the system's own collections.
func (c *Control) systemScope(p *Principal, collection string, verb hub.Verb, until time.Time) (hub.Scope, error) {
	switch {
	case p.Operator && collection == KeysCollection:
		return &scope{key: "no hash", hides: []hidden{{fields: c.hidesHash}}, until: until}, nil
	case p.Operator:
		return &scope{until: until}, nil
	case collection == GrantsCollection && p.Method != Anonymous:
		return newScope(c.ownGrants.For(p.auth()), nil, nil, nil, until), nil
	}
	return nil, denied(p, verbs[verb], collection)
}

// Guard says who writes, and gives what each operation is to be asked when it is applied;
// nil: nothing. caller tells callers apart.
func (c *Control) Guard(ctx context.Context, collection, transport string) (guard func(*changelog.Op, *changelog.Record) error, caller string, err error) {
	who, err := from(ctx)
	if err != nil {
		return nil, "", err
	}
	guard, caller, err = c.guard(who, collection, transport)
	if err != nil {
		c.refused(who, "write", collection, transport, err)
	}
	return guard, caller, err
}

func (c *Control) guard(who *Caller, collection, transport string) (guard func(*changelog.Op, *changelog.Record) error, caller string, err error) {
	p := who.Principal()
	if err := c.valid(p, who); err != nil {
		return nil, "", err
	}
	caller = p.Method.String() + " " + p.Tenant + " " + p.Subject
	if p.Operator {
		return nil, caller, nil
	}
	values := c.cfg.Schemas.Schema(collection)
	if _, _, err := c.writeRules(p, collection); err != nil {
		return nil, "", err
	}
	auth := p.auth()
	address := ""
	if who.address.IsValid() {
		address = who.address.String()
	}
	return func(op *changelog.Op, old *changelog.Record) error {
		// What was so when the write came may have changed since.
		if err := c.valid(p, who); err != nil {
			return err
		}
		rule, remove, err := c.writeRules(p, collection)
		if err != nil {
			return err
		}
		verb := "write"
		if op.Delete {
			verb, rule = "delete", remove
		}
		if rule == nil {
			return denied(p, verb, collection)
		}
		w := &schema.Write{Request: schema.Request{Verb: verb, Transport: transport, Address: address, Time: time.Now()}}
		if old != nil {
			w.Old = values.Value(old)
		}
		switch {
		case !op.Delete:
			w.Data = values.Value(&changelog.Record{ID: op.ID, Labels: op.Labels, Type: op.Type, Data: op.Data})
		case old != nil:
			w.Data = w.Old
		default: // there is nothing to delete, and who may not know that learns nothing
			w.Data = values.Value(&changelog.Record{ID: op.ID})
		}
		if !rule.For(auth).Allows(w) {
			return denied(p, verb, collection)
		}
		return nil
	}, caller, nil
}

// writeRules gives the rules for writing and for deleting; nil: nobody may.
func (c *Control) writeRules(p *Principal, collection string) (write, remove *schema.Rule, err error) {
	switch {
	case collection == GrantsCollection && p.Method != Anonymous:
		return c.askGrants, c.askGrants, nil
	case resource.IsSystem(collection):
		return nil, nil, denied(p, "write", collection)
	}
	pol := c.policy(collection)
	if err := pol.opens(p); err != nil {
		return nil, nil, err
	}
	return pol.rule(func(p *policy) *schema.Rule { return p.write }), pol.rule(func(p *policy) *schema.Rule { return p.delete }), nil
}

// Check says what is wrong with what is to be written to one of the system's own
// collections, and sets what is the server's to set. Other collections are not its
// business.
func (c *Control) Check(ctx context.Context, collection string, ops []changelog.Op) error {
	if !resource.IsSystem(collection) {
		return nil
	}
	who, err := from(ctx)
	if err != nil {
		return err
	}
	c.audit("system", who.Principal(), who, "collection", collection, "operations", len(ops))
	const field = "resource.data"
	for i := range ops {
		op := &ops[i]
		if op.Delete {
			continue
		}
		switch collection {
		case CollectionsCollection:
			m := new(watchroutev1.CollectionAccess)
			if err := decode(op, m); err != nil {
				return err
			}
			if _, err := compile(c.cfg.Schemas, field, m); err != nil {
				return err
			}
		case KeysCollection:
			m := new(watchroutev1.ApiKey)
			if err := decode(op, m); err != nil {
				return err
			}
			if err := checkAPIKey(field, op.ID, m); err != nil {
				return err
			}
		case RevocationsCollection:
			m := new(watchroutev1.Revocation)
			if err := decode(op, m); err != nil {
				return err
			}
			if _, err := newRevocation(field, op.ID, m); err != nil {
				return err
			}
		case GrantsCollection:
			m := new(watchroutev1.Grant)
			if err := decode(op, m); err != nil {
				return err
			}
			if err := c.checkGrant(field, who, m); err != nil {
				return err
			}
			if want := GrantID(m.GetCollection(), m.GetTenant(), m.GetSubject()); op.ID != want {
				return resource.Errorf(resource.InvalidField, "the id is that of a grant for another collection, tenant or subject; expected %q", want).In(field + ".grant_id")
			}
			m.DecidedBy = ""
			if m.GetState() > watchroutev1.Grant_REQUESTED {
				m.DecidedBy = who.Principal().Subject
			}
			if op.Data, err = (proto.MarshalOptions{Deterministic: true}).Marshal(m); err != nil {
				return err
			}
		default:
			if check := c.cfg.Others[collection]; check != nil {
				if err := check(ctx, op); err != nil {
					return err
				}
				continue
			}
			return resource.Errorf(resource.CollectionNotFound, "there is no collection %q; names that begin with `system.` are the server's own", collection).With("collection", collection)
		}
	}
	return nil
}

// checkGrant lets nobody ask for what needs no approval: a stranger could fill the log.
func (c *Control) checkGrant(field string, who *Caller, g *watchroutev1.Grant) error {
	if err := resource.CheckCollection(field+".collection", g.GetCollection()); err != nil {
		return err
	}
	if p := c.policy(g.GetCollection()); !who.Principal().Operator && (p == nil || !p.route.GetApproval()) {
		return resource.Errorf(resource.InvalidField, "watching %s needs no approval", g.GetCollection()).In(field + ".collection")
	}
	return nil
}

func decode(op *changelog.Op, m proto.Message) error {
	if err := proto.Unmarshal(op.Data, m); err != nil {
		return resource.Errorf(resource.Internal, "internal error").Because(err)
	}
	return nil
}

// checkAPIKey says what is wrong with a key.
func checkAPIKey(field, id string, k *watchroutev1.ApiKey) error {
	at := func(name string) string { return strings.TrimPrefix(field+"."+name, ".") }
	if !checkKeyID(id) {
		return resource.Errorf(resource.InvalidField, "%q is not 1 to 32 lower-case letters, digits and '-'", id).In(at("key_id"))
	}
	if err := CheckHash(k.GetHash()); err != nil {
		return resource.Errorf(resource.InvalidField, "%v; `watchroute keys new` makes one", err).In(at("hash"))
	}
	if err := resource.CheckTenant(at("tenant"), k.GetTenant()); err != nil {
		return err
	}
	if s := k.GetSubject(); s == "" || len(s) > MaxSubject {
		return resource.Errorf(resource.InvalidField, "the subject has %d bytes, 1 to %d are allowed", len(s), MaxSubject).In(at("subject"))
	}
	return nil
}

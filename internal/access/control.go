package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
)

// The collections that control access. They are kept in the log as any other; every node
// follows them.
const (
	CollectionsCollection = "system.collections"
	KeysCollection        = "system.keys"
	RevocationsCollection = "system.revocations"
	GrantsCollection      = "system.grants"
)

// ControlConfig is what a Control needs. Log and Schemas must be set.
type ControlConfig struct {
	Log     changelog.Log
	Schemas *schema.Registry
	// Credentials say who calls. Keys and Used are set by the Control.
	Credentials Config
	// Required: calls are asked for credentials, and rules decide. Default: everybody is
	// an operator.
	Required bool
	// Collections are rules of the configuration; system.collections wins over them.
	Collections []*watchroutev1.CollectionAccess
	// ApiKeys are keys of the configuration; system.keys wins over them.
	ApiKeys []*watchroutev1.ApiKey
	Limits  Limits
	// Others are the other collections of the system that operators may write, each with
	// what says what is wrong with an op, as Check does; deletions are not shown to it.
	Others map[string]func(context.Context, *changelog.Op) error
	// Limited is told of each limit that is reached. Default: nobody.
	Limited func(limit string)
	// Audit gets a record of each refusal, each stream that opens or ends, and each change
	// of what controls access. Default: nobody does.
	Audit *slog.Logger
	// Logger gets what operators must know. Default: slog.Default().
	Logger *slog.Logger
}

// Control says who may do what. It implements hub.Access. It follows the system's
// collections from New to Close.
type Control struct {
	cfg           ControlConfig
	logger        *slog.Logger
	authenticator *Authenticator
	unsubscribe   func()
	ownGrants     *schema.Rule // of system.grants, to read
	askGrants     *schema.Rule // and to write
	hidesHash     *schema.Redaction

	mu          sync.RWMutex // nothing is locked below it
	seen        map[string]uint64
	policies    map[string]*policy
	fixed       map[string]*policy // of the configuration
	keys        map[string]*watchroutev1.ApiKey
	fixedKeys   map[string]*watchroutev1.ApiKey
	grants      map[string]*watchroutev1.Grant
	revocations revocations
	anonymous   atomic.Bool // a policy admits callers without a credential; written with mu held

	auditor         *auditor
	hashing         tally // API keys that are being checked, by address
	receiving       turns // requests that are being taken in, by account
	calls, failures buckets
	filters, delays buckets // in microseconds: by account, by collection
	watches         counts
	tasks           tasks
}

// New makes a Control. Its errors name the rules of the configuration that do not
// compile. Close ends it.
func New(ctx context.Context, cfg ControlConfig) (*Control, error) {
	if cfg.Log == nil || cfg.Schemas == nil {
		return nil, errors.New("access: Log and Schemas must be set")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Limited == nil {
		cfg.Limited = func(string) {}
	}
	c := &Control{auditor: &auditor{}, calls: buckets{rate: cfg.Limits.Calls}, filters: buckets{rate: float64(cfg.Limits.FilterTime.Microseconds()), burst: 1}, delays: buckets{rate: delays * float64(cfg.Limits.FilterTime.Microseconds()), burst: 0.05}, failures: buckets{rate: cfg.Limits.Failures}, cfg: cfg, logger: cfg.Logger, seen: map[string]uint64{}, policies: map[string]*policy{}, fixed: map[string]*policy{},
		keys: map[string]*watchroutev1.ApiKey{}, fixedKeys: map[string]*watchroutev1.ApiKey{}, grants: map[string]*watchroutev1.Grant{}}
	if err := c.compileOwn(); err != nil {
		return nil, err
	}
	var errs []error
	for i, m := range cfg.Collections {
		p, err := compile(cfg.Schemas, fmt.Sprintf("access.collections[%d]", i), m)
		if err != nil {
			errs = append(errs, err)
		}
		c.fixed[m.GetCollection()] = p
	}
	for i, k := range cfg.ApiKeys {
		if err := checkAPIKey(fmt.Sprintf("access.keys[%d]", i), k.GetKeyId(), k); err != nil {
			errs = append(errs, err)
		}
		c.fixedKeys[k.GetKeyId()] = k
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.admitLocked() // nobody else knows of it yet
	credentials := cfg.Credentials
	credentials.Keys, credentials.Used, credentials.Logger = c, c.used, cfg.Logger
	var err error
	if c.authenticator, err = NewAuthenticator(credentials); err != nil {
		return nil, err
	}
	c.auditor = newAuditor(cfg.Audit)
	c.tasks.start()
	c.unsubscribe = cfg.Log.Subscribe(c.publish)
	for _, collection := range []string{CollectionsCollection, KeysCollection, RevocationsCollection, GrantsCollection} {
		if err := c.load(ctx, collection); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close ends what the Control started. Nobody may ask it anything any more: close the hub
// and the servers before.
func (c *Control) Close() {
	c.unsubscribe()
	c.tasks.close()
	c.authenticator.Close()
	c.auditor.close()
}

// Attach lets a hub's watches be asked again when something changes that may concern them.
// It is called once, before the first watch.
func (c *Control) Attach(h *hub.Hub) { c.tasks.do(func() { c.tasks.hub = h }) }

// Required says whether credentials are asked for.
func (c *Control) Required() bool { return c.cfg.Required }

// Enter says who calls. The errors are those of Authenticate, CredentialRevoked, and
// PermissionDenied for who names a tenant and may not.
func (c *Control) Enter(ctx context.Context, in Presented) (*Caller, error) {
	caller := &Caller{address: Plain(in.Address)}
	if !c.cfg.Required {
		caller.who.Store(everyone)
	} else {
		p, err := c.authenticate(ctx, in.Credential, caller)
		if err != nil {
			return nil, err
		}
		caller.who.Store(p)
		if err := c.valid(p, caller); err != nil {
			c.refused(caller, "call", "", "", err)
			return nil, err
		}
	}
	if err := c.called(caller); err != nil {
		return nil, err
	}
	if in.Tenant != "" {
		if !caller.Principal().Operator && in.Tenant != caller.Principal().Tenant {
			return nil, resource.Errorf(resource.PermissionDenied, "only an operator may name a tenant").In("tenant")
		}
		if err := resource.CheckTenant("tenant", in.Tenant); err != nil {
			return nil, err
		}
		caller.actsFor = &in.Tenant
	}
	return caller, nil
}

// mostHashing is how many API keys of one address are checked at a time: the hash is slow,
// and others wait for it, too.
const mostHashing = 16

// authenticate is Authenticate for who does not fail too often.
func (c *Control) authenticate(ctx context.Context, in Credential, caller *Caller) (*Principal, error) {
	from := subnet(caller.address)
	need := 1
	if strings.HasPrefix(in.Secret, keyPrefix) { // those that wait to be hashed may all fail
		need = c.hashing.add(from, 1)
		defer c.hashing.add(from, -1)
		if c.failures.rate > 0 && need > mostHashing {
			return nil, c.limited("failures", time.Second, "too many keys of this address are being checked")
		}
	}
	if wait := c.failures.lacks(from, need); wait > 0 && (in.Secret != "" || in.Certificate != nil) {
		return nil, c.limited("failures", wait, "too many credentials from this address did not count")
	}
	p, err := c.authenticator.Authenticate(ctx, in)
	if resource.HasReason(err, resource.CredentialInvalid) && resource.AsError(err).RetryAfter == 0 {
		c.failures.take(from)
	}
	if err != nil {
		c.audit("refused", &Principal{}, caller, "verb", "call", "reason", resource.AsError(err).Reason.String())
	}
	return p, err
}

// everyone is who calls where nobody asks.
var everyone = &Principal{Operator: true}

// Renew lets a caller go on under another credential, and says until when that is valid;
// zero: for good. It must be the same subject's, unless the caller was anonymous. The
// caller's watches are to be asked again.
func (c *Control) Renew(ctx context.Context, caller *Caller, secret string) (expires time.Time, err error) {
	if !c.cfg.Required {
		return time.Time{}, nil
	}
	p, err := c.authenticate(ctx, Credential{Secret: secret}, caller)
	if err != nil {
		return time.Time{}, err
	}
	if p.Method == Anonymous {
		return time.Time{}, resource.Errorf(resource.CredentialMissing, "the credential is empty").In("authenticate.credential")
	}
	if was := caller.Principal(); was.Method != Anonymous && (was.Tenant != p.Tenant || was.Subject != p.Subject) {
		return time.Time{}, resource.Errorf(resource.PermissionDenied, "the credential is somebody else's; open another connection for it").In("authenticate.credential")
	}
	if err := c.valid(p, caller); err != nil {
		return time.Time{}, err
	}
	caller.who.Store(p)
	return p.Expires, nil
}

// valid says whether a principal may still do anything at all.
func (c *Control) valid(p *Principal, caller *Caller) error {
	if !c.cfg.Required {
		return nil
	}
	if !p.Expires.IsZero() && !time.Now().Before(p.Expires) {
		return expired("the credential has expired")
	}
	if p.Method == APIKey {
		if now, ok := c.Key(p.ID); !ok || !sameRights(p.key, now) {
			return resource.Errorf(resource.CredentialRevoked, "the key was removed or changed")
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.revocations.hit(p, caller.address) {
		return resource.Errorf(resource.CredentialRevoked, "the credential, its owner or the address was revoked")
	}
	return nil
}

// sameRights says whether two states of a key are worth the same.
func sameRights(a, b *watchroutev1.ApiKey) bool {
	if a == b {
		return true
	}
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	for _, k := range []*watchroutev1.ApiKey{a, b} {
		k.LastUsedTime, k.Note = nil, ""
	}
	return proto.Equal(a, b)
}

// Tenant gives whose collections a call is about.
func (c *Control) Tenant(ctx context.Context) (string, error) {
	caller, err := from(ctx)
	if err != nil {
		return "", err
	}
	return caller.Tenant(), nil
}

// Grant implements hub.Access.
func (c *Control) Grant(ctx context.Context, call hub.Call) (hub.Grant, error) {
	caller, err := from(ctx)
	if err != nil {
		return nil, err
	}
	if c.cfg.Required || c.auditor.handler != nil || c.most() != ([3]int{}) {
		return &grant{control: c, caller: caller, call: call}, nil
	}
	// Nothing is kept of a watch alone: those of a session have the same grant.
	if g := caller.last.Load(); g != nil && g.call == call {
		return g, nil
	}
	g := &grant{control: c, caller: caller, call: call, as: caller.Principal()}
	caller.last.Store(g)
	return g, nil
}

// admitLocked notes whether a policy admits callers without a credential.
func (c *Control) admitLocked() {
	admits := false
	for _, p := range c.policies {
		admits = admits || p.anonymous
	}
	for id, p := range c.fixed {
		admits = admits || p.anonymous && c.policies[id] == nil
	}
	c.anonymous.Store(admits)
}

// policy gives the rules of a collection; nil: there are none.
func (c *Control) policy(collection string) *policy {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if p := c.policies[collection]; p != nil {
		return p
	}
	return c.fixed[collection]
}

// Key implements Keys.
func (c *Control) Key(id string) (*watchroutev1.ApiKey, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k := c.keys[id]
	if k == nil {
		k = c.fixedKeys[id]
	}
	return k, k != nil
}

// used notes when a key was used.
func (c *Control) used(id string) {
	c.tasks.beside(func() { // revocations must not wait for the log
		c.mu.RLock()
		k, revision := c.keys[id], c.seen[KeysCollection+"/"+id]
		c.mu.RUnlock()
		if k == nil {
			return
		}
		k = proto.CloneOf(k)
		k.LastUsedTime = timestamppb.New(time.Now().Truncate(time.Second))
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(k)
		if err == nil {
			_, err = c.cfg.Log.Write(c.tasks.ctx, changelog.Write{Collection: KeysCollection, Ops: []changelog.Op{{
				ID: id, Type: string(k.ProtoReflect().Descriptor().FullName()), Data: data, If: changelog.Precondition{Revision: revision}}}})
		}
		if err != nil && !resource.HasReason(err, resource.PreconditionFailed) && c.tasks.ctx.Err() == nil {
			c.logger.Warn("the last use of a key was not noted", "key", id, "error", err)
		}
	})
}

// load reads what a collection has.
func (c *Control) load(ctx context.Context, collection string) error {
	head := c.cfg.Log.Bounds(collection).Head
	if head == 0 {
		return nil
	}
	for rec, err := range c.cfg.Log.Latest(ctx, collection, changelog.Position{}, head) {
		if err != nil {
			return fmt.Errorf("%s: %w", collection, err)
		}
		c.apply(collection, rec)
	}
	return nil
}

// publish is called by the log's sequencer.
func (c *Control) publish(b *changelog.Batch) {
	if !resource.IsSystem(b.Collection) {
		return
	}
	for i := range b.Changes {
		if concerns := c.apply(b.Collection, b.Changes[i].New); concerns != nil {
			c.tasks.do(func() {
				if c.tasks.hub != nil {
					c.tasks.hub.Reconsider(func(g hub.Grant) bool {
						own, ok := g.(*grant)
						return ok && concerns(own)
					})
				}
			})
		}
	}
}

// apply takes a change in, and says whom it concerns; nil: nobody.
func (c *Control) apply(collection string, rec *changelog.Record) (concerns func(*grant) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := collection + "/" + rec.ID
	if rec.Revision <= c.seen[at] {
		return nil
	}
	c.seen[at] = rec.Revision
	bad := func(err error) {
		c.logger.Error("a resource that controls access cannot be read, and allows nothing", "name", at, "revision", rec.Revision, "error", err)
	}
	switch collection {
	case CollectionsCollection:
		delete(c.policies, rec.ID)
		if m := new(watchroutev1.CollectionAccess); !rec.Absent {
			p := &policy{} // what does not compile allows nothing
			err := proto.Unmarshal(rec.Data, m)
			if err == nil {
				if compiled, e := compile(c.cfg.Schemas, "", m); e == nil {
					p = compiled
				} else {
					err = e
				}
			}
			if err != nil {
				bad(err)
			}
			c.policies[rec.ID] = p
		}
		c.admitLocked()
		return func(g *grant) bool { return resource.Shared(g.call.Collection) == rec.ID }
	case KeysCollection:
		delete(c.keys, rec.ID)
		if m := new(watchroutev1.ApiKey); !rec.Absent {
			if err := proto.Unmarshal(rec.Data, m); err != nil {
				bad(err)
				m = &watchroutev1.ApiKey{KeyId: rec.ID}
			}
			c.keys[rec.ID] = m
		}
		return func(g *grant) bool { p := g.caller.Principal(); return p.Method == APIKey && p.ID == rec.ID }
	case GrantsCollection:
		m := new(watchroutev1.Grant)
		if before := c.grants[rec.ID]; before != nil {
			m = before
		}
		delete(c.grants, rec.ID)
		if !rec.Absent {
			m = new(watchroutev1.Grant)
			if err := proto.Unmarshal(rec.Data, m); err != nil {
				bad(err)
				return nil
			}
			c.grants[rec.ID] = m
		}
		return func(g *grant) bool {
			p := g.caller.Principal()
			return p.Subject == m.GetSubject() && p.Tenant == m.GetTenant() && resource.Shared(g.call.Collection) == m.GetCollection()
		}
	case RevocationsCollection:
		c.revocations.remove(rec.ID)
		if rec.Absent {
			return nil // who was ended comes back by itself
		}
		m := new(watchroutev1.Revocation)
		r, err := (*revocation)(nil), proto.Unmarshal(rec.Data, m)
		if err == nil {
			r, err = newRevocation("", rec.ID, m)
		}
		if err != nil {
			bad(err)
			return nil
		}
		c.revocations.add(r)
		return func(g *grant) bool { return r.hits(g.caller.Principal(), g.caller.address) }
	}
	return nil
}

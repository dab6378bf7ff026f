package access

import (
	"context"
	"net/netip"
	"sync/atomic"

	"github.com/watchroute/watchroute/internal/resource"
)

// Caller is who speaks on one connection, or in one call. Who that is may change: a
// session may present another credential.
type Caller struct {
	who     atomic.Pointer[Principal]
	address netip.Addr
	actsFor *string // an operator: the tenant that it named
	last    atomic.Pointer[grant]
}

// Principal gives who calls. It never changes; Caller.Principal may give another later.
func (c *Caller) Principal() *Principal { return c.who.Load() }

// Address gives where the caller is; the zero value: unknown.
func (c *Caller) Address() netip.Addr { return c.address }

// Tenant gives whose collections the caller's are.
func (c *Caller) Tenant() string {
	p := c.Principal()
	if c.actsFor != nil && p.Operator { // it may be no operator's credential any more
		return *c.actsFor
	}
	return p.Tenant
}

// Missing is the error of who has shown no credential where one is needed.
func Missing() error {
	return resource.Errorf(resource.CredentialMissing, "a credential is needed: `Authorization: Bearer TOKEN`")
}

// Plain gives the form in which addresses are compared: IPv4 as such, and no zone.
func Plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

type callerKey struct{}

// With gives a context in which somebody calls.
func With(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From gives who calls in a context; nil: nobody has said.
func From(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}

// from is From where somebody must have said.
func from(ctx context.Context) (*Caller, error) {
	if c := From(ctx); c != nil {
		return c, nil
	}
	return nil, resource.Errorf(resource.CredentialMissing, "nobody has said who calls")
}

// Presented is what a call comes with.
type Presented struct {
	Credential
	// Address is where the call comes from; the zero value: unknown.
	Address netip.Addr
	// Tenant is the one that the call names; only operators may. Empty: none.
	Tenant string
}

type presentedKey struct{}

// WithPresented gives a context in which a call comes with something that who serves it
// does not see: the address of the client of a gateway, and what that found of a
// credential.
func WithPresented(ctx context.Context, p Presented) context.Context {
	return context.WithValue(ctx, presentedKey{}, p)
}

// PresentedIn gives what WithPresented gave.
func PresentedIn(ctx context.Context) (p Presented, ok bool) {
	p, ok = ctx.Value(presentedKey{}).(Presented)
	return p, ok
}

package access

import (
	"net/netip"
	"strings"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// revocations finds what is revoked.
type revocations struct {
	byID map[string]*revocation
	// byTarget has those of a kind and a value, networks those of addresses.
	byTarget map[string][]*revocation
	networks []*revocation
}

type revocation struct {
	id      string
	target  string       // empty: a network
	network netip.Prefix // of addresses
	before  time.Time    // zero: whenever the credential was issued
}

// targets are what a principal can be revoked by.
func (p *Principal) targets() []string {
	out := []string{"tenant " + p.Tenant, "subject " + p.Tenant + " " + p.Subject}
	switch {
	case p.ID == "":
	case p.Method == JWT:
		out = append(out, "token "+p.ID)
	case p.Method == APIKey:
		out = append(out, "key "+p.ID)
	}
	return out
}

// newRevocation checks a Revocation. field is where it stands.
func newRevocation(field, id string, m *watchroutev1.Revocation) (*revocation, error) {
	at := func(name string) string { return strings.TrimPrefix(field+"."+name, ".") }
	r := &revocation{id: id}
	if m.GetIssuedBefore() != nil {
		r.before = m.GetIssuedBefore().AsTime()
	}
	if err := resource.CheckTenant(at("tenant"), m.GetTenant()); err != nil {
		return nil, err
	}
	name, value := "", ""
	switch t := m.GetTarget().(type) {
	case *watchroutev1.Revocation_TokenId:
		name, value, r.target = "token_id", t.TokenId, "token "+t.TokenId
	case *watchroutev1.Revocation_KeyId:
		name, value, r.target = "key_id", t.KeyId, "key "+t.KeyId
	case *watchroutev1.Revocation_Subject:
		name, value, r.target = "subject", t.Subject, "subject "+m.GetTenant()+" "+t.Subject
	case *watchroutev1.Revocation_WholeTenant:
		name, r.target = "whole_tenant", "tenant "+m.GetTenant()
		if t.WholeTenant {
			value = "true"
		}
	case *watchroutev1.Revocation_Address:
		name, value = "address", t.Address
		network, err := ParseNetwork(t.Address)
		if err != nil {
			return nil, resource.Errorf(resource.InvalidField, "expected an address or a network, such as 203.0.113.7 or 2001:db8::/32").In(at(name))
		}
		r.network = network
	default:
		return nil, resource.Errorf(resource.InvalidField, "none of token_id, key_id, subject, address and whole_tenant is given").In(at("target"))
	}
	if value == "" {
		return nil, resource.Errorf(resource.InvalidField, "it is empty").In(at(name))
	}
	return r, nil
}

// ParseNetwork reads an address, or a network.
func ParseNetwork(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		n, err := netip.ParsePrefix(text)
		if n.Addr().Is4In6() && n.Bits() >= 96 { // no caller has such an address, see Enter
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		return n.Masked(), err
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = Plain(a)
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func (r *revocation) hits(p *Principal, address netip.Addr) bool {
	if r.target == "" {
		return r.network.Contains(address)
	}
	for _, t := range p.targets() {
		if t == r.target {
			return r.counts(p)
		}
	}
	return false
}

// counts says whether a credential is old enough to be revoked. Of one whose age is not
// known it is taken for granted.
func (r *revocation) counts(p *Principal) bool {
	return r.before.IsZero() || p.Issued.IsZero() || p.Issued.Before(r.before)
}

func (rs *revocations) hit(p *Principal, address netip.Addr) bool {
	for _, r := range rs.networks {
		if r.network.Contains(address) {
			return true
		}
	}
	if len(rs.byTarget) == 0 || p.Method == Anonymous {
		return false
	}
	for _, t := range p.targets() {
		for _, r := range rs.byTarget[t] {
			if r.counts(p) {
				return true
			}
		}
	}
	return false
}

func (rs *revocations) add(r *revocation) {
	if rs.byID == nil {
		rs.byID, rs.byTarget = map[string]*revocation{}, map[string][]*revocation{}
	}
	rs.byID[r.id] = r
	if r.target == "" {
		rs.networks = append(rs.networks, r)
		return
	}
	rs.byTarget[r.target] = append(rs.byTarget[r.target], r)
}

func (rs *revocations) remove(id string) {
	r := rs.byID[id]
	if r == nil {
		return
	}
	delete(rs.byID, id)
	without := func(list []*revocation) []*revocation {
		var rest []*revocation
		for _, o := range list {
			if o != r {
				rest = append(rest, o)
			}
		}
		return rest
	}
	if r.target == "" {
		rs.networks = without(rs.networks)
		return
	}
	if rest := without(rs.byTarget[r.target]); len(rest) > 0 {
		rs.byTarget[r.target] = rest
	} else {
		delete(rs.byTarget, r.target)
	}
}

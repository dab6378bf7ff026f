package access

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/watchroute/watchroute/internal/resource"
)

// claimPaths are where an issuer's tokens say what a principal has.
type claimPaths struct{ tenant, roles, scopes []string }

func newClaimPaths(cfg Issuer) claimPaths {
	return claimPaths{
		tenant: claimPath(cmp.Or(cfg.TenantClaim, "tenant")),
		roles:  claimPath(cmp.Or(cfg.RolesClaim, "roles")),
		scopes: claimPath(cmp.Or(cfg.ScopesClaim, "scope")),
	}
}

// claimPath takes a setting apart. Names that are URIs have dots of their own.
func claimPath(setting string) []string {
	if strings.ContainsAny(setting, "/:") {
		return []string{setting}
	}
	return strings.Split(setting, ".")
}

// principal gives whom verified claims describe.
func (i *issuer) principal(claims jwt.MapClaims) (*Principal, error) {
	p := &Principal{Method: JWT, Issuer: i.cfg.Issuer, Tenant: i.cfg.Tenant, Claims: claims}
	var ok bool
	if p.Subject, ok = claims["sub"].(string); !ok || p.Subject == "" || len(p.Subject) > MaxSubject {
		return nil, invalid("the token must have a sub, a text of 1 to %d bytes", MaxSubject)
	}
	if p.Tenant == "" {
		if p.Tenant, ok = text(claims, i.paths.tenant); !ok || resource.CheckTenant("", p.Tenant) != nil {
			return nil, invalid("the token's tenant: " + tenantForm)
		}
	}
	if p.Roles, ok = texts(claims, i.paths.roles); !ok {
		return nil, invalid("the token's roles must be a list of texts, or a text")
	}
	if p.Scopes, ok = texts(claims, i.paths.scopes); !ok {
		return nil, invalid("the token's scopes must be a list of texts, or a text")
	}
	if p.ID, ok = text(claims, []string{"jti"}); !ok {
		return nil, invalid("the token's jti must be a text")
	}
	if p.Expires, ok = date(claims["exp"]); !ok {
		return nil, invalid("the token's exp must be a time before the year 10000, in seconds")
	}
	if p.Issued, ok = date(claims["iat"]); !ok {
		return nil, invalid("the token's iat must be a time before the year 10000, in seconds")
	}
	p.Operator = i.cfg.OperatorRole != "" && slices.Contains(p.Roles, i.cfg.OperatorRole)
	return p, nil
}

// claim finds what is at a path; nil: nothing.
func claim(claims map[string]any, path []string) any {
	for _, name := range path[:len(path)-1] {
		// Of another type it is nil, which has no members.
		claims, _ = claims[name].(map[string]any)
	}
	return claims[path[len(path)-1]]
}

// text gives a claim that is a text, or is not there. Otherwise ok is false.
func text(claims map[string]any, path []string) (s string, ok bool) {
	v := claim(claims, path)
	s, ok = v.(string)
	return s, ok || v == nil
}

// texts gives a claim that is a list of texts, a text with spaces between, or is not there.
// Otherwise ok is false.
func texts(claims map[string]any, path []string) (list []string, ok bool) {
	switch v := claim(claims, path).(type) {
	case nil:
		return nil, true
	case string:
		return strings.Fields(v), true
	case []any:
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	}
	return nil, false
}

// date gives a time in seconds since 1970, zero if it is not there. Later than the year
// 9999, which no timestamp of the contract can say, ok is false.
func date(v any) (at time.Time, ok bool) {
	if v == nil {
		return time.Time{}, true
	}
	f, ok := v.(float64)
	if !ok || f < 0 || f >= 253402300800 {
		return time.Time{}, false
	}
	seconds, fraction := math.Modf(f)
	return time.Unix(int64(seconds), int64(fraction*1e9)), true
}

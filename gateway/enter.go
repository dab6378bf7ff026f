package gateway

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server"
)

// DefaultCookie is the cookie that may hold a credential.
const DefaultCookie = "watchroute"

// tokenParameter is the parameter that may hold a credential, for EventSource and
// WebSocket in browsers: neither can set a header (RFC 6750, section 2.3). It is taken out
// of the URL before anybody can log it.
const tokenParameter = "access_token"

// enter gives the request with a context that says who calls.
func (g *Gateway) enter(r *http.Request) (*http.Request, error) {
	if g.cfg.Access == nil {
		takeParameters(r)
		return r, nil
	}
	in, err := g.present(r)
	if err != nil {
		return nil, err
	}
	if g.web.takes(r) { // its own headers may say more
		return r.WithContext(access.WithPresented(r.Context(), in)), nil
	}
	caller, err := g.cfg.Access.Enter(r.Context(), in)
	if err != nil {
		return nil, err
	}
	return r.WithContext(access.With(r.Context(), caller)), nil
}

// present gives what a request comes with: of a header, a parameter and a cookie that
// hold a credential the first counts.
func (g *Gateway) present(r *http.Request) (in access.Presented, err error) {
	in.Address = g.cfg.TrustedProxies.client(r)
	token, tenant := takeParameters(r)
	in.Tenant = cmp.Or(r.Header.Get(server.TenantHeader), tenant)
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		in.Certificate = r.TLS.VerifiedChains[0][0]
	}
	if in.Secret, err = access.FromHeader(strings.Join(r.Header.Values("Authorization"), ",")); err != nil || in.Secret != "" {
		return in, err
	}
	if in.Secret = token; in.Secret != "" {
		return in, nil
	}
	if c, err := r.Cookie(g.cfg.Cookie); err == nil && c.Value != "" {
		if !g.origins.permitCookie(r) {
			return in, wire.Refuse(http.StatusForbidden, "a cookie counts only for pages of this server, or of an origin that is allowed by name")
		}
		in.Secret = c.Value
	}
	return in, nil
}

// takeParameters takes out of a request's URL what says who calls: the credential and the
// tenant, which is named there as in the header.
func takeParameters(r *http.Request) (token, tenant string) {
	if !strings.Contains(r.URL.RawQuery, tokenParameter) && !strings.Contains(r.URL.RawQuery, server.TenantHeader) {
		return "", ""
	}
	var rest []string
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		to := map[string]*string{tokenParameter: &token, server.TenantHeader: &tenant}[unescaped(name)]
		if to == nil {
			rest = append(rest, part)
			continue
		}
		*to = cmp.Or(unescaped(value), *to)
	}
	r.URL.RawQuery = strings.Join(rest, "&")
	r.RequestURI = r.URL.RequestURI()
	return token, tenant
}

// unescaped is empty for what is not escaped as it should be.
func unescaped(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return ""
	}
	return plain
}

// permitCookie says whether a cookie may stand for its owner: the page that sent the
// request is of this server, or of an origin that is allowed by name. A browser sends it
// along with whatever page's requests, otherwise.
func (o *origins) permitCookie(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin != "" && !o.all && o.allow(origin) {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "": // not a browser, or an old one
		return origin == "" || sameHost(origin, r)
	}
	return false
}

// operator says whether who calls is one: what the node tells of itself is not
// everybody's.
func operator(ctx context.Context) error {
	switch caller := access.From(ctx); {
	case caller == nil || caller.Principal().Operator:
		return nil
	case caller.Principal().Method == access.Anonymous:
		return access.Missing()
	}
	return resource.Errorf(resource.PermissionDenied, "this is for operators")
}

// Proxies are the addresses of proxies whose X-Forwarded-For is believed.
type Proxies []netip.Prefix

// client gives the address that a request comes from: that of the connection or, where
// that is a proxy of ours, the last one in X-Forwarded-For that is not.
func (p Proxies) client(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := access.Plain(from.Addr())
	if !p.has(at) {
		return at
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		if at = access.Plain(hop); !p.has(at) {
			break
		}
	}
	return at
}

func (p Proxies) has(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

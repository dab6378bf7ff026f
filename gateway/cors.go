package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rs/cors"

	"github.com/watchroute/watchroute/server"
)

// origins are those of other sites that may call.
type origins struct {
	all      bool
	patterns []string // lower case, with at most one `*`
}

func parseOrigins(texts []string) (o origins, err error) {
	for _, text := range texts {
		if text == "*" {
			o.all = true
			continue
		}
		u, err := url.Parse(strings.Replace(text, "*", "x", 1))
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Host, "*") {
			return o, fmt.Errorf("gateway: the allowed origin %q is not like https://shop.example.com", text)
		}
		o.patterns = append(o.patterns, strings.ToLower(text))
	}
	return o, nil
}

// allow says whether another site's pages may call.
func (o *origins) allow(origin string) bool {
	if o.all {
		return true
	}
	origin = strings.ToLower(origin)
	return slices.ContainsFunc(o.patterns, func(pattern string) bool {
		before, after, wild := strings.Cut(pattern, "*")
		if !wild {
			return pattern == origin
		}
		return len(origin) > len(before)+len(after) && strings.HasPrefix(origin, before) && strings.HasSuffix(origin, after)
	})
}

// permit says whether a request that changes something, or that the browser does
// not guard, may be served: it comes from no page, from one of this server, or from
// one of an allowed origin. Neither header can be set by a page.
func (o *origins) permit(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || r.Header.Get("Sec-Fetch-Site") == "same-origin" || o.allow(origin) {
		return true
	}
	return sameHost(origin, r)
}

// sameHost says whether an origin is that of the host that a request names.
func sameHost(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, r.Host) || strings.EqualFold(u.Host, r.Header.Get("X-Forwarded-Host"))
}

// local says whether a request names this machine, or a site that is allowed, as its
// host. A page whose own name was made to point here (DNS rebinding) names that.
func (o *origins) local(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	return strings.EqualFold(name, "localhost") || net.ParseIP(name).IsLoopback() || o.allow("https://"+host) || o.allow("http://"+host)
}

// cors lets browsers show answers to pages of the allowed origins.
func (g *Gateway) cors(next http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowOriginFunc: g.origins.allow,
		AllowedMethods:  []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch},
		AllowedHeaders: []string{"Authorization", "Cache-Control", "Content-Type", "If-Match", "If-None-Match", "Last-Event-ID",
			"Grpc-Timeout", "X-Grpc-Web", "X-User-Agent", server.TenantHeader, server.JSONTextHeader},
		ExposedHeaders: []string{"ETag", "Retry-After", revisionHeader, "Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"},
		// A cookie of ours counts only where the origin is allowed by name.
		AllowCredentials: !g.origins.all,
		MaxAge:           600,
	}).Handler(next)
}

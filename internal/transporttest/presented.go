package transporttest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/watchroute/watchroute/server"
)

// Presented is what calls come with to say who makes them. Its zero value says nothing.
type Presented struct {
	// Credential is that of the Authorization header, or of gRPC's metadata.
	Credential string
	// Parameter is that of the URL, Cookie that of the cookie; HTTP only.
	Parameter, Cookie string
	// First is that of the first message, of a session or on a WebSocket.
	First string
	// Tenant is the one that the calls name: in the URL where the credential is there, too.
	Tenant string
	// Origin is that of the page that calls. Default: none but for WebSocket, which says
	// the node's own.
	Origin string
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (p Presented) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	md := map[string]string{}
	if p.Credential != "" {
		md["authorization"] = "Bearer " + p.Credential
	}
	if p.Tenant != "" {
		md[server.TenantHeader] = p.Tenant
	}
	return md, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (p Presented) RequireTransportSecurity() bool { return false }

// on puts it on a request.
func (p Presented) on(r *http.Request) {
	if p.Credential != "" {
		r.Header.Set("Authorization", "Bearer "+p.Credential)
	}
	if p.Parameter != "" {
		if r.URL.RawQuery != "" {
			r.URL.RawQuery += "&"
		}
		r.URL.RawQuery += "access_token=" + url.QueryEscape(p.Parameter)
		if p.Tenant != "" {
			r.URL.RawQuery += "&" + server.TenantHeader + "=" + url.QueryEscape(p.Tenant)
		}
	}
	if p.Cookie != "" {
		r.AddCookie(&http.Cookie{Name: "watchroute", Value: p.Cookie})
	}
	if p.Tenant != "" && p.Parameter == "" {
		r.Header.Set(server.TenantHeader, p.Tenant)
	}
	if p.Origin != "" {
		r.Header.Set("Origin", p.Origin)
	}
}

// presenting sends requests as a dialer says. It checks what holds for each answer.
type presenting struct {
	dialer Dialer
	next   *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (p presenting) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	p.dialer.on(r)
	answer, err := p.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if p.dialer.HTTP2 {
		p.dialer.Tap.answer(answer)
	}
	if challenge := answer.Header.Get("WWW-Authenticate"); (answer.StatusCode == http.StatusUnauthorized) != (challenge == "Bearer") {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("HTTP %d with the challenge %q", answer.StatusCode, challenge)
	}
	return answer, nil
}

// CloseIdleConnections is what http.Client looks for.
func (p presenting) CloseIdleConnections() { p.next.CloseIdleConnections() }

// Renewable is a stream to whose server another credential can be presented.
type Renewable interface {
	Authenticate(credential string) error
}

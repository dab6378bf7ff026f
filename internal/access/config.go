package access

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/watchroute/watchroute/internal/resource"
)

// DefaultLeeway is how wrong the clock of an issuer may be, MaxLeeway the most that can
// be set.
const (
	DefaultLeeway = 30 * time.Second
	MaxLeeway     = 5 * time.Minute
)

// Config is how an Authenticator tells who calls. Its zero value knows nobody.
type Config struct {
	// Issuers are those whose JWTs count.
	Issuers []Issuer `yaml:"issuers"`
	// Certificates say whose a client certificate is. The first that fits counts.
	Certificates []CertificateRule `yaml:"certificates"`

	// Keys are the API keys; nil: there are none.
	Keys Keys `yaml:"-"`
	// Used is called when an API key was accepted, at most once an hour for each key. It
	// must not block. nil: nobody wants to know.
	Used func(keyID string) `yaml:"-"`
	// Logger is told what is wrong with keys and issuers; nil: nobody is.
	Logger *slog.Logger `yaml:"-"`
	// Transport fetches keys; nil: one as http.DefaultTransport, of its own.
	Transport http.RoundTripper `yaml:"-"`
}

// Issuer is somebody who issues JWTs. Exactly one of JWKSURL, JWKSFile, Discovery,
// PublicKeyFile and SecretFile says with which keys.
type Issuer struct {
	// Issuer is the exact `iss` of its tokens.
	Issuer string `yaml:"issuer"`
	// Audiences are what we are called in `aud`; a token must name one of them.
	Audiences []string `yaml:"audiences"`

	// JWKSURL is where its key set is: https, or http on loopback.
	JWKSURL string `yaml:"jwks-url"`
	// JWKSFile has its key set, and is read again as a URL is.
	JWKSFile string `yaml:"jwks-file"`
	// Discovery looks the URL up in ISSUER/.well-known/openid-configuration, once.
	Discovery bool `yaml:"discovery"`
	// PublicKeyFile has one or more PEM blocks PUBLIC KEY. It is read once.
	PublicKeyFile string `yaml:"public-key-file"`
	// SecretFile has the secret of HS256, HS384 and HS512, at least 32 bytes; line breaks
	// at its end are not part of it. It is read once.
	SecretFile string `yaml:"secret-file"`

	// Leeway is how wrong its clock may be; nil: DefaultLeeway.
	Leeway *time.Duration `yaml:"leeway"`

	// Tenant is that of all its principals. Empty: TenantClaim says it, so that this
	// issuer may name any.
	Tenant string `yaml:"tenant"`
	// TenantClaim, RolesClaim and ScopesClaim lead to the claims that say these things.
	// A dot leads into an object, as in realm_access.roles; a name with `/` or `:` in it,
	// such as https://shop.example/roles, is one name. Roles and scopes are lists, or texts
	// with spaces between. Empty: tenant, roles and scope.
	TenantClaim string `yaml:"tenant-claim"`
	RolesClaim  string `yaml:"roles-claim"`
	ScopesClaim string `yaml:"scopes-claim"`
	// OperatorRole is the role that makes an operator; empty: none does.
	OperatorRole string `yaml:"operator-role"`
}

// CertificateRule says whose some certificates are. Exactly one of URIPrefix, CommonName
// and DNSName says which; what it found is the subject.
type CertificateRule struct {
	// URIPrefix is how the SPIFFE ID begins, in whole segments: spiffe://shop.example/ns/a
	// fits itself and what is below it, but not spiffe://shop.example/ns/ab.
	URIPrefix string `yaml:"uri-prefix"`
	// CommonName is the common name of the certificate's subject.
	CommonName string `yaml:"common-name"`
	// DNSName is one of its DNS names; a `*` in it means nothing but itself.
	DNSName string `yaml:"dns-name"`

	Tenant   string   `yaml:"tenant"`
	Roles    []string `yaml:"roles"`
	Operator bool     `yaml:"operator"`
}

// Validate says everything that cannot be used, one line for each setting. It reads no
// files.
func (c *Config) Validate() error {
	var errs []error
	for i, issuer := range c.Issuers {
		bad := func(name, format string, args ...any) {
			errs = append(errs, fmt.Errorf("issuers[%d].%s: %s", i, name, fmt.Sprintf(format, args...)))
		}
		issuer.validate(bad)
		earlier := slices.IndexFunc(c.Issuers[:i], func(o Issuer) bool { return o.Issuer == issuer.Issuer })
		if earlier >= 0 && issuer.Issuer != "" {
			bad("issuer", "is that of issuers[%d] already", earlier)
		}
	}
	for i, rule := range c.Certificates {
		rule.validate(func(name, format string, args ...any) {
			errs = append(errs, fmt.Errorf("certificates[%d]%s: %s", i, name, fmt.Sprintf(format, args...)))
		})
	}
	return errors.Join(errs...)
}

func (c *Issuer) validate(bad func(name, format string, args ...any)) {
	if c.Issuer == "" {
		bad("issuer", "is missing: the exact `iss` of the tokens")
	}
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		bad("audiences", "is missing, or has an empty one: without it the tokens of other services would count here")
	}
	sources := 0
	for _, set := range []bool{c.JWKSURL != "", c.JWKSFile != "", c.Discovery, c.PublicKeyFile != "", c.SecretFile != ""} {
		if set {
			sources++
		}
	}
	if sources != 1 {
		bad("jwks-url", "expected exactly one of jwks-url, jwks-file, discovery, public-key-file and secret-file, not %d", sources)
	}
	if c.JWKSURL != "" {
		if err := checkURL(c.JWKSURL); err != nil {
			bad("jwks-url", "%v", err)
		}
	}
	if c.Discovery && c.Issuer != "" {
		if err := checkURL(c.Issuer); err != nil {
			bad("discovery", "the issuer cannot be asked: %v", err)
		}
	}
	if d := c.leeway(); d < 0 || d > MaxLeeway {
		bad("leeway", "%v is not between 0 and %v", d, MaxLeeway)
	}
	if resource.CheckTenant("", c.Tenant) != nil {
		bad("tenant", "%s", tenantForm)
	}
	if c.Tenant != "" && c.TenantClaim != "" {
		bad("tenant-claim", "would not be read, as tenant is set")
	}
	for _, claim := range [][2]string{{"tenant-claim", c.TenantClaim}, {"roles-claim", c.RolesClaim}, {"scopes-claim", c.ScopesClaim}} {
		if name, path := claim[0], claim[1]; path != "" && slices.Contains(claimPath(path), "") {
			bad(name, "%q leads nowhere; expected a name, or names with dots between", path)
		}
	}
}

func (c *Issuer) leeway() time.Duration {
	if c.Leeway == nil {
		return DefaultLeeway
	}
	return *c.Leeway
}

func (r *CertificateRule) validate(bad func(name, format string, args ...any)) {
	given := 0
	for _, s := range []string{r.URIPrefix, r.CommonName, r.DNSName} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		bad("", "expected exactly one of uri-prefix, common-name and dns-name, not %d", given)
	}
	if r.URIPrefix != "" && !isSPIFFE(strings.TrimSuffix(r.URIPrefix, "/")) {
		bad(".uri-prefix", "%q is not the beginning of a SPIFFE ID, such as spiffe://shop.example/ns/orders", r.URIPrefix)
	}
	if resource.CheckTenant("", r.Tenant) != nil {
		bad(".tenant", "%s", tenantForm)
	}
}

const tenantForm = "expected nothing, or 1 to 63 lower-case letters, digits and '-', the first one a letter"

// checkURL says whether keys may come from a URL: whoever can change them on their way
// can be anybody.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return errors.New("expected a URL, such as https://issuer.example/keys")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("expected https, or http on loopback: who changes keys on their way can be anybody")
}

// loopback says whether only this machine reaches a host.
func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// checkRedirect applies checkURL wherever a URL leads.
func checkRedirect(r *http.Request, before []*http.Request) error {
	if len(before) >= 5 {
		return errors.New("too many redirects")
	}
	return checkURL(r.URL.String())
}

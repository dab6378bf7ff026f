package access

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func TestConfig_IsReadFromYAML(t *testing.T) {
	var c Config
	err := yaml.UnmarshalWithOptions([]byte(`
issuers:
  - issuer: https://issuer.example
    audiences: [watchroute]
    jwks-url: https://issuer.example/keys
    leeway: 0s
    tenant-claim: org
    roles-claim: realm_access.roles
    scopes-claim: scp
    operator-role: root
  - {issuer: b, audiences: [w], jwks-file: keys.json, tenant: shop}
  - {issuer: "https://c.example", audiences: [w], discovery: true}
  - {issuer: d, audiences: [w], public-key-file: d.pem}
  - {issuer: e, audiences: [w], secret-file: e.secret}
certificates:
  - uri-prefix: spiffe://shop.example/ns
    tenant: shop
    roles: [a, b]
    operator: true
  - {common-name: a}
  - {dns-name: a.example}
`), &c, yaml.Strict())
	if err != nil {
		t.Fatal(err)
	}
	w, zero := []string{"w"}, time.Duration(0)
	want := Config{
		Issuers: []Issuer{
			{Issuer: "https://issuer.example", Audiences: []string{"watchroute"}, JWKSURL: "https://issuer.example/keys", Leeway: &zero,
				TenantClaim: "org", RolesClaim: "realm_access.roles", ScopesClaim: "scp", OperatorRole: "root"},
			{Issuer: "b", Audiences: w, JWKSFile: "keys.json", Tenant: "shop"},
			{Issuer: "https://c.example", Audiences: w, Discovery: true},
			{Issuer: "d", Audiences: w, PublicKeyFile: "d.pem"},
			{Issuer: "e", Audiences: w, SecretFile: "e.secret"},
		},
		Certificates: []CertificateRule{{URIPrefix: "spiffe://shop.example/ns", Tenant: "shop", Roles: []string{"a", "b"}, Operator: true}, {CommonName: "a"}, {DNSName: "a.example"}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestConfig_SaysEverythingThatIsWrong(t *testing.T) {
	hour := time.Hour
	c := Config{
		Issuers: []Issuer{
			{},
			{Issuer: "a", Audiences: []string{"", "x"}, JWKSURL: "http://keys.example", SecretFile: "x", Leeway: &hour, Tenant: "A", TenantClaim: "a..b", RolesClaim: ".", ScopesClaim: "a."},
			{Issuer: "a", Audiences: []string{"x"}, Discovery: true},
		},
		Certificates: []CertificateRule{{}, {CommonName: "a", DNSName: "b", Tenant: "1"}, {URIPrefix: "https://a"}, {URIPrefix: "spiffe://"}, {URIPrefix: "spiffe://a//"}},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"issuers[0].issuer: is missing", "issuers[0].audiences: is missing", "issuers[0].jwks-url: expected exactly one of", "not 0",
		"issuers[1].audiences: ", "not 2", "issuers[1].jwks-url: expected https", "issuers[1].leeway: 1h0m0s is not between", "issuers[1].tenant: ",
		"issuers[1].tenant-claim: would not", `issuers[1].tenant-claim: "a..b" leads nowhere`, "issuers[1].roles-claim: ", "issuers[1].scopes-claim: ",
		"issuers[2].issuer: is that of issuers[1] already", "issuers[2].discovery: ",
		"certificates[0]: expected exactly one of", "certificates[1]: expected exactly one of", "certificates[1].tenant: ",
		"certificates[2].uri-prefix: ", "certificates[3].uri-prefix: ", "certificates[4].uri-prefix: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %q in\n%v", want, err)
		}
	}
	if _, err := NewAuthenticator(c); err == nil {
		t.Error("made an Authenticator of it")
	}
}

func TestConfig_URLsOfKeys(t *testing.T) {
	for url, good := range map[string]bool{
		"https://a.example/keys": true, "http://127.0.0.1:80/keys": true, "http://localhost/keys": true, "http://[::1]:8080/keys": true,
		"http://a.example/keys": false, "http://localhost.evil.example/keys": false, "ftp://a.example": false, "file:///keys": false, "/keys": false,
		"https:///keys": false, "https://user:pass@a.example/keys": false, "https://a.example/#x": false, "http://127.0.0.1@evil.example/": false, "": false,
	} {
		if err := checkURL(url); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestNewAuthenticator_SaysWhichFilesCannotBeUsed(t *testing.T) {
	short := must(rsa.GenerateKey(rand.Reader, 1024))
	secret := []byte("a-secret-of-less-than-32-bytes\n")
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(ecKey()))})
	var c Config
	for i, set := range []func(*Issuer){
		func(i *Issuer) { i.SecretFile = file(t, secret) },
		func(i *Issuer) { i.SecretFile = "/does/not/exist" },
		func(i *Issuer) { i.PublicKeyFile = file(t, private) },
		func(i *Issuer) { i.PublicKeyFile = file(t, nil) },
		func(i *Issuer) { *i = fromFile(t, short.Public()) },
		func(i *Issuer) { i.JWKSFile = "/does/not/exist" },
	} {
		issuer := Issuer{Audiences: []string{"w"}}
		set(&issuer)
		issuer.Issuer = string(rune('a' + i))
		c.Issuers = append(c.Issuers, issuer)
	}
	_, err := NewAuthenticator(c)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"issuers[0].secret-file: the secret has 30 bytes", "issuers[1].secret-file: open", "issuers[2].public-key-file: expected PEM blocks PUBLIC KEY, but there is a PRIVATE KEY",
		"issuers[3].public-key-file: expected at least one", "issuers[4].public-key-file: an RSA key of 1024 bits", "issuers[5].jwks-file: open"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "less-than") {
		t.Errorf("the secret was told: %v", err)
	}
}

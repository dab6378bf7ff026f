package access

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watchroute/watchroute/internal/resource"
)

func certificate(change func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{SerialNumber: big.NewInt(0xabc), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Issuer: pkix.Name{CommonName: "ca"}}
	change(c)
	return c
}

func withURI(uris ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, u := range uris {
			c.URIs = append(c.URIs, must(url.Parse(u)))
		}
	}
}

func TestAuthenticate_ACertificateBelongsToTheFirstRuleThatFits(t *testing.T) {
	f := newFixture(t, Config{Certificates: []CertificateRule{
		{URIPrefix: "spiffe://shop.example/ns/admin", Operator: true},
		{URIPrefix: "spiffe://shop.example/ns/", Tenant: "shop", Roles: []string{"service"}},
		{CommonName: "root.example", Tenant: "cn"},
		{DNSName: "a.example", Tenant: "dns"},
		{DNSName: "*.example", Tenant: "wild"},
	}})
	cn := func(name string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.Subject.CommonName = name }
	}
	dns := func(names ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames = names }
	}
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		want   *Principal
	}{
		"below":            {withURI("spiffe://shop.example/ns/orders/sa/x"), &Principal{Tenant: "shop", Roles: []string{"service"}, Subject: "spiffe://shop.example/ns/orders/sa/x"}},
		"itself":           {withURI("spiffe://shop.example/ns/admin"), &Principal{Operator: true, Subject: "spiffe://shop.example/ns/admin"}},
		"below admin":      {withURI("spiffe://shop.example/ns/admin/a"), &Principal{Operator: true, Subject: "spiffe://shop.example/ns/admin/a"}},
		"only begins so":   {withURI("spiffe://shop.example/ns/administrators"), &Principal{Tenant: "shop", Roles: []string{"service"}, Subject: "spiffe://shop.example/ns/administrators"}},
		"the folder":       {withURI("spiffe://shop.example/ns"), nil},
		"ends in a slash":  {withURI("spiffe://shop.example/ns/"), nil},
		"another domain":   {withURI("spiffe://shop.example.evil/ns/admin"), nil},
		"two URIs":         {withURI("spiffe://evil.example/x", "spiffe://shop.example/ns/admin"), nil},
		"upwards":          {withURI("spiffe://shop.example/ns/admin/../orders"), nil},
		"encoded":          {withURI("spiffe://shop.example/ns/admin%2fa"), nil},
		"query":            {withURI("spiffe://shop.example/ns/admin?a"), nil},
		"fragment":         {withURI("spiffe://shop.example/ns/admin/#a"), nil},
		"user":             {withURI("spiffe://a@shop.example/ns/admin"), nil},
		"port":             {withURI("spiffe://shop.example:1/ns/admin"), nil},
		"https":            {withURI("https://shop.example/ns/admin"), nil},
		"too long":         {withURI("spiffe://shop.example/ns/" + strings.Repeat("a", MaxSubject)), nil},
		"common name":      {cn("root.example"), &Principal{Tenant: "cn", Subject: "root.example"}},
		"another":          {cn("xroot.example"), nil},
		"DNS name":         {dns("b", "a.example"), &Principal{Tenant: "dns", Subject: "a.example"}},
		"the star itself":  {dns("*.example"), &Principal{Tenant: "wild", Subject: "*.example"}},
		"what it may mean": {dns("c.example"), nil},
		"CN is no DNS":     {cn("a.example"), nil},
		"nothing":          {func(*x509.Certificate) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cert := certificate(c.change)
			p, err := f.Authenticate(t.Context(), Credential{Certificate: cert})
			if c.want == nil {
				if !resource.HasReason(err, resource.CredentialInvalid) || p != nil {
					t.Errorf("got %+v, %v", p, err)
				}
				return
			}
			c.want.Method, c.want.ID, c.want.Issuer, c.want.Issued, c.want.Expires = Certificate, "abc", "CN=ca", cert.NotBefore, cert.NotAfter
			if !reflect.DeepEqual(p, c.want) {
				t.Errorf("got %+v, %v\nwant %+v", p, err, c.want)
			}
		})
	}
}

func TestAuthenticate_ACertificateExpiresWhileItsConnectionLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Config{Certificates: []CertificateRule{{CommonName: "a"}}})
		c := Credential{Certificate: certificate(func(c *x509.Certificate) {
			c.Subject.CommonName, c.NotBefore = "a", time.Now().Add(time.Minute)
		})}
		if _, err := f.Authenticate(t.Context(), c); !resource.HasReason(err, resource.CredentialInvalid) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if _, err := f.Authenticate(t.Context(), c); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if _, err := f.Authenticate(t.Context(), c); !resource.HasReason(err, resource.CredentialExpired) {
			t.Error(err)
		}
	})
}

func TestAuthenticate_TheSecretWinsOverTheCertificate(t *testing.T) {
	f := newFixture(t, Config{Issuers: []Issuer{fromFile(t, ecKey().Public())}, Certificates: []CertificateRule{{CommonName: "a", Operator: true}}})
	c := Credential{Secret: good(nil), Certificate: certificate(func(c *x509.Certificate) { c.Subject.CommonName = "a" })}
	if p, err := f.Authenticate(t.Context(), c); err != nil || p.Method != JWT || p.Operator {
		t.Errorf("got %+v, %v", p, err)
	}
	for m, want := range map[Method]string{Anonymous: "anonymous", JWT: "jwt", APIKey: "api-key", Certificate: "certificate"} {
		if m.String() != want {
			t.Errorf("%d is %s", m, m)
		}
	}
	// A bad one is not made good by it.
	c.Secret = "garbage"
	if p, err := f.Authenticate(t.Context(), c); !resource.HasReason(err, resource.CredentialInvalid) {
		t.Errorf("got %+v, %v", p, err)
	}
}

package access

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// certificate gives the principal of a client certificate, by the first rule that fits.
func (a *Authenticator) certificate(c *x509.Certificate) (*Principal, error) {
	// It was verified when the connection began, which may be long ago.
	switch now := time.Now(); {
	case now.Before(c.NotBefore):
		return nil, invalid("the client certificate is not valid yet")
	case !now.Before(c.NotAfter):
		return nil, expired("the client certificate has expired")
	}
	for i := range a.rules {
		rule := &a.rules[i]
		subject, ok := rule.fits(c)
		if !ok {
			continue
		}
		if len(subject) > MaxSubject {
			return nil, invalid("the name in the client certificate has more than %d bytes", MaxSubject)
		}
		return &Principal{Method: Certificate, Tenant: rule.Tenant, Subject: subject, Roles: rule.Roles, Operator: rule.Operator,
			ID: c.SerialNumber.Text(16), Issuer: c.Issuer.String(), Issued: c.NotBefore, Expires: c.NotAfter}, nil
	}
	return nil, invalid("the client certificate is none of those that are accepted here")
}

// fits says whether a rule is about a certificate, and whose that is.
func (r *CertificateRule) fits(c *x509.Certificate) (subject string, ok bool) {
	switch {
	case r.URIPrefix != "":
		// An SVID has exactly one URI; which of several were meant, nobody knows.
		if len(c.URIs) != 1 {
			return "", false
		}
		id := c.URIs[0].String()
		rest, ok := strings.CutPrefix(id, strings.TrimSuffix(r.URIPrefix, "/"))
		if !ok || !isSPIFFE(id) || rest != "" && rest[0] != '/' {
			return "", false
		}
		// A prefix that ends with a slash is what is below, not the folder itself.
		return id, rest != "" || !strings.HasSuffix(r.URIPrefix, "/")
	case r.CommonName != "":
		return c.Subject.CommonName, c.Subject.CommonName == r.CommonName
	case r.DNSName != "":
		return r.DNSName, slices.Contains(c.DNSNames, r.DNSName)
	}
	return "", false
}

// isSPIFFE says whether a text is a SPIFFE ID: a trust domain and a path of whole segments
// that means nothing but itself.
func isSPIFFE(text string) bool {
	rest, ok := strings.CutPrefix(text, "spiffe://")
	if !ok {
		return false
	}
	for i, segment := range strings.Split(rest, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
		for j := range len(segment) {
			switch c := segment[j]; {
			case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			case c >= 'A' && c <= 'Z' && i > 0:
			default:
				return false
			}
		}
	}
	return true
}

package config

import (
	"net"
	"net/url"
	"strings"
)

// TLS says whether the listeners speak TLS.
func (c *Config) TLS() bool { return c.TLSCert != "" || len(c.ACMEDomains) > 0 }

// validateTLS says what of the settings of TLS cannot be used. Files are not read.
func (c *Config) validateTLS(bad func(name, format string, args ...any)) {
	switch {
	case c.TLSCert != "" && c.TLSKey == "":
		bad("tls-key", "must be set where tls-cert is")
	case c.TLSCert == "" && c.TLSKey != "":
		bad("tls-cert", "must be set where tls-key is")
	}
	if c.TLSCert != "" && len(c.ACMEDomains) > 0 {
		bad("acme-domains", "tls-cert says where the certificate is; set one of the two")
	}
	if c.TLSClientCA != "" && !c.TLS() {
		bad("tls-client-ca", "without tls-cert, or acme-domains, there is no TLS by which clients could show a certificate")
	}
	for _, s := range []struct{ name, value string }{{"acme-email", c.ACMEEmail}, {"acme-directory", c.ACMEDirectory}, {"acme-cache", c.ACMECache}, {"acme-ca", c.ACMECA}} {
		if s.value != "" && len(c.ACMEDomains) == 0 {
			bad(s.name, "means nothing without acme-domains")
		}
	}
	for _, domain := range c.ACMEDomains {
		// What autocert does not serve.
		if !strings.Contains(strings.Trim(domain, "."), ".") || strings.ContainsAny(domain, "*:/ ") || net.ParseIP(domain) != nil {
			bad("acme-domains", "%q is not a full name, such as node.example.com; wildcards and addresses cannot be proven from here", domain)
		}
	}
	if c.ACMEDirectory != "" {
		if u, err := url.Parse(c.ACMEDirectory); err != nil || u.Scheme != "https" || u.Host == "" {
			bad("acme-directory", "%q is not a URL that begins with https://", c.ACMEDirectory)
		}
	}
}

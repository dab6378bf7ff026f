package certificate

import (
	"context"
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// tellEvery is the least time between two log lines about one domain.
const tellEvery = time.Minute

// manager makes what speaks to the directory.
func (s *Source) manager() (*autocert.Manager, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if s.cfg.ACME.CA != "" {
		pool, err := Pool(s.cfg.ACME.CA)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	transport.DisableKeepAlives = true // there are a few requests in two months
	directory := s.cfg.ACME.Directory
	if directory == "" {
		directory = autocert.DefaultACMEDirectory
	}
	return &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(s.cfg.ACME.Cache), HostPolicy: autocert.HostWhitelist(s.cfg.Domains...), Email: s.cfg.ACME.Email,
		Client: &acme.Client{DirectoryURL: directory, UserAgent: "watchroute", HTTPClient: &http.Client{Transport: ending{s, transport}, Timeout: time.Minute}},
	}, nil
}

// ending lets no request outlive the source: autocert gives them no context but its own.
type ending struct {
	source *Source
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (e ending) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(e.source.ctx, cancel)
	context.AfterFunc(r.Context(), func() { stop() }) // which ends when the body is closed
	return e.next.RoundTrip(r.WithContext(ctx))
}

// certificate gives a domain's certificate.
func (s *Source) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := s.acme.GetCertificate(hello)
	if err != nil && s.ctx.Err() == nil {
		s.tell(hello.ServerName, err)
	}
	return c, err
}

// tell logs why a domain has no certificate. Names that anybody may make up are not
// worth a line.
func (s *Source) tell(domain string, err error) {
	if !slices.ContainsFunc(s.cfg.Domains, func(d string) bool { return strings.EqualFold(d, domain) }) {
		return
	}
	domain = strings.ToLower(domain)
	now := s.cfg.Now()
	s.telling.Lock()
	last, again := s.told[domain]
	if again && now.Sub(last) < tellEvery {
		s.telling.Unlock()
		return
	}
	s.told[domain] = now
	s.telling.Unlock()
	s.cfg.Logger.Error("there is no certificate from ACME", "domain", domain, "error", err)
}

// Obtain begins to get the certificates of all domains that have none, so that the first
// client need not wait. Call it once the listener serves: the directory connects to it.
func (s *Source) Obtain() {
	if s.acme == nil {
		return
	}
	for _, domain := range s.cfg.Domains {
		s.running.Go(func() {
			_, _ = s.certificate(&tls.ClientHelloInfo{ServerName: domain, // an error is logged
				CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}})
		})
	}
}

package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// Config says where certificates come from: either Cert and Key or Domains must be set.
type Config struct {
	// Cert and Key are PEM files: the chain, the node's own certificate first, and its
	// key.
	Cert, Key string
	// ClientCA is a PEM file of authorities. Clients are asked for a certificate, and
	// one that is given must be of theirs. Default: clients are not asked.
	ClientCA string
	// Domains are got from an ACME directory, whose terms are taken as agreed to.
	Domains []string
	// ACME says how. Default: of Let's Encrypt.
	ACME ACME
	// Now is the time. Default: time.Now.
	Now func() time.Time
	// Logger is told of files that changed and of what fails. Default: slog.Default().
	Logger *slog.Logger
}

// ACME is how certificates are got for domains.
type ACME struct {
	// Directory is the URL of the directory. Default: Let's Encrypt's.
	Directory string
	// CA is a PEM file of authorities by which the directory's own TLS is verified.
	// Default: the system's.
	CA string
	// Email is given to the directory, which may warn of trouble. Default: none.
	Email string
	// Cache is the folder that keeps the account's key and the certificates. Must be set.
	Cache string
}

// Source gives certificates.
type Source struct {
	cfg     Config
	acme    *autocert.Manager // nil: certificates are in files
	current atomic.Pointer[material]

	looking sync.Mutex // held while the files are looked at; who finds it held goes on with what there is
	looked  time.Time
	seen    []stamp // of the files, when they were read
	problem string  // that was logged last; empty: none since

	ctx     context.Context // of what ACME does
	cancel  context.CancelFunc
	running sync.WaitGroup

	telling sync.Mutex
	told    map[string]time.Time // when a domain's failure was logged
}

// New reads the files. The error names the one that cannot be used.
func New(cfg Config) (*Source, error) {
	if (cfg.Cert == "") == (len(cfg.Domains) == 0) || (cfg.Cert == "") != (cfg.Key == "") {
		return nil, errors.New("certificate: either Cert and Key or Domains must be set")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Source{cfg: cfg, told: map[string]time.Time{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if len(cfg.Domains) > 0 {
		var err error
		if s.acme, err = s.manager(); err != nil {
			return nil, err
		}
	}
	s.looked = cfg.Now()
	if _, err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// TLS gives the settings of a listener that speaks these protocols (ALPN). They are
// to be used as they are, or as the base of others with GetConfigForClient kept.
func (s *Source) TLS(protocols ...string) *tls.Config {
	if s.acme != nil {
		protocols = append(slices.Clone(protocols), acme.ALPNProto)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s.look()
			return s.config(protocols), nil
		},
	}
}

// config gives what holds now.
func (s *Source) config(protocols []string) *tls.Config {
	m := s.current.Load()
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, Certificates: m.pairs}
	if s.acme != nil {
		c.GetCertificate = s.certificate
	}
	if m.clients != nil {
		c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, m.clients
	}
	return c
}

// Close ends what ACME is doing and waits for Obtain. Twice is fine.
func (s *Source) Close() {
	s.cancel()
	s.running.Wait()
}

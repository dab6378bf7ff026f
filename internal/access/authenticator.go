package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/watchroute/watchroute/internal/resource"
)

// maxSecret bounds a presented secret, in bytes.
const maxSecret = 16 << 10

// Authenticator says whose a credential is. All its methods may be called at once.
type Authenticator struct {
	issuers map[string]*issuer // by iss
	tokens  *cache[verifiedToken]
	keys    *apiKeys // nil: there are none
	rules   []CertificateRule

	stop     context.CancelFunc
	fetching sync.WaitGroup
	own      *http.Transport // nil: Config.Transport is used
}

// NewAuthenticator makes an Authenticator and begins to fetch keys. The error names
// every setting that cannot be used, and every file that cannot be read.
func NewAuthenticator(cfg Config) (*Authenticator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Authenticator{
		issuers: map[string]*issuer{},
		tokens:  newCache[verifiedToken](maxCachedTokens, maxCachedTokenBytes),
		rules:   cfg.Certificates,
	}
	if cfg.Transport == nil {
		a.own = http.DefaultTransport.(*http.Transport).Clone()
		cfg.Transport = a.own
	}
	if cfg.Keys != nil {
		a.keys = newAPIKeys(cfg.Keys, cfg.Used, cfg.Logger)
	}
	client := &http.Client{Transport: cfg.Transport, CheckRedirect: checkRedirect}
	var errs []error
	var rings []*keyring
	for i, c := range cfg.Issuers {
		source, err := newKeySource(c, client)
		if err != nil {
			errs = append(errs, fmt.Errorf("issuers[%d].%w", i, err))
			continue
		}
		var keys keySet = source.fixed
		if source.fetch != nil {
			ring := newKeyring(source.fetch, cfg.Logger.With("issuer", c.Issuer))
			rings = append(rings, ring)
			keys = ring
		}
		a.issuers[c.Issuer] = newIssuer(c, keys)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	for _, r := range rings {
		a.fetching.Go(func() { r.run(ctx) })
	}
	return a, nil
}

// Authenticate gives the principal of a credential. A secret that begins with "wr_" is an
// API key, any other a JWT; without a secret the certificate counts; with neither the
// principal is anonymous. The package's comment says which errors there are.
func (a *Authenticator) Authenticate(ctx context.Context, c Credential) (*Principal, error) {
	var p *Principal
	var err error
	switch {
	case len(c.Secret) > maxSecret:
		err = invalid("the credential is larger than %d bytes", maxSecret)
	case strings.HasPrefix(c.Secret, keyPrefix):
		p, err = a.apiKey(ctx, c.Secret)
	case c.Secret != "":
		p, err = a.token(ctx, c.Secret)
	case c.Certificate != nil:
		p, err = a.certificate(c.Certificate)
	default:
		p = &Principal{}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Close stops fetching keys. What was fetched stays in force, so a call that is still
// under way ends well. Closing twice is fine.
func (a *Authenticator) Close() {
	a.stop()
	a.fetching.Wait()
	if a.own != nil {
		a.own.CloseIdleConnections()
	}
}

// invalid makes the error of a credential that is none of ours. Nothing that the caller
// sent may go into it.
func invalid(format string, args ...any) *resource.Error {
	return resource.Errorf(resource.CredentialInvalid, format, args...)
}

func expired(format string, args ...any) *resource.Error {
	return resource.Errorf(resource.CredentialExpired, format, args...)
}

// interrupted makes the error of a context that has ended.
func interrupted(ctx context.Context) *resource.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return resource.Errorf(resource.DeadlineExceeded, "the deadline has passed")
	}
	return resource.Errorf(resource.Cancelled, "the call was cancelled")
}

package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/watchroute/watchroute/internal/resource"
)

// How many verified tokens are remembered, and how many bytes of them: what is kept of one
// is in proportion to its size.
const (
	maxCachedTokens     = 10_000
	maxCachedTokenBytes = 16 << 20
)

// The algorithms, by what kind of key an issuer has. A token is measured by those of its
// issuer: with a public key there is no HMAC, and `none` is nowhere.
var (
	asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	symmetric  = []string{"HS256", "HS384", "HS512"}
)

// issuer verifies the tokens of one issuer.
type issuer struct {
	cfg    Issuer
	keys   keySet
	parser *jwt.Parser
	paths  claimPaths
}

// keySet is the keys of an issuer.
type keySet interface {
	// KeyfuncCtx gives the function that finds the key of a token; it may fetch keys
	// until the context ends.
	KeyfuncCtx(ctx context.Context) jwt.Keyfunc
	// Generation changes whenever the keys do.
	Generation() uint64
	// Ready says whether the keys are there, or could not be fetched yet.
	Ready() bool
}

// verifiedToken is what is remembered of a token.
type verifiedToken struct {
	principal  *Principal
	issuer     *issuer
	generation uint64 // of the keys it was verified with
}

func newIssuer(cfg Issuer, keys keySet) *issuer {
	methods := asymmetric
	if cfg.SecretFile != "" {
		methods = symmetric
	}
	return &issuer{cfg: cfg, keys: keys, paths: newClaimPaths(cfg), parser: jwt.NewParser(
		jwt.WithValidMethods(methods),
		jwt.WithIssuer(cfg.Issuer),
		jwt.WithAudience(cfg.Audiences...),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(cfg.leeway()),
		jwt.WithStrictDecoding(),
	)}
}

// token gives the principal of a JWT.
func (a *Authenticator) token(ctx context.Context, text string) (*Principal, error) {
	if len(a.issuers) == 0 {
		return nil, invalid("tokens are not accepted here")
	}
	key := digest(sha256.Sum256([]byte(text)))
	if t, ok := a.tokens.get(key); ok {
		if t.generation == t.issuer.keys.Generation() && time.Now().Before(t.principal.Expires) {
			return t.principal, nil
		}
		a.tokens.remove(key)
	}
	// The decoder skips line breaks, so one token could be written in many ways.
	if !tokenText(text) {
		return nil, invalid("the credential is neither a JWT nor an API key")
	}
	var claims struct {
		jwt.MapClaims `json:"-"` // only to be a jwt.Claims
		Issuer        string     `json:"iss"`
	}
	if _, _, err := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(text, &claims); err != nil {
		return nil, invalid("the credential is neither a JWT nor an API key")
	}
	// Not yet believed: it only chooses who must have signed.
	issuer := a.issuers[claims.Issuer]
	if issuer == nil {
		return nil, invalid("the token is of an issuer that is not accepted here")
	}
	// Before the keys are used: if they change meanwhile, the entry is stale at once.
	generation := issuer.keys.Generation()
	p, err := issuer.verify(ctx, text)
	if err != nil {
		return nil, err
	}
	if time.Now().Before(p.Expires) {
		a.tokens.put(key, verifiedToken{p, issuer, generation}, len(text))
	}
	return p, nil
}

// tokenText says whether a text has only what a JWT may have.
func tokenText(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// verify gives the principal of a token that this issuer signed for us.
func (i *issuer) verify(ctx context.Context, text string) (*Principal, error) {
	find := i.keys.KeyfuncCtx(ctx)
	token, err := i.parser.Parse(text, func(t *jwt.Token) (any, error) {
		// What is critical must be understood (RFC 7515, 4.1.11); we know of nothing.
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("critical header")
		}
		return find(t)
	})
	if err != nil {
		return nil, i.refusal(ctx, err)
	}
	return i.principal(token.Claims.(jwt.MapClaims))
}

// refusal says why a token does not count. The parser's error is left out: it quotes the
// token.
func (i *issuer) refusal(ctx context.Context, err error) *resource.Error {
	switch {
	case ctx.Err() != nil:
		return interrupted(ctx)
	case !errors.Is(err, jwt.ErrTokenInvalidClaims):
		if !i.keys.Ready() {
			return invalid("the keys of the token's issuer could not be fetched yet").After(firstRetry)
		}
		return invalid("the token's signature is not valid")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return invalid("the token is not meant for this service")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return invalid("the token lacks a claim; it must have exp and aud")
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return invalid("the token is not valid yet")
	case errors.Is(err, jwt.ErrTokenExpired):
		return expired("the token has expired")
	}
	return invalid("the token's claims are not valid")
}

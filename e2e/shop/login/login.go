package login

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What tokens say, and watchroute.yaml expects.
const (
	IssuerName = "https://login.shop.example"
	Audience   = "watchroute"
	// Warehouse is the role that sees all orders, Operator that of who runs Watchroute.
	Warehouse = "warehouse"
	Operator  = "shop-operator"
)

// Issuer issues tokens.
type Issuer struct {
	key  *ecdsa.PrivateKey
	life time.Duration
}

// claims are those of a token.
type claims struct {
	Roles []string `json:"roles,omitempty"`
	jwt.RegisteredClaims
}

// New makes an issuer with a key of its own, and writes its public key to a file. Tokens
// count for `life`.
func New(publicKeyFile string, life time.Duration) (*Issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return &Issuer{key, life}, os.WriteFile(publicKeyFile, text, 0o644)
}

// Token gives a token of a subject, and when it expires.
func (i *Issuer) Token(subject string, roles ...string) (token string, expires time.Time, err error) {
	now := time.Now()
	expires = now.Add(i.life)
	token, err = jwt.NewWithClaims(jwt.SigningMethodES256, claims{roles, jwt.RegisteredClaims{Issuer: IssuerName, Audience: jwt.ClaimStrings{Audience},
		Subject: subject, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires)}}).SignedString(i.key)
	return token, expires, err
}

// Customer gives the customer whose token a request shows.
func (i *Issuer) Customer(r *http.Request) (string, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", errors.New("a token of POST /login is missing: Authorization: Bearer TOKEN")
	}
	var c claims
	if _, err := jwt.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return &i.key.PublicKey, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(IssuerName), jwt.WithAudience(Audience), jwt.WithExpirationRequired()); err != nil {
		return "", fmt.Errorf("the token does not count: %w", err)
	}
	if len(c.Roles) > 0 {
		return "", fmt.Errorf("%s is not a customer", c.Subject)
	}
	return c.Subject, nil
}

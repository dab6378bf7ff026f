package access

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/watchroute/watchroute/internal/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testIssuer = "https://issuer.example"
	testKeys   = "https://issuer.example/keys"
)

// Keys are expensive to make, and nothing changes them.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	otherKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384Key  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521Key  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { return must2(ed25519.GenerateKey(rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func must2[A, B any](_ A, b B, err error) B { return must(b, err) }

// jwk gives the public key of a P-256 key as a JSON Web Key.
func jwk(kid string, key *ecdsa.PrivateKey) map[string]any {
	point := must(key.PublicKey.Bytes())
	enc := base64.RawURLEncoding.EncodeToString
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": enc(point[1:33]), "y": enc(point[33:])}
}

func keySetOf(keys ...map[string]any) []byte {
	if keys == nil {
		keys = []map[string]any{}
	}
	return must(json.Marshal(map[string]any{"keys": keys}))
}

// network is what an Authenticator fetches from.
type network struct {
	mu      sync.Mutex
	pages   map[string][]byte // by URL; others are 404
	down    bool
	hang    bool
	fetches int
}

func newNetwork() *network {
	return &network{pages: map[string][]byte{testKeys: keySetOf(jwk("one", ecKey()))}}
}

func (n *network) set(change func(*network)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fetches
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fetches++
	if n.hang {
		n.mu.Unlock()
		<-r.Context().Done()
		n.mu.Lock()
		return nil, r.Context().Err()
	}
	if n.down {
		return nil, errors.New("connection refused")
	}
	page, ok := n.pages[r.URL.String()]
	res := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(page)), Request: r}
	if to, redirect := strings.CutPrefix(string(page), "redirect "); redirect {
		res.StatusCode, res.Status = http.StatusFound, "302 Found"
		res.Header.Set("Location", to)
	} else if !ok {
		res.StatusCode, res.Status = http.StatusNotFound, "404 Not Found"
	}
	return res, nil
}

// fixture is an Authenticator whose log is kept.
type fixture struct {
	*Authenticator
	t   testing.TB
	log *screen
}

type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func newFixture(t testing.TB, cfg Config) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &screen{}}
	cfg.Logger = slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if f.Authenticator, err = NewAuthenticator(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// fromNetwork is an issuer whose keys are fetched.
func fromNetwork(n *network, change ...func(*Issuer)) Config {
	i := Issuer{Issuer: testIssuer, Audiences: []string{"watchroute", "other-name"}, JWKSURL: testKeys}
	for _, c := range change {
		c(&i)
	}
	return Config{Issuers: []Issuer{i}, Transport: n}
}

// fromFile is an issuer with fixed keys.
func fromFile(t testing.TB, keys ...crypto.PublicKey) Issuer {
	t.Helper()
	var text []byte
	for _, k := range keys {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(k))})...)
	}
	return Issuer{Issuer: testIssuer, Audiences: []string{"watchroute"}, PublicKeyFile: file(t, text)}
}

func file(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// claimsOf gives good claims with some changed; nil removes one.
func claimsOf(change jwt.MapClaims) jwt.MapClaims {
	now := time.Now().Unix()
	c := jwt.MapClaims{"iss": testIssuer, "aud": "watchroute", "sub": "ann", "iat": now, "exp": now + 600}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token. header may be nil.
func sign(method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	t := jwt.NewWithClaims(method, claims)
	maps.Copy(t.Header, header)
	return must(t.SignedString(key))
}

// good makes a token by the key that newNetwork has, with some claims changed.
func good(change jwt.MapClaims) string {
	return sign(jwt.SigningMethodES256, ecKey(), map[string]any{"kid": "one"}, claimsOf(change))
}

func (f *fixture) accepts(secret string) *Principal {
	f.t.Helper()
	p, err := f.Authenticate(f.t.Context(), Credential{Secret: secret})
	if err != nil {
		f.t.Fatalf("refused: %v", err)
	}
	return p
}

func (f *fixture) refuses(secret string, reason resource.Reason) *resource.Error {
	f.t.Helper()
	return f.refusesIn(f.t.Context(), secret, reason)
}

// refusesIn checks the reason, and that no part of the secret was told anybody.
func (f *fixture) refusesIn(ctx context.Context, secret string, reason resource.Reason) *resource.Error {
	f.t.Helper()
	p, err := f.Authenticate(ctx, Credential{Secret: secret})
	var e *resource.Error
	if !errors.As(err, &e) || e.Reason != reason || p != nil {
		f.t.Fatalf("got %v, %v; want %v", p, err, reason)
	}
	f.discreet(err, secret)
	return e
}

func (f *fixture) discreet(err error, secret string) {
	f.t.Helper()
	told := f.log.String()
	for ; err != nil; err = errors.Unwrap(err) {
		told += err.Error()
		if e := new(resource.Error); errors.As(err, &e) {
			for _, v := range e.Metadata {
				told += v
			}
		}
	}
	// Also what the parts of a token say.
	parts := strings.FieldsFunc(secret, func(r rune) bool { return strings.ContainsRune("._ ,\n", r) })
	for _, p := range parts {
		if text, err := base64.RawURLEncoding.DecodeString(p); err == nil && len(text) > 0 && text[0] == '{' {
			var m map[string]any
			if json.Unmarshal(text, &m) == nil {
				for _, name := range []string{"kid", "sub", "jku", "jti", "secret"} {
					if s, ok := m[name].(string); ok {
						parts = append(parts, s)
					}
				}
			}
		}
	}
	for _, p := range parts {
		if len(p) >= 6 && strings.Contains(told, p) {
			f.t.Errorf("a part of the credential was told: %q in\n%s", p, told)
		}
	}
}

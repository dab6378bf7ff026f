package access

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func BenchmarkToken(b *testing.B) {
	cfg := Config{Issuers: []Issuer{fromFile(b, ecKey().Public(), rsaKey().Public(), edKey().Public())}}
	claims := jwt.MapClaims{"tenant": "shop", "roles": []string{"editor", "viewer"}, "scope": "read write", "jti": "5f1c0d8e-3a52-4c2b-9a55-3b5d0d2f9d10"}
	for _, c := range []struct {
		name   string
		issuer Issuer
		token  string
	}{
		{"ES256", fromFile(b, ecKey().Public()), sign(jwt.SigningMethodES256, ecKey(), nil, claimsOf(claims))},
		{"RS256", fromFile(b, rsaKey().Public()), sign(jwt.SigningMethodRS256, rsaKey(), nil, claimsOf(claims))},
		{"EdDSA", fromFile(b, edKey().Public()), sign(jwt.SigningMethodEdDSA, edKey(), nil, claimsOf(claims))},
	} {
		cfg.Issuers = []Issuer{c.issuer}
		f := newFixture(b, cfg)
		b.Run(c.name+"/first", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.tokens = newCache[verifiedToken](1, 0) // keeps none
				f.accepts(c.token)
			}
		})
		f.tokens = newCache[verifiedToken](maxCachedTokens, maxCachedTokenBytes)
		b.Run(c.name+"/again", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Authenticate(b.Context(), Credential{Secret: c.token}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(c.token)), "token-bytes")
		})
	}
}

func BenchmarkAPIKey(b *testing.B) {
	text, hash, err := NewKey("ci")
	if err != nil {
		b.Fatal(err)
	}
	keys := newKeys(text)
	keys.keys["ci"].Hash = hash
	f := newFixture(b, Config{Keys: keys})
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.keys.good = newCache[struct{}](1, 0) // keeps none
			f.accepts(text)
		}
	})
	f.keys.good = newCache[struct{}](maxGoodSecrets, maxGoodSecrets)
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.Authenticate(b.Context(), Credential{Secret: text}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

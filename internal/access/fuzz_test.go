package access

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/watchroute/watchroute/internal/resource"
)

func FuzzToken_OnlyWhatWasSignedCounts(f *testing.F) {
	a := newFixture(f, Config{Issuers: []Issuer{fromFile(f, edKey().Public())}})
	token := sign(jwt.SigningMethodEdDSA, edKey(), nil, claimsOf(jwt.MapClaims{"exp": 253402300799}))
	f.Add(token)
	f.Add(token + ".")
	f.Add(sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claimsOf(nil)))
	f.Add(sign(jwt.SigningMethodHS256, []byte("secret"), nil, claimsOf(nil)))
	f.Add(strings.Replace(token, ".", "..", 1))
	f.Fuzz(func(t *testing.T, text string) {
		p, err := a.Authenticate(t.Context(), Credential{Secret: text})
		if err == nil && p.Method != Anonymous && text != token {
			t.Fatalf("%q is %+v", text, p)
		}
		if (err == nil) != (p != nil) {
			t.Fatalf("got %v, %v", p, err)
		}
	})
}

// The parts go through the decoders, whose base64 the fuzzer would seldom hit.
func FuzzToken_AnyHeaderAndClaims(f *testing.F) {
	a := newFixture(f, Config{Issuers: []Issuer{fromFile(f, edKey().Public())}})
	f.Add(`{"alg":"EdDSA","kid":"a"}`, `{"iss":"https://issuer.example","aud":"watchroute","exp":9999999999,"sub":"a"}`, []byte("x"))
	f.Add(`{"alg":"none"}`, `{"iss":"https://issuer.example"}`, []byte(nil))
	f.Fuzz(func(t *testing.T, header, claims string, signature []byte) {
		enc := base64.RawURLEncoding.EncodeToString
		text := enc([]byte(header)) + "." + enc([]byte(claims)) + "." + enc(signature)
		if p, err := a.Authenticate(t.Context(), Credential{Secret: text}); err == nil {
			t.Fatalf("%q is %+v", text, p)
		}
	})
}

// What an issuer signs may still be strange.
func FuzzClaims_GivePrincipalsThatAreWhole(f *testing.F) {
	i := newIssuer(Issuer{Issuer: testIssuer, TenantClaim: "a.b", RolesClaim: "r", OperatorRole: "root"}, fixedKeys{})
	f.Add(`{"sub":"a","a":{"b":"shop"},"r":["root"],"exp":1}`)
	f.Add(`{"sub":"a","a":[],"r":"x  y","scope":null,"exp":1e300,"iat":-1}`)
	f.Fuzz(func(t *testing.T, text string) {
		claims := jwt.MapClaims{}
		if json.Unmarshal([]byte(text), &claims) != nil {
			return
		}
		p, err := i.principal(claims)
		if err != nil {
			return
		}
		if p.Subject == "" || len(p.Subject) > MaxSubject || resource.CheckTenant("", p.Tenant) != nil || p.Expires.Year() > 9999 || p.Issued.Year() > 9999 {
			t.Fatalf("%q is %+v", text, p)
		}
	})
}

func FuzzKeyText(f *testing.F) {
	f.Add(keyText("ci", 1))
	f.Add("wr_a_" + strings.Repeat("_", 43))
	a := newFixture(f, Config{Keys: newKeys(keyText("ci", 1))})
	f.Fuzz(func(t *testing.T, text string) {
		id, secret, ok := parseKeyText(text)
		if ok && (keyPrefix+id+"_"+secret != text || !checkKeyID(id)) {
			t.Fatalf("%q is %q and %q", text, id, secret)
		}
		p, err := a.Authenticate(t.Context(), Credential{Secret: keyPrefix + text})
		if err == nil && keyPrefix+text != keyText("ci", 1) {
			t.Fatalf("%q is %+v", text, p)
		}
	})
}

func FuzzHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$$")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHash(text)
		if err != nil {
			return
		}
		if h.String() != text {
			t.Fatalf("%q became %q", text, h)
		}
		if h.memory > maxMemory || h.passes > maxPasses || h.lanes > maxLanes || h.memory < 8*uint32(h.lanes) || h.passes == 0 || h.lanes == 0 {
			t.Fatalf("%q is out of bounds", text)
		}
		if h.memory <= 64 && h.fits("x") && len(h.hash) >= 16 {
			t.Fatalf("%q fits anything", text)
		}
	})
}

func FuzzFromHeader(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("bearer  a,b")
	f.Fuzz(func(t *testing.T, header string) {
		secret, err := FromHeader(header)
		if secret != "" && (err != nil || !strings.HasSuffix(strings.TrimRight(header, " "), secret) || strings.ContainsAny(secret, " ,\t\r\n")) {
			t.Fatalf("%q has %q, %v", header, secret, err)
		}
	})
}

func FuzzKeySet(f *testing.F) {
	f.Add(string(keySetOf(jwk("one", ecKey()))))
	f.Add(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB","x5u":"https://evil.example"},{"kty":"OKP","crv":"X25519","x":"AA"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r := newKeyring(nil, slog.New(slog.DiscardHandler))
		if r.replace(t.Context(), []byte(text)) != nil {
			return
		}
		keys, _ := r.MemoryJWKSet.KeyReadAll(t.Context())
		for _, k := range keys {
			if err := checkKey(k.Key()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

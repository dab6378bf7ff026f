package access

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/watchroute/watchroute/internal/resource"
)

func TestAuthenticate_ATokenGivesItsPrincipal(t *testing.T) {
	f := newFixture(t, fromNetwork(newNetwork()))
	claims := claimsOf(jwt.MapClaims{"tenant": "shop", "roles": []string{"editor", "admin"}, "scope": "read  write", "jti": "id-1", "aud": []string{"x", "other-name"}})
	p := f.accepts(sign(jwt.SigningMethodES256, ecKey(), map[string]any{"kid": "one"}, claims))
	if p.Claims["jti"] != "id-1" {
		t.Errorf("claims: %v", p.Claims)
	}
	p.Claims = nil
	want := &Principal{Tenant: "shop", Subject: "ann", Roles: []string{"editor", "admin"}, Scopes: []string{"read", "write"}, Method: JWT,
		ID: "id-1", Issuer: testIssuer, Issued: time.Unix(claims["iat"].(int64), 0), Expires: time.Unix(claims["exp"].(int64), 0)}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v\nwant %+v", p, want)
	}
}

func TestAuthenticate_NoCredentialIsAnonymous(t *testing.T) {
	f := newFixture(t, Config{})
	p := f.accepts("")
	if !reflect.DeepEqual(p, &Principal{}) || p.Method.String() != "anonymous" {
		t.Errorf("got %+v", p)
	}
	f.refuses(good(nil), resource.CredentialInvalid)
	f.refuses("wr_id_"+strings.Repeat("A", 43), resource.CredentialInvalid)
}

// hmacWith signs a header and claims with a secret, whatever the library thinks of that.
func hmacWith(secret []byte, header string, claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(header)) + "." + enc([]byte(claims))
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(text))
	return text + "." + enc(m.Sum(nil))
}

func TestAuthenticate_RefusesTokensThatProveNothing(t *testing.T) {
	network := newNetwork()
	network.pages["https://evil.example/keys"] = keySetOf(jwk("evil", otherKey()))
	fetched := newFixture(t, fromNetwork(network))
	fixed := newFixture(t, Config{Issuers: []Issuer{fromFile(t, ecKey().Public())}})
	secret := []byte("0123456789abcdef0123456789abcdef")
	hmacs := newFixture(t, Config{Issuers: []Issuer{{Issuer: testIssuer, Audiences: []string{"watchroute"}, SecretFile: file(t, append(secret, '\n'))}}})
	hmacs.accepts(sign(jwt.SigningMethodHS256, secret, nil, claimsOf(nil)))

	body := string(must(jwt.NewWithClaims(jwt.SigningMethodES256, claimsOf(nil)).SigningString()))
	claims := string(must(base64.RawURLEncoding.DecodeString(strings.Split(body, ".")[1])))
	der := must(x509.MarshalPKIXPublicKey(ecKey().Public()))
	pub := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	token := good(nil)
	parts := strings.Split(token, ".")
	evil := func(header map[string]any) string {
		return sign(jwt.SigningMethodES256, otherKey(), header, claimsOf(nil))
	}
	enc := base64.RawURLEncoding.EncodeToString

	tokens := map[string]string{
		"alg none":                        sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"kid": "one"}, claimsOf(nil)),
		"alg None":                        enc([]byte(`{"alg":"None","kid":"one"}`)) + "." + parts[1] + ".",
		"alg empty":                       enc([]byte(`{"alg":"","kid":"one"}`)) + "." + parts[1] + "." + parts[2],
		"alg missing":                     enc([]byte(`{"kid":"one"}`)) + "." + parts[1] + "." + parts[2],
		"alg of another kind":             enc([]byte(`{"alg":["ES256"],"kid":"one"}`)) + "." + parts[1] + "." + parts[2],
		"no signature":                    parts[0] + "." + parts[1] + ".",
		"no third part":                   parts[0] + "." + parts[1],
		"HS256 with the public key":       hmacWith(pub, `{"alg":"HS256","kid":"one"}`, claims),
		"HS256 with it as DER":            hmacWith(der, `{"alg":"HS256","kid":"one"}`, claims),
		"HS256 with it as point":          hmacWith(must(ecKey().PublicKey.Bytes()), `{"alg":"HS256"}`, claims),
		"HS256 with nothing":              hmacWith(nil, `{"alg":"HS256","kid":"/dev/null"}`, claims),
		"kid is a path":                   evil(map[string]any{"kid": "../../../../dev/null"}),
		"kid is SQL":                      evil(map[string]any{"kid": "x' UNION SELECT 'secret' -- "}),
		"kid is a URL":                    evil(map[string]any{"kid": "https://evil.example/keys"}),
		"kid is a list":                   evil(map[string]any{"kid": []string{"one"}}),
		"kid is missing":                  evil(nil),
		"kid of somebody else":            evil(map[string]any{"kid": "one"}),
		"jku":                             evil(map[string]any{"kid": "evil", "jku": "https://evil.example/keys"}),
		"x5u":                             evil(map[string]any{"kid": "evil", "x5u": "https://evil.example/keys"}),
		"jwk":                             evil(map[string]any{"jwk": jwk("evil", otherKey())}),
		"jwk with the kid":                evil(map[string]any{"kid": "one", "jwk": jwk("one", otherKey())}),
		"forged claims":                   parts[0] + "." + enc([]byte(strings.Replace(claims, "ann", "bob", 1))) + "." + parts[2],
		"forged header":                   enc([]byte(`{"alg":"ES256","kid":"one","typ":"jwt"}`)) + "." + parts[1] + "." + parts[2],
		"RS256 to an EC key":              sign(jwt.SigningMethodRS256, rsaKey(), map[string]any{"kid": "one"}, claimsOf(nil)),
		"crit":                            sign(jwt.SigningMethodES256, ecKey(), map[string]any{"kid": "one", "crit": []string{"b64"}, "b64": true}, claimsOf(nil)),
		"another issuer":                  good(jwt.MapClaims{"iss": "https://evil.example"}),
		"issuer with a slash":             good(jwt.MapClaims{"iss": testIssuer + "/"}),
		"issuer missing":                  good(jwt.MapClaims{"iss": nil}),
		"issuer is a list":                good(jwt.MapClaims{"iss": []string{testIssuer}}),
		"issuer in other case":            good(jwt.MapClaims{"iss": nil, "ISS": testIssuer}),
		"another audience":                good(jwt.MapClaims{"aud": "payments"}),
		"audience missing":                good(jwt.MapClaims{"aud": nil}),
		"audience empty":                  good(jwt.MapClaims{"aud": []string{}}),
		"audience is a prefix":            good(jwt.MapClaims{"aud": "watchroute2"}),
		"exp missing":                     good(jwt.MapClaims{"exp": nil}),
		"exp is a text":                   good(jwt.MapClaims{"exp": "99999999999"}),
		"exp beyond all time":             good(jwt.MapClaims{"exp": 1e18}),
		"nbf in the future":               good(jwt.MapClaims{"nbf": time.Now().Unix() + 120}),
		"iat in the future":               good(jwt.MapClaims{"iat": time.Now().Unix() + 120}),
		"expired, and of another service": good(jwt.MapClaims{"exp": time.Now().Unix() - 120, "aud": "payments"}),
		"sub missing":                     good(jwt.MapClaims{"sub": nil}),
		"sub empty":                       good(jwt.MapClaims{"sub": ""}),
		"sub is a number":                 good(jwt.MapClaims{"sub": 42}),
		"sub too long":                    good(jwt.MapClaims{"sub": strings.Repeat("s", MaxSubject+1)}),
		"too large":                       good(jwt.MapClaims{"padding": strings.Repeat("x", maxSecret)}),
		"two tokens":                      token + "." + token,
		"two with a comma":                token + "," + token,
		"a line break in it":              parts[0] + "." + parts[1] + "." + parts[2][:8] + "\n" + parts[2][8:],
		"padding":                         token + "==",
		"a space":                         token + " ",
		"with the scheme":                 "Bearer " + token,
		"deep JSON":                       parts[0] + "." + enc([]byte(strings.Repeat("[", 11000))) + "." + parts[2],
		"JSON is null":                    enc([]byte("null")) + "." + enc([]byte("null")) + "." + parts[2],
		"encrypted":                       strings.Repeat("eyJhbGciOiJSU0EtT0FFUCJ9.", 4) + "AAAA",
		"garbage":                         "garbage-that-is-no-token",
		"dots":                            "..",
	}
	for _, n := range []struct {
		name string
		f    *fixture
	}{{"fetched", fetched}, {"fixed", fixed}, {"hmac", hmacs}} {
		for name, token := range tokens {
			t.Run(n.name+"/"+name, func(t *testing.T) {
				f := *n.f
				f.t = t
				f.refuses(token, resource.CredentialInvalid)
			})
		}
	}
	// Twice: a refused token is not remembered as a good one.
	fetched.refuses(tokens["forged claims"], resource.CredentialInvalid)
	fetched.accepts(token)
	// The first fetch, and what the unknown kids were allowed.
	if n := network.count(); n > 1+askBurst {
		t.Errorf("%d fetches", n)
	}
	// One token has one text: the last character has spare bits.
	last := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	at := strings.IndexByte(last, token[len(token)-1])
	fetched.refuses(token[:len(token)-1]+string(last[at^1]), resource.CredentialInvalid)
}

func TestAuthenticate_RefusesAKeyForAnotherAlgorithm(t *testing.T) {
	n := newNetwork()
	key := jwk("one", ecKey())
	key["alg"] = "ES384"
	n.pages[testKeys] = keySetOf(key)
	newFixture(t, fromNetwork(n)).refuses(good(nil), resource.CredentialInvalid)
}

func TestAuthenticate_KeysForOtherThingsDoNotCount(t *testing.T) {
	n := newNetwork()
	encryption := jwk("one", ecKey())
	encryption["use"] = "enc"
	secret := []byte("0123456789abcdef0123456789abcdef")
	n.pages[testKeys] = keySetOf(encryption, map[string]any{"kty": "oct", "kid": "two", "k": base64.RawURLEncoding.EncodeToString(secret)},
		map[string]any{"kty": "strange", "kid": "three"}, jwk("four", otherKey()))
	f := newFixture(t, fromNetwork(n))
	f.refuses(good(nil), resource.CredentialInvalid)
	f.refuses(sign(jwt.SigningMethodHS256, secret, map[string]any{"kid": "two"}, claimsOf(nil)), resource.CredentialInvalid)
	f.accepts(sign(jwt.SigningMethodES256, otherKey(), map[string]any{"kid": "four"}, claimsOf(nil)))
	f.accepts(sign(jwt.SigningMethodES256, otherKey(), nil, claimsOf(nil))) // without a kid
}

func TestAuthenticate_AllAsymmetricAlgorithms(t *testing.T) {
	f := newFixture(t, Config{Issuers: []Issuer{fromFile(t, rsaKey().Public(), ecKey().Public(), p384Key().Public(), p521Key().Public(), edKey().Public())}})
	keys := map[string]crypto.PrivateKey{"RS": rsaKey(), "PS": rsaKey(), "ES256": ecKey(), "ES384": p384Key(), "ES512": p521Key(), "EdDSA": edKey()}
	for _, alg := range asymmetric {
		key := keys[alg]
		if key == nil {
			key = keys[alg[:2]]
		}
		f.accepts(sign(jwt.GetSigningMethod(alg), key, nil, claimsOf(nil)))
	}
	for _, alg := range symmetric {
		f.refuses(sign(jwt.GetSigningMethod(alg), []byte("0123456789abcdef0123456789abcdef"), nil, claimsOf(nil)), resource.CredentialInvalid)
	}
}

func TestAuthenticate_ATokenCountsOnlyWithTheKeyOfItsIssuer(t *testing.T) {
	one := fromFile(t, ecKey().Public())
	two := fromFile(t, otherKey().Public())
	two.Issuer, two.Tenant, two.OperatorRole = "https://two.example", "two", "root"
	f := newFixture(t, Config{Issuers: []Issuer{one, two}})
	byTwo := func(change jwt.MapClaims) string {
		claims := claimsOf(jwt.MapClaims{"iss": two.Issuer, "tenant": "one", "roles": "root"})
		maps.Copy(claims, change)
		return sign(jwt.SigningMethodES256, otherKey(), nil, claims)
	}
	if p := f.accepts(byTwo(nil)); p.Tenant != "two" || !p.Operator {
		t.Errorf("got %+v", p)
	}
	// An issuer speaks for itself alone.
	f.refuses(byTwo(jwt.MapClaims{"iss": one.Issuer}), resource.CredentialInvalid)
	if p := f.accepts(good(jwt.MapClaims{"roles": "root"})); p.Operator {
		t.Error("an operator of an issuer that makes none")
	}
}

func TestAuthenticate_LeewayIsForClocksNotForStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Config{Issuers: []Issuer{fromFile(t, ecKey().Public())}})
		early := good(jwt.MapClaims{"nbf": time.Now().Unix() + 20, "iat": time.Now().Unix() + 20})
		f.accepts(early)
		exp := time.Now().Add(10 * time.Second)
		token := good(jwt.MapClaims{"exp": exp.Unix()})
		for _, wait := range []time.Duration{0, 5 * time.Second, 10 * time.Second, 24 * time.Second} {
			time.Sleep(wait)
			if p := f.accepts(token); !p.Expires.Equal(exp) {
				t.Errorf("expires %v, not %v", p.Expires, exp)
			}
		}
		time.Sleep(time.Second)
		f.refuses(token, resource.CredentialExpired)
		f.refuses(token, resource.CredentialExpired)

		zero := time.Duration(0)
		strict := fromFile(t, ecKey().Public())
		strict.Leeway = &zero
		f = newFixture(t, Config{Issuers: []Issuer{strict}})
		f.refuses(token, resource.CredentialExpired)
		f.refuses(good(jwt.MapClaims{"nbf": time.Now().Unix() + 1}), resource.CredentialInvalid)
	})
}

func TestAuthenticate_ClaimsAreFoundWhereTheSettingsSay(t *testing.T) {
	paths := func(i *Issuer) {
		i.TenantClaim, i.RolesClaim, i.ScopesClaim, i.OperatorRole = "org.name", "realm_access.roles", "https://shop.example/scopes", "node admin"
	}
	for name, c := range map[string]struct {
		change func(*Issuer)
		claims jwt.MapClaims
		want   *Principal // nil: CredentialInvalid
	}{
		"nothing":                {claims: nil, want: &Principal{}},
		"null":                   {claims: jwt.MapClaims{"tenant": jwtNull{}, "roles": jwtNull{}, "scope": jwtNull{}}, want: &Principal{}},
		"lists":                  {claims: jwt.MapClaims{"roles": []string{"a b", "c"}, "scope": []string{"d"}}, want: &Principal{Roles: []string{"a b", "c"}, Scopes: []string{"d"}}},
		"texts":                  {claims: jwt.MapClaims{"roles": "a b", "scope": "d"}, want: &Principal{Roles: []string{"a", "b"}, Scopes: []string{"d"}}},
		"a list of numbers":      {claims: jwt.MapClaims{"roles": []any{"a", 1}}},
		"a number":               {claims: jwt.MapClaims{"scope": 1}},
		"tenant":                 {claims: jwt.MapClaims{"tenant": "a-1"}, want: &Principal{Tenant: "a-1"}},
		"tenant is a number":     {claims: jwt.MapClaims{"tenant": 1}},
		"tenant is a list":       {claims: jwt.MapClaims{"tenant": []string{"a"}}},
		"tenant in capitals":     {claims: jwt.MapClaims{"tenant": "Shop"}},
		"tenant begins with 1":   {claims: jwt.MapClaims{"tenant": "1a"}},
		"tenant with a slash":    {claims: jwt.MapClaims{"tenant": "a/b"}},
		"tenant with a tilde":    {claims: jwt.MapClaims{"tenant": "a~b"}},
		"tenant of 64":           {claims: jwt.MapClaims{"tenant": strings.Repeat("a", 64)}},
		"tenant of 63":           {claims: jwt.MapClaims{"tenant": strings.Repeat("a", 63)}, want: &Principal{Tenant: strings.Repeat("a", 63)}},
		"fixed tenant":           {change: func(i *Issuer) { i.Tenant = "mine" }, claims: jwt.MapClaims{"tenant": "Theirs"}, want: &Principal{Tenant: "mine"}},
		"jti is a number":        {claims: jwt.MapClaims{"jti": 7}},
		"paths":                  {change: paths, claims: jwt.MapClaims{"org": map[string]any{"name": "a"}, "realm_access": map[string]any{"roles": []string{"node admin"}}, "https://shop.example/scopes": "x"}, want: &Principal{Tenant: "a", Roles: []string{"node admin"}, Scopes: []string{"x"}, Operator: true}},
		"paths that lead away":   {change: paths, claims: jwt.MapClaims{"org": "a", "realm_access": []string{"roles"}, "tenant": "b", "roles": "node admin"}, want: &Principal{}},
		"a name that looks like": {change: paths, claims: jwt.MapClaims{"org.name": "a"}, want: &Principal{}},
	} {
		t.Run(name, func(t *testing.T) {
			i := fromFile(t, ecKey().Public())
			if c.change != nil {
				c.change(&i)
			}
			f := newFixture(t, Config{Issuers: []Issuer{i}})
			token := good(c.claims)
			if c.want == nil {
				f.refuses(token, resource.CredentialInvalid)
				return
			}
			got := *f.accepts(token)
			c.want.Subject, c.want.Method, c.want.Issuer = "ann", JWT, testIssuer
			got.Claims, got.Issued, got.Expires = nil, time.Time{}, time.Time{}
			if !reflect.DeepEqual(&got, c.want) {
				t.Errorf("got %+v\nwant %+v", &got, c.want)
			}
		})
	}
}

// jwtNull is a claim that is there, and null.
type jwtNull struct{}

func (jwtNull) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

func TestAuthenticate_RemembersVerifiedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		f := newFixture(t, fromNetwork(n))
		f.accepts(good(jwt.MapClaims{"jti": "x"})) // the keys are there
		token := good(nil)
		first := f.accepts(token)
		if f.accepts(token) != first {
			t.Error("verified twice")
		}
		// The set is fetched again, but is the same.
		time.Sleep(5 * refreshEvery)
		if f.accepts(token) != first {
			t.Error("verified again without need")
		}
	})
}

func TestAuthenticate_ARotatedKeyCountsAtOnceAndOneThatLeftNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		f := newFixture(t, fromNetwork(n))
		old := good(nil)
		f.accepts(old)
		// Twice within a moment.
		for _, kid := range []string{"two", "three"} {
			n.set(func(n *network) { n.pages[testKeys] = keySetOf(jwk("one", ecKey()), jwk(kid, otherKey())) })
			f.accepts(sign(jwt.SigningMethodES256, otherKey(), map[string]any{"kid": kid}, claimsOf(nil)))
		}
		f.accepts(old)
		n.set(func(n *network) { n.pages[testKeys] = keySetOf(jwk("three", otherKey())) })
		time.Sleep(refreshEvery + time.Second)
		f.refuses(old, resource.CredentialInvalid)
		// Not even under the kid of the new one.
		f.refuses(sign(jwt.SigningMethodES256, ecKey(), map[string]any{"kid": "three"}, claimsOf(nil)), resource.CredentialInvalid)
	})
}

func TestAuthenticate_ASetWithoutKeysRevokesAllAndAnErrorPageNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		f := newFixture(t, fromNetwork(n))
		token := good(nil)
		f.accepts(token)
		for _, page := range []string{"<html>", "{}", `{"keys":null}`, `{"keys":{}}`, `{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`, strings.Repeat(" ", maxKeySetBytes) + `{"keys":[]}`} {
			n.set(func(n *network) { n.pages[testKeys] = []byte(page) })
			time.Sleep(refreshEvery + time.Second)
			f.accepts(token)
		}
		n.set(func(n *network) { n.down = true })
		time.Sleep(2 * refreshEvery)
		f.accepts(token)
		n.set(func(n *network) { n.down, n.pages[testKeys] = false, keySetOf() })
		time.Sleep(refreshEvery + time.Second)
		f.refuses(token, resource.CredentialInvalid)
	})
}

func TestAuthenticate_UnknownKeysCostTwoFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		f := newFixture(t, fromNetwork(n))
		f.accepts(good(nil))
		before := n.count()
		for i := range 100 {
			f.refuses(sign(jwt.SigningMethodES256, otherKey(), map[string]any{"kid": "bad-" + strings.Repeat("x", i)}, claimsOf(nil)), resource.CredentialInvalid)
		}
		if got := n.count() - before; got > askBurst {
			t.Errorf("%d fetches", got)
		}
		f.accepts(good(nil))
	})
}

func TestAuthenticate_AnIssuerThatIsDownAtStartIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.down = true
		f := newFixture(t, fromNetwork(n))
		token := good(nil)
		for range 5 {
			if e := f.refuses(token, resource.CredentialInvalid); e.RetryAfter == 0 {
				t.Errorf("does not say when to come back: %v", e)
			}
		}
		n.set(func(n *network) { n.down = false })
		time.Sleep(8 * time.Second)
		f.accepts(token)
	})
}

func TestAuthenticate_ATokenThatNamesNoKeyWaitsForTheFirstKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.down = true
		f := newFixture(t, fromNetwork(n))
		token := sign(jwt.SigningMethodES256, ecKey(), nil, claimsOf(nil))
		f.refuses(token, resource.CredentialInvalid)
		n.set(func(n *network) { n.down = false })
		f.accepts(token)
	})
}

func TestAuthenticate_RetriesLaterAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.down = true
		newFixture(t, fromNetwork(n))
		time.Sleep(10*time.Minute + time.Second)
		// 0, 1, 3, 7, 15, 31, 63 s and then each minute.
		if got := n.count(); got < 14 || got > 17 {
			t.Errorf("%d fetches in 10 minutes", got)
		}
	})
}

func TestAuthenticate_ACallerCanLeaveWithoutSpoilingTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.hang = true
		f := newFixture(t, fromNetwork(n))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f.refusesIn(ctx, good(nil), resource.DeadlineExceeded)
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		f.refusesIn(ctx, good(nil), resource.Cancelled)
		if got := n.count(); got != 1 {
			t.Errorf("%d fetches", got)
		}
		n.set(func(n *network) { n.hang = false })
		f.accepts(good(nil)) // waits for the time-out, then asks
	})
}

func TestAuthenticate_CloseEndsAFetchAndKeepsTheKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		f := newFixture(t, fromNetwork(n))
		f.accepts(good(nil))
		n.set(func(n *network) { n.hang = true })
		time.Sleep(refreshEvery)
		synctest.Wait()
		began := time.Now()
		f.Close()
		f.Close()
		if time.Since(began) != 0 {
			t.Error("Close waited for the network")
		}
		f.accepts(good(jwt.MapClaims{"jti": "another"}))
		f.refuses(sign(jwt.SigningMethodES256, ecKey(), map[string]any{"kid": "two"}, claimsOf(nil)), resource.CredentialInvalid)
	})
}

func TestAuthenticate_KeysDoNotComeFromWhereTheyCanBeChanged(t *testing.T) {
	n := newNetwork()
	n.pages["http://issuer.example/keys"] = n.pages[testKeys]
	n.pages[testKeys] = []byte("redirect http://issuer.example/keys")
	f := newFixture(t, fromNetwork(n))
	f.refuses(good(nil), resource.CredentialInvalid)
	if !strings.Contains(f.log.String(), "https, or http on loopback") {
		t.Errorf("the log does not say why:\n%s", f.log)
	}
}

func TestAuthenticate_AKeySetFileIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		write := func(text []byte) {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(keySetOf(jwk("one", ecKey())))
		f := newFixture(t, fromNetwork(nil, func(i *Issuer) { i.JWKSURL, i.JWKSFile = "", path }))
		f.accepts(good(nil))
		write(keySetOf(jwk("two", otherKey())))
		f.accepts(sign(jwt.SigningMethodES256, otherKey(), map[string]any{"kid": "two"}, claimsOf(nil)))
		f.refuses(good(nil), resource.CredentialInvalid)
	})
}

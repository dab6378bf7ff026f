package access

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/watchroute/watchroute/internal/resource"
)

// provider is an OpenID provider on loopback. change edits its configuration.
func provider(t *testing.T, change func(url string, c map[string]string)) (url string, configurations *atomic.Int32) {
	t.Helper()
	configurations = new(atomic.Int32)
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("GET /realm/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		configurations.Add(1)
		c := map[string]string{"issuer": s.URL + "/realm", "jwks_uri": s.URL + "/keys"}
		if change != nil {
			change(s.URL, c)
		}
		_ = json.NewEncoder(w).Encode(c)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(keySetOf(jwk("one", ecKey()))) })
	return s.URL + "/realm", configurations
}

func discovered(url string) Config {
	return Config{Issuers: []Issuer{{Issuer: url, Audiences: []string{"watchroute"}, Discovery: true}}}
}

func TestDiscovery_FindsTheKeysOnce(t *testing.T) {
	url, configurations := provider(t, nil)
	f := newFixture(t, discovered(url))
	f.accepts(good(jwt.MapClaims{"iss": url}))
	f.refuses(sign(jwt.SigningMethodES256, otherKey(), map[string]any{"kid": "unknown"}, claimsOf(jwt.MapClaims{"iss": url})), resource.CredentialInvalid)
	if n := configurations.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestDiscovery_BelievesNobodyWhoSaysToBeSomebodyElse(t *testing.T) {
	for name, change := range map[string]func(url string, c map[string]string){
		"issuer":    func(_ string, c map[string]string) { c["issuer"] = "https://evil.example" },
		"no issuer": func(_ string, c map[string]string) { delete(c, "issuer") },
		"slash":     func(url string, c map[string]string) { c["issuer"] += "/" },
		"no keys":   func(_ string, c map[string]string) { delete(c, "jwks_uri") },
		"plain":     func(_ string, c map[string]string) { c["jwks_uri"] = "http://keys.example/keys" },
		"file":      func(_ string, c map[string]string) { c["jwks_uri"] = "file:///etc/keys" },
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := provider(t, change)
			f := newFixture(t, discovered(url))
			e := f.refuses(good(jwt.MapClaims{"iss": url}), resource.CredentialInvalid)
			if e.RetryAfter == 0 || !strings.Contains(f.log.String(), "provider") {
				t.Errorf("%v, and the log says\n%s", e, f.log)
			}
		})
	}
}

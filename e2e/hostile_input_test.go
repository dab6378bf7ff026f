package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/watchroute/watchroute/e2e/hostile"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// TestHostile_EachLimitByOneAndByAThousand: what is over a limit is refused with a type,
// by how much it may be, on HTTP and on gRPC; and what is at the limit is not.
func TestHostile_EachLimitByOneAndByAThousand(t *testing.T) {
	s := besiege(t, false)
	writer := s.token("w", "writer")
	client := hostile.HTTPClient("127.0.0.50", nil)
	defer client.CloseIdleConnections()
	if a, err := s.ask(client, http.MethodPut, "/v1/things/beat", writer, strings.NewReader(`{"data":{"n":0}}`)); err != nil || a.status != http.StatusOK {
		t.Fatalf("%v, %v", a, err)
	}
	text := func(n int) string { return strings.Repeat("x", n) }
	query := func(name string) func(string) string {
		return func(v string) string { return "/v1/things?" + name + "=" + url.QueryEscape(v) }
	}
	many := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	labels := func(n, key, value int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"l%0*d":"%s"`, key-1, i, text(value))
		}
		return `{"data":{},"labels":{` + b.String()[1:] + `}}`
	}
	// over gives a path or a body that is over a limit: by how much.
	for _, c := range []struct {
		name   string
		limit  int
		method string
		path   func(n int) string
		body   func(n int) string // nil: none
		most   int                // a thousand times the limit would be more than a URL can be: 431 or 414 then
		reason string
	}{
		{"an id", 128, http.MethodGet, func(n int) string { return "/v1/things/" + text(n) }, nil, 0, "INVALID_NAME"},
		{"a collection", 63, http.MethodGet, func(n int) string { return "/v1/" + text(n) + "/x" }, nil, 0, "INVALID_NAME"},
		{"a filter", 4096, http.MethodGet, func(n int) string { return query("filter")(`id=="` + text(n-6) + `"`) }, nil, 1000, "INVALID_FILTER"},
		{"a request's id", 128, http.MethodPut, func(n int) string { return "/v1/things/r?request_id=" + text(n) }, func(int) string { return `{"data":{}}` }, 500, "INVALID_FIELD"},
		{"labels", 64, http.MethodPut, nil, func(n int) string { return labels(n, 6, 1) }, 0, "INVALID_FIELD"},
		{"a label's key", 63, http.MethodPut, nil, func(n int) string { return labels(1, n, 1) }, 0, "INVALID_FIELD"},
		{"a label's value", 256, http.MethodPut, nil, func(n int) string { return labels(1, 6, n) }, 0, "INVALID_FIELD"},
		{"a value", 1 << 20, http.MethodPut, nil, func(n int) string { return `{"data":{"x":"` + text(n-8) + `"}}` }, 24, "TOO_LARGE"},
		{"a batch", 1000, http.MethodPost, func(int) string { return "/v1/things:write" }, func(n int) string { return `{"operations":[` + many(n, `{"delete":{"name":"things/x"}}`) + `]}` }, 100, "INVALID_FIELD"},
		{"names of a watch", 1000, http.MethodGet, func(n int) string { return "/v1/things/watch?wait=1ms&names=" + many(n, "things/a") }, nil, 0, ""},
	} {
		path, body := c.path, c.body
		if path == nil {
			path = func(int) string { return "/v1/things/x" }
		}
		times := 1000
		if c.most > 0 {
			times = c.most
		}
		for what, n := range map[string]int{"by one": c.limit + 1, "by a thousand": c.limit * times} {
			t.Run(c.name+" "+what, func(t *testing.T) {
				var in io.Reader
				if body != nil {
					in = strings.NewReader(body(n))
				}
				a, err := s.ask(client, c.method, path(n), writer, in)
				if err != nil { // the node closes while megabytes come: it has answered, and the client may not see it
					if n < 1<<20 {
						t.Error(err)
					}
					return
				}
				typed := a.status >= 400 && a.status < 500 && strings.Contains(a.body, c.reason) && strings.Contains(a.body, "reason")
				tooLong := len(path(n)) > 60<<10 && a.status == http.StatusRequestHeaderFieldsTooLarge
				tooLarge := n > 1<<20 && strings.Contains(a.body, "TOO_LARGE")
				if !typed && !tooLong && !tooLarge {
					t.Errorf("HTTP %d %.300s", a.status, a.body)
				}
			})
		}
	}
	for _, c := range []struct {
		name, path, body string
		header           []string
		status           int
	}{
		{"a header of 1 MB", "/v1/things/beat", "", []string{"X-Large", text(1 << 20)}, http.StatusRequestHeaderFieldsTooLarge},
		{"ten thousand headers", "/v1/things/beat", "", nil, http.StatusRequestHeaderFieldsTooLarge},
		{"a URL of 1 MB", "/v1/things/" + text(1<<20), "", nil, http.StatusRequestHeaderFieldsTooLarge},
		{"a credential of 1 MB", "/v1/things/beat", "", []string{"Authorization", "Bearer " + text(1<<20)}, http.StatusRequestHeaderFieldsTooLarge},
		{"a body of 24 MB", "/v1/things/x", `{"data":{"x":"` + text(24<<20) + `"}}`, nil, http.StatusRequestEntityTooLarge},
		{"deep JSON", "/v1/things/x", `{"data":` + strings.Repeat(`{"a":`, 500_000) + `1` + strings.Repeat(`}`, 500_000) + `}`, nil, http.StatusBadRequest},
		{"deep lists", "/v1/things/x", `{"data":{"a":` + strings.Repeat(`[`, 1_000_000) + `}}`, nil, http.StatusBadRequest},
		{"a number of a million digits", "/v1/things/x", `{"data":{"a":1` + strings.Repeat(`0`, 1_000_000) + `}}`, nil, 0},
		{"a million fields", "/v1/things/x", `{"data":{` + strings.TrimSuffix(strings.Repeat(`"a":1,`, 1_000_000), ",") + `}}`, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			method, in := http.MethodGet, io.Reader(nil)
			if c.body != "" {
				method, in = http.MethodPut, strings.NewReader(c.body)
			}
			if c.name == "ten thousand headers" {
				for i := range 10_000 {
					c.header = append(c.header, fmt.Sprintf("X-%d", i), "x")
				}
			}
			a, err := s.ask(client, method, c.path, writer, in, c.header...)
			switch {
			case err != nil && len(c.path)+len(c.body) < 1<<20 && len(c.header) == 0:
				t.Error(err)
			case err == nil && c.status != 0 && a.status != c.status || a.status >= 500:
				t.Errorf("HTTP %d %.300s", a.status, a.body)
			}
		})
	}
	ctx, stub := s.stub("127.0.0.50", writer)
	large := func(n int) *watchroutev1.PutRequest {
		return &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: "things/x", Data: &anypb.Any{TypeUrl: "type.googleapis.com/watchroute.v1.Json", Value: bytes.Repeat([]byte{1}, n)}}}
	}
	for name, n := range map[string]int{"a message over the limit by one": 8 << 20, "a message four times the limit": 32 << 20} {
		if _, err := stub.Put(ctx, large(n)); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("gRPC, %s: %v", name, err)
		}
	}
	if _, err := stub.Get(metadata.AppendToOutgoingContext(ctx, "x-large", text(1<<20)), &watchroutev1.GetRequest{Name: "things/beat"}); err == nil {
		t.Error("gRPC took a header of 1 MB")
	}
	s.alive("oversized input")
}

// forgery is a credential that must not count.
type forgery struct{ name, token string }

// forgeries are tokens that nobody issued, or issued for something else.
func (s *siege) forgeries() []forgery {
	public := s.public
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		s.t.Fatal(err)
	}
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	jwk := map[string]any{"kty": "RSA", "alg": "RS256", "n": number(own.N), "e": "AQAB"}
	good := s.claims("a", "operator")
	signed := s.claims("a")
	signed["iss"] = "signed"
	with := func(claims map[string]any, change map[string]any) map[string]any {
		out := map[string]any{}
		for _, m := range []map[string]any{claims, change} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	hs := func(more map[string]any) map[string]any {
		return with(map[string]any{"alg": "HS256", "typ": "JWT"}, more)
	}
	whole := hostile.JWT(hs(nil), good, s.secret)
	parts := strings.Split(whole, ".")
	out := []forgery{
		{"alg none", hostile.JWT(map[string]any{"alg": "none"}, good, nil)},
		{"alg nOnE, signed", hostile.JWT(map[string]any{"alg": "nOnE"}, good, s.secret)},
		{"no alg", hostile.JWT(map[string]any{}, good, s.secret)},
		{"alg is a list", hostile.JWT(map[string]any{"alg": []string{"HS256"}}, good, s.secret)},
		{"HS256 with the public key in PEM", hostile.JWT(hs(nil), signed, public)},
		{"HS256 with the public key in PEM, without its end", hostile.JWT(hs(nil), signed, bytes.TrimSpace(public))},
		{"RS256 said, HS256 signed, of the secret's issuer", hostile.JWT(map[string]any{"alg": "RS256"}, good, s.secret)},
		{"kid as a path", hostile.JWT(hs(map[string]any{"kid": "../../../../../../dev/null"}), signed, []byte{0})},
		{"kid as a path, RS256", hostile.JWT(map[string]any{"alg": "RS256", "kid": "/proc/self/environ"}, signed, []byte{0})},
		{"kid as SQL", hostile.JWT(hs(map[string]any{"kid": "x' UNION SELECT 'k' --"}), signed, []byte("k"))},
		{"kid as a URL", hostile.JWT(map[string]any{"alg": "RS256", "kid": "http://127.0.0.1:1/key"}, signed, []byte("k"))},
		{"kid of 10 KB", hostile.JWT(map[string]any{"alg": "RS256", "kid": strings.Repeat("k", 10_000)}, signed, []byte("k"))},
		{"jku and x5u", hostile.JWT(map[string]any{"alg": "RS256", "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/cert"}, signed, []byte("k"))},
		{"its own key in jwk", hostile.JWT(map[string]any{"alg": "RS256", "jwk": jwk}, signed, []byte("k"))},
		{"its own secret in jwk", hostile.JWT(hs(map[string]any{"jwk": map[string]any{"kty": "oct", "k": "aw"}}), good, []byte("k"))},
		{"a certificate in x5c", hostile.JWT(map[string]any{"alg": "RS256", "x5c": []string{"AAAA"}}, signed, []byte("k"))},
		{"something critical", hostile.JWT(hs(map[string]any{"crit": []string{"b64"}, "b64": false}), good, s.secret)},
		{"expired", hostile.JWT(hs(nil), with(good, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), s.secret)},
		{"exp is a text", hostile.JWT(hs(nil), with(good, map[string]any{"exp": "never"}), s.secret)},
		{"exp is 1e400", strings.Replace(hostile.JWT(hs(nil), good, s.secret), parts[1], base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"shop","aud":"watchroute","sub":"a","exp":1e400}`)), 1)},
		{"no exp", hostile.JWT(hs(nil), with(good, map[string]any{"exp": nil}), s.secret)},
		{"another aud", hostile.JWT(hs(nil), with(good, map[string]any{"aud": "shop"}), s.secret)},
		{"aud is a part", hostile.JWT(hs(nil), with(good, map[string]any{"aud": []string{"watchroute2", "watch"}}), s.secret)},
		{"another iss", hostile.JWT(hs(nil), with(good, map[string]any{"iss": "shop "}), s.secret)},
		{"iss is a list", hostile.JWT(hs(nil), with(good, map[string]any{"iss": []string{"shop"}}), s.secret)},
		{"no sub", hostile.JWT(hs(nil), with(good, map[string]any{"sub": nil}), s.secret)},
		{"tenant is a path", hostile.JWT(hs(nil), with(good, map[string]any{"tenant": "../b"}), s.secret)},
		{"tenant is a key of the log", hostile.JWT(hs(nil), with(good, map[string]any{"tenant": "a:things"}), s.secret)},
		{"truncated", whole[:len(whole)-5]},
		{"of two parts", parts[0] + "." + parts[1]},
		{"of four parts", whole + ".AAAA"},
		{"with a line's end", whole + "%0A"},
		{"claims of another", parts[0] + "." + strings.Split(s.token("root", "operator"), ".")[1] + "." + parts[2]},
		{"a header in a header", base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat(`{"alg":`, 1000))) + "." + parts[1] + "." + parts[2]},
		{"nothing but dots", ".."},
		{"of 15 KB", whole + strings.Repeat("A", 15<<10)},
	}
	return out
}

// TestHostile_ForgedTokensOnEveryWay: none counts, each is told so with a type, and none
// is in the log, by header, parameter and cookie, on gRPC and as first message.
func TestHostile_ForgedTokensOnEveryWay(t *testing.T) {
	s := besiege(t, false, "--failure-rate", "0", "--log-level", "debug")
	if _, err := s.put("things/beat", `{"n":0}`); err != nil {
		t.Fatal(err)
	}
	client := hostile.HTTPClient("127.0.0.51", nil)
	defer client.CloseIdleConnections()
	conn := s.dialFrom("127.0.0.51")
	for _, f := range s.forgeries() {
		t.Run(f.name, func(t *testing.T) {
			ways := map[string]func() (reply, error){
				"Authorization": func() (reply, error) {
					return s.ask(client, http.MethodGet, "/v1/things/beat", f.token, nil)
				},
				"access_token": func() (reply, error) {
					return s.ask(client, http.MethodGet, "/v1/things/beat?access_token="+f.token, "", nil)
				},
				"cookie": func() (reply, error) {
					return s.ask(client, http.MethodGet, "/v1/things/beat", "", nil, "Cookie", "watchroute="+f.token, "Sec-Fetch-Site", "same-origin")
				},
			}
			for way, ask := range ways {
				a, err := ask()
				if err != nil || a.status != http.StatusUnauthorized || !strings.Contains(a.body, "CREDENTIAL_") || a.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: HTTP %d %.300s, %v", way, a.status, a.body, err)
				}
			}
			_, err := watchroutev1.NewResourceServiceClient(conn).Get(hostile.Bearer(t.Context(), f.token), &watchroutev1.GetRequest{Name: "things/beat"})
			if status.Code(err) != codes.Unauthenticated || !strings.Contains(fmt.Sprint(status.Convert(err).Details()...), "CREDENTIAL_") {
				t.Errorf("gRPC: %v", err)
			}
			c, err := hostile.Dial(t.Context(), "127.0.0.51", s.HTTP, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			w, err := hostile.UpgradeWebSocket(c, "/v1/things/watch", nil)
			if err != nil || w.Answer.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("WebSocket: %v, %v", w, err)
			}
			_, _ = w.Write(authenticate(f.token))
			if code, err := w.CloseCode(); err != nil || code < 4000 {
				t.Errorf("WebSocket: close code %d, %v", code, err)
			}
			if len(f.token) > 40 && strings.Contains(s.Logs(), f.token[20:40]+f.token[40:min(60, len(f.token))]) {
				t.Error("the log has it")
			}
		})
	}
	s.alive("forged tokens")
}

// TestHostile_TenantsStayApart: neither a claim that the issuer may not make, nor a header,
// nor the tokens of one tenant lead to what another one has.
func TestHostile_TenantsStayApart(t *testing.T) {
	s := besiege(t, false)
	token := func(iss, tenant string) string {
		claims := s.claims("x", "writer")
		claims["iss"] = iss
		if tenant != "" {
			claims["tenant"] = tenant
		}
		return hostile.JWT(map[string]any{"alg": "HS256"}, claims, s.secret)
	}
	client := hostile.HTTPClient("127.0.0.52", nil)
	defer client.CloseIdleConnections()
	owners := map[string]string{"": token("shop", ""), "a": token("shop", "a"), "b": token("shop", "b"), "fixed": token("fixed", "")}
	for tenant, owner := range owners {
		for i := range 5 {
			a, err := s.ask(client, http.MethodPut, fmt.Sprintf("/v1/things/r%d", i), owner, strings.NewReader(`{"data":{"of":"owner-`+tenant+`."}}`))
			if err != nil || a.status != http.StatusOK {
				t.Fatalf("%v, %v", a, err)
			}
		}
	}
	// The claim of an issuer whose tenant is fixed is not looked at.
	a, err := s.ask(client, http.MethodGet, "/v1/things/r1", token("fixed", "a"), nil)
	if err != nil || a.status != http.StatusOK || !strings.Contains(a.body, "owner-fixed.") {
		t.Errorf("a tenant of its own choice: %d %s, %v", a.status, a.body, err)
	}
	// Only operators name a tenant.
	if a, err = s.ask(client, http.MethodGet, "/v1/things/r1", owners["b"], nil, "Watchroute-Tenant", "a"); err != nil || a.status != http.StatusForbidden {
		t.Errorf("another tenant named over HTTP: %d %s, %v", a.status, a.body, err)
	}
	ctx, stub := s.stub("127.0.0.52", owners["b"])
	if r, err := stub.Get(metadata.AppendToOutgoingContext(ctx, "watchroute-tenant", "a"), &watchroutev1.GetRequest{Name: "things/r1"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("another tenant named over gRPC: %v, %v", r, err)
	}
	for _, name := range []string{"a:things/r1", "a%3Athings/r1", "..%2Fa:things/r1"} {
		if a, err = s.ask(client, http.MethodGet, "/v1/"+name, owners["b"], nil); err != nil || a.status < 400 || strings.Contains(a.body, "owner-a") {
			t.Errorf("%s: %d %s, %v", name, a.status, a.body, err)
		}
	}

	// The tokens of tenant a, as they are and forged, in the hands of b.
	first, err := s.ask(client, http.MethodGet, "/v1/things?page_size=2", owners["a"], nil)
	if err != nil {
		t.Fatal(err)
	}
	var page struct{ NextPageToken, ResumeToken string }
	if err := json.Unmarshal([]byte(first.body), &page); err != nil || page.NextPageToken == "" || page.ResumeToken == "" {
		t.Fatalf("%s, %v, %v", first.body, page, err)
	}
	mine, err := resource.ParseToken("", page.ResumeToken)
	if err != nil {
		t.Fatal(err)
	}
	forged := func(change func(*resource.Token)) string {
		f := mine
		change(&f)
		return f.String()
	}
	own, err := s.ask(client, http.MethodGet, "/v1/things?page_size=2", owners["b"], nil)
	if err != nil {
		t.Fatal(err)
	}
	var ownPage struct{ ResumeToken string }
	if err := json.Unmarshal([]byte(own.body), &ownPage); err != nil {
		t.Fatalf("%s, %v", own.body, err)
	}
	later, err := resource.ParseToken("", ownPage.ResumeToken)
	if err != nil {
		t.Fatal(err)
	}
	ahead := func(revision uint64) string {
		f := later
		f.Revision = revision
		return f.String()
	}
	resumes := map[string]string{
		"of another tenant":                page.ResumeToken,
		"of b in name":                     forged(func(f *resource.Token) { f.Collection = "b:things" }),
		"of the nameless tenant":           forged(func(f *resource.Token) { f.Collection = "things" }),
		"of the keys":                      forged(func(f *resource.Token) { f.Collection = "system.keys" }),
		"from the beginning":               ahead(0),
		"from the future":                  ahead(1 << 62),
		"from the end of numbers":          ahead(1<<64 - 1),
		"of another life":                  forged(func(f *resource.Token) { f.Collection, f.Epoch = "b:things", 7 }),
		"of another scope":                 forged(func(f *resource.Token) { f.Collection, f.Scope = "b:things", 7 }),
		"mutilated":                        page.ResumeToken[:len(page.ResumeToken)-2] + "AA",
		"of 200 KB, which no URL can hold": strings.Repeat("A", 200_000),
	}
	for name, resume := range resumes {
		for _, way := range []string{"/v1/things/watch?wait=50ms&resume_token=", "/v1/things/watch?resume_token="} {
			s.seesNothing(t, client, "a resume token "+name, way+url.QueryEscape(resume), owners["b"])
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(page.NextPageToken)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{"of another tenant": page.NextPageToken, "mutilated": page.NextPageToken[:10], "nothing": "AAAA",
		"with a strange place": base64.RawURLEncoding.EncodeToString(append(bytes.Clone(raw[:24]), "../../a:things"...))}
	for name, revision := range map[string]uint64{"of revision 0": 0, "of a future revision": 1 << 40, "of the last number": 1<<64 - 1} {
		changed := bytes.Clone(raw)
		binary.BigEndian.PutUint64(changed[16:], revision)
		pages[name] = base64.RawURLEncoding.EncodeToString(changed)
	}
	for name, token := range pages {
		s.seesNothing(t, client, "a page token "+name, "/v1/things?page_size=2&page_token="+url.QueryEscape(token), owners["b"])
	}
	if _, err := s.put("things/beat", `{"n":0}`); err != nil {
		t.Fatal(err)
	}
	s.alive("forged tokens of places")
}

// seesNothing asks, and reads for a moment what comes: no fault of the node's, and nothing
// of others.
func (s *siege) seesNothing(t *testing.T, client *http.Client, what, path, token string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // a stream has no end
	defer cancel()
	resp, err := s.do(ctx, client, http.MethodGet, path, token, nil)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // until the context ends
	if resp.StatusCode >= 500 || bytes.Contains(body, []byte("INTERNAL")) {
		t.Errorf("%s: HTTP %d %.300s", what, resp.StatusCode, body)
	}
	for _, other := range []string{"owner-a.", "owner-.", "owner-fixed.", "$argon2"} {
		if bytes.Contains(body, []byte(other)) {
			t.Errorf("%s shows what others have: %.300s", what, body)
		}
	}
	t.Logf("%s: HTTP %d %.160s", what, resp.StatusCode, body)
}

// TestHostile_PagesOfOtherSites: what a browser sends along is not taken for the user's
// wish, on any way to watch or to write.
func TestHostile_PagesOfOtherSites(t *testing.T) {
	s := besiege(t, false)
	if _, err := s.put("things/beat", `{"n":0}`); err != nil {
		t.Fatal(err)
	}
	client := hostile.HTTPClient("127.0.0.53", nil)
	defer client.CloseIdleConnections()
	cookie := "watchroute=" + s.token("w", "writer")
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}
	for name, from := range map[string][]string{
		"cross-origin":        {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
		"an old browser":      {"Origin", "https://evil.example"},
		"no origin":           {"Origin", "null", "Sec-Fetch-Site", "cross-site"},
		"another port":        {"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"},
		"a name like its":     {"Origin", "http://" + s.HTTP + ".evil.example", "Sec-Fetch-Site", "cross-site"},
		"a user like its":     {"Origin", "http://" + s.HTTP + "@evil.example", "Sec-Fetch-Site", "cross-site"},
		"only the fetch says": {"Sec-Fetch-Site", "cross-site"},
	} {
		for what, c := range map[string]struct {
			method, path string
			header       []string
		}{
			"get":       {http.MethodGet, "/v1/things/beat", nil},
			"watch":     {http.MethodGet, "/v1/things/watch", []string{"Accept", "text/event-stream"}},
			"put":       {http.MethodPut, "/v1/things/beat", []string{"Content-Type", "text/plain"}},
			"delete":    {http.MethodDelete, "/v1/things/beat", nil},
			"WebSocket": {http.MethodGet, "/v1/things/watch", upgrade},
			"session":   {http.MethodGet, "/v1/session", upgrade},
			"gRPC-Web":  {http.MethodPost, "/watchroute.v1.ResourceService/Get", []string{"Content-Type", "application/grpc-web+proto", "X-Grpc-Web", "1"}},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				a, err := s.ask(client, c.method, c.path, "", strings.NewReader(""), append(append([]string{"Cookie", cookie}, from...), c.header...)...)
				if err != nil || a.status != http.StatusForbidden {
					t.Errorf("HTTP %d %.200s %v, %v", a.status, a.body, a.header, err)
				}
				if allowed := a.header.Get("Access-Control-Allow-Origin"); allowed != "" {
					t.Errorf("it is allowed: %q", allowed)
				}
			})
		}
	}
	s.alive("other sites")
}

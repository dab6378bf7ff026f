package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink keeps what it takes.
type sink struct {
	connected chan struct{}
	takes     [][]sources.Event
	taking    func(context.Context, []sources.Event) error // nil: all goes well
}

func (s *sink) Connected() { close(s.connected) }

func (s *sink) Lag(string, int64) {}

func (s *sink) Pass(context.Context, string, string) error { return nil }

func (s *sink) Take(ctx context.Context, events []sources.Event) error {
	s.takes = append(s.takes, slices.Clone(events))
	if s.taking != nil {
		return s.taking(ctx, events)
	}
	return nil
}

// fixture is a source that runs.
type fixture struct {
	*Source
	sink   *sink
	cancel context.CancelFunc
	ended  chan error
}

type nowhere struct{}

func (nowhere) Position(string) string { return "" }

func (nowhere) All() map[string]string { return nil }

func secret(t *testing.T, text string) *watchroutev1.Secret {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, text)
	return &watchroutev1.Secret{At: &watchroutev1.Secret_File{File: file}}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func place(t *testing.T, w *watchroutev1.WebhookSource) *Source {
	t.Helper()
	s, err := New(&watchroutev1.Source{SourceId: "shop", Connector: &watchroutev1.Source_Webhook{Webhook: w}})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source)
}

func start(t *testing.T, w *watchroutev1.WebhookSource, change ...func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{Source: place(t, w), sink: &sink{connected: make(chan struct{})}, ended: make(chan error, 1)}
	for _, c := range change {
		c(f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go func() {
		f.ended <- f.Run(ctx, nowhere{}, f.sink)
		close(f.ended)
	}()
	<-f.sink.connected
	t.Cleanup(func() {
		cancel()
		<-f.ended
	})
	return f
}

// withToken is a source that asks for the token `sesame`.
func withToken(t *testing.T, change ...func(*fixture)) *fixture {
	t.Helper()
	return start(t, &watchroutev1.WebhookSource{Token: secret(t, "sesame\n")}, change...)
}

// post posts, with the token and with pairs of headers.
func (s *Source) post(body string, headers ...string) *httptest.ResponseRecorder {
	return s.do(httptest.NewRequest(http.MethodPost, Path+"shop", strings.NewReader(body)), headers...)
}

func (s *Source) do(r *http.Request, headers ...string) *httptest.ResponseRecorder {
	r.Header.Set("Authorization", "Bearer sesame")
	for i := 0; i < len(headers); i += 2 {
		r.Header[http.CanonicalHeaderKey(headers[i])] = []string{headers[i+1]}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// refused checks an answer that is an error.
func refused(t *testing.T, w *httptest.ResponseRecorder, code int, reason resource.Reason) (message string) {
	t.Helper()
	var said struct {
		Message string
		Details []struct{ Reason string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil {
		t.Fatalf("%d with %q: %v", w.Code, w.Body, err)
	}
	if w.Code != code || len(said.Details) == 0 || said.Details[0].Reason != reason.String() || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s %s, want %d with the reason %v", w.Code, w.Header(), w.Body, code, reason)
	}
	return said.Message
}

func took(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != http.StatusAccepted || w.Body.Len() > 0 {
		t.Errorf("got %d %s, want 202", w.Code, w.Body)
	}
}

func cloudEvent(id string) string {
	return fmt.Sprintf(`{"specversion":"1.0", "type":"order.placed", "source":"/shop", "id":%q, "time":"2026-01-02T03:04:05Z", "data":{"n":1}}`, id)
}

var happened = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func sign(key, body string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	env := &watchroutev1.Secret{At: &watchroutev1.Secret_Env{Env: "X"}}
	for name, test := range map[string]struct {
		config *watchroutev1.WebhookSource
		field  string
	}{
		"no secret":                 {&watchroutev1.WebhookSource{}, "webhook"},
		"nothing":                   {nil, "webhook"},
		"an hmac nowhere":           {&watchroutev1.WebhookSource{Hmac: &watchroutev1.Secret{}}, "webhook.hmac"},
		"a token nowhere":           {&watchroutev1.WebhookSource{Hmac: env, Token: &watchroutev1.Secret{}}, "webhook.token"},
		"a header without an hmac":  {&watchroutev1.WebhookSource{Token: env, SignatureHeader: "X-Sig"}, "webhook.signature_header"},
		"a header that is not one":  {&watchroutev1.WebhookSource{Hmac: env, SignatureHeader: "X Sig"}, "webhook.signature_header"},
		"both, and a header: works": {&watchroutev1.WebhookSource{Hmac: env, Token: env, SignatureHeader: "X-Sig"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(&watchroutev1.Source{Connector: &watchroutev1.Source_Webhook{Webhook: test.config}})
			if test.field == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := new(resource.Error); !errors.As(err, &e) || e.Reason != resource.InvalidField || e.Metadata["field"] != test.field {
				t.Errorf("got %v, want INVALID_FIELD in %s", err, test.field)
			}
		})
	}
}

func TestRun_NeedsItsSecrets(t *testing.T) {
	missing := &watchroutev1.Secret{At: &watchroutev1.Secret_File{File: filepath.Join(t.TempDir(), "none")}}
	for name, w := range map[string]*watchroutev1.WebhookSource{
		"a missing token": {Token: missing},
		"a missing hmac":  {Hmac: missing},
		"an empty token":  {Hmac: secret(t, "x"), Token: secret(t, "\n")},
		"an empty hmac":   {Hmac: secret(t, "")},
	} {
		t.Run(name, func(t *testing.T) {
			s := place(t, w)
			if err := s.Run(t.Context(), nowhere{}, &sink{}); err == nil || sources.IsPermanent(err) {
				t.Errorf("got %v, want an error that may pass", err)
			}
			refused(t, s.post(cloudEvent("1"), "Content-Type", structured), http.StatusServiceUnavailable, resource.StoreUnavailable)
		})
	}
}

func TestServe_TakesAllContentModes(t *testing.T) {
	f := withToken(t)
	one, two := cloudEvent("1"), cloudEvent("2 ü")
	took(t, f.post(one, "Content-Type", structured+"; charset=utf-8", "traceparent", "00-1-2-00"))
	took(t, f.post(" [ "+one+" ,\n"+two+"]", "Content-Type", batch))
	took(t, f.post("[]", "Content-Type", batch))
	took(t, f.post("<a/>", "Content-Type", "application/xml; x=y", "ce-specversion", "1.0", "ce-id", "3%20%E2%82%AC", "ce-source", `"/shop"`, "ce-type", "order.placed",
		"ce-time", "2026-01-02T03:04:05Z", "ce-subject", "100%", "ce-traceparent", "00-3-4-00", "cookie", "secret"))
	took(t, f.post(`{"n":4}`, "ce-specversion", "1.0", "ce-id", "4", "ce-source", "mailto:a b", "ce-type", "order.placed", "ce-dataschema", "https://shop.example/order"))
	f.cancel()
	if err := <-f.ended; err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	want := []sources.Event{
		{ID: "/shop 1", Value: []byte(one), ContentType: structured, Headers: map[string]string{"traceparent": "00-1-2-00"}, Time: happened},
		{ID: "/shop 1", Value: []byte(one), ContentType: structured, Time: happened},
		{ID: "/shop 2 ü", Value: []byte(two), ContentType: structured, Time: happened},
		{ID: "/shop 3 €", Value: []byte("<a/>"), ContentType: "application/xml; x=y", Time: happened, Headers: map[string]string{"ce-specversion": "1.0", "ce-id": "3 €",
			"ce-source": "/shop", "ce-type": "order.placed", "ce-time": "2026-01-02T03:04:05Z", "ce-subject": "100%", "ce-traceparent": "00-3-4-00", "traceparent": "00-3-4-00"}},
		{ID: "mailto:a%20b 4", Value: []byte(`{"n":4}`), Time: now, Headers: map[string]string{"ce-specversion": "1.0", "ce-id": "4", "ce-source": "mailto:a b",
			"ce-type": "order.placed", "ce-dataschema": "https://shop.example/order"}},
	}
	got := slices.Concat(f.sink.takes...)
	if len(got) != len(want) {
		t.Fatalf("%d events were taken, want %d", len(got), len(want))
	}
	for i := range want {
		want[i].Topic = Path + "shop"
		if want[i].Headers == nil {
			want[i].Headers = map[string]string{}
		}
		if d := got[i].Time.Sub(want[i].Time).Abs(); d > time.Minute {
			t.Errorf("event %d: the time is %v, want %v", i, got[i].Time, want[i].Time)
		}
		got[i].Time = want[i].Time
		if g, w := fmt.Sprintf("%+v", got[i]), fmt.Sprintf("%+v", want[i]); g != w {
			t.Errorf("event %d:\ngot  %s\nwant %s", i, g, w)
		}
	}
}

func TestServe_RefusesWhatIsNoCloudEvent(t *testing.T) {
	f := withToken(t)
	binary := func(more ...string) []string {
		return append([]string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/s", "ce-type", "t"}, more...)
	}
	for name, test := range map[string]struct {
		body    string
		headers []string
		code    int
		says    string
	}{
		"JSON":                      {`{"a":1}`, []string{"Content-Type", "application/json"}, 415, "a CloudEvent is expected"},
		"nothing at all":            {"", nil, 415, "a CloudEvent is expected"},
		"another format":            {cloudEvent("1"), []string{"Content-Type", family + "+avro", "ce-specversion", "1.0"}, 415, family + "+avro"},
		"compressed":                {cloudEvent("1"), []string{"Content-Type", structured, "Content-Encoding", "gzip"}, 415, "gzip"},
		"other JSON":                {`{"a":1}`, []string{"Content-Type", structured}, 400, "no specversion"},
		"not JSON":                  {cloudEvent("1") + "x", []string{"Content-Type", structured}, 400, "not JSON"},
		"not UTF-8":                 {strings.Replace(cloudEvent("1"), "/shop", "/sh\xffop", 1), []string{"Content-Type", structured}, 400, "not UTF-8"},
		"no id":                     {cloudEvent(""), []string{"Content-Type", structured}, 400, "id: MUST be"},
		"an older version":          {strings.Replace(cloudEvent("1"), "1.0", "0.3", 1), []string{"Content-Type", structured}, 400, `specversion is "0.3"`},
		"data that crashes the SDK": {strings.Replace(cloudEvent("1"), `"data":{"n":1}`, `"data_base64":1`, 1), []string{"Content-Type", structured}, 400, "wrong type"},
		"an error within a rune":    {`{"specversion":"1.0","id":1,"type":"` + strings.Repeat("ü", 6) + `"}`, []string{"Content-Type", structured}, 400, "not a CloudEvent"},
		"no list":                   {cloudEvent("1"), []string{"Content-Type", batch}, 400, "not a JSON list"},
		"a list with a bad one":     {"[" + cloudEvent("1") + "," + cloudEvent("") + "]", []string{"Content-Type", batch}, 400, "[1]: not a valid CloudEvent: id"},
		"a list with a number":      {"[" + cloudEvent("1") + ",7]", []string{"Content-Type", batch}, 400, "[1]: "},
		"a list that does not end":  {"[" + cloudEvent("1"), []string{"Content-Type", batch}, 400, "does not end"},
		"a list cut in two":         {"[" + cloudEvent("1")[:20], []string{"Content-Type", batch}, 400, "[0]: not JSON"},
		"a list and more":           {"[" + cloudEvent("1") + "][]", []string{"Content-Type", batch}, 400, "follows the list"},
		"binary, another version":   {"", binary("ce-specversion", "0.3"), 400, "expected 1.0"},
		"binary, no id":             {"", binary("ce-id", " "), 400, "id: MUST be"},
		"binary, a wrong time":      {"", binary("ce-time", "noon"), 400, "ce-time"},
		"binary, a wrong name":      {"", binary("ce-a_b", "1"), 400, "MUST consist of"},
		"binary, a wrong type":      {"", binary("Content-Type", "a/b/c"), 400, "datacontenttype"},
		"binary, not UTF-8":         {"", binary("ce-x", "%FF"), 400, "ce-x is not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			reason := resource.InvalidValue
			if test.code == http.StatusUnsupportedMediaType {
				reason = resource.Unsupported
			}
			if said := refused(t, f.post(test.body, test.headers...), test.code, reason); !strings.Contains(said, test.says) || strings.Contains(said, "\n") {
				t.Errorf("it says %q, want %q in it", said, test.says)
			}
		})
	}
	f.cancel()
	<-f.ended
	if len(f.sink.takes) > 0 {
		t.Errorf("took %+v", f.sink.takes)
	}
}

func TestServe_AsksForEverySecretThatItHas(t *testing.T) {
	body := cloudEvent("1")
	right, other := sign("key", body), sign("lock", body)
	const authorization = "Authorization"
	for name, test := range map[string]struct {
		hmac, token bool
		header      string
		shown       []string
		reason      resource.Reason // 0: it is taken
	}{
		"a signature":               {hmac: true, shown: []string{SignatureHeader, right}},
		"with its algorithm":        {hmac: true, shown: []string{SignatureHeader, "sha256=" + strings.ToUpper(right)}},
		"in a header of one's own":  {hmac: true, header: "X-Hub-Signature-256", shown: []string{"X-Hub-Signature-256", right}},
		"in another header":         {hmac: true, header: "X-Hub-Signature-256", shown: []string{SignatureHeader, right}, reason: resource.CredentialMissing},
		"a wrong signature":         {hmac: true, shown: []string{SignatureHeader, other}, reason: resource.CredentialInvalid},
		"a cut signature":           {hmac: true, shown: []string{SignatureHeader, right[:62]}, reason: resource.CredentialInvalid},
		"a signature of the prefix": {hmac: true, shown: []string{SignatureHeader, "sha256="}, reason: resource.CredentialInvalid},
		"no hex":                    {hmac: true, shown: []string{SignatureHeader, "?"}, reason: resource.CredentialInvalid},
		"no signature":              {hmac: true, reason: resource.CredentialMissing},
		"a token":                   {token: true, shown: []string{authorization, "bearer sesame"}},
		"a wrong token":             {token: true, shown: []string{authorization, "Bearer sesam"}, reason: resource.CredentialInvalid},
		"an empty token":            {token: true, shown: []string{authorization, "Bearer "}, reason: resource.CredentialInvalid},
		"no token":                  {token: true, shown: []string{authorization, ""}, reason: resource.CredentialMissing},
		"another scheme":            {token: true, shown: []string{authorization, "Basic sesame"}, reason: resource.CredentialMissing},
		"both":                      {hmac: true, token: true, shown: []string{SignatureHeader, right}},
		"only one of both":          {hmac: true, token: true, reason: resource.CredentialMissing},
		"only the other":            {hmac: true, token: true, shown: []string{SignatureHeader, right, authorization, ""}, reason: resource.CredentialMissing},
	} {
		t.Run(name, func(t *testing.T) {
			w := &watchroutev1.WebhookSource{SignatureHeader: test.header}
			if test.hmac {
				w.Hmac = secret(t, "key\n")
			}
			if test.token {
				w.Token = secret(t, "sesame\n")
			}
			f := start(t, w)
			got := f.post(body, append([]string{"Content-Type", structured}, test.shown...)...)
			f.cancel()
			<-f.ended
			if test.reason == 0 {
				took(t, got)
			} else {
				refused(t, got, http.StatusUnauthorized, test.reason)
			}
			if (len(f.sink.takes) > 0) != (test.reason == 0) {
				t.Errorf("%d batches were taken", len(f.sink.takes))
			}
		})
	}
}

// A signed body could otherwise be sent again with headers that nobody signed.
func TestServe_BinaryEventNeedsAToken(t *testing.T) {
	body := cloudEvent("1")
	headers := []string{"ce-specversion", "1.0", "ce-id", "forged", "ce-source", "/s", "ce-type", "t", SignatureHeader, sign("key", body)}
	refused(t, start(t, &watchroutev1.WebhookSource{Hmac: secret(t, "key")}).post(body, headers...), http.StatusUnsupportedMediaType, resource.Unsupported)
	took(t, start(t, &watchroutev1.WebhookSource{Hmac: secret(t, "key"), Token: secret(t, "sesame")}).post(body, headers...))
}

func TestServe_SameEventAgainHasTheSameID(t *testing.T) {
	f := withToken(t)
	took(t, f.post(cloudEvent("1"), "Content-Type", structured))
	took(t, f.post(cloudEvent("1"), "Content-Type", structured))
	took(t, f.post("other data", "ce-specversion", "1.0", "ce-id", "1", "ce-source", "/shop", "ce-type", "t"))
	took(t, f.post("other source", "ce-specversion", "1.0", "ce-id", "1", "ce-source", "/other", "ce-type", "t"))
	f.cancel()
	<-f.ended
	ids := map[string]int{}
	for _, e := range slices.Concat(f.sink.takes...) {
		ids[e.ID]++
	}
	if ids["/shop 1"] != 3 || ids["/other 1"] != 1 {
		t.Errorf("got %v", ids)
	}
}

func TestServe_SecretsAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := secret(t, "sesame")
		f := start(t, &watchroutev1.WebhookSource{Token: token})
		write(t, token.GetFile(), "thyme")
		time.Sleep(f.SecretAge)
		synctest.Wait()
		refused(t, f.post(cloudEvent("1"), "Content-Type", structured), http.StatusUnauthorized, resource.CredentialInvalid)
		took(t, f.post(cloudEvent("1"), "Content-Type", structured, "Authorization", "Bearer thyme"))
		write(t, token.GetFile(), "")
		if err := <-f.ended; err == nil || sources.IsPermanent(err) {
			t.Errorf("without a secret Run returned %v", err)
		}
		refused(t, f.post(cloudEvent("1"), "Content-Type", structured, "Authorization", "Bearer thyme"), http.StatusServiceUnavailable, resource.StoreUnavailable)
	})
}

func TestServe_WhatWaitsIsTakenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		f := withToken(t, func(f *fixture) {
			f.sink.taking = func(context.Context, []sources.Event) error {
				<-gate
				return nil
			}
		})
		answers := make(chan *httptest.ResponseRecorder, 10)
		for i := range 10 {
			go func() { answers <- f.post(cloudEvent(fmt.Sprint(i)), "Content-Type", structured) }()
			synctest.Wait()
		}
		if len(answers) > 0 {
			t.Errorf("%d were answered before anything was durable", len(answers))
		}
		gate <- struct{}{}
		synctest.Wait()
		if len(answers) != 1 || len(f.sink.takes) != 2 || len(f.sink.takes[0]) != 1 || len(f.sink.takes[1]) != 9 {
			t.Errorf("%d answers to %d batches, want 1 and, after the first, one of 9", len(answers), len(f.sink.takes))
		}
		gate <- struct{}{}
		for range 10 {
			took(t, <-answers)
		}
	})
}

func TestServe_LargeBatchIsTakenInParts(t *testing.T) {
	f := withToken(t)
	var all []string
	for i := range mostEvents*2 + 1 {
		all = append(all, cloudEvent(fmt.Sprint(i)))
	}
	took(t, f.post("["+strings.Join(all, ",")+"]", "Content-Type", batch))
	f.cancel()
	<-f.ended
	var got []string
	for _, events := range f.sink.takes {
		if len(events) > mostEvents {
			t.Errorf("%d were taken at once", len(events))
		}
		for _, e := range events {
			got = append(got, string(e.Value))
		}
	}
	if !slices.Equal(got, all) {
		t.Errorf("%d of %d events, or in another order", len(got), len(all))
	}
}

func TestServe_WhatIsNotTakenIsToBeSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, gate := errors.New("the disk is full of secrets"), make(chan struct{})
		f := withToken(t, func(f *fixture) {
			f.sink.taking = func(context.Context, []sources.Event) error {
				<-gate
				return full
			}
		})
		answers := make(chan *httptest.ResponseRecorder, 2)
		for range 2 { // the second one waits for its turn, which does not come
			go func() { answers <- f.post(cloudEvent("1"), "Content-Type", structured) }()
		}
		synctest.Wait()
		close(gate)
		if err := <-f.ended; !errors.Is(err, full) {
			t.Errorf("Run returned %v, want what Take said", err)
		}
		for range 2 {
			w := <-answers
			if said := refused(t, w, http.StatusServiceUnavailable, resource.StoreUnavailable); strings.Contains(said, "disk") || w.Header().Get("Retry-After") != "2" {
				t.Errorf("it says %q, Retry-After: %q", said, w.Header().Get("Retry-After"))
			}
		}
	})
}

func TestServe_NotRunning(t *testing.T) {
	check := func(s *Source) {
		t.Helper()
		w := s.post(cloudEvent("1"), "Content-Type", structured)
		refused(t, w, http.StatusServiceUnavailable, resource.StoreUnavailable)
		if w.Header().Get("Retry-After") == "" {
			t.Error("Retry-After is missing")
		}
	}
	check(place(t, &watchroutev1.WebhookSource{Token: secret(t, "sesame")}))
	f := withToken(t)
	f.cancel()
	if err := <-f.ended; err != nil {
		t.Errorf("Run returned %v when it was to end", err)
	}
	check(f.Source)
}

func TestRun_EndsWhileItTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := withToken(t, func(f *fixture) {
			f.sink.taking = func(ctx context.Context, _ []sources.Event) error {
				<-ctx.Done()
				return ctx.Err()
			}
		})
		answer := make(chan *httptest.ResponseRecorder, 1)
		go func() { answer <- f.post(cloudEvent("1"), "Content-Type", structured) }()
		synctest.Wait()
		f.cancel()
		if err := <-f.ended; err != nil {
			t.Errorf("Run returned %v when it was to end", err)
		}
		refused(t, <-answer, http.StatusServiceUnavailable, resource.StoreUnavailable)
	})
}

func TestServe_BoundsBodies(t *testing.T) {
	f := withToken(t, func(f *fixture) { f.MaxBytes, f.MaxHeldBytes = 1000, 2500 })
	fits := cloudEvent(strings.Repeat("i", 1000-len(cloudEvent(""))))
	took(t, f.post(fits, "Content-Type", structured))
	refused(t, f.post(fits+" ", "Content-Type", structured), http.StatusRequestEntityTooLarge, resource.TooLarge)

	// Two callers that have sent 900 bytes each, and then send no more.
	var stalled []*io.PipeWriter
	answers := make(chan *httptest.ResponseRecorder, 2)
	for range 2 {
		in, out := io.Pipe()
		stalled = append(stalled, out)
		go func() {
			answers <- f.do(httptest.NewRequest(http.MethodPost, Path+"shop", in), "Content-Type", structured)
		}()
		if _, err := io.WriteString(out, fits[:900]); err != nil {
			t.Fatal(err)
		}
	}
	took(t, f.post(cloudEvent("1"), "Content-Type", structured))
	w := f.post(fits, "Content-Type", structured)
	refused(t, w, http.StatusTooManyRequests, resource.LimitReached)
	if w.Header().Get("Retry-After") == "" {
		t.Error("Retry-After is missing")
	}
	for _, out := range stalled {
		_ = out.CloseWithError(errors.New("gone"))
		refused(t, <-answers, http.StatusBadRequest, resource.InvalidField)
	}
	took(t, f.post(fits, "Content-Type", structured))
	if held := f.held.Load(); held != 0 {
		t.Errorf("%d bytes are held by nobody", held)
	}
}

func TestServe_SlowBodyIsGivenUp(t *testing.T) {
	f := withToken(t, func(f *fixture) { f.BodyTimeout = 10 * time.Millisecond })
	server := httptest.NewServer(f)
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	in, out := io.Pipe()
	defer func() { _ = out.Close() }()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, in)
	r.Header.Set("Authorization", "Bearer sesame")
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("got %s", resp.Status)
	}
}

func TestServe_Handshake(t *testing.T) {
	s := place(t, &watchroutev1.WebhookSource{Hmac: secret(t, "key")})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodOptions, Path+"shop", nil)
	r.Header.Set("WebHook-Request-Origin", "eventemitter.example.com")
	r.Header.Set("WebHook-Request-Rate", "120")
	s.ServeHTTP(w, r)
	if h := w.Header(); w.Code != http.StatusOK || h.Get("WebHook-Allowed-Origin") != "eventemitter.example.com" || h.Get("WebHook-Allowed-Rate") != "*" || h.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("got %d %v", w.Code, h)
	}
	w = httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodOptions, Path+"shop", nil))
	if h := w.Header(); w.Code != http.StatusOK || h.Get("WebHook-Allowed-Origin") != "" || h.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("to who did not ask: %d %v", w.Code, h)
	}
	w = httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, Path+"shop", nil))
	refused(t, w, http.StatusMethodNotAllowed, resource.Unsupported)
	if w.Header().Get("Allow") != "POST, OPTIONS" {
		t.Errorf("Allow: %q", w.Header().Get("Allow"))
	}
}

package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/process"
)

// answer is what curl got.
type answer struct {
	status  string
	headers map[string]string // names in lower case
	body    string
}

// curl runs the real curl to its end.
func curl(t testing.TB, args ...string) answer {
	t.Helper()
	out, errs, code := output(t, exec.Command(tool(t, "curl"), append([]string{"-sS", "-i", "--max-time", "30"}, args...)...))
	if code != 0 {
		t.Fatalf("curl %s: exit code %d: %s", strings.Join(args, " "), code, errs)
	}
	head, body, _ := strings.Cut(out, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	a := answer{status: strings.Fields(lines[0])[1], headers: map[string]string{}, body: body}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		a.headers[strings.ToLower(name)] = value
	}
	return a
}

// curlN starts `curl -N`, which shows what comes as it comes.
func curlN(t testing.TB, args ...string) *command {
	t.Helper()
	cmd := exec.Command(tool(t, "curl"), append([]string{"-sS", "-N"}, args...)...)
	cmd.Env = process.Env()
	return start(t, cmd)
}

func (a *answer) json(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("the body %q: %v", a.body, err)
	}
}

// note is a resource of a collection without a schema.
type note struct {
	Name     string          `json:"name"`
	Revision string          `json:"revision"`
	ETag     string          `json:"etag"`
	Data     json.RawMessage `json:"data"`
}

// watchLine is what the tests read of a watch's JSON.
type watchLine struct {
	Revision    string `json:"revision"`
	ResumeToken string `json:"resumeToken"`
	Started     *struct {
		Mode string `json:"mode"`
	} `json:"started"`
	Events *struct {
		Events []struct {
			State    string `json:"state"`
			Cause    string `json:"cause"`
			Resource note   `json:"resource"`
		} `json:"events"`
	} `json:"events"`
	SnapshotEnd *struct{} `json:"snapshotEnd"`
	Reset       *struct {
		Reason string `json:"reason"`
	} `json:"reset"`
}

func parse[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

// put writes a note with curl.
func put(t testing.TB, s *process.Server, name, data string) note {
	t.Helper()
	a := curl(t, "-X", "PUT", s.URL("/v1/"+name), "-H", "Content-Type: application/json", "-d", `{"data":`+data+`}`)
	if a.status != "200" {
		t.Fatalf("PUT %s: %s %s", name, a.status, a.body)
	}
	var r struct {
		Resource note `json:"resource"`
	}
	a.json(t, &r)
	return r.Resource
}

func TestCurl_NDJSONComesAsItHappens(t *testing.T) {
	s := process.Start(t, process.Options{Variant: process.Race})
	put(t, s, "notes/1", `{"text":"hi"}`)
	watch := curlN(t, s.URL("/v1/notes/watch")) // no Accept but curl's own
	watch.line(contains(`"started"`, `"SNAPSHOT"`))
	first := watch.line(contains(`"notes/1"`))
	if !strings.Contains(first, `"data":{"text":"hi"}`) || strings.Contains(first, "@type") {
		t.Errorf("the value is not plain JSON: %s", first)
	}
	end := parse[watchLine](t, watch.line(contains(`"snapshotEnd"`)))
	if end.ResumeToken == "" {
		t.Error("the end of the snapshot has no token")
	}
	for i := range 3 {
		began := time.Now()
		put(t, s, fmt.Sprintf("notes/n%d", i), `{"i":`+fmt.Sprint(i)+`}`)
		line := parse[watchLine](t, watch.line(contains(`"events"`)))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the change came after %v", took)
		}
		if e := line.Events.Events[0]; e.Cause != "CREATED" || e.Resource.Name != fmt.Sprintf("notes/n%d", i) || line.ResumeToken == "" {
			t.Errorf("got %+v", line)
		}
	}
	if a := curl(t, "-X", "DELETE", s.URL("/v1/notes/1")); a.status != "200" {
		t.Errorf("DELETE: %s %s", a.status, a.body)
	}
	gone := parse[watchLine](t, watch.line(contains(`"events"`)))
	if e := gone.Events.Events[0]; e.State != "ABSENT" || e.Cause != "DELETED" || e.Resource.Name != "notes/1" || e.Resource.Data != nil {
		t.Errorf("got %+v", gone)
	}

	// The other spelling of the URL, the token, and the name of one resource.
	again := curlN(t, s.URL("/v1/notes:watch?resume_token="+url.QueryEscape(end.ResumeToken)))
	again.line(contains(`"started"`, `"RESUMED"`))
	for i := range 3 {
		again.line(contains(fmt.Sprintf(`"notes/n%d"`, i)))
	}
	one := curlN(t, s.URL("/v1/notes/n1/watch"))
	one.line(contains(`"notes/n1"`))
	one.line(contains(`"snapshotEnd"`))
	put(t, s, "notes/n0", `{"i":100}`)
	put(t, s, "notes/n1", `{"i":101}`)
	if line := one.line(contains(`"events"`)); !strings.Contains(line, `"data":{"i":101}`) {
		t.Errorf("a watch of notes/n1 was told %s", line)
	}
}

func TestCurl_ServerSentEvents(t *testing.T) {
	s := process.Start(t, process.Options{Variant: process.Race})
	put(t, s, "notes/1", `{"text":"hi"}`)
	headers := curl(t, "-H", "Accept: text/event-stream", s.URL("/v1/notes/watch"), "-X", "GET", "-I")
	if headers.status != "200" || headers.headers["content-type"] != "text/event-stream" || headers.headers["x-accel-buffering"] != "no" ||
		!strings.Contains(headers.headers["cache-control"], "no-") {
		t.Errorf("headers: %+v", headers)
	}
	watch := curlN(t, "-H", "Accept: text/event-stream", s.URL("/v1/notes/watch"))
	exact := func(want string) { watch.line(func(line string) bool { return line == want }) }
	exact("event: started")
	watch.line(func(line string) bool { return strings.HasPrefix(line, "retry: ") })
	exact("event: change")
	if line := watch.line(func(line string) bool { return strings.HasPrefix(line, "data: ") }); !strings.Contains(line, `"data":{"text":"hi"}`) {
		t.Errorf("got %s", line)
	}
	exact("event: snapshot_end")
	id := strings.TrimPrefix(watch.line(func(line string) bool { return strings.HasPrefix(line, "id: ") }), "id: ")
	put(t, s, "notes/2", `{"text":"ho"}`)
	exact("event: change")

	// As a browser resumes: by the header; and for the first connect by the query.
	for _, args := range [][]string{
		{"-H", "Last-Event-ID: " + id, s.URL("/v1/notes/watch")},
		{s.URL("/v1/notes/watch?last_event_id=" + url.QueryEscape(id))},
	} {
		again := curlN(t, append([]string{"-H", "Accept: text/event-stream"}, args...)...)
		again.line(contains(`"mode":"RESUMED"`))
		again.line(func(line string) bool { return line == "event: change" })
		again.line(contains("data: ", `"notes/2"`))
	}
}

func TestCurl_LongPollGoesOnFromTheToken(t *testing.T) {
	s := process.Start(t, process.Options{Variant: process.Race})
	put(t, s, "notes/1", `{"text":"hi"}`)
	type polled struct {
		Responses   []watchLine `json:"responses"`
		ResumeToken string      `json:"resumeToken"`
	}
	poll := func(wait, token string) polled {
		t.Helper()
		a := curl(t, s.URL("/v1/notes/watch?wait="+wait+"&resume_token="+url.QueryEscape(token)))
		if a.status != "200" || !strings.HasPrefix(a.headers["content-type"], "application/json") {
			t.Fatalf("a poll: %s %v %s", a.status, a.headers, a.body)
		}
		p := parse[polled](t, a.body)
		if p.ResumeToken == "" {
			t.Fatalf("a poll without a token: %s", a.body)
		}
		return p
	}
	a := curl(t, s.URL("/v1/notes/watch?wait=10s"))
	first := parse[polled](t, a.body)
	if a.status != "200" || first.ResumeToken == "" || first.Responses[0].Started == nil {
		t.Fatalf("the first poll: %s %s", a.status, a.body)
	}
	began := time.Now()
	quiet := poll("1s", first.ResumeToken)
	if took := time.Since(began); took < 900*time.Millisecond || took > 10*time.Second {
		t.Errorf("a poll of 1 s without news took %v", took)
	}
	waiting := curlN(t, s.URL("/v1/notes/watch?wait=20s&resume_token="+url.QueryEscape(quiet.ResumeToken)))
	put(t, s, "notes/2", `{"text":"ho"}`)
	news := parse[polled](t, waiting.line(contains("responses")))
	var told []string
	for _, r := range news.Responses {
		if r.Started != nil && r.Started.Mode != "RESUMED" {
			t.Errorf("a poll with a token started with %s", r.Started.Mode)
		}
		if r.Events != nil {
			for _, e := range r.Events.Events {
				told = append(told, e.Resource.Name)
			}
		}
	}
	if fmt.Sprint(told) != "[notes/2]" {
		t.Errorf("the poll told of %v", told)
	}
	if err := waiting.end(); err != nil {
		t.Errorf("the poll did not end in order: %v", err)
	}
	// On another transport.
	watch := curlN(t, s.URL("/v1/notes/watch?resume_token="+url.QueryEscape(quiet.ResumeToken)))
	watch.line(contains(`"RESUMED"`))
	watch.line(contains(`"notes/2"`))
}

func TestCurl_ETags(t *testing.T) {
	s := process.Start(t, process.Options{Variant: process.Race})
	put(t, s, "notes/1", `{"text":"hi","n":1.50}`)
	url := s.URL("/v1/notes/1")
	got := curl(t, url)
	etag := got.headers["etag"]
	if got.status != "200" || !strings.HasPrefix(etag, `"`) {
		t.Fatalf("GET: %s %v", got.status, got.headers)
	}
	var r note
	got.json(t, &r)
	if r.Name != "notes/1" || string(r.Data) != `{"text":"hi","n":1.50}` || `"`+r.ETag+`"` != etag {
		t.Errorf("GET: %s", got.body)
	}
	if a := curl(t, "-H", "If-None-Match: "+etag, url); a.status != "304" || a.body != "" || a.headers["etag"] != etag {
		t.Errorf("GET with If-None-Match: %+v", a)
	}
	if a := curl(t, "-I", url); a.status != "200" || a.headers["etag"] != etag {
		t.Errorf("HEAD: %+v", a)
	}

	// ?wait= on GET: until there is another state.
	began := time.Now()
	if a := curl(t, "-H", "If-None-Match: "+etag, url+"?wait=1s"); a.status != "304" || time.Since(began) < 900*time.Millisecond {
		t.Errorf("GET with If-None-Match and wait: %+v after %v", a, time.Since(began))
	}
	waiting := curlN(t, "-H", "If-None-Match: "+etag, url+"?wait=20s")
	put(t, s, "notes/1", `{"text":"ho"}`)
	waiting.line(contains(`"data":{"text":"ho"}`))

	write := func(args ...string) answer {
		return curl(t, append(args, "-X", "PUT", "-d", `{"data":{"text":"mine"}}`, url)...)
	}
	refused := write("-H", "If-Match: "+etag)
	if refused.status != "412" || !strings.Contains(refused.body, "PRECONDITION_FAILED") || !strings.Contains(refused.body, `"revision"`) {
		t.Errorf("PUT with an old If-Match: %+v", refused)
	}
	if a := write("-H", "If-None-Match: *"); a.status != "412" {
		t.Errorf("PUT with If-None-Match: *: %+v", a)
	}
	fresh := curl(t, url).headers["etag"]
	if a := write("-H", "If-Match: "+fresh); a.status != "200" {
		t.Errorf("PUT with If-Match: %+v", a)
	}
	if a := write(); a.status != "200" || strings.Contains(a.body, `"changed":true`) || curl(t, url).headers["etag"] != a.headers["etag"] {
		t.Errorf("a PUT that changes nothing: %+v", a)
	}
}

// TestCurl_ErrorsAreWhatIsDocumented: one fixed form, with reason and field.
func TestCurl_ErrorsAreWhatIsDocumented(t *testing.T) {
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop", "--max-value-bytes", "4KiB"}})
	put(t, s, "notes/1", `{"text":"hi"}`)
	big := `{"data":{"text":"` + strings.Repeat("x", 5000) + `"}}`
	for _, c := range []struct {
		name, status, reason string
		metadata             map[string]string // must be there; * is any
		args                 []string
	}{
		{"an unknown collection", "404", "COLLECTION_NOT_FOUND", map[string]string{"collection": "system.nothing"}, []string{"/v1/system.nothing/1"}},
		{"an unknown resource", "404", "RESOURCE_NOT_FOUND", map[string]string{"name": "notes/2"}, []string{"/v1/notes/2"}},
		{"a malformed name", "400", "INVALID_NAME", map[string]string{"field": "*"}, []string{"/v1/notes/a%20b"}},
		{"a malformed collection", "400", "INVALID_NAME", map[string]string{"field": "*"}, []string{"/v1/Notes/1"}},
		{"a filter that does not compile", "400", "INVALID_FILTER", map[string]string{"field": "filter", "line": "1", "column": "*"}, []string{"/v1/notes/watch?filter=data.x+%3D%3D%3D+1"}},
		{"a filter with an unknown field of the schema", "400", "INVALID_FILTER", map[string]string{"line": "1", "column": "*"}, []string{"/v1/orders/watch?filter=data.nothing+%3D%3D+1"}},
		{"a mask with an unknown path", "400", "INVALID_MASK", map[string]string{"path": "nothing"}, []string{"/v1/orders/watch?read_mask=status,nothing"}},
		{"a garbage token", "400", "INVALID_TOKEN", map[string]string{"field": "resume_token"}, []string{"/v1/notes/watch?resume_token=garbage"}},
		{"a body that does not fit", "400", "INVALID_VALUE", map[string]string{"path": "*"}, []string{"/v1/orders/1", "-X", "PUT", "-d", `{"data":{"items":[{"sku":"a"},{"quantity":"many"}]}}`}},
		{"a body that is not JSON", "400", "*", nil, []string{"/v1/notes/1", "-X", "PUT", "-d", `{"data":`}},
		{"an oversized value", "413", "TOO_LARGE", map[string]string{"limit": "4096", "size": "*"}, []string{"/v1/notes/1", "-X", "PUT", "-d", big}},
		{"a failed precondition", "412", "PRECONDITION_FAILED", map[string]string{"revision": "*", "etag": "*"}, []string{"/v1/notes/1?precondition.revision=9999", "-X", "PUT", "-d", `{"data":{}}`}},
		{"a future revision", "400", "FUTURE_REVISION", map[string]string{"field": "after_revision"}, []string{"/v1/notes/watch?after_revision=999999"}},
		{"an unknown parameter", "400", "INVALID_FIELD", map[string]string{"field": "*"}, []string{"/v1/notes/watch?filer=true"}},
		{"an unknown path", "404", "ROUTE_NOT_FOUND", nil, []string{"/v1/a/b/c/d/e"}},
		{"an unknown method", "405", "UNSUPPORTED", nil, []string{"/v1/notes/1", "-X", "PATCH", "-d", `{}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := curl(t, append([]string{s.URL(c.args[0])}, c.args[1:]...)...)
			var body struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
				Details []struct {
					Type     string            `json:"@type"`
					Reason   string            `json:"reason"`
					Domain   string            `json:"domain"`
					Metadata map[string]string `json:"metadata"`
				} `json:"details"`
			}
			a.json(t, &body)
			if a.status != c.status || body.Code == 0 || body.Message == "" || len(body.Details) == 0 {
				t.Fatalf("got %s %s, want %s", a.status, a.body, c.status)
			}
			info := body.Details[0]
			if info.Reason == "" || c.reason != "*" && info.Reason != c.reason || info.Domain != "watchroute.dev" {
				t.Errorf("the reason is %s of %s, want %s: %s", info.Reason, info.Domain, c.reason, a.body)
			}
			for key, want := range c.metadata {
				if got, ok := info.Metadata[key]; !ok || want != "*" && got != want {
					t.Errorf("the metadata's %s is %q, want %q: %s", key, got, want, a.body)
				}
			}
		})
	}
}

package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// polled is the answer to a long-poll.
type polled struct {
	Responses   []watchLine
	ResumeToken string
}

func (n *testNode) poll(path string) (p polled) {
	n.t.Helper()
	r := n.do("GET", path, "")
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-store" {
		n.t.Fatalf("%s: %s %v %v", path, r, r.Header, err)
	}
	if p.ResumeToken == "" {
		n.t.Fatalf("%s: %s has no token", path, r)
	}
	return p
}

func TestLongPoll_WithoutATokenGivesTheStateAtOnce(t *testing.T) {
	n := newNode(t)
	big := strings.Repeat("x", 20<<10)
	for i := range 60 { // more than one piece
		n.put(fmt.Sprintf("notes/%d", i), `{"a":"`+big+`"}`)
	}
	p := n.poll("/v1/notes:watch?wait=60s")
	seen, last := 0, len(p.Responses)-1
	for i, r := range p.Responses {
		switch {
		case i == 0 && r.Started != nil, i == last && r.SnapshotEnd != nil && r.ResumeToken == p.ResumeToken:
		case r.Events != nil && r.ResumeToken == "":
			seen += len(r.Events.Events)
		default:
			t.Errorf("response %d of %d: %+v", i, last, r)
		}
	}
	if seen != 60 || last < 3 {
		t.Errorf("%d resources in %d responses", seen, last+1)
	}
	n.watches(0)
}

func TestLongPoll_AnswersWhenThereIsSomethingToSay(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"n":0}`)
	token := n.poll("/v1/notes:watch?wait=60s").ResumeToken
	answer := make(chan polled)
	go func() { answer <- n.poll("/v1/notes:watch?wait=60s&resume_token=" + token) }()
	n.watches(1)
	n.put("notes/1", `{"n":1}`)
	p := <-answer
	if len(p.Responses) != 2 || p.Responses[0].Started.Mode != "RESUMED" || p.Responses[1].Events == nil || p.ResumeToken == token {
		t.Errorf("%+v", p)
	}
	n.watches(0)
}

func TestLongPoll_WhenTheTimeIsOverTheTokenMovesOn(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"n":0}`)
	const path = "/v1/notes:watch?filter=data.n==1.0"
	token := n.poll(path + "&wait=0s").ResumeToken
	for _, wait := range []string{"0s", "50ms"} {
		n.put("notes/1", `{"other":"`+wait+`"}`) // concerns the watch not
		p := n.poll(path + "&wait=" + wait + "&resume_token=" + token)
		if len(p.Responses) != 2 || p.Responses[0].Started == nil || p.Responses[1].Bookmark == nil ||
			p.Responses[1].ResumeToken != p.ResumeToken || p.ResumeToken == token || p.Responses[1].Revision <= p.Responses[0].Revision && wait == "50ms" && p.Responses[1].Revision == "" {
			t.Errorf("%s: %+v", wait, p)
		}
		token = p.ResumeToken
	}
	// A change while it waits, too.
	answer := make(chan polled)
	go func() { answer <- n.poll(path + "&wait=300ms&resume_token=" + token) }()
	n.watches(1)
	n.put("notes/1", `{"other":3}`)
	p := <-answer
	if len(p.Responses) != 2 || p.Responses[1].Bookmark == nil || p.Responses[1].Revision != "4" {
		t.Errorf("%+v", p)
	}
	if again := n.poll(path + "&wait=0s&resume_token=" + p.ResumeToken); again.Responses[0].Started.Mode != "RESUMED" || again.ResumeToken != p.ResumeToken {
		t.Errorf("%+v", again)
	}
}

func TestLongPoll_NowAndHeartbeats(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"n":0}`)
	began := time.Now()
	p := n.poll("/v1/notes:watch?from=NOW&wait=1500ms&heartbeat=1s") // whose bookmark is no answer
	if len(p.Responses) != 2 || p.Responses[0].Started.Mode != "NOW" || p.Responses[1].Bookmark == nil || time.Since(began) < 1500*time.Millisecond {
		t.Errorf("%v %+v", time.Since(began), p)
	}
}

func TestLongPoll_WaitsAtMostMaxWait(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.MaxWait = 50 * time.Millisecond }))
	n.put("notes/1", `{"n":0}`)
	n.poll("/v1/notes:watch?from=NOW&wait=10m")
	etag := n.do("GET", "/v1/notes/1", "").Header.Get("ETag")
	if r := n.do("GET", "/v1/notes/1?wait=10m", "", "If-None-Match", etag); r.StatusCode != 304 {
		t.Error(r)
	}
}

func TestLongPoll_CatchesUpInPieces(t *testing.T) {
	n := newNode(t)
	n.put("notes/0", `{}`)
	for _, delivery := range []string{"LATEST", "EVERY_CHANGE"} {
		path := "/v1/notes:watch?delivery=" + delivery
		token := n.poll(path + "&wait=0s").ResumeToken
		big := strings.Repeat("x", 100<<10)
		want := map[string]bool{}
		for i := range 12 {
			name := fmt.Sprintf("notes/%s-%d", strings.ToLower(delivery), i)
			n.put(name, `{"a":"`+big+`"}`)
			want[name] = true
		}
		for polls := 0; len(want) > 0; polls++ {
			if polls == 12 {
				t.Fatal("it does not end")
			}
			p := n.poll(path + "&wait=10s&resume_token=" + token)
			for _, r := range p.Responses {
				if r.Started != nil && r.Started.Mode != "RESUMED" {
					t.Fatal(r)
				}
				if r.Events == nil {
					continue
				}
				for _, e := range r.Events.Events {
					if !want[e.Resource.Name] {
						t.Errorf("%s: %s a second time", delivery, e.Resource.Name)
					}
					delete(want, e.Resource.Name)
				}
			}
			if last := p.Responses[len(p.Responses)-1]; last.ResumeToken != p.ResumeToken {
				t.Errorf("the last response has no token: %+v", last)
			}
			token = p.ResumeToken
		}
	}
}

func TestGetWait(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"n":0}`)
	n.put("orders/1", `{}`)
	for _, path := range []string{"/v1/notes/1", "/v1/orders/1"} {
		etag := n.do("GET", path, "").Header.Get("ETag")
		wait := func(query string, headers ...string) chan *reply {
			c := make(chan *reply, 1)
			go func() { c <- n.do("GET", path+"?wait="+query, "", headers...) }()
			return c
		}
		if r := <-wait("60s"); r.StatusCode != 200 {
			t.Error("without an etag it does not wait:", r)
		}
		if r := <-wait("60s", "If-None-Match", `"other"`); r.StatusCode != 200 {
			t.Error("another state is told at once:", r)
		}
		if r := <-wait("30ms", "If-None-Match", etag); r.StatusCode != 304 || r.Header.Get("ETag") != etag {
			t.Error(r)
		}
		// A change.
		c := wait("60s", "If-None-Match", etag)
		n.watches(1)
		name := strings.TrimPrefix(path, "/v1/")
		n.do("PUT", path, `{"data":{},"labels":{"a":"b"}}`)
		r := <-c
		if r.StatusCode != 200 || r.Header.Get("ETag") == etag || !strings.Contains(r.body, `"labels":{"a":"b"}`) {
			t.Error(r)
		}
		// The end.
		c = wait("60s", "If-None-Match", r.Header.Get("ETag"))
		n.watches(1)
		n.do("DELETE", path, "")
		if r := <-c; r.StatusCode != 404 {
			t.Error(r)
		}
		// Who says that it has something is told that it is gone.
		if r := <-wait("60s", "If-None-Match", etag); r.StatusCode != 404 {
			t.Error(r)
		}
		if r := <-wait("30ms"); r.StatusCode != 404 {
			t.Error(r)
		}
		// A new one.
		c = wait("60s")
		n.watches(1)
		n.put(name, `{}`)
		if r := <-c; r.StatusCode != 200 {
			t.Error(r)
		}
		n.watches(0)
	}
	for path, want := range map[string]int{"/v1/system.none/1?wait=1s": 404, "/v1/notes/a%20b?wait=1s": 400, "/v1/notes/1?wait=x": 400} {
		r := n.do("GET", path, "")
		if _, metadata := r.reason(t); r.StatusCode != want || metadata["field"] != "name" && metadata["field"] != "wait" {
			t.Error(path, r)
		}
	}
}

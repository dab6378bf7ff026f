package gateway

import (
	"net/http"
	"testing"
)

func TestAccepted(t *testing.T) {
	const nd, ev = "application/x-ndjson", "text/event-stream"
	for header, want := range map[string]string{
		"":                                        nd,
		"*/*":                                     nd,
		"text/event-stream":                       ev,
		"Text/Event-Stream":                       ev,
		"text/event-stream, */*":                  ev,
		"*/*, text/event-stream":                  ev,
		"text/event-stream;q=0.5, */*":            nd,
		"text/event-stream;q=0":                   "",
		"text/event-stream;q=0, */*":              nd,
		"application/x-ndjson;q=0, */*":           ev,
		"application/x-ndjson;q=0, text/*;q=.1":   ev,
		"text/event-stream, application/x-ndjson": ev,
		"application/x-ndjson, text/event-stream": nd,
		"application/x-ndjson;q=0.9,text/event-stream;q=.8": nd,
		"application/*":                           nd,
		"text/*":                                  ev,
		"application/json":                        "",
		"text/html,application/xml;q=0.9":         "",
		"text/html,*/*;q=0.8":                     nd,
		"text/event-stream;q=abc":                 "",
		"text/event-stream; charset=utf-8; q=1.0": ev,
	} {
		h := http.Header{}
		if header != "" {
			h.Set("Accept", header)
		}
		if got, ok := accepted(h, nd, ev); got != want || ok != (want != "") {
			t.Errorf("Accept: %s gives %q, want %q", header, got, want)
		}
	}
	if got, _ := accepted(http.Header{"Accept": {"text/html", "text/event-stream"}}, nd, ev); got != ev {
		t.Errorf("two headers give %q", got)
	}
}

func TestParseETags(t *testing.T) {
	for header, want := range map[string]string{
		`*`:                 "any",
		`"a"`:               "a",
		`W/"a"`:             "a",
		`"a", "b"`:          "a b",
		`"a",W/"b" , "c,d"`: "a b c,d",
		`a`:                 "bad",
		`"a`:                "bad",
		`"a" "b"`:           "bad",
		`W/`:                "bad",
		`W/ "a"`:            "bad",
		``:                  "",
	} {
		e, err := parseETags(http.Header{"If-Match": {header}}, "If-Match")
		got := ""
		switch {
		case err != nil:
			got = "bad"
		case e.any:
			got = "any"
		default:
			for i, tag := range e.tags {
				if i > 0 {
					got += " "
				}
				got += tag
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
}

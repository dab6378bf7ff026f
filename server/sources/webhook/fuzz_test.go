package webhook

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever is posted, it is refused with an error that can be told, or each of its events
// is one that is read again.
func FuzzParse(f *testing.F) {
	f.Add(structured, "", "", []byte(cloudEvent("1")))
	f.Add(batch, "", "", []byte("["+cloudEvent("1")+", "+cloudEvent("2")+"]"))
	f.Add("text/plain", `"a\"b"`, "/s%20t", []byte("hi"))
	f.Add(structured, "", "", []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":1}`))
	f.Add(structured, "", "", []byte(`{"datacontentencoding":null,"specversion":"0.3","id":"1"}`))
	f.Add(batch, "", "", []byte(`[{"specversion":"1.0","id":1,"type":"üüüüüü"}]`))
	f.Fuzz(func(t *testing.T, contentType, id, source string, body []byte) {
		h := http.Header{"Content-Type": {contentType}}
		if id != "" {
			h["Ce-Specversion"], h["Ce-Id"], h["Ce-Source"], h["Ce-Type"] = []string{"1.0"}, []string{id}, []string{source}, []string{"t"}
		}
		events, err := parse("/t", h, body)
		if err != nil {
			w := httptest.NewRecorder()
			if fail(w, err); w.Code != http.StatusBadRequest && w.Code != http.StatusUnsupportedMediaType || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%v became %d %s", err, w.Code, w.Body)
			}
			return
		}
		var all []byte
		for i := range events {
			e := &events[i]
			if all = append(all, e.Value...); !utf8.ValidString(e.ID) || !strings.Contains(e.ID, " ") {
				t.Fatalf("the id is %q", e.ID)
			}
			again := http.Header{"Content-Type": {e.ContentType}}
			for name, value := range e.Headers {
				again.Set(name, strings.ReplaceAll(value, "%", "%25"))
			}
			if events, err := parse("/t", again, e.Value); mediaType(again) == structured && (err != nil || len(events) != 1 || events[0].ID != e.ID) {
				t.Fatalf("%+v became %+v, %v", e, events, err)
			}
		}
		if mediaType(h) != batch && string(all) != string(body) {
			t.Fatalf("%q became %q", body, all)
		}
	})
}

package gateway

import (
	"net/http"
	"net/url"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Server-Sent Events are sent as package wire encodes them. EventSource reconnects
// by itself, with the id of the last event that had one as `Last-Event-ID`; after
// an answer with another status than 200 it stops. So what gets better by trying
// again, a server that is shutting down above all, is answered with 200, `retry` and
// the event `closed`. What is wrong, or no longer retained (`on_expired=FAIL`), gets
// its HTTP status: there, the page has to begin anew.

// lastEventID resumes where the browser says that it was. It says so each time that
// it reconnects to the same URL: the header is newer than anything in the URL.
func lastEventID(r *http.Request, req *watchroutev1.WatchRequest) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		resumeFrom(req, id)
	}
}

// takeLastEventID takes the parameter that stands for the header out of the others:
// a page cannot set the header when it first connects.
func takeLastEventID(values url.Values) (id string, err error) {
	for _, name := range []string{"last_event_id", "lastEventId"} {
		texts, ok := values[name]
		if !ok {
			continue
		}
		if len(texts) > 1 || id != "" {
			return "", invalidField(name, "it is given more than once")
		}
		id = texts[0]
		delete(values, name)
	}
	return id, nil
}

func resumeFrom(req *watchroutev1.WatchRequest, token string) {
	req.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: token}
}

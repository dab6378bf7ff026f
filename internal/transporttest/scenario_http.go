package transporttest

import (
	"net/http"
	"net/url"
	"strings"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

func urls(k Kit) bool { return k.URL }

// HTTP are the scenarios about watches that are URLs.
var HTTP = []Scenario{
	{Name: "http: a watch is at each of its paths, its parameters in either spelling", Run: eachPath, Both: true, On: urls},
	{Name: "errors: parameters that are malformed", Run: badParameters, On: urls},
	{Name: "errors: a path that leads nowhere", Run: noRoute, On: urls},
	{Name: "P5 EventSource comes back by itself, with the header or the parameter", Run: lastEventID, On: func(k Kit) bool { return k.is("SSE") }},
}

// watchURL opens a watch at a URL; r says what is expected of it.
func (c *Case) watchURL(r *watchroutev1.WatchRequest, path string) (*Reader, error) {
	s, err := c.Transport.(URLs).WatchURL(c.ctx, path)
	if err != nil {
		return nil, err
	}
	c.Cleanup(func() { _ = s.Close() })
	return &Reader{Fold: NewFold(r), c: c, stream: s, cancel: func() { _ = s.Close() }}, nil
}

func eachPath(c *Case) {
	c.Write(put("a", Value{Units: 1, Customer: "7"}), put("b", Value{Units: 2}))
	for _, r := range []*watchroutev1.WatchRequest{c.Request(), c.Request(names(c.name("a")))} {
		for _, path := range watchPaths(r) {
			for _, q := range []string{"?filter=" + url.QueryEscape("data.total.units < 2") + "&read_mask=customer_id,total&on_expired=RESET&min_revision=1",
				"?filter=" + url.QueryEscape("data.total.units < 2") + "&readMask=customer_id%2Ctotal&onExpired=1&minRevision=1&minInterval=0s&delta=true"} {
				want := cloneRequest(r)
				filter("data.total.units < 2")(want)
				mask("customer_id", "total")(want)
				want.Delta = strings.Contains(q, "delta")
				if strings.HasPrefix(path, "/v1/orders/a/watch") {
					// The shop's own path, whose request has no filter.
					want.Filter = ""
					q = "?" + q[strings.Index(q, "&")+1:]
				}
				rd, err := c.watchURL(want, path+q)
				if err != nil {
					c.Errorf("%s: %v", path+q, err)
					continue
				}
				rd.UntilKind(SnapshotEnd)
				c.WantTruth(rd)
				if len(rd.State) != 1 {
					c.Errorf("%s gives %v", path+q, rd.State)
				}
				rd.Close()
			}
		}
	}
}

// refusedURL checks that a URL is refused for a reason.
func (c *Case) refusedURL(path string, reason resource.Reason, metadata ...string) {
	c.Helper()
	rd, err := c.watchURL(c.Request(), path)
	if err == nil {
		var m *Message
		if m, err = rd.Try(); err == nil {
			c.Errorf("%s begins with %v, and not with %s", path, m, reason)
			return
		}
	}
	c.wantError(path, err, reason, metadata...)
}

func badParameters(c *Case) {
	c.Put("a", Value{Units: 1})
	rd := c.Watch()
	rd.UntilKind(SnapshotEnd)
	for q, field := range map[string]string{
		"heartbeat=soon":     "heartbeat",
		"min_interval=5":     "min_interval",
		"min_revision=-1":    "min_revision",
		"after_revision=x":   "after_revision",
		"delta=maybe":        "delta",
		"delivery=SOMETIMES": "delivery",
		"filtre=true":        "filtre",
		"after_revision=1&resume_token=" + rd.Token:        "resume_token",
		"heartbeat=5s&heartbeat=6s":                        "heartbeat",
		"wait=long":                                        "wait",
		"min_revision=1&minRevision=1":                     "min_revision",
		"min_revision=" + strings.Repeat("9", 30):          "min_revision",
		"from=NOW&last_event_id=" + "x" + "&min_interval=": "min_interval",
	} {
		if c.Kit.Poll && strings.HasPrefix(q, "wait") {
			continue
		}
		c.refusedURL("/v1/"+c.Collection+":watch?"+q, resource.InvalidField, "field", field)
	}
}

func noRoute(c *Case) {
	c.Put("a", Value{Units: 1})
	for _, path := range []string{"/v1/" + c.Collection + "/a/b:watch", "/v1/" + c.Collection + "/a/b/watch", "/v2/" + c.Collection + ":watch"} {
		rd, err := c.watchURL(c.Request(), path)
		if err == nil {
			_, err = rd.Try()
		}
		e := asError(err)
		if e == nil || e.Reason != "ROUTE_NOT_FOUND" && e.Reason != "INVALID_NAME" {
			c.Errorf("%s is answered with %v", path, err)
		}
	}
	c.refusedURL("/v1/"+c.Collection+"/a:see", resource.InvalidName)
}

func lastEventID(c *Case) {
	at := c.Put("a", Value{Units: 1})
	first := c.Watch()
	first.UntilRevision(at)
	first.Close()
	next := c.Put("a", Value{Units: 2})
	later := c.Watch()
	later.UntilRevision(next)
	later.Close()
	path := "/v1/" + c.Collection + ":watch"
	// A first connect that goes on from what the page remembers.
	rd, err := c.watchURL(c.Request(), path+"?last_event_id="+first.Token)
	if err != nil {
		c.Fatal(err)
	}
	rd.State = first.State
	rd.UntilRevision(next)
	rd.Want(startedResumed, did(updated, "a", next))
	rd.Close()
	// When it comes back by itself the URL is the same, and the header wins.
	for _, parameter := range []string{"last_event_id", "resume_token"} {
		s, err := c.Transport.(sse).open(c.ctx, path+"?"+parameter+"="+first.Token, http.Header{"Last-Event-Id": {later.Token}})
		if err != nil {
			c.Fatal(err)
		}
		back := &Reader{Fold: NewFold(c.Request()), c: c, stream: s, cancel: func() { _ = s.Close() }}
		last := c.Put("b", Value{Units: 1})
		back.UntilRevision(last)
		back.Want(startedResumed, did(created, "b", last))
		back.Close()
		later.Resume(c.Transport)
		last = c.Delete("b")
		later.UntilRevision(last)
		later.Close()
	}
}

// OnePort are some scenarios on a node that serves gRPC and HTTP on one port.
var OnePort = []Scenario{
	{Name: "one port: the state comes first, then snapshot_end, then the changes", Run: snapshotThenChanges, Options: Options{OnePort: true}},
	{Name: "one port: a server that goes away says drain, and the watch goes on after its restart", Run: drain, Options: Options{OnePort: true}},
}

package transporttest

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// watchPaths are the paths at which a request can be made, the rest of which the
// query says.
func watchPaths(r *watchroutev1.WatchRequest) []string {
	switch {
	case r.GetParent() == "" && len(r.GetNames()) == 1:
		name := "/v1/" + r.GetNames()[0]
		return []string{name + ":watch", name + "/watch"}
	case r.GetParent() == ordersCollection && len(r.GetNames()) == 0:
		return []string{"/v1/orders/watch-all", "/v1/orders:watch", "/v1/orders/watch"}
	}
	collection := r.GetParent()
	if collection == "" {
		collection, _, _ = strings.Cut(r.GetNames()[0], "/")
	}
	return []string{"/v1/" + collection + ":watch", "/v1/" + collection + "/watch"}
}

// watchURL is the path and query that stand for a request.
func watchURL(r *watchroutev1.WatchRequest) string {
	path := watchPaths(r)[0]
	if r.GetProjection() != "" && len(watchPaths(r)) > 2 {
		path = watchPaths(r)[1] // the shop's own path knows no projections
	}
	q := watchQuery(r)
	if r.GetParent() != "" || len(r.GetNames()) != 1 {
		for _, name := range r.GetNames() {
			q.Add("names", name)
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// watchQuery has everything but parent and names.
func watchQuery(r *watchroutev1.WatchRequest) url.Values {
	q := url.Values{}
	if r.GetFilter() != "" {
		q.Set("filter", r.GetFilter())
	}
	if r.GetReadMask() != nil {
		q.Set("read_mask", strings.Join(r.GetReadMask().GetPaths(), ","))
	}
	switch start := r.GetStart().(type) {
	case *watchroutev1.WatchRequest_ResumeToken:
		q.Set("resume_token", start.ResumeToken)
	case *watchroutev1.WatchRequest_AfterRevision:
		q.Set("after_revision", strconv.FormatUint(start.AfterRevision, 10))
	case *watchroutev1.WatchRequest_From:
		q.Set("from", start.From.String())
	}
	if r.GetMinRevision() != 0 {
		q.Set("min_revision", strconv.FormatUint(r.GetMinRevision(), 10))
	}
	if r.GetDelivery() != 0 {
		q.Set("delivery", r.GetDelivery().String())
	}
	duration := func(key string, d *durationpb.Duration) {
		if d != nil {
			q.Set(key, d.AsDuration().String())
		}
	}
	duration("min_interval", r.GetMinInterval())
	duration("heartbeat", r.GetHeartbeat())
	if r.GetDelta() {
		q.Set("delta", "true")
	}
	if r.GetProjection() != "" {
		q.Set("projection", r.GetProjection())
	}
	if r.GetOnExpired() != 0 {
		q.Set("on_expired", r.GetOnExpired().String())
	}
	return q
}

// withQuery adds a parameter to a URL.
func withQuery(u, key, value string) string {
	separator := "?"
	if strings.Contains(u, "?") {
		separator = "&"
	}
	return u + separator + url.Values{key: {value}}.Encode()
}

// pollWait is how long a poll may wait: as long as the watch may be silent.
func pollWait(r *watchroutev1.WatchRequest) time.Duration {
	if h := r.GetHeartbeat(); h.AsDuration() > 0 {
		return min(h.AsDuration(), 30*time.Second)
	}
	return 30 * time.Second
}

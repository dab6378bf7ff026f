package gateway

import (
	"net/http"
	"time"

	"github.com/watchroute/watchroute/internal/resource"
)

const sourcesPath = "/v1/sources/"

// serveSource gives a request to the source that takes it.
func (g *Gateway) serveSource(w http.ResponseWriter, r *http.Request, id string) {
	h := g.cfg.Sources(id)
	if h == nil {
		g.fail(w, r, resource.Errorf(resource.NotFound, "no source %q takes requests now", id).With("name", "system.sources/"+id))
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.cfg.BodyTimeout)) // HTTP/1 and 2 can
	r.Body = http.MaxBytesReader(w, r.Body, int64(g.cfg.MaxRequestBytes))
	h.ServeHTTP(w, r)
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

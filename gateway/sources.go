package gateway

import (
	"net/http"
	"time"
)

const sourcesPath = "/v1/sources/"

// serveSource gives a request to the source that takes it.
func (g *Gateway) serveSource(w http.ResponseWriter, r *http.Request, id string) {
	h, err := g.cfg.Sources(id)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.cfg.BodyTimeout)) // HTTP/1 and 2 can
	r.Body = http.MaxBytesReader(w, r.Body, int64(g.cfg.MaxRequestBytes))
	h.ServeHTTP(w, r)
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

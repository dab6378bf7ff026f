package gateway

import "net/http"

const sourcesPath = "/v1/sources/"

// serveSource gives a request to the source that takes it, which bounds its time.
func (g *Gateway) serveSource(w http.ResponseWriter, r *http.Request, id string) {
	h, err := g.cfg.Sources(id)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, int64(g.cfg.MaxRequestBytes))
	h.ServeHTTP(w, r)
}

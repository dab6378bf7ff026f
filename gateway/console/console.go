// Package console is the page at `/` of a node: it shows the orders of the shop
// contract live, over gRPC-Web and as Server-Sent Events side by side, as any browser
// receives them with the TypeScript client. It is files only, compiled in; nothing is
// loaded from elsewhere.
//
// The sources are in src; `npm run build` here, after `npm ci`, makes dist of them,
// of clients/ts/src and of gen/ts. dist is committed, so that building the binary
// needs no Node, and a test compares it with what the sources build. bundle.mjs is
// also what builds the pages of e2e/shop.
package console

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed dist
var dist embed.FS

// policy lets the page load nothing but its own files, and call nobody but the
// node that served it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at / and its files beside it. Everything else is 404.
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("console: " + err.Error()) // dist is compiled in
	}
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		server.ServeHTTP(w, r)
	})
}

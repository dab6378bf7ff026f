package pages

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/watchroute/watchroute/e2e/shop/login"
)

//go:embed dist
var dist embed.FS

// Config says what the pages talk to.
type Config struct {
	// Watchroute is the node's URL, such as http://127.0.0.1:8089.
	Watchroute string
	// Customers are those who may be chosen.
	Customers []string
	Login     *login.Issuer
	// Orders takes POST /orders.
	Orders http.Handler
}

// New gives the handler of everything.
func New(cfg Config) http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // it is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /shop.json", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"watchroute": cfg.Watchroute, "customers": cfg.Customers})
	})
	mux.HandleFunc("POST /login", cfg.login)
	mux.Handle("POST /orders", cfg.Orders)
	policy := fmt.Sprintf("default-src 'self'; connect-src 'self' %s %s; img-src data:", cfg.Watchroute, strings.Replace(cfg.Watchroute, "http", "ws", 1))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// login takes {"customer": "ada"}, {"warehouse": true} or {"operator": true}, and asks for
// no password.
func (c *Config) login(w http.ResponseWriter, r *http.Request) {
	var who struct {
		Customer  string `json:"customer"`
		Warehouse bool   `json:"warehouse"`
		Operator  bool   `json:"operator"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&who); err != nil {
		http.Error(w, "the body is not a login: "+err.Error(), http.StatusBadRequest)
		return
	}
	subject, roles := who.Customer, []string(nil)
	switch {
	case who.Warehouse:
		subject, roles = "warehouse-desk", []string{login.Warehouse}
	case who.Operator:
		subject, roles = "operator", []string{login.Operator}
	case !slices.Contains(c.Customers, who.Customer):
		http.Error(w, fmt.Sprintf("there is no customer %q; there are %s", who.Customer, strings.Join(c.Customers, ", ")), http.StatusBadRequest)
		return
	}
	token, expires, err := c.Login.Token(subject, roles...)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"token": token, "expiresIn": time.Until(expires).Seconds()})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who asked may have left
}

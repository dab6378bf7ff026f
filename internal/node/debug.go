package node

import (
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"time"
)

// debugServer serves profiles at /debug/pprof/, and at /debug/gc collects garbage and
// gives free memory back, for who wants to know what is really in use.
func debugServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/gc", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
}

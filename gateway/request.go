package gateway

import (
	"context"
	"net/http"
	"strings"
)

type headKey struct{}

// asGet makes a GET of a HEAD: the server sends no body to whoever said HEAD.
func asGet(r *http.Request) *http.Request {
	r = r.WithContext(context.WithValue(r.Context(), headKey{}, true))
	r.Method = http.MethodGet
	return r
}

// isHead says whether a GET was a HEAD.
func isHead(r *http.Request) bool { return r.Context().Value(headKey{}) != nil }

// hasToken says whether a header that is a list has a token.
func hasToken(h http.Header, name, token string) bool {
	for _, value := range h.Values(name) {
		for t := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// wantsWebSocket says whether the client asks to speak WebSocket from here on.
func wantsWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && hasToken(r.Header, "Connection", "upgrade") && hasToken(r.Header, "Upgrade", "websocket")
}

package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// varying takes out of an answer what differs each time.
var varying = regexp.MustCompile(`"(uid|etag|createTime|updateTime|writeTime|resumeToken)":"[^"]*",?`)

func steady(body string) string {
	return strings.TrimSpace(strings.ReplaceAll(varying.ReplaceAllString(body, ""), ",}", "}"))
}

func TestREST_DataIsPlainJSON(t *testing.T) {
	n := newNode(t)
	for _, step := range []struct{ method, path, body, want string }{
		{"PUT", "/v1/notes/1", `{"data": {"text": "hi", "n": 1.50, "big": 12345678901234567890}}`,
			`{"revision":"1","resource":{"name":"notes/1","revision":"1","createRevision":"1","data":{"text":"hi","n":1.50,"big":12345678901234567890}},"changed":true}`},
		{"PUT", "/v1/notes/1", `{"data": {"text": "hi", "n": 1.50, "big": 12345678901234567890}}`,
			`{"revision":"1","resource":{"name":"notes/1","revision":"1","createRevision":"1","data":{"text":"hi","n":1.50,"big":12345678901234567890}},"changed":false}`},
		{"GET", "/v1/notes/1", ``, `{"name":"notes/1","revision":"1","createRevision":"1","data":{"text":"hi","n":1.50,"big":12345678901234567890}}`},
		{"PUT", "/v1/notes/2?request_id=a", `{"name":"notes/2","labels":{"k":"v","a":"\u00e9"},"data":{}}`,
			`{"revision":"2","resource":{"name":"notes/2","revision":"2","createRevision":"2","labels":{"a":"é","k":"v"},"data":{}},"changed":true}`},
		{"GET", "/v1/notes?page_size=1&filter=id=='2'", ``,
			`{"resources":[{"name":"notes/2","revision":"2","createRevision":"2","labels":{"a":"é","k":"v"},"data":{}}],"revision":"2"}`},
		{"GET", "/v1/notes?filter=false", ``, `{"resources":[],"revision":"2"}`},
		{"POST", "/v1/notes:write", `{"operations":[{"put":{"name":"notes/3","data":{"a":[1,{"b":null}]}}},{"delete":"notes/1"},{"delete":"notes/none"}],"requestId":"b"}`,
			`{"revision":"3","results":[{"revision":"3","resource":{"name":"notes/3","revision":"3","createRevision":"3","data":{"a":[1,{"b":null}]}},"changed":true},` +
				`{"revision":"3","resource":{"name":"notes/1","revision":"3"},"changed":true},{"revision":"3","resource":{"name":"notes/none","revision":"0"},"changed":false}]}`},
		{"DELETE", "/v1/notes/3", ``, `{"revision":"4","resource":{"name":"notes/3","revision":"4"},"changed":true}`},
		{"DELETE", "/v1/notes/3?allow_missing=true", ``, `{"revision":"4","resource":{"name":"notes/3","revision":"4"},"changed":false}`},
		// A collection with a schema; its contract's routes are more specific.
		{"PUT", "/v1/orders/42", `{"data":{"customerId":"7","status":"SHIPPED","items":[{"sku":"cd","quantity":2}]}}`,
			`{"revision":"1","resource":{"name":"orders/42","revision":"1","createRevision":"1","type":"shop.v1.Order",` +
				`"data":{"orderId":"42","customerId":"7","status":"SHIPPED","items":[{"sku":"cd","quantity":2}]}},"changed":true}`},
		{"GET", "/v1/orders/42?min_revision=1", ``, `{"name":"orders/42","revision":"1","createRevision":"1","type":"shop.v1.Order",` +
			`"data":{"orderId":"42","customerId":"7","status":"SHIPPED","items":[{"sku":"cd","quantity":2}]}}`},
		{"GET", "/v1/orders?filter=data.status==OrderStatus.PENDING", ``, `{"resources":[],"revision":"1"}`},
		{"POST", "/v1/orders:write", `{"operations":[{"put":{"name":"orders/43","type":"shop.v1.Order","data":{"customer_id":"8"}},"precondition":{"mustNotExist":true}}]}`,
			`{"revision":"2","results":[{"revision":"2","resource":{"name":"orders/43","revision":"2","createRevision":"2","type":"shop.v1.Order","data":{"orderId":"43","customerId":"8"}},"changed":true}]}`},
		{"DELETE", "/v1/orders/43", ``, `{"revision":"3","resource":{"name":"orders/43","revision":"3"},"changed":true}`},
	} {
		r := n.do(step.method, step.path, step.body)
		if got := steady(r.body); r.StatusCode != 200 || got != step.want {
			t.Errorf("%s %s: %s\ngot  %s\nwant %s", step.method, step.path, r.Status, got, step.want)
		}
		if !json.Valid([]byte(r.body)) || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Watchroute-Revision") == "" {
			t.Errorf("%s %s: %v %s", step.method, step.path, r.Header, r.body)
		}
	}
}

func TestREST_WhatWasReadCanBeWrittenBack(t *testing.T) {
	n := newNode(t)
	for name, data := range map[string]string{"notes/1": `{"a":1}`, "orders/1": `{"customerId":"é"}`} {
		n.put(name, data)
		read := n.do("GET", "/v1/"+name, "").body
		r := n.do("PUT", "/v1/"+name, read, "Content-Type", "application/x-www-form-urlencoded") // which is curl's default
		if r.StatusCode != 200 || !strings.Contains(r.body, `"changed":false`) {
			t.Errorf("%s: %s", name, r)
		}
	}
}

func TestREST_Errors(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.MaxRequestBytes = 4000 }))
	n.put("notes/1", `{"a":1}`)
	n.put("orders/1", `{}`)
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		method, path, body string
		status             int
		reason             string
		metadata           map[string]string
		message            string
	}{
		{"GET", "/v1/notes/2", "", 404, "RESOURCE_NOT_FOUND", map[string]string{"field": "name", "name": "notes/2"}, ""},
		{"GET", "/v1/orders/2", "", 404, "RESOURCE_NOT_FOUND", map[string]string{"field": "order_id"}, ""},
		{"GET", "/v1/system.none/2", "", 404, "COLLECTION_NOT_FOUND", map[string]string{"field": "name", "collection": "system.none"}, ""},
		{"GET", "/v1/system.none", "", 404, "COLLECTION_NOT_FOUND", map[string]string{"field": "parent"}, ""},
		{"GET", "/v1/Notes/2", "", 400, "INVALID_NAME", map[string]string{"field": "name"}, "lower-case"},
		{"GET", "/v1/notes/a%20b", "", 400, "INVALID_NAME", map[string]string{"field": "name"}, ""},
		{"GET", "/v1/orders/a%20b", "", 400, "INVALID_NAME", map[string]string{"field": "order_id"}, ""},
		{"GET", "/v1/notes/", "", 400, "INVALID_NAME", map[string]string{"field": "name"}, "missing"},
		{"PUT", "/v1/notes/watch", `{"data":{}}`, 400, "INVALID_NAME", map[string]string{"field": "resource.name"}, "watch"},
		{"GET", "/v1/notes?filter=1%2B%2B", "", 400, "INVALID_FILTER", map[string]string{"field": "filter", "line": "1"}, ""},
		{"GET", "/v1/orders?filter=data.nope==1", "", 400, "INVALID_FILTER", map[string]string{"field": "filter"}, ""},
		{"GET", "/v1/notes?page_size=x", "", 400, "INVALID_FIELD", map[string]string{"field": "page_size"}, `"x" is not a whole number`},
		{"GET", "/v1/notes?page_size=-1", "", 400, "INVALID_FIELD", map[string]string{"field": "page_size"}, ""},
		{"GET", "/v1/notes?pagesize=1", "", 400, "INVALID_FIELD", map[string]string{"field": "pagesize"}, `the nearest is "page_size"`},
		{"GET", "/v1/notes/1?wiat=1s", "", 400, "INVALID_FIELD", map[string]string{"field": "wiat"}, `the nearest is "wait"`},
		{"GET", "/v1/orders/1?wiat=1s", "", 400, "INVALID_FIELD", map[string]string{"field": "wiat"}, `the nearest is "wait"`},
		{"GET", "/v1/notes?wait=1s", "", 400, "INVALID_FIELD", map[string]string{"field": "wait"}, ``},
		{"GET", "/v1/notes?page_token=zzz", "", 400, "INVALID_TOKEN", map[string]string{"field": "page_token"}, ""},
		{"GET", "/v1/notes?a=%zz", "", 400, "INVALID_FIELD", nil, "malformed"},
		{"GET", "/v1/notes/1?min_revision=99", "", 503, "REVISION_NOT_REACHED", map[string]string{"field": "min_revision"}, ""},
		{"PUT", "/v1/notes/2?resource.uid=1", `{"data":{}}`, 400, "INVALID_FIELD", map[string]string{"field": "resource.uid"}, "by the body already"},
		{"PUT", "/v1/notes/2", ``, 400, "INVALID_FIELD", map[string]string{"field": "resource"}, "there is nothing"},
		{"PUT", "/v1/notes/2", `[]`, 400, "INVALID_FIELD", map[string]string{"field": "resource"}, "JSON object"},
		{"PUT", "/v1/notes/2", `{"data":{}`, 400, "INVALID_FIELD", map[string]string{"field": "resource", "offset": "10"}, "not JSON at byte 10"},
		{"PUT", "/v1/notes/2", `{"data":{},}`, 400, "INVALID_FIELD", map[string]string{"offset": "12"}, "not JSON at byte 12"},
		{"PUT", "/v1/notes/2", `{"data":{}}{}`, 400, "INVALID_FIELD", map[string]string{"offset": "12"}, "not JSON"},
		{"PUT", "/v1/notes/2", "{\"data\":{\"a\":\"\xff\"}}", 400, "INVALID_FIELD", nil, "UTF-8"},
		{"PUT", "/v1/notes/2", `{"dta":{}}`, 400, "INVALID_FIELD", map[string]string{"field": "resource.dta"}, `there is no field "dta"; the nearest is "data"`},
		{"PUT", "/v1/notes/2", `{"data":{},"data":{}}`, 400, "INVALID_FIELD", map[string]string{"field": "resource.data"}, `twice`},
		{"POST", "/v1/notes:write", `{"requestId":"a","request_id":"b"}`, 400, "INVALID_FIELD", map[string]string{"field": "request_id"}, `two spellings`},
		{"PUT", "/v1/notes/2", `{"data":{"a":1,"a":2}}`, 400, "INVALID_VALUE", map[string]string{"field": "resource.data", "path": "a"}, `twice`},
		{"PUT", "/v1/notes/2", `{"data":[1]}`, 400, "INVALID_VALUE", map[string]string{"field": "resource.data"}, `JSON object`},
		{"PUT", "/v1/notes/2", `{}`, 400, "INVALID_VALUE", map[string]string{"field": "resource.data"}, `missing`},
		{"PUT", "/v1/notes/2", `{"data":null}`, 400, "INVALID_VALUE", map[string]string{"field": "resource.data"}, `missing`},
		{"PUT", "/v1/notes/2", `{"labels":{"a":1},"data":{}}`, 400, "INVALID_FIELD", map[string]string{"field": "resource.labels.a"}, `a string`},
		{"PUT", "/v1/notes/2", `{"labels":[],"data":{}}`, 400, "INVALID_FIELD", map[string]string{"field": "resource.labels"}, `JSON object`},
		{"PUT", "/v1/notes/2", `{"name":5,"data":{}}`, 400, "INVALID_FIELD", map[string]string{"field": "resource.name"}, `a string`},
		{"PUT", "/v1/notes/2", `{"name":"notes/3","data":{}}`, 400, "INVALID_NAME", map[string]string{"field": "resource.name"}, `the path "notes/2"`},
		{"PUT", "/v1/notes/2", `{"type":"shop.v1.Order","data":{}}`, 400, "INVALID_VALUE", map[string]string{"field": "resource.type"}, `no type`},
		{"PUT", "/v1/orders/2", `{"type":"shop.v1.Item","data":{}}`, 400, "INVALID_VALUE", map[string]string{"field": "resource.type"}, `it is shop.v1.Order`},
		{"PUT", "/v1/orders/2", `{"data":{"items":[{"sku":"a"},{"quantity":"many"}]}}`, 400, "INVALID_VALUE", map[string]string{"field": "resource.data", "path": "items[1].quantity"}, ``},
		{"PUT", "/v1/orders/2", `{"data":{"custmer":"a"}}`, 400, "INVALID_VALUE", map[string]string{"field": "resource.data", "path": "custmer"}, ``},
		{"PUT", "/v1/orders/2", `{"data":{"order_id":"3"}}`, 400, "INVALID_VALUE", map[string]string{"field": "resource.data", "path": "order_id"}, ``},
		{"PUT", "/v1/orders/2", `{"nme":"orders/2","data":{}}`, 400, "INVALID_FIELD", map[string]string{"field": "resource.nme"}, `the nearest is "name"`},
		{"PUT", "/v1/orders/2", `{"name":"orders/3","data":{}}`, 400, "INVALID_NAME", nil, ``},
		{"PUT", "/v1/orders/2?order_id=3", `{"data":{}}`, 400, "INVALID_FIELD", map[string]string{"field": "order_id"}, `by the path already`},
		{"PUT", "/v1/notes/2", `{"data":{"a":"` + long + `"}}`, 413, "TOO_LARGE", map[string]string{"limit": "4000", "size": "5017"}, ``},
		{"PUT", "/v1/orders/2", `{"data":{"customerId":"` + long + `"}}`, 413, "TOO_LARGE", map[string]string{"limit": "4000"}, ``},
		{"POST", "/v1/notes:write", `{"operations":[{"put":{"name":"notes/2","data":{}}},{"put":{"name":"notes/3","data":[]}}]}`, 400, "INVALID_VALUE", map[string]string{"field": "operations[1].put.data"}, ``},
		{"POST", "/v1/notes:write", `{"operations":[{"pt":{}}]}`, 400, "INVALID_FIELD", map[string]string{"field": "operations[0].pt"}, `the nearest is "put"`},
		{"POST", "/v1/notes:write", `{"operations":[{"put":{"nam":""}}]}`, 400, "INVALID_FIELD", map[string]string{"field": "operations[0].put.nam"}, ``},
		{"POST", "/v1/notes:write", `{"operations":[{}]}`, 400, "INVALID_FIELD", map[string]string{"field": "operations[0]"}, ``},
		{"POST", "/v1/notes:write", `{"operations":{}}`, 400, "INVALID_FIELD", map[string]string{"field": "operations"}, `a list`},
		{"POST", "/v1/notes:write", `{"operations":[{"delete":"notes/1","put":{"name":"notes/1"}}]}`, 400, "INVALID_FIELD", nil, `exclude each other`},
		{"POST", "/v1/notes:write", `{"operations":[{"delete":"notes/1","precondition":{"etg":"x"}}]}`, 400, "INVALID_FIELD", map[string]string{"field": "operations[0].precondition.etg"}, ``},
		{"POST", "/v1/notes:write", `{"operations":[{"delete":"notes/1","precondition":{"revision":"x"}}]}`, 400, "INVALID_FIELD", map[string]string{"field": "operations[0].precondition.revision"}, ``},
		{"POST", "/v1/notes:write", `{"operations":[{"delete":"notes/1","precondition":{"revision":"7"}}]}`, 412, "PRECONDITION_FAILED", map[string]string{"revision": "1"}, ``},
		{"POST", "/v1/notes:write", `{"parent":"orders","operations":[]}`, 400, "INVALID_NAME", map[string]string{"field": "parent"}, ``},
		{"POST", "/v1/notes:write?request_id=x", `{"operations":[]}`, 400, "INVALID_FIELD", map[string]string{"field": "request_id"}, `belongs into the body`},
		{"POST", "/v1/notes:write", `{"operations":[]}`, 400, "INVALID_FIELD", map[string]string{"field": "operations"}, ``},
		{"DELETE", "/v1/notes/2", "", 404, "RESOURCE_NOT_FOUND", nil, ""},
		{"DELETE", "/v1/orders/2", "", 404, "RESOURCE_NOT_FOUND", nil, ""},
		{"GET", "/", "", 404, "ROUTE_NOT_FOUND", nil, "/"},
		{"GET", "/v1", "", 404, "ROUTE_NOT_FOUND", nil, ""},
		{"GET", "/v1/a/b/c/d", "", 404, "ROUTE_NOT_FOUND", nil, ""},
		{"GET", "/v2/notes", "", 404, "ROUTE_NOT_FOUND", nil, ""},
		{"GET", "/v2/%ff", "", 404, "ROUTE_NOT_FOUND", nil, ""},
		{"PATCH", "/v1/notes/%ff", "", 405, "UNSUPPORTED", nil, ""},
		{"GET", "/v1/notes/%ff", "", 400, "INVALID_NAME", nil, ""},
		{"GET", "/v1/orders/%ff", "", 400, "INVALID_FIELD", nil, "UTF-8"},
		{"PUT", "/v1/notes/%ff", `{"data":{}}`, 400, "INVALID_NAME", nil, ""},
		{"PUT", "/v1/notes/%ff", `{"name":"notes/1","data":{}}`, 400, "INVALID_NAME", nil, ""},
		{"GET", "/v1/%ff", "", 400, "INVALID_NAME", nil, ""},
		{"PATCH", "/v1/notes/1", "", 405, "UNSUPPORTED", nil, "it takes GET, HEAD, PUT, DELETE, OPTIONS"},
		{"POST", "/v1/notes/1", "", 405, "UNSUPPORTED", nil, ""},
		{"PUT", "/v1/notes", "{}", 405, "UNSUPPORTED", nil, "it takes GET, HEAD, OPTIONS"},
		{"GET", "/v1/notes:write", "", 400, "INVALID_NAME", nil, ""},
		{"POST", "/v1/notes:watch", "", 405, "UNSUPPORTED", nil, "it takes GET, HEAD"},
	} {
		r := n.do(c.method, c.path, c.body)
		what := c.method + " " + c.path + " " + c.body[:min(len(c.body), 100)]
		reason, metadata := r.reason(t)
		if r.StatusCode != c.status || reason != c.reason || !strings.Contains(r.body, strings.ReplaceAll(c.message, `"`, `\"`)) {
			t.Errorf("%s\ngot %s\nwant %d %s %s", what, r, c.status, c.reason, c.message)
		}
		for k, v := range c.metadata {
			if metadata[k] != v {
				t.Errorf("%s\ngot %s\nwant %s=%s", what, r, k, v)
			}
		}
		if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", what, r.Header)
		}
		if c.status == 405 && r.Header.Get("Allow") == "" || c.status == 503 && r.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: %v", what, r.Header)
		}
	}
}

func TestREST_ETags(t *testing.T) {
	n := newNode(t)
	for _, name := range []string{"/v1/notes/1", "/v1/orders/1"} {
		created := n.do("PUT", name, `{"data":{}}`, "If-None-Match", "*")
		etag := created.Header.Get("ETag")
		if created.StatusCode != 200 || len(etag) < 3 || etag[0] != '"' {
			t.Fatal(created, created.Header)
		}
		if r := n.do("GET", name, ""); r.Header.Get("ETag") != etag || r.Header.Get("Cache-Control") != "no-cache" {
			t.Error(r.Header)
		}
		for _, c := range []struct {
			method, header, value string
			status                int
		}{
			{"GET", "If-None-Match", etag, 304},
			{"HEAD", "If-None-Match", etag, 304},
			{"GET", "If-None-Match", "W/" + etag, 304},
			{"GET", "If-None-Match", `"x", ` + etag, 304},
			{"GET", "If-None-Match", "*", 304},
			{"GET", "If-None-Match", `"x"`, 200},
			{"GET", "If-None-Match", `x`, 400},
			{"PUT", "If-None-Match", "*", 412},
			{"PUT", "If-None-Match", `"x"`, 400},
			{"PUT", "If-Match", `"x"`, 412},
			{"PUT", "If-Match", etag + `, "x"`, 400},
			{"PUT", "If-Match", `*`, 400},
			{"DELETE", "If-Match", `"x"`, 412},
			{"PUT", "If-Match", etag, 200},
		} {
			body := ""
			if c.method == "PUT" {
				body = `{"data":{},"labels":{"changed":"yes"}}`
			}
			r := n.do(c.method, name, body, c.header, c.value)
			if r.StatusCode != c.status {
				t.Errorf("%s %s %s: %s gives %s", c.method, name, c.header, c.value, r)
			}
			if c.status == 304 && (r.body != "" || r.Header.Get("ETag") != etag) {
				t.Errorf("304 with %q %v", r.body, r.Header)
			}
			if c.status == 412 {
				if reason, metadata := r.reason(t); reason != "PRECONDITION_FAILED" || metadata["revision"] == "" || `"`+metadata["etag"]+`"` != etag {
					t.Error(r)
				}
			}
		}
		if r := n.do("PUT", name+"?precondition.revision=1", `{"data":{}}`, "If-Match", etag); r.StatusCode != 400 {
			t.Error(r)
		}
		if r := n.do("PUT", name+"?precondition.must_not_exist=true", `{"data":{}}`); r.StatusCode != 412 {
			t.Error(r)
		}
		now := n.do("GET", name, "").Header.Get("ETag")
		if r := n.do("DELETE", name, "", "If-Match", now); r.StatusCode != 200 {
			t.Error(r)
		}
	}
	if r := n.do("POST", "/v1/notes:write", `{"operations":[{"delete":"notes/1"}]}`, "If-Match", `"x"`); r.StatusCode != 400 {
		t.Error(r)
	}
}

func TestREST_HeadIsGetWithoutBody(t *testing.T) {
	n := newNode(t)
	n.put("notes/1", `{"a":1}`)
	for _, path := range []string{"/v1/notes/1", "/v1/notes", "/v1/notes/2", "/v1/orders/1", "/v1/x/y/z/0", "/healthz"} {
		get, head := n.do("GET", path, ""), n.do("HEAD", path, "")
		if head.StatusCode != get.StatusCode || head.body != "" || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") ||
			head.Header.Get("ETag") != get.Header.Get("ETag") || head.ContentLength != get.ContentLength {
			t.Errorf("%s: GET %s %v, HEAD %s %v", path, get, get.Header, head, head.Header)
		}
	}
	if r := n.do("HEAD", "/v1/notes:watch", ""); r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Error(r, r.Header)
	}
	n.watches(0)
}

func TestREST_OptionsTellsTheMethods(t *testing.T) {
	n := newNode(t)
	for path, want := range map[string]string{
		"/v1/notes/1": "GET, HEAD, PUT, DELETE, OPTIONS", "/v1/notes": "GET, HEAD, OPTIONS", "/v1/notes:write": "GET, HEAD, POST, OPTIONS", "/x": "OPTIONS",
	} {
		if r := n.do("OPTIONS", path, ""); r.StatusCode != 204 || r.Header.Get("Allow") != want {
			t.Errorf("%s: %s %v", path, r, r.Header)
		}
	}
}

func TestREST_NoDeadlineIsLeftOnAConnection(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.WriteTimeout, c.BodyTimeout = 50*time.Millisecond, 50*time.Millisecond }))
	for range 3 { // on one connection
		n.put("notes/1", `{}`)
		time.Sleep(70 * time.Millisecond)
	}
}

func TestREST_ABodyThatDoesNotComeIsGivenUp(t *testing.T) {
	n := newNode(t, with(func(c *Config) { c.BodyTimeout = 50 * time.Millisecond }))
	r, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequestWithContext(t.Context(), "PUT", n.url+"/v1/notes/1", r)
	if err != nil {
		t.Fatal(err)
	}
	res, err := n.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 400 {
		t.Error(res.Status)
	}
}

func TestHealth(t *testing.T) {
	ready := errors.New("starting")
	n := newNode(t, with(func(c *Config) {
		c.Ready = func() error { return ready }
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
		c.Page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page "+r.URL.Path) })
	}))
	for path, want := range map[string]string{
		"/healthz": "200 OK ok\n", "/readyz": "503 Service Unavailable not ready: starting\n", "/metrics": "200 OK metrics",
		"/": "200 OK page /", "/app.js": "200 OK page /app.js",
	} {
		if r := n.do("GET", path, ""); r.String() != want {
			t.Errorf("%s: %s", path, r)
		}
	}
	ready = nil
	if r := n.do("GET", "/readyz", ""); r.StatusCode != 200 {
		t.Error(r)
	}
	if r := n.do("GET", "/v1/a/b/c/d", ""); r.StatusCode != 404 {
		t.Error("the page is served for the API:", r)
	}
}

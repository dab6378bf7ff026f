package conformance

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// final says with what a watch must have ended.
func (w *World) final(watch *Watch, code, reason string) {
	w.T.Helper()
	watch.Unchecked = true
	if f := w.Ended(watch, settleTime); f.Code != code || f.Reason != reason || f.Message == "" {
		w.T.Errorf("%s ended with %+v, not %s %s\n%s", watch.ID, f, code, reason, watch.tail())
	}
}

func TestError_ThereIsNoSuchCollection(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{Collection: "system.nowhere"})
		for _, watch := range w.OpenAll() {
			w.final(watch, "NOT_FOUND", "COLLECTION_NOT_FOUND")
		}
	})
}

func TestError_TheRequestIsWrong(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("a", Note(1))
		for _, via := range c.Via {
			watch := w.Open("filter-"+via, Options{Via: via, Request: map[string]any{"filter": "data.n >"}})
			w.final(watch, "INVALID_ARGUMENT", "INVALID_FILTER")
			if f := w.Ended(watch, settleTime); f.Metadata["field"] != "filter" {
				t.Errorf("%s: the metadata %v do not name the field", watch.ID, f.Metadata)
			}
			w.final(w.Open("future-"+via, Options{Via: via, Request: map[string]any{"afterRevision": "99999"}}), "OUT_OF_RANGE", "FUTURE_REVISION")
		}
	})
}

// The program expects orders, and the collection holds something else.
func TestError_WrongType(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{})
		w.Put("a", Note(1))
		for _, via := range c.Via {
			w.final(w.Open("watch-"+via, Options{Via: via, Type: "shop.v1.Order"}), "FAILED_PRECONDITION", "WRONG_TYPE")
			w.final(w.Open("mirror-"+via, Options{Via: via, Type: "shop.v1.Order", Mirror: true}), "FAILED_PRECONDITION", "WRONG_TYPE")
		}
	})
}

// Something that is no node answers each request with a page.
func TestError_NotWatchroute(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		page := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(rw, "<html><body>Sign in to the hotel's network</body></html>")
		}))
		page.Config.Protocols = new(http.Protocols)
		page.Config.Protocols.SetHTTP1(true)
		page.Config.Protocols.SetUnencryptedHTTP2(true)
		page.Start()
		defer page.Close()
		w := NewWorld(t, c, Setup{})
		node := w.Node.GRPC
		if c.HTTP {
			node = w.Node.HTTP
		}
		w.Proxy.Lead(page.Listener.Addr().String())
		for _, via := range c.Via {
			if via == "ladder" || via == "websocket" {
				continue // a socket that is not upgraded says nothing of why
			}
			w.final(w.Open("page-"+via, Options{Via: via}), "UNIMPLEMENTED", "NOT_WATCHROUTE")
		}
		// A page that comes later is a failure like others.
		w.Proxy.Lead(node)
		w.Proxy.Cut()
		w.Put("a", Note(1))
		all := w.OpenAll()
		w.Live(all, settleTime)
		w.Proxy.Lead(page.Listener.Addr().String())
		w.Proxy.Cut()
		w.Put("a", Note(2))
		time.Sleep(time.Second) // of pages
		w.Proxy.Lead(node)
		w.Proxy.Cut()
		w.Settle(all)
	})
}

func TestUnary_CallsAndTheirErrors(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		w := NewWorld(t, c, Setup{Args: []string{"--contracts", "shop"}})
		call := func(op string, fields map[string]any) Report {
			t.Helper()
			fields["op"] = op
			return w.Driver.Call(fields)
		}
		revision := func(r Report) uint64 {
			t.Helper()
			var a struct {
				Revision uint64 `json:"revision,string"`
			}
			if r.Error != nil {
				t.Fatalf("%s: %+v", r.Op, r.Error)
			}
			if err := json.Unmarshal(r.Answer, &a); err != nil || a.Revision == 0 {
				t.Fatalf("%s: %v: %s", r.Op, err, r.Answer)
			}
			return a.Revision
		}
		failed := func(r Report, code, reason string) {
			t.Helper()
			if r.Error == nil || r.Error.Code != code || r.Error.Reason != reason || r.Error.Message == "" {
				t.Errorf("%s: %+v %s, not %s %s", r.Op, r.Error, r.Answer, code, reason)
			}
		}
		note := map[string]any{"n": 1.5, "deep": map[string]any{"list": []any{1, "two", nil}}}
		first := revision(call("put", map[string]any{"name": "notes/a", "data": note, "requestId": "one"}))
		if again := revision(call("put", map[string]any{"name": "notes/a", "data": note, "requestId": "one"})); again != first {
			t.Errorf("the repeated write is revision %d, the write %d", again, first)
		}
		failed(call("put", map[string]any{"name": "notes/a", "data": map[string]any{"n": 2}, "requestId": "one"}), "ALREADY_EXISTS", "REQUEST_ID_REUSED")

		var got struct {
			Name     string          `json:"name"`
			Revision uint64          `json:"revision,string"`
			Data     json.RawMessage `json:"data"`
			Type     string          `json:"type"`
		}
		resource := func(r Report) {
			t.Helper()
			if r.Error != nil {
				t.Fatalf("%s: %+v", r.Op, r.Error)
			}
			got.Type = ""
			if err := json.Unmarshal(r.Answer, &got); err != nil {
				t.Fatalf("%s: %v", r.Answer, err)
			}
		}
		want, _ := json.Marshal(note)
		if resource(call("get", map[string]any{"name": "notes/a"})); got.Name != "notes/a" || got.Revision != first || plain(got.Data) != plain(want) {
			t.Errorf("get: %+v", got)
		}
		order := json.RawMessage(`{"orderId":"7","customerId":"ada","status":"SHIPPED","total":{"currencyCode":"EUR","units":"12"}}`)
		revision(call("put", map[string]any{"name": "orders/7", "data": order}))
		if resource(call("get", map[string]any{"name": "orders/7"})); got.Type != "shop.v1.Order" || plain(got.Data) != plain(order) {
			t.Errorf("get: %+v %s", got, got.Data)
		}
		batch := revision(call("write", map[string]any{"parent": "notes", "puts": map[string]any{"notes/b": note, "notes/c": note}, "deletes": []string{"notes/a"}}))
		var page struct {
			Resources []struct {
				Name     string `json:"name"`
				Revision uint64 `json:"revision,string"`
			} `json:"resources"`
			Revision uint64 `json:"revision,string"`
		}
		list := call("list", map[string]any{"parent": "notes"})
		if err := json.Unmarshal(list.Answer, &page); err != nil || len(page.Resources) != 2 || page.Resources[0].Name != "notes/b" || page.Resources[1].Revision != batch || page.Revision != batch {
			t.Errorf("list: %v %s %+v", err, list.Answer, list.Error)
		}
		revision(call("delete", map[string]any{"name": "notes/b"}))
		failed(call("delete", map[string]any{"name": "notes/b"}), "NOT_FOUND", "RESOURCE_NOT_FOUND")
		failed(call("get", map[string]any{"name": "notes/b"}), "NOT_FOUND", "RESOURCE_NOT_FOUND")
		failed(call("list", map[string]any{"parent": "system.nowhere"}), "NOT_FOUND", "COLLECTION_NOT_FOUND")
		failed(call("put", map[string]any{"name": "notes/..", "data": note}), "INVALID_ARGUMENT", "INVALID_NAME")
	})
}

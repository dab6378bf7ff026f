package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Marker stands in each value that a Writer writes, so that it is found where it must not
// be.
const Marker = "marker-of-a-value"

const writeTime = 60 * time.Second

// Writer writes to a node, past the proxy, and notes what is acknowledged.
type Writer struct {
	*Journal
	// Collection is written to; Values are not Orders but where Typed says so.
	Collection string
	// Credential may be empty.
	Credential string

	t      testing.TB
	url    string
	client *http.Client
	n      atomic.Uint64 // of the request ids
	steps  atomic.Int64  // of Load
}

// NewWriter makes one for a collection of the node at a URL.
func NewWriter(t testing.TB, url, collection string) *Writer {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	t.Cleanup(transport.CloseIdleConnections)
	return &Writer{Journal: &Journal{}, Collection: collection, t: t, url: url, client: &http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

// Note gives a value. Some of its fields come and go, inner ones, too.
func Note(n int) map[string]any {
	note := map[string]any{"n": n, "text": fmt.Sprintf("%s %d", Marker, n)}
	if n%3 == 0 {
		note["third"] = n
	}
	if n%5 != 0 {
		note["inner"] = map[string]any{"same": true, "rest": n % 5}
	}
	if n%7 == 0 {
		note["inner"] = map[string]any{"same": true}
	}
	return note
}

// Put writes one resource.
func (w *Writer) Put(id string, data any) {
	w.t.Helper()
	w.Write(map[string]any{id: data})
}

// Delete removes resources, in one batch.
func (w *Writer) Delete(ids ...string) {
	w.t.Helper()
	w.Write(nil, ids...)
}

// Write writes a batch. Where the node does not answer, it is asked again under the same
// request id, until it does.
func (w *Writer) Write(puts map[string]any, deletes ...string) {
	w.t.Helper()
	if err := w.write(w.t.Context(), puts, deletes); err != nil {
		w.t.Fatal(err)
	}
}

func (w *Writer) write(ctx context.Context, puts map[string]any, deletes []string) error {
	var operations []any
	changes := make([]Change, 0, len(puts)+len(deletes))
	for _, id := range slices.Sorted(maps.Keys(puts)) {
		data, err := json.Marshal(puts[id])
		if err != nil {
			return err
		}
		name := w.Collection + "/" + id
		operations = append(operations, map[string]any{"put": map[string]any{"name": name, "data": json.RawMessage(data)}})
		changes = append(changes, Change{Name: name, Data: plain(data)})
	}
	for _, id := range deletes {
		operations = append(operations, map[string]any{"delete": w.Collection + "/" + id})
		changes = append(changes, Change{Name: w.Collection + "/" + id})
	}
	body, err := json.Marshal(map[string]any{"requestId": fmt.Sprintf("write-%d", w.n.Add(1)), "operations": operations})
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(writeTime); ; {
		var answer struct {
			Revision uint64 `json:"revision,string"`
			Results  []struct {
				Changed bool `json:"changed"`
			} `json:"results"`
		}
		err := w.ask(ctx, http.MethodPost, "/v1/"+w.Collection+":write", body, &answer)
		if err == nil {
			for i := range changes {
				changes[i].Revision = answer.Revision
				if i >= len(answer.Results) || !answer.Results[i].Changed {
					return fmt.Errorf("a write to %s changed nothing", changes[i].Name)
				}
			}
			w.Add(changes...)
			return nil
		}
		if _, refused := errors.AsType[*refusal](err); refused || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// refusal is an answer that another try does not change.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("the node answered %d: %s", r.status, r.body) }

func (w *Writer) ask(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if w.Credential != "" {
		req.Header.Set("Authorization", "Bearer "+w.Credential)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode >= 500:
		return fmt.Errorf("the node answered %d: %s", resp.StatusCode, text)
	case resp.StatusCode >= 300:
		return &refusal{resp.StatusCode, string(text)}
	}
	return json.Unmarshal(text, into)
}

// List asks the node for the state of the collection, all of it.
func (w *Writer) List() (state map[string]Value, revision uint64) {
	w.t.Helper()
	state = map[string]Value{}
	for token := ""; ; {
		var page struct {
			Resources []struct {
				Name     string          `json:"name"`
				Revision uint64          `json:"revision,string"`
				Data     json.RawMessage `json:"data"`
			} `json:"resources"`
			Revision      uint64 `json:"revision,string"`
			NextPageToken string `json:"nextPageToken"`
		}
		path := "/v1/" + w.Collection + "?page_size=1000"
		if token != "" {
			path += "&page_token=" + token
		}
		if err := w.ask(w.t.Context(), http.MethodGet, path, nil, &page); err != nil {
			w.t.Fatal(err)
		}
		for _, r := range page.Resources {
			state[r.Name] = Value{r.Revision, plain(r.Data)}
		}
		if revision, token = page.Revision, page.NextPageToken; token == "" {
			return state, revision
		}
	}
}

// Load writes without a stop, pairs and single resources, new ones, changed and deleted
// ones, until the function that it gives is called, which waits for it.
func (w *Writer) Load(pause time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		for {
			if err := w.step(context.WithoutCancel(ctx), int(w.steps.Add(1))); err != nil {
				done <- err
				return
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				done <- nil
				return
			}
		}
	}()
	return func() {
		w.t.Helper()
		cancel()
		if err := <-done; err != nil {
			w.t.Fatal(err)
		}
	}
}

// step writes what Load writes. The pair that stands under `left` and `right` is always
// equal but in its names.
func (w *Writer) step(ctx context.Context, n int) error {
	switch n % 4 {
	case 0:
		return w.write(ctx, map[string]any{"left": Note(n), "right": Note(n)}, nil)
	case 1:
		return w.write(ctx, map[string]any{fmt.Sprintf("passing-%d", n%3): Note(n)}, nil)
	case 2:
		return w.write(ctx, map[string]any{fmt.Sprintf("lasting-%d", n%11): Note(n)}, nil)
	}
	// What the write of two steps ago made; it is there, as each third one is another.
	return w.write(ctx, map[string]any{"counter": Note(n)}, []string{fmt.Sprintf("passing-%d", (n-2)%3)})
}

// Operate makes a call that a scenario needs.
func (w *Writer) Operate(method, path string, body any) {
	w.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	var ignored json.RawMessage
	if err := w.ask(w.t.Context(), method, path, text, &ignored); err != nil {
		w.t.Fatalf("%s %s: %v", method, strings.Split(path, "?")[0], err)
	}
}

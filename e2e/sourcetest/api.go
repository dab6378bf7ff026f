package sourcetest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// The collections.
const (
	things        = "things"
	sourcesOf     = "system.sources"
	statusOf      = "system.source-status"
	deadlettersOf = "system.deadletters"
)

// callTime is how long a call may take.
const callTime = 20 * time.Second

// answer is what a call gives: a resource, a list of them, or an error.
type answer struct {
	Code      int        `json:"code"` // of an error
	Message   string     `json:"message"`
	Revision  string     `json:"revision"`
	Resources []resource `json:"resources"`
	Resource  resource   `json:"resource"` // of a write
	resource
	status int // of HTTP
}

// resource is a resource as JSON.
type resource struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	Data   json.RawMessage   `json:"data"`
}

// call calls the node's REST. The test ends where it does not answer.
func (w *world) call(method, path string, body any) answer {
	w.Helper()
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			w.Fatal(err)
		}
		in = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.node.URL("/v1/"+path), in)
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	a := answer{status: resp.StatusCode}
	if err := json.Unmarshal(raw, &a); err != nil {
		w.Fatalf("%s %s: %v in %s", method, path, err, raw)
	}
	return a
}

// must is call where nothing but success will do.
func (w *world) must(method, path string, body any) answer {
	w.Helper()
	a := w.call(method, path, body)
	if a.status != http.StatusOK {
		w.Fatalf("%s %s: %d, %s", method, path, a.status, a.Message)
	}
	return a
}

// write writes the source as it is, and as change makes it.
func (w *world) write(change ...func(map[string]any)) {
	w.Helper()
	raw, err := json.Marshal(w.source)
	if err != nil {
		w.Fatal(err)
	}
	var source map[string]any
	if err := json.Unmarshal(raw, &source); err != nil {
		w.Fatal(err)
	}
	for _, f := range change {
		f(source)
	}
	w.must(http.MethodPut, sourcesOf+"/"+w.id, map[string]any{"data": source})
}

func paused(source map[string]any) { source["paused"] = true }

// head gives the revision of things.
func (w *world) head() int {
	w.Helper()
	n, err := strconv.Atoi(w.must(http.MethodGet, things+"?page_size=1", nil).Revision)
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// state gives n of all things.
func (w *world) state() map[string]int {
	w.Helper()
	state := map[string]int{}
	for _, r := range w.must(http.MethodGet, things+"?page_size=1000", nil).Resources {
		var value struct{ N int }
		if err := json.Unmarshal(r.Data, &value); err != nil {
			w.Fatalf("%s: %v in %s", r.Name, err, r.Data)
		}
		state[r.Name] = value.N
	}
	return state
}

// letters gives the dead letters of the source.
func (w *world) letters() (all []*watchroutev1.DeadLetter) {
	w.Helper()
	query := url.Values{"page_size": {"1000"}, "filter": {"data.source_id == " + strconv.Quote(w.id)}}
	for _, r := range w.must(http.MethodGet, deadlettersOf+"?"+query.Encode(), nil).Resources {
		m := new(watchroutev1.DeadLetter)
		w.read(r, m)
		all = append(all, m)
	}
	return all
}

func (w *world) read(r resource, m proto.Message) {
	w.Helper()
	if err := protojson.Unmarshal(r.Data, m); err != nil {
		w.Fatalf("%s: %v in %s", r.Name, err, r.Data)
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// sseNaive is the baseline that a Go team writes in a day on net/http: a
// channel per watcher, and json.Marshal and a flush for each watcher and event.
type sseNaive struct{}

func init() { register(sseNaive{}) }

func (sseNaive) Info() Info {
	return Info{Name: "sse-naive", About: "hand-written baseline on net/http: channel (256) per watcher, json.Marshal and flush each, drop when full",
		Snapshot: true}
}

type sseEvent struct {
	Key   string          `json:"key"`
	Rev   int64           `json:"rev"`
	Value json.RawMessage `json:"value"`
}

func (sseNaive) Serve(ctx context.Context, o ServeOpts, ready func(Ready)) error {
	h := newHub[sseEvent]()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		key := r.URL.Query().Get("key")
		h.publish(key, func(rev int64) sseEvent { return sseEvent{key, rev, b} })
	})
	mux.HandleFunc("GET /watch", func(w http.ResponseWriter, r *http.Request) {
		state, ch, cancel := h.subscribe(r.URL.Query().Get("key"))
		defer cancel()
		w.Header().Set("Content-Type", "text/event-stream")
		send := func(e sseEvent) {
			b, _ := json.Marshal(e)
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", e.Rev, b)
		}
		for _, e := range state {
			send(e)
		}
		w.(http.Flusher).Flush()
		for {
			select {
			case e := <-ch:
				send(e)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	return serveHTTP(ctx, mux, ready)
}

// serveHTTP serves plain HTTP/1.1 on a free loopback port until ctx ends.
func serveHTTP(ctx context.Context, h http.Handler, ready func(Ready)) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h}
	context.AfterFunc(ctx, func() { s.Close() })
	ready(Ready{Addr: ln.Addr().String()})
	return s.Serve(ln)
}

func (sseNaive) Dial(_ context.Context, addr string) (Conn, error) { return dialSSE(addr), nil }

// sseConn is a client of GET /watch?key=K (SSE) and POST /publish?key=K. Each
// watch has its own TCP connection.
type sseConn struct {
	*lifetime
	addr string
}

func dialSSE(addr string) *sseConn { return &sseConn{lifetime: newLifetime(), addr: addr} }

// sseClient is shared by all publishers of the process.
var sseClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func (c *sseConn) Publish(ctx context.Context, key string, val []byte) error {
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+c.addr+"/publish?key="+key, bytes.NewReader(val))
	if err != nil {
		return err
	}
	res, err := sseClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	if res.StatusCode/100 != 2 {
		return errors.New(res.Status)
	}
	return nil
}

func (c *sseConn) open(key, lastID string) (*bufio.Reader, error) {
	head := "GET /watch?key=" + key + " HTTP/1.1\r\nAccept: text/event-stream\r\n"
	if lastID != "" {
		head += "Last-Event-ID: " + lastID + "\r\n"
	}
	return c.request(c.addr, head, nil)
}

type sseWatch struct{ id []byte }

func (w *sseWatch) Pos() Pos {
	if len(w.id) == 0 {
		return nil
	}
	return string(w.id)
}

// next reads one line; data goes to sink, an id is kept.
func (w *sseWatch) next(br *bufio.Reader, sink Sink) (data bool, err error) {
	line, err := br.ReadSlice('\n')
	switch {
	case err != nil:
	case bytes.HasPrefix(line, []byte("data:")):
		sink(line)
		return true, nil
	case bytes.HasPrefix(line, []byte("id:")):
		w.id = append(w.id[:0], bytes.TrimSpace(line[3:])...)
	}
	return false, err
}

func (c *sseConn) Watch(_ context.Context, key string, from Pos, sink Sink) (Watch, error) {
	id, _ := from.(string)
	br, err := c.open(key, id)
	if err != nil {
		return nil, err
	}
	w := &sseWatch{}
	go func() {
		for {
			if _, err := w.next(br, sink); err != nil {
				c.fail(err)
				return
			}
		}
	}()
	return w, nil
}

func (c *sseConn) Snapshot(ctx context.Context, n int, sink Sink) error {
	return c.snapshot(n, "", sink)
}

func (c *sseConn) snapshot(n int, lastID string, sink Sink) error {
	br, err := c.open("i.*", lastID)
	if err != nil {
		return err
	}
	var w sseWatch
	for n > 0 {
		data, err := w.next(br, sink)
		if err != nil {
			return err
		}
		if data {
			n--
		}
	}
	return nil
}

func (c *sseConn) Close() error {
	c.cancel()
	return nil
}

// topics are the names that an update of key is sent under.
func topics(key string) []string {
	prefix, _, _ := strings.Cut(key, ".")
	return []string{key, prefix + ".*"}
}

package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"

	"google.golang.org/protobuf/proto"
)

// path is where orders are watched over HTTP.
const path = "/v1/orders/watch"

// web is one connection for each watch: a cut watch cuts its connection.
type web struct {
	target Target
	client *http.Client
}

func newWeb(target Target) web {
	return web{target, &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, ReadBufferSize: 64 << 10}}}
}

func (t web) get(ctx context.Context, r Request, accept string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.target.HTTP+path+"?"+r.query().Encode(), nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Accept", accept)
	return t.do(q)
}

func (t web) do(q *http.Request) (*http.Response, error) {
	resp, err := t.client.Do(q)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return nil, fmt.Errorf("client: HTTP %d: %s", resp.StatusCode, body)
	}
	return resp, nil
}

// NDJSON is one JSON message a line.
type NDJSON struct{ web }

// NewNDJSON makes it.
func NewNDJSON(target Target) *NDJSON { return &NDJSON{newWeb(target)} }

// Name implements Transport.
func (*NDJSON) Name() string { return "ndjson" }

// Watch implements Transport.
func (t *NDJSON) Watch(ctx context.Context, r Request, handle func(*Message) error) error {
	resp, err := t.get(ctx, r, "application/x-ndjson")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return eachLine(resp.Body, func(line []byte) error {
		m, err := fromJSON(line)
		if err != nil {
			return err
		}
		return handle(m)
	})
}

// eachLine calls f with each line, without its end, until the body ends.
func eachLine(body io.Reader, f func([]byte) error) error {
	lines := bufio.NewReaderSize(body, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return err
		}
	}
}

// SSE is Server-Sent Events, read as the WHATWG's rules say.
type SSE struct{ web }

// NewSSE makes it.
func NewSSE(target Target) *SSE { return &SSE{newWeb(target)} }

// Name implements Transport.
func (*SSE) Name() string { return "sse" }

// Watch implements Transport. As EventSource does, it hands a token back in
// Last-Event-ID.
func (t *SSE) Watch(ctx context.Context, r Request, handle func(*Message) error) error {
	token := r.Token
	r.Token = ""
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.target.HTTP+path+"?"+r.query().Encode(), nil)
	if err != nil {
		return err
	}
	q.Header.Set("Accept", "text/event-stream")
	if token != "" {
		q.Header.Set("Last-Event-ID", token)
	}
	resp, err := t.do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var kind, id string
	var data []byte
	return eachLine(resp.Body, func(line []byte) error {
		if len(line) == 0 {
			if data == nil {
				kind = ""
				return nil
			}
			m, err := fromSSE(kind, id, data)
			kind, id, data = "", "", nil
			if err != nil {
				return err
			}
			return handle(m)
		}
		field, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			kind = value
		case "id":
			id = value
		case "data":
			data = append(data, value...)
		}
		return nil
	})
}

func fromSSE(kind, id string, data []byte) (*Message, error) {
	if kind != "change" {
		m, err := fromJSON(data)
		if err == nil && string(m.Kind) != kind {
			err = unfit("an event %q says %q", kind, m.Kind)
		}
		if err == nil && m.Token != id {
			err = unfit("the id of %q is not the token", kind)
		}
		return m, err
	}
	m, err := fromJSON(fmt.Appendf(nil, `{"events":{"events":[%s]}}`, data))
	if err != nil {
		return nil, err
	}
	m.Token, m.Revision = id, m.Events[0].Revision
	return m, nil
}

// GRPCWeb is ResourceService.Watch over gRPC-Web.
type GRPCWeb struct{ web }

// NewGRPCWeb makes it.
func NewGRPCWeb(target Target) *GRPCWeb { return &GRPCWeb{newWeb(target)} }

// Name implements Transport.
func (*GRPCWeb) Name() string { return "grpc-web" }

// Watch implements Transport.
func (t *GRPCWeb) Watch(ctx context.Context, r Request, handle func(*Message) error) error {
	message, err := proto.Marshal(r.proto())
	if err != nil {
		return err
	}
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+t.target.HTTP+"/watchroute.v1.ResourceService/Watch", bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/grpc-web+proto")
	q.Header.Set("X-Grpc-Web", "1")
	resp, err := t.do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if status := resp.Header.Get("Grpc-Status"); status != "" && status != "0" {
		return webError(status, resp.Header.Get("Grpc-Message"), resp.Header.Get("Grpc-Status-Details-Bin"))
	}
	in := bufio.NewReaderSize(resp.Body, 1<<20)
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err // io.EOF too: the trailers are missing
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(in, frame); err != nil {
			return err
		}
		if head[0]&0x80 != 0 {
			return trailers(frame)
		}
		m, err := fromBytes(frame)
		if err != nil {
			return err
		}
		if err := handle(m); err != nil {
			return err
		}
	}
}

func trailers(frame []byte) error {
	h, err := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(frame), strings.NewReader("\r\n")))).ReadMIMEHeader()
	if err != nil {
		return unfit("trailers %q: %v", frame, err)
	}
	if status := h.Get("Grpc-Status"); status != "0" {
		return webError(status, h.Get("Grpc-Message"), h.Get("Grpc-Status-Details-Bin"))
	}
	return nil
}

func webError(status, message, details string) error {
	text, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(details, "="))
	return fmt.Errorf("client: gRPC-Web status %s: %s (%q)", status, message, text)
}

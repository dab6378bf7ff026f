package transporttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/credentials"
)

// Tap keeps all bytes that connections receive, as they come out of TLS, and what
// HTTP/2's compression of headers hides in them. A nil Tap keeps nothing.
type Tap struct {
	mu    sync.Mutex
	kept  []*kept
	bytes int
}

// kept is what one connection, or one answer over HTTP/2, has received.
type kept struct {
	tap *Tap
	buf bytes.Buffer
}

func (t *Tap) open() *kept {
	k := &kept{tap: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, k)
	return k
}

// Write keeps bytes.
func (k *kept) Write(b []byte) (int, error) {
	k.tap.mu.Lock()
	defer k.tap.mu.Unlock()
	k.tap.bytes += len(b)
	return k.buf.Write(b)
}

// received gives what the connections have received: the bytes of each, and behind
// them the headers of those that speak HTTP/2.
func (t *Tap) received() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, k := range t.kept {
		out = append(out, k.buf.String()+headersIn(k.buf.Bytes()))
	}
	return out
}

// headersIn gives the headers of a connection that speaks HTTP/2, with what gRPC
// encodes in base64; of other ones nothing.
func headersIn(conn []byte) string {
	f := http2.NewFramer(io.Discard, bytes.NewReader(conn))
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.SetMaxReadFrameSize(1 << 24)
	var b strings.Builder
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return b.String()
		}
		meta, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			continue
		}
		for _, field := range meta.Fields {
			fmt.Fprintf(&b, "\n%s: %s", field.Name, field.Value)
			if strings.HasSuffix(field.Name, "-bin") {
				raw, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(field.Value, "="))
				b.Write(raw)
			}
		}
	}
}

// on keeps what a connection receives.
func (t *Tap) on(conn net.Conn) net.Conn {
	if t == nil {
		return conn
	}
	return tapped{conn, t.open()}
}

type tapped struct {
	net.Conn
	kept *kept
}

// Read implements net.Conn.
func (c tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	_, _ = c.kept.Write(b[:n]) // to memory
	return n, err
}

// dialTLS opens a connection that speaks TLS and HTTP/1.1, and keeps what comes out.
func (d Dialer) dialTLS(ctx context.Context, _, address string) (net.Conn, error) {
	conn, err := d.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	settings := identity().client.Clone()
	if settings.ServerName == "" {
		settings.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(conn, settings)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return d.Tap.on(secure), nil
}

// credentials keeps what comes out of a gRPC client's TLS.
func (t *Tap) credentials(c credentials.TransportCredentials) credentials.TransportCredentials {
	if t == nil {
		return c
	}
	return tappedTLS{c, t}
}

type tappedTLS struct {
	credentials.TransportCredentials
	tap *Tap
}

// ClientHandshake implements credentials.TransportCredentials.
func (c tappedTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, err
	}
	return c.tap.on(secure), info, nil
}

// Clone implements credentials.TransportCredentials.
func (c tappedTLS) Clone() credentials.TransportCredentials {
	return tappedTLS{c.TransportCredentials.Clone(), c.tap}
}

// answer keeps an answer over HTTP/2, headers and body.
func (t *Tap) answer(r *http.Response) {
	if t == nil {
		return
	}
	k := t.open()
	_ = r.Header.Write(k) // to memory
	r.Body = tappedBody{r.Body, r, k}
}

type tappedBody struct {
	io.ReadCloser
	answer *http.Response
	kept   *kept
}

// Read implements io.Reader.
func (b tappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	_, _ = b.kept.Write(p[:n]) // to memory
	if err != nil {
		_ = b.answer.Trailer.Write(b.kept)
	}
	return n, err
}

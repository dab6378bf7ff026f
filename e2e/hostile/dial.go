package hostile

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// From gives a dialer whose connections come from a loopback address.
func From(address string) func(context.Context, string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 10 * time.Second}
	return func(ctx context.Context, to string) (net.Conn, error) { return d.DialContext(ctx, "tcp", to) }
}

// Dial connects from an address. With settings it makes the handshake of TLS and offers
// protocols.
func Dial(ctx context.Context, from, to string, settings *tls.Config, protocols ...string) (net.Conn, error) {
	raw, err := From(from)(ctx, to)
	if err != nil || settings == nil {
		return raw, err
	}
	settings = settings.Clone()
	settings.NextProtos = protocols
	settings.ServerName = "127.0.0.1"
	conn := tls.Client(raw, settings)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// HTTPClient is an HTTP/1.1 client at an address.
func HTTPClient(from string, settings *tls.Config) *http.Client {
	dial := From(from)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: settings.Clone(), MaxIdleConnsPerHost: 32,
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) { return dial(ctx, to) }}}
}

// Abort closes a connection by a reset, so that nothing of it stays behind, not even
// TIME_WAIT.
func Abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

package mqtt

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

// dialer connects to a broker.
func dialer(address string, secure bool, t *watchroutev1.ClientTls) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		settings, err := sources.TLS(t)
		if err != nil {
			return nil, fmt.Errorf("mqtt.%w", err)
		}
		if settings == nil && secure {
			settings = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		d := &net.Dialer{Timeout: connectTimeout}
		if settings == nil {
			return d.DialContext(ctx, "tcp", address)
		}
		return (&tls.Dialer{NetDialer: d, Config: settings}).DialContext(ctx, "tcp", address)
	}
}

// conn is what paho reads in small pieces, and writes in such: it locks it for each packet.
type conn struct {
	net.Conn
	in *bufio.Reader

	mu  sync.Mutex // nothing is locked below it
	out *bufio.Writer
}

func newConn(c net.Conn) *conn {
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 64<<10), out: bufio.NewWriter(c)}
}

// Read implements io.Reader.
func (c *conn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Write implements io.Writer.
func (c *conn) Write(p []byte) (int, error) { return c.out.Write(p) }

// Lock implements sync.Locker.
func (c *conn) Lock() { c.mu.Lock() }

// Unlock implements sync.Locker. An error comes again with what is written next.
func (c *conn) Unlock() {
	_ = c.out.Flush()
	c.mu.Unlock()
}

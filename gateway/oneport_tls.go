package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"

	"google.golang.org/grpc/credentials"
)

// offering is a connection that remembers what its client offered to speak: afterwards
// only what was chosen is known.
type offering struct {
	net.Conn
	offers []string
}

// noteOffers adds to settings of TLS that an offering learns what is offered.
func noteOffers(settings *tls.Config) *tls.Config {
	settings = settings.Clone()
	choose := settings.GetConfigForClient
	settings.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if c, ok := hello.Conn.(*offering); ok {
			c.offers = slices.Clone(hello.SupportedProtos)
		}
		if choose == nil {
			return nil, nil
		}
		return choose(hello)
	}
	return settings
}

// shake makes the handshake, and gives gRPC the clients that offer HTTP/2 only: those
// of gRPC do, while browsers, curl and the libraries for HTTP offer HTTP/1.1 too.
func (p *onePort) shake(raw net.Conn) (b *branch, ready net.Conn, err error) {
	c := &offering{Conn: raw}
	conn := tls.Server(c, p.tls)
	ctx, cancel := context.WithTimeout(context.Background(), peekTime)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	if conn.ConnectionState().NegotiatedProtocol == "h2" && !slices.Contains(c.offers, "http/1.1") {
		return p.grpc, conn, nil
	}
	return p.http, conn, nil
}

// Handshaken are the credentials of a gRPC server whose listener speaks TLS already,
// as one of OnePort's does. A connection without TLS is refused.
func Handshaken() credentials.TransportCredentials {
	return handshaken{credentials.NewTLS(nil)}
}

type handshaken struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (handshaken) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c, ok := raw.(*newcomer); ok {
		raw = c.Conn
	}
	conn, ok := raw.(*tls.Conn)
	if !ok {
		return nil, nil, errors.New("gateway: a connection without TLS")
	}
	if err := conn.HandshakeContext(context.Background()); err != nil { // none is left to make, or it has gRPC's deadline
		return nil, nil, err
	}
	return conn, credentials.TLSInfo{State: conn.ConnectionState(), CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// Clone implements credentials.TransportCredentials.
func (h handshaken) Clone() credentials.TransportCredentials {
	return handshaken{h.TransportCredentials.Clone()}
}

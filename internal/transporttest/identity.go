package transporttest

import (
	"crypto/tls"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/watchroute/watchroute/gateway"
	"github.com/watchroute/watchroute/internal/certificate/certificatetest"
)

// sides are settings of TLS that trust each other.
type sides struct{ server, client *tls.Config }

// identity is that of every node.
var identity = sync.OnceValue(func() sides {
	ca := certificatetest.New("transporttest")
	return sides{
		server: &tls.Config{Certificates: []tls.Certificate{ca.Pair("node")}, NextProtos: []string{"h2", "http/1.1"}},
		client: ca.Client(),
	}
})

// either are the credentials of a gRPC server of which some listeners speak TLS.
type either struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (e either) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if _, ok := conn.(*tls.Conn); ok {
		return gateway.Handshaken().ServerHandshake(conn)
	}
	return e.TransportCredentials.ServerHandshake(conn)
}

// Clone implements credentials.TransportCredentials.
func (e either) Clone() credentials.TransportCredentials {
	return either{e.TransportCredentials.Clone()}
}

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

func init() {
	overTLS := grpc.WithTransportCredentials(credentials.NewTLS(unverified()))
	register(wrVariant{wrPeer: wrPeer{Info{Name: "wr-sse-tls", About: "watchroute serve, Server-Sent Events over HTTP/1.1 and TLS", Variant: true}, dialWRSSETLS}, tls: true})
	register(wrVariant{wrPeer: wrPeer{Info{Name: "wr-sse-h2", About: "watchroute serve, Server-Sent Events over HTTP/2 and TLS: a stream for each watch", Mux: true, MuxKeys: true, Variant: true}, dialWRSSEH2}, tls: true})
	register(wrVariant{wrPeer: wrPeer{Info{Name: "wr-grpc-tls", About: "watchroute serve, gRPC over TLS: a Watch stream for each watch", Mux: true, MuxKeys: true, Variant: true}, dialWRGRPC(overTLS)}, tls: true})
	register(wrVariant{wrPeer: wrPeer{Info{Name: "wr-grpc-oneport", About: "watchroute serve --one-port, gRPC: a Watch stream for each watch", Mux: true, MuxKeys: true, Variant: true}, dialWRGRPC()}, flags: []string{"--one-port"}})
}

// unverified are settings of a client that takes any certificate: what a client does
// with one is not what is measured.
func unverified() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// wrVariant is Watchroute with other settings than the default ones.
type wrVariant struct {
	wrPeer
	flags []string
	tls   bool // with a certificate that is made for the run
}

func (p wrVariant) Serve(ctx context.Context, o ServeOpts, ready func(Ready)) error {
	if !p.tls {
		return p.serve(ctx, o, ready, p.flags)
	}
	cert, key, err := writeCertificate(o.Dir)
	if err != nil {
		return err
	}
	return p.serve(ctx, o, ready, append([]string{"--tls-cert", cert, "--tls-key", key}, p.flags...), grpc.WithTransportCredentials(credentials.NewTLS(unverified())))
}

// writeCertificate makes one that signs itself.
func writeCertificate(dir string) (cert, key string, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, k.Public(), k)
	if err != nil {
		return "", "", err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return "", "", err
	}
	return cert, key, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600)
}

func dialWRTLS(http, grpcAddr string) *wrHTTPConn {
	c := dialWRHTTP(http, grpcAddr)
	c.opts = []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(unverified()))}
	c.dialer = &tls.Dialer{Config: unverified()}
	return c
}

func dialWRSSETLS(_ context.Context, http, grpc string) (Conn, error) {
	return wrSSEConn{wrHTTPConn: dialWRTLS(http, grpc)}, nil
}

// dialWRSSEH2 makes what has one connection of HTTP/2 for all of its watches.
func dialWRSSEH2(_ context.Context, addr, grpc string) (Conn, error) {
	c := dialWRTLS(addr, grpc)
	tr := &http.Transport{TLSClientConfig: unverified(), Protocols: new(http.Protocols), DisableCompression: true}
	tr.Protocols.SetHTTP1(true) // is offered, as browsers do
	tr.Protocols.SetHTTP2(true)
	context.AfterFunc(c.ctx, tr.CloseIdleConnections)
	return wrSSEConn{c, func(path string) (*bufio.Reader, error) {
		r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, "https://"+addr+path, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Accept", "text/event-stream")
		res, err := tr.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
			text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
			return nil, fmt.Errorf("%s %s: %s", res.Proto, res.Status, text)
		}
		return bufio.NewReader(res.Body), nil
	}}, nil
}

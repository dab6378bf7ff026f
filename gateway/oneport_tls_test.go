package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/watchroute/watchroute/internal/certificate/certificatetest"
)

// settingsOfTLS are of a server on loopback and of its clients.
func settingsOfTLS() (server, client *tls.Config) {
	ca := certificatetest.New("authority")
	whole := &tls.Config{Certificates: []tls.Certificate{ca.Pair("server")}, NextProtos: []string{"h2", "http/1.1"}}
	// Another one stands for it, as in package certificate.
	server = &tls.Config{NextProtos: whole.NextProtos, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return whole, nil }}
	return server, ca.Client()
}

// callsOverTLS is a health service that fails where the connection's TLS is not known.
type callsOverTLS struct{ *health.Server }

func (c callsOverTLS) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	p, _ := peer.FromContext(ctx)
	if info, ok := p.AuthInfo.(credentials.TLSInfo); !ok || info.State.NegotiatedProtocol != "h2" {
		return nil, status.Errorf(codes.Internal, "the connection is %v", p.AuthInfo)
	}
	return c.Server.Check(ctx, r)
}

func TestOnePort_OverTLSWhatAClientOffersDecides(t *testing.T) {
	server, client := settingsOfTLS()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls, pages := OnePort(l, server)
	gs := grpc.NewServer(grpc.Creds(Handshaken()))
	healthpb.RegisterHealthServer(gs, callsOverTLS{health.NewServer()})
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, " over TLS: ", r.TLS != nil)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = gs.Serve(calls) })
	serving.Go(func() { _ = hs.Serve(pages) })
	defer func() {
		gs.Stop()
		_ = hs.Close()
		serving.Wait()
	}()

	cc, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(client)))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	if _, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error("gRPC: ", err)
	}
	for name, c := range map[string]struct {
		http1, http2 bool
		want         string
	}{
		"as a browser":  {true, true, "HTTP/2.0 over TLS: true"},
		"HTTP/1.1 only": {true, false, "HTTP/1.1 over TLS: true"},
		"HTTP/2 only":   {false, true, "415"}, // is taken for gRPC, whose server says so
	} {
		tr := &http.Transport{TLSClientConfig: client.Clone(), Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(c.http1)
		tr.Protocols.SetHTTP2(c.http2)
		answer, err := (&http.Client{Transport: tr}).Get("https://" + l.Addr().String())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		tr.CloseIdleConnections()
		if got := string(body); got != c.want && fmt.Sprint(answer.StatusCode) != c.want {
			t.Errorf("%s: %s %q, expected %s", name, answer.Status, got, c.want)
		}
	}
	// Without ALPN, as WebSocket clients connect that know nothing else.
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(conn); err != nil || !contains(all, "HTTP/1.0 over TLS: true") {
		t.Errorf("without ALPN: %q %v", all, err)
	}
}

// pipes is a listener within a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestOnePort_WhoDoesNotShakeHandsIsCutOff(t *testing.T) {
	server, _ := settingsOfTLS()
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		calls, pages := OnePort(l, server)
		here, there := net.Pipe()
		l.conns <- there
		if _, err := here.Write([]byte{22, 3, 1}); err != nil { // it begins well
			t.Fatal(err)
		}
		began := time.Now()
		_, err := here.Read(make([]byte, 1))
		if took := time.Since(began); err == nil || took != peekTime {
			t.Errorf("cut off after %v: %v", took, err)
		}
		// And nobody who is at it holds up the end.
		_, there = net.Pipe()
		l.conns <- there
		synctest.Wait()
		_, _ = calls.Close(), pages.Close()
	})
}

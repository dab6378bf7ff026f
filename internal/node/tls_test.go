package node

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/certificate/certificatetest"
	"github.com/watchroute/watchroute/server/config"
)

// identify writes a new certificate of a new authority, and gives a client that trusts
// it and none else.
func identify(t *testing.T, folder string) *tls.Config {
	t.Helper()
	ca := certificatetest.New("authority")
	if _, _, err := ca.Write(folder, "node"); err != nil {
		t.Fatal(err)
	}
	return ca.Client()
}

func secured(t *testing.T) (config.Config, string, *tls.Config) {
	folder := t.TempDir()
	c := settings(t)
	c.TLSCert, c.TLSKey = filepath.Join(folder, "node.pem"), filepath.Join(folder, "node.key")
	return c, folder, identify(t, folder)
}

func dialTLS(t *testing.T, n *Node, client *tls.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(n.grpcAddr.String(), grpc.WithTransportCredentials(credentials.NewTLS(client)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func webClient(t *testing.T, client *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: client.Clone(), ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestTLS_ServesOnEveryPort(t *testing.T) {
	for _, onePort := range []bool{false, true} {
		t.Run(fmt.Sprintf("one port %v", onePort), func(t *testing.T) {
			c, _, client := secured(t)
			c.OnePort = onePort
			n := start(t, c)
			conn := dialTLS(t, n, client)
			put(t, conn, "notes/1", `{"text": "hi"}`)
			snapshotToken(t, conn)
			answer, err := webClient(t, client).Get("https://" + n.httpAddr.String() + "/v1/notes/1")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if text, err := io.ReadAll(answer.Body); err != nil || answer.ProtoMajor != 2 || !strings.Contains(string(text), `"data":{"text":"hi"}`) {
				t.Errorf("got %s %s, %v", answer.Proto, text, err)
			}
			// Nothing is served in plaintext.
			if r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + n.httpAddr.String() + "/healthz"); err == nil {
				_ = r.Body.Close()
				if r.StatusCode == http.StatusOK {
					t.Error("plaintext HTTP is served")
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := watchroutev1.NewResourceServiceClient(dial(t, n)).Get(ctx, &watchroutev1.GetRequest{Name: "notes/1"}); err == nil {
				t.Error("plaintext gRPC is served")
			}
		})
	}
}

// A client of gRPC that offers HTTP/1.1 too is taken for a browser, and served all the
// same.
func TestTLS_OnePortServesGRPCThatOffersBothVersions(t *testing.T) {
	c, _, client := secured(t)
	c.OnePort = true
	n := start(t, c)
	client.NextProtos = []string{"h2", "http/1.1"}
	conn := dialTLS(t, n, client)
	put(t, conn, "notes/1", `{}`)
	stream, err := watchroutev1.NewResourceServiceClient(conn).Watch(t.Context(), &watchroutev1.WatchRequest{Parent: "notes"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if calls := n.front.Calls(); calls != 1 {
		t.Errorf("%d calls go through HTTP", calls)
	}
	stopped := make(chan error)
	go func() { stopped <- n.Stop(context.Background()) }()
	var last *watchroutev1.WatchResponse
	for err == nil {
		var m *watchroutev1.WatchResponse
		if m, err = stream.Recv(); err == nil {
			last = m
		}
	}
	if err != io.EOF || last.GetDrain() == nil {
		t.Errorf("the watch ends with %v, after %v", err, last)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestTLS_ARenewedCertificateDropsNoStream(t *testing.T) {
	c, folder, client := secured(t)
	n := start(t, c)
	conn := dialTLS(t, n, client)
	put(t, conn, "notes/1", `{"n":1}`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+n.httpAddr.String()+"/v1/notes/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := webClient(t, client).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	until := func(text string) {
		t.Helper()
		for line := ""; !strings.Contains(line, text); {
			if line, err = lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(`"n":1`)

	renewed := identify(t, folder)
	for deadline := time.Now().Add(20 * time.Second); ; { // the files are looked at each 2 s
		fresh, err := tls.Dial("tcp", n.httpAddr.String(), renewed)
		if err == nil {
			_ = fresh.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the renewed certificate is not shown: ", err)
		}
	}
	put(t, conn, "notes/1", `{"n":2}`) // on the old connection
	until(`"n":2`)
	put(t, dialTLS(t, n, renewed), "notes/1", `{"n":3}`)
	until(`"n":3`)
	_ = answer.Body.Close()
}

func TestStop_DoesNotWaitForWhoNeverSpoke(t *testing.T) {
	for _, onePort := range []bool{false, true} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("one port %v, plaintext %v", onePort, plain), func(t *testing.T) {
				c, _, client := secured(t)
				c.OnePort = onePort
				said := []byte{22, 3, 1} // a handshake begins so
				if plain {
					c.TLSCert, c.TLSKey = "", ""
					said = []byte("PRI * HTTP")
				}
				n := start(t, c)
				silent, err := net.Dial("tcp", n.grpcAddr.String())
				if err != nil {
					t.Fatal(err)
				}
				defer silent.Close()
				if _, err := silent.Write(said); err != nil {
					t.Fatal(err)
				}
				conn := dialTLS(t, n, client)
				if plain {
					conn = dial(t, n)
				}
				put(t, conn, "notes/1", `{}`) // by now the other one was accepted
				began := time.Now()
				if err := n.Stop(context.Background()); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

func TestTLS_StartSaysWhatIsInTheWay(t *testing.T) {
	c, folder, _ := secured(t)
	if err := os.WriteFile(filepath.Join(folder, "node.key"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), c, quiet); err == nil || !strings.Contains(err.Error(), "tls: ") || !strings.Contains(err.Error(), "node.key") {
		t.Errorf("got %v", err)
	}
}

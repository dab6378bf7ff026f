package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"github.com/watchroute/watchroute/e2e/process"
)

// names answers that every name is this machine, and gives its address.
func names(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		if q := r.Question[0]; q.Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(m)
	})}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-served
	})
	return l.Addr().String()
}

// pebble is Let's Encrypt's ACME server for tests, which proves a domain by connecting
// to a port of this machine.
type pebble struct {
	*httptest.Server
	handler http.Handler // set once it is known which port to prove by
}

// newPebble listens; it serves when it is told which port to prove by.
func newPebble(t *testing.T) *pebble {
	p := &pebble{}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }))
	t.Cleanup(p.Close)
	return p
}

// proveBy begins to serve, and gives the authority of the certificates.
func (p *pebble) proveBy(t *testing.T, port int) *x509.CertPool {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	profiles := map[string]ca.Profile{"default": {Description: "a day", ValidityPeriod: 24 * 60 * 60}}
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, profiles)
	validation := va.New(quiet, 1, port, false, names(t), store)
	front := wfe.New(quiet, store, validation, authority, []string{"pebble.example"}, false, false, 1, 1)
	p.handler = front.Handler()

	answer := httptest.NewRecorder()
	front.ManagementHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, wfe.RootCertPath+"0", nil))
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(answer.Body.Bytes()) {
		t.Fatalf("pebble's root: %d %s", answer.Code, answer.Body)
	}
	return pool
}

func TestACME_ANodeGetsItsCertificateAndKeepsIt(t *testing.T) {
	const domain = "node.watchroute.test"
	for _, onePort := range []bool{false, true} {
		t.Run("one port "+strconv.FormatBool(onePort), func(t *testing.T) {
			p := newPebble(t)
			own := filepath.Join(t.TempDir(), "pebble.pem")
			if err := os.WriteFile(own, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"--acme-domains", domain, "--acme-directory", p.URL + wfe.DirectoryPath, "--acme-ca", own, "--acme-email", "ops@watchroute.test"}
			if onePort {
				args = append(args, "--one-port")
			}
			client := &tls.Config{ServerName: domain}
			s := process.Place(t, process.Options{Variant: process.Race, TLS: client, Args: args})
			_, port, err := net.SplitHostPort(s.HTTP)
			if err != nil {
				t.Fatal(err)
			}
			number, err := strconv.Atoi(port)
			if err != nil {
				t.Fatal(err)
			}
			client.RootCAs = p.proveBy(t, number)
			if onePort {
				s.GRPC = s.HTTP
			}

			s.Start() // it is ready when a client that trusts pebble was served
			write(t, s, "notes/1", `{"text":"hi"}`)
			serial := shownBy(t, s.HTTP, client)
			if got := shownBy(t, s.GRPC, grpcSettings(client)); got != serial {
				t.Errorf("gRPC shows the certificate %s, HTTP %s", got, serial)
			}
			stranger := client.Clone()
			stranger.ServerName = "other.watchroute.test"
			if conn, err := tls.Dial("tcp", s.HTTP, stranger); err == nil {
				_ = conn.Close()
				t.Error("a name that nobody named has a certificate")
			}
			s.Stop()

			p.Close() // what was got is kept
			s.Start()
			if got := shownBy(t, s.HTTP, client); got != serial {
				t.Errorf("after a restart the certificate is %s, not %s", got, serial)
			}
			if logs := s.Logs(); strings.Contains(logs, "level=ERROR") {
				t.Errorf("the log: %s", logs)
			}
			s.Stop()
		})
	}
}

func grpcSettings(client *tls.Config) *tls.Config {
	c := client.Clone()
	c.NextProtos = []string{"h2"}
	return c
}

// shownBy gives the serial number of the certificate that a server shows.
func shownBy(t *testing.T, address string, client *tls.Config) string {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", address, client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

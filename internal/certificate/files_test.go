package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watchroute/watchroute/internal/certificate/certificatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a source of files, with a clock and a log.
type bench struct {
	*Source
	t      *testing.T
	folder string
	now    time.Time
	log    bytes.Buffer
	ca     *certificatetest.Authority
}

func newBench(t *testing.T, clientCA bool) *bench {
	t.Helper()
	b := &bench{t: t, folder: t.TempDir(), now: time.Now(), ca: certificatetest.New("servers")}
	b.issue("one")
	cfg := Config{Cert: b.path("cert.pem"), Key: b.path("key.pem"), Now: func() time.Time { return b.now }, Logger: slog.New(slog.NewTextHandler(&b.log, nil))}
	if clientCA {
		cfg.ClientCA = b.path("clients.pem")
	}
	if clientCA {
		b.write("clients.pem", b.ca.PEM())
	}
	var err error
	if b.Source, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.folder, name) }

// write replaces a file as who renews does it.
func (b *bench) write(name string, text []byte) {
	b.t.Helper()
	if err := os.WriteFile(b.path("new"), text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(b.path("new"), b.path(name)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) issue(name string) {
	b.t.Helper()
	cert, key := b.ca.Issue(name)
	b.write("cert.pem", cert)
	b.write("key.pem", key)
}

func (b *bench) later() { b.now = b.now.Add(lookEvery) }

// shown shakes hands and gives the name in the certificate, or the client's error.
func (b *bench) shown(change func(*tls.Config)) (name string, server tls.ConnectionState, err error) {
	b.t.Helper()
	here, there := net.Pipe()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer here.Close()
	serving.Go(func() {
		defer there.Close()
		conn := tls.Server(there, b.TLS("h2", "http/1.1"))
		if conn.HandshakeContext(context.Background()) == nil {
			server = conn.ConnectionState()
			_, _ = conn.Write([]byte("!")) // a client of TLS 1.3 is done before the server is
		}
	})
	cfg := b.ca.Client()
	cfg.ServerName = "localhost"
	if change != nil {
		change(cfg)
	}
	conn := tls.Client(here, cfg)
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return "", server, err
	}
	name = conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	_ = here.Close()
	serving.Wait()
	return name, server, nil
}

func (b *bench) want(name string) {
	b.t.Helper()
	if got, _, err := b.shown(nil); got != name || err != nil {
		b.t.Errorf("the client is shown %q, %v; expected %q", got, err, name)
	}
}

func TestFiles_ARenewedPairIsShownWithoutARestart(t *testing.T) {
	b := newBench(t, false)
	b.want("one")
	b.issue("two")
	b.want("one") // it is not looked at with every handshake
	b.later()
	b.want("two")
	if !strings.Contains(b.log.String(), "read again") {
		t.Errorf("the log: %s", b.log.String())
	}
}

func TestFiles_WhatCannotBeUsedLeavesTheOldOnes(t *testing.T) {
	b := newBench(t, true)
	cert, key := b.ca.Issue("two")
	for what, file := range map[string]struct {
		name string
		text []byte
	}{"half of a pair": {"cert.pem", cert}, "nonsense": {"key.pem", []byte("nonsense")}, "no authority": {"clients.pem", nil}} {
		before, err := os.ReadFile(b.path(file.name))
		if err != nil {
			t.Fatal(err)
		}
		b.log.Reset()
		b.write(file.name, file.text)
		for range 3 {
			b.later()
			b.want("one")
		}
		if n := strings.Count(b.log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%s: %d lines: %s", what, n, b.log.String())
		}
		b.write(file.name, before)
		b.later()
		b.want("one")
	}
	if err := os.Remove(b.path("key.pem")); err != nil {
		t.Fatal(err)
	}
	b.later()
	b.want("one")
	b.write("cert.pem", cert)
	b.later()
	b.want("one")
	b.write("key.pem", key)
	b.later()
	b.want("two")
}

func TestFiles_ClientsOfTheAuthorityAreKnown(t *testing.T) {
	b := newBench(t, true)
	client := func(ca *certificatetest.Authority, name string) func(*tls.Config) {
		pair := ca.Pair(name)
		return func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
	}
	if _, state, err := b.shown(nil); err != nil || len(state.VerifiedChains) != 0 {
		t.Errorf("without a certificate: %v, %v", state.VerifiedChains, err)
	}
	alice := client(b.ca, "alice")
	if _, state, err := b.shown(alice); err != nil || len(state.VerifiedChains) == 0 || state.PeerCertificates[0].Subject.CommonName != "alice" {
		t.Errorf("alice: %v, %v", state.VerifiedChains, err)
	}
	others := certificatetest.New("others")
	bob := client(others, "bob")
	if _, _, err := b.shown(bob); err == nil {
		t.Error("a certificate of somebody else's is taken")
	}
	b.write("clients.pem", others.PEM())
	b.later()
	if _, state, err := b.shown(bob); err != nil || len(state.VerifiedChains) == 0 {
		t.Errorf("bob, whose authority is new: %v", err)
	}
	if _, _, err := b.shown(alice); err == nil {
		t.Error("a certificate of the old authority is taken")
	}
}

// A ticket of an old session must not outlive the authority.
func TestFiles_ASessionIsNotResumedWithAnAuthorityThatIsGone(t *testing.T) {
	b := newBench(t, true)
	pair := b.ca.Pair("alice")
	sessions := tls.NewLRUClientSessionCache(1)
	client := func(c *tls.Config) { c.Certificates, c.ClientSessionCache = []tls.Certificate{pair}, sessions }
	server := b.TLS("h2")
	shake := func() (state tls.ConnectionState, err error) {
		l, err := tls.Listen("tcp", "127.0.0.1:0", server)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var serving sync.WaitGroup
		defer serving.Wait()
		serving.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if conn.(*tls.Conn).Handshake() == nil {
				state = conn.(*tls.Conn).ConnectionState()
				_, _ = conn.Write([]byte("!"))
			}
		})
		cfg := b.ca.Client()
		client(cfg)
		conn, err := tls.Dial("tcp", l.Addr().String(), cfg)
		if err != nil {
			return state, err
		}
		defer conn.Close()
		_, err = io.ReadFull(conn, make([]byte, 1))
		serving.Wait()
		return state, err
	}
	if _, err := shake(); err != nil {
		t.Fatal(err)
	}
	if state, err := shake(); err != nil || !state.DidResume || len(state.VerifiedChains) == 0 {
		t.Fatalf("resumed %v with %d chains, %v: there is nothing to test", state.DidResume, len(state.VerifiedChains), err)
	}
	b.write("clients.pem", certificatetest.New("others").PEM())
	b.later()
	if state, err := shake(); err == nil && len(state.VerifiedChains) > 0 {
		t.Errorf("alice is known, resumed %v", state.DidResume)
	}
}

func TestTLS_NothingBelow12(t *testing.T) {
	b := newBench(t, false)
	if _, _, err := b.shown(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if _, state, err := b.shown(func(c *tls.Config) {
		c.MaxVersion, c.NextProtos = tls.VersionTLS12, []string{"http/1.1"}
	}); err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("TLS 1.2: %q, %v", state.NegotiatedProtocol, err)
	}
}

func TestNew_SaysWhichFileCannotBeUsed(t *testing.T) {
	b := newBench(t, true)
	missing := b.path("missing.pem")
	for name, cfg := range map[string]Config{
		"cert":      {Cert: missing, Key: b.cfg.Key},
		"key":       {Cert: b.cfg.Cert, Key: missing},
		"authority": {Cert: b.cfg.Cert, Key: b.cfg.Key, ClientCA: missing},
		"directory": {Domains: []string{"node.example"}, ACME: ACME{Cache: b.folder, CA: missing}},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, cfg := range map[string]Config{"nothing": {}, "half": {Cert: b.cfg.Cert}, "both": {Cert: b.cfg.Cert, Key: b.cfg.Key, Domains: []string{"node.example"}}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestFiles_ManyHandshakesLookAtOnce(t *testing.T) {
	b := newBench(t, false)
	b.issue("two")
	b.later()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if _, err := b.TLS("h2").GetConfigForClient(nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.want("two")
}

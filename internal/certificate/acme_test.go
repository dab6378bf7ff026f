package certificate

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

// waitingDirectory is one that does not answer until the test is over, and tells of requests.
func waitingDirectory(t *testing.T) (url string, asked chan struct{}) {
	asked = make(chan struct{}, 10)
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(over) })
	return s.URL, asked
}

func TestACME_CloseEndsWhatIsUnderWay(t *testing.T) {
	directory, asked := waitingDirectory(t)
	s, err := New(Config{Domains: []string{"node.example"}, ACME: ACME{Directory: directory, Cache: t.TempDir()}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.Obtain()
	<-asked
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	s.Close()
}

func TestACME_FailuresOfItsDomainsAreLoggedNowAndThen(t *testing.T) {
	directory := httptest.NewServer(http.NotFoundHandler())
	defer directory.Close()
	now := time.Now()
	var log strings.Builder
	s, err := New(Config{Domains: []string{"node.example"}, ACME: ACME{Directory: directory.URL, Cache: t.TempDir()},
		Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cfg, err := s.TLS("h2").GetConfigForClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string) error {
		_, err := cfg.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		return err
	}
	for range 3 {
		if err := ask("Node.Example"); err == nil {
			t.Error("there is a certificate")
		}
		_ = ask("other.example")
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "domain=node.example") {
		t.Errorf("the log: %s", log.String())
	}
	now = now.Add(tellEvery)
	_ = ask("node.example")
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("the log: %s", log.String())
	}
	if protocols := cfg.NextProtos; len(protocols) != 2 || protocols[1] != acme.ALPNProto {
		t.Errorf("the directory cannot prove a domain: %q", protocols)
	}
}

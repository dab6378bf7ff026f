package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/watchroute/watchroute/e2e/browser"
	"github.com/watchroute/watchroute/e2e/process"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/certificate/certificatetest"
)

// secured starts a server that speaks TLS, and gives the file of its authority.
func secured(t *testing.T, args ...string) (s *process.Server, ca string) {
	t.Helper()
	folder := t.TempDir()
	authority := certificatetest.New("authority")
	cert, key, err := authority.Write(folder, "node")
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.PEM())
	s = process.Place(t, process.Options{Variant: process.Race, TLS: &tls.Config{RootCAs: pool}, Args: append([]string{"--tls-cert", cert, "--tls-key", key}, args...)})
	for _, a := range args {
		if a == "--one-port" {
			s.GRPC = s.HTTP
		}
	}
	s.Start()
	return s, ca
}

// write puts a value with gRPC, as curl does not trust who speaks TLS here.
func write(t *testing.T, s *process.Server, name, value string) {
	t.Helper()
	data, err := anypb.New(&watchroutev1.Json{Text: value})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watchroutev1.NewResourceServiceClient(s.Dial()).Put(t.Context(), &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: name, Data: data}}); err != nil {
		t.Fatal(err)
	}
}

func TestTLS_CurlWatchesWithEitherVersionOfHTTP(t *testing.T) {
	for _, args := range [][]string{nil, {"--one-port"}} {
		s, ca := secured(t, args...)
		write(t, s, "notes/1", `{"n":1}`)
		for flag, version := range map[string]string{"--http1.1": "HTTP/1.1", "--http2": "HTTP/2"} {
			got := curl(t, "--cacert", ca, flag, "-w", "%{http_version}", s.URL("/v1/notes/1"))
			if got.status != "200" || !strings.Contains(got.body, `"data":{"n":1}`) || !strings.HasSuffix(got.body, strings.TrimPrefix(version, "HTTP/")) {
				t.Errorf("%s: %+v", flag, got)
			}
			list := curl(t, "--cacert", ca, flag, s.URL("/v1/notes"))
			var page struct {
				ResumeToken string `json:"resumeToken"`
			}
			list.json(t, &page)

			sse := curlN(t, "--cacert", ca, flag, "-H", "Accept: text/event-stream", s.URL("/v1/notes/watch"))
			sse.line(contains("event: snapshot_end"))
			lines := curlN(t, "--cacert", ca, flag, s.URL("/v1/notes/watch"))
			lines.line(contains(`"snapshotEnd"`))
			poll := curlN(t, "--cacert", ca, flag, s.URL("/v1/notes/watch?wait=20s&resume_token="+page.ResumeToken))
			write(t, s, "notes/2", `{"by":"`+version+flag+`"}`)
			for _, c := range []*command{sse, lines, poll} {
				c.line(contains("notes/2", version+flag))
			}
			sse.signal(os.Interrupt)
			lines.signal(os.Interrupt)
		}
		if took := s.Stop(); took.Seconds() > 8 {
			t.Errorf("stopping took %v", took)
		}
	}
}

func TestTLS_GrpcurlAndTheCommandLine(t *testing.T) {
	for _, args := range [][]string{nil, {"--one-port"}} {
		s, ca := secured(t, args...)
		out, errs, code := output(t, exec.Command(process.Binary(t, process.Race), "put", "notes/1", `{"n":1}`, "--server", s.GRPC, "--ca", ca))
		if code != 0 {
			t.Fatalf("put: %s %s", out, errs)
		}
		out, errs, code = output(t, exec.Command(goTool(t, ".", "grpcurl"), "-cacert", ca, "-max-time", "20", "-d", `{"name":"notes/1"}`, s.GRPC, "watchroute.v1.ResourceService/Get"))
		if code != 0 || !strings.Contains(out, `"notes/1"`) {
			t.Errorf("grpcurl: %s %s", out, errs)
		}
		s.Stop()
	}
}

// TestTLS_ChromiumWatchesOverHTTP2: the page that the binary serves, twenty EventSources
// beside it, where HTTP/1.1 has six connections, and a WebSocket.
func TestTLS_ChromiumWatchesOverHTTP2(t *testing.T) {
	b := browser.Start(t)
	for _, args := range [][]string{nil, {"--one-port"}} {
		s, _ := secured(t, append(args, "--contracts", "shop")...)
		writer := newShop(t, s)
		writer.put("first-1", "cust-7", shopv1.OrderStatus_PENDING)
		page := b.Open(s.URL("/"))
		var protocol string
		page.Eval(&protocol, `performance.getEntriesByType("navigation")[0].nextHopProtocol`)
		if protocol != "h2" {
			t.Errorf("the page came over %s", protocol)
		}
		var opened int
		page.Eval(&opened, `Promise.all(Array.from({length: 20}, () => new Promise((opened, failed) => {
			const source = new EventSource("/v1/orders/watch");
			source.addEventListener("started", opened);
			source.onerror = failed;
		}))).then((all) => all.length)`)
		if opened != 20 {
			t.Errorf("%d of 20 EventSources are open", opened)
		}
		var said string
		page.Eval(&said, `new Promise((said, failed) => {
			const socket = new WebSocket("wss://" + location.host + "/v1/orders/watch");
			socket.onmessage = (m) => said(m.data);
			socket.onerror = () => failed(new Error("the WebSocket failed"));
		})`)
		if !strings.Contains(said, `"started"`) {
			t.Errorf("the WebSocket says %q", said)
		}
		writer.put("first-1", "cust-7", shopv1.OrderStatus_SHIPPED)
		await(t, "both halves of the page", func() bool {
			text := page.Text()
			return strings.Count(text, "SHIPPED") >= 2 && strings.Contains(text, "both agree")
		})
		page.Close()
		s.Stop()
	}
}

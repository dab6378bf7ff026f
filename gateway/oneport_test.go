package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func TestOnePort_ServesBoth(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls, pages := OnePort(l, nil)
	gs := grpc.NewServer()
	healthpb.RegisterHealthServer(gs, health.NewServer())
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = gs.Serve(calls) })
	serving.Go(func() { _ = hs.Serve(pages) })
	defer func() {
		gs.Stop()
		_ = hs.Close()
		serving.Wait()
		if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
			t.Error("the port is still open")
		}
	}()

	silent, err := net.Dial("tcp", l.Addr().String()) // which must hold up nobody
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cc, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	if _, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, method := range []string{"GET", "PUT", "POST", "PROPFIND", "P"} {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(body) != method+" /x" {
			t.Errorf("%s: %s", method, body)
		}
	}
	// Byte by byte.
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, b := range []byte("PUT /y HTTP/1.0\r\n\r\n") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if all, err := io.ReadAll(c); err != nil || !contains(all, "PUT /y") {
		t.Errorf("%q %v", all, err)
	}
}

func contains(b []byte, text string) bool { return string(b[max(0, len(b)-len(text)):]) == text }

func TestOnePort_ClosesInAnyOrder(t *testing.T) {
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		calls, pages := OnePort(l, nil)
		var c net.Conn
		if c, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
		var closing sync.WaitGroup
		for _, l := range []net.Listener{calls, pages, calls, pages} {
			closing.Go(func() { _ = l.Close() })
		}
		closing.Wait()
		if _, err := calls.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
			t.Error("the port is still open")
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Error("the connection is still open:", err)
		}
		_ = c.Close()
	}
}

func TestOnePort_ABrokenPortIsTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls, pages := OnePort(l, nil)
	_ = l.Close()
	for _, l := range []net.Listener{calls, pages} {
		if _, err := l.Accept(); err == nil {
			t.Error("no error")
		}
		_ = l.Close()
	}
}

package process

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	readyTime = 30 * time.Second
	// stopTime is longer than the server's own limit for shutting down.
	stopTime = 20 * time.Second
)

// Options say how to run a server.
type Options struct {
	Variant Variant
	// Data is the data folder. Default: a temporary one.
	Data string
	// Args are further flags of `watchroute serve`.
	Args []string
	// TLS are a client's settings, where Args make the server speak TLS. Default: it
	// speaks plaintext.
	TLS *tls.Config
}

// Server is one `watchroute serve`: a place (ports and data folder) where one
// process after another may run.
type Server struct {
	// HTTP and GRPC are HOST:PORT.
	HTTP, GRPC, Data string

	t    testing.TB
	opts Options
	logs *logs

	mu  sync.Mutex
	cmd *exec.Cmd // nil: not running

	exited chan error // of cmd; has its buffer
}

// Start starts a server and waits until it is ready.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s := Place(t, opts)
	s.Start()
	return s
}

// Place chooses ports and a data folder, and starts nothing yet.
func Place(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.Data == "" {
		opts.Data = t.TempDir()
	}
	ports := FreePorts(t, 2)
	s := &Server{HTTP: fmt.Sprintf("127.0.0.1:%d", ports[0]), GRPC: fmt.Sprintf("127.0.0.1:%d", ports[1]),
		Data: opts.Data, t: t, opts: opts, logs: &logs{}}
	t.Cleanup(func() {
		if s.Running() {
			s.Stop()
		}
		if t.Failed() {
			t.Logf("the end of what the server at %s said:\n%s", s.HTTP, s.logs.tail(60))
		}
		if s.logs.contains("WARNING: DATA RACE") {
			t.Errorf("the race detector found something:\n%s", s.logs.tail(400))
		}
		if s.logs.contains("panic: ") || s.logs.contains("fatal error: ") {
			t.Errorf("the server panicked:\n%s", s.logs.tail(400))
		}
	})
	return s
}

// Start starts a process at the server's place and waits until it is ready.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.TryStart(); err != nil {
		s.t.Fatalf("%v; it said:\n%s", err, s.logs.tail(60))
	}
}

// TryStart is Start, but that a server that ends or does not get ready is the
// caller's to judge.
func (s *Server) TryStart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("process: it runs already")
	}
	args := append([]string{"serve", "--http", s.HTTP, "--grpc", s.GRPC, "--data", s.Data}, s.opts.Args...)
	cmd := exec.Command(Binary(s.t, s.opts.Variant), args...)
	cmd.Env, cmd.Dir = Env(), s.t.TempDir() // no watchroute.yaml there
	cmd.Stdout, cmd.Stderr = s.logs, s.logs
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: s.opts.TLS.Clone()}}
	for deadline := time.Now().Add(readyTime); ; {
		select {
		case err := <-exited:
			return fmt.Errorf("process: the server ended before it was ready: %w", exitError(err))
		case <-time.After(10 * time.Millisecond):
		}
		if resp, err := client.Get(s.URL("/readyz")); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				s.cmd, s.exited = cmd, exited
				return nil
			}
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			<-exited
			return fmt.Errorf("process: the server was not ready within %v", readyTime)
		}
	}
}

func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// Env gives the environment without what would configure the server.
func Env() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WATCHROUTE_") {
			env = append(env, v)
		}
	}
	return env
}

// Running says whether there is a process that was neither killed nor stopped.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil
}

// Kill ends the process by SIGKILL and waits until it is gone.
func (s *Server) Kill() {
	s.t.Helper()
	cmd, exited := s.take()
	if err := cmd.Process.Kill(); err != nil {
		s.t.Errorf("SIGKILL: %v", err)
	}
	<-exited
}

// Stop ends the process by SIGTERM. It must end in bounded time with exit code 0.
// It returns how long that took.
func (s *Server) Stop() time.Duration {
	s.t.Helper()
	cmd, exited := s.take()
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("SIGTERM: %v", err)
	}
	select {
	case err := <-exited:
		if err != nil {
			s.t.Errorf("after SIGTERM the server ended with %v; it said:\n%s", err, s.logs.tail(60))
		}
	case <-time.After(stopTime):
		_ = cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to the log
		select {
		case <-exited:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		s.t.Errorf("the server did not end within %v after SIGTERM; it said:\n%s", stopTime, s.logs.tail(400))
	}
	return time.Since(began)
}

func (s *Server) take() (*exec.Cmd, chan error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.t.Fatal("process: it does not run")
	}
	cmd, exited := s.cmd, s.exited
	s.cmd, s.exited = nil, nil
	return cmd, exited
}

// Usage gives the CPU time and the peak memory in bytes of the running process.
func (s *Server) Usage() (cpu time.Duration, peak int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0, 0
	}
	return usage(s.cmd.Process.Pid)
}

// Logs gives what the processes at this place have said so far.
func (s *Server) Logs() string { return s.logs.tail(0) }

// URL gives the URL of a path that begins with a slash.
func (s *Server) URL(path string) string {
	if s.opts.TLS != nil {
		return "https://" + s.HTTP + path
	}
	return "http://" + s.HTTP + path
}

// Metric adds up a metric of the server over its labels.
func (s *Server) Metric(name string) (sum float64) {
	s.t.Helper()
	answer, err := http.Get(s.URL("/metrics"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), name+"{") {
			continue
		}
		n, err := strconv.ParseFloat(lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:], 64)
		if err != nil {
			s.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// Dial connects to the server's gRPC port. The connection is closed when the test
// ends.
func (s *Server) Dial(opts ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	security := insecure.NewCredentials()
	if s.opts.TLS != nil {
		security = credentials.NewTLS(s.opts.TLS)
	}
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(security),
		grpc.WithInitialWindowSize(1 << 20), grpc.WithInitialConnWindowSize(4 << 20),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20))}, opts...)
	conn, err := grpc.NewClient("passthrough:///"+s.GRPC, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// logs keeps what a process says.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

var _ io.Writer = (*logs)(nil)

// Write implements io.Writer.
func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text.Bytes(), []byte(s))
}

// tail gives the last lines; all of them with 0.
func (l *logs) tail(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.Bytes()
	if lines == 0 {
		return string(text)
	}
	at := len(text)
	for ; lines >= 0 && at >= 0; lines-- {
		at = bytes.LastIndexByte(text[:at], '\n')
	}
	return string(text[at+1:])
}

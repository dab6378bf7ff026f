package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// binaryVariable names the environment variable that names the binary to measure.
const binaryVariable = "PEERS_WATCHROUTE"

// watchrouteBinary gives the path of the watchroute binary: what PEERS_WATCHROUTE
// names, or else what this repository builds, kept in the user's cache. A program
// with the race detector builds one with the race detector.
func watchrouteBinary(ctx context.Context) (string, error) {
	if path := os.Getenv(binaryVariable); path != "" {
		return filepath.Abs(path)
	}
	root, err := repository()
	if err != nil {
		return "", fmt.Errorf("%w; name a binary with %s", err, binaryVariable)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	path := filepath.Join(cache, "watchroute-peers", "watchroute")
	// As `make build` does, so that what that has compiled is used.
	args, cgo := []string{"build", "-trimpath"}, "CGO_ENABLED=0"
	if raceEnabled {
		path += "-race"
		args, cgo = []string{"build", "-race"}, "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", path, "./cmd/watchroute")...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/watchroute: %w\n%s", err, out)
	}
	return path, nil
}

// repository finds the folder of the product's module, at or above the working
// directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "watchroute")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("the working directory is not within the repository")
		}
		dir = up
	}
}

// watchroute is one `watchroute serve` with its default settings.
type watchroute struct {
	HTTP, GRPC string // HOST:PORT
	Debug      string // "" if the binary has no --debug-address
	Pid        int

	cmd    *exec.Cmd
	exited chan struct{}
	err    error // once exited is closed
}

// startWatchroute starts a process that keeps its log in dir, with further flags. It ends when ctx
// does, when Stop is called, and with this process.
func startWatchroute(ctx context.Context, dir string, flags ...string) (*watchroute, error) {
	binary, err := watchrouteBinary(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data", filepath.Join(dir, "watchroute"), "--log-level", "info"}
	if help, _ := exec.CommandContext(ctx, binary, "serve", "--help").Output(); strings.Contains(string(help), "--debug-address") {
		args = append(args, "--debug-address", "127.0.0.1:0")
	}
	cmd := child(ctx, binary, append(args, flags...)...)
	cmd.Dir = dir // no watchroute.yaml there
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WATCHROUTE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &watchroute{cmd: cmd, Pid: cmd.Process.Pid, exited: make(chan struct{})}
	serving := make(chan struct{})
	go func() {
		var once sync.Once
		in := bufio.NewScanner(stderr)
		for in.Scan() {
			line := in.Text()
			if strings.Contains(line, "msg=serving ") {
				once.Do(func() {
					s.HTTP, s.GRPC, s.Debug = logged(line, "http"), logged(line, "grpc"), logged(line, "debug")
					close(serving)
				})
			}
			if !strings.Contains(line, "level=INFO") {
				fmt.Fprintln(os.Stderr, "watchroute:", line)
			}
		}
		s.err = cmd.Wait()
		close(s.exited)
	}()
	select {
	case <-serving:
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("watchroute ended before it served: %w", s.err)
	case <-time.After(2 * time.Minute):
		s.Stop(0)
		return nil, errors.New("watchroute did not serve within 2 minutes")
	}
}

// logged gives the value of a key in a line of the log.
func logged(line, key string) string {
	_, rest, _ := strings.Cut(line, " "+key+"=")
	value, _, _ := strings.Cut(rest, " ")
	return value
}

// Stop asks the process to end, kills it when it has not within patience, and
// waits until it is gone. Stopping twice is safe.
func (s *watchroute) Stop(patience time.Duration) {
	if patience > 0 {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.exited:
		case <-time.After(patience):
		}
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
}

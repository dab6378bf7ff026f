package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/process"
)

// patience is how long anything may take that is to happen soon.
const patience = 20 * time.Second

// command is a program that runs while the test goes on, such as `curl -N`.
type command struct {
	t     testing.TB
	name  string
	lines chan string // of standard output; closed at its end
	ended chan error  // gets one

	process *os.Process
	mu      sync.Mutex
	stderr  bytes.Buffer
}

// start starts a program that ends with the test at the latest.
func start(t testing.TB, cmd *exec.Cmd) *command {
	t.Helper()
	c := &command{t: t, name: strings.Join(cmd.Args, " "), lines: make(chan string, 10000), ended: make(chan error, 1)}
	cmd.Stderr = writer(func(p []byte) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stderr.Write(p)
	})
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.process = cmd.Process
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(c.lines)
		for in := bufio.NewReader(stdout); ; {
			line, err := in.ReadString('\n')
			if line != "" {
				select {
				case c.lines <- strings.TrimSuffix(line, "\n"):
				case <-ctx.Done():
				}
			}
			if err != nil {
				return
			}
		}
	})
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	done := make(chan struct{})
	go func() {
		defer close(done)
		reading.Wait()
		stop()
		c.ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return c
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// line waits for the next line that a test wants.
func (c *command) line(want func(string) bool) string {
	c.t.Helper()
	var seen []string
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.t.Fatalf("%s ended; it said\n%s\n%s", c.name, strings.Join(seen, "\n"), c.errors())
			}
			if want(line) {
				return line
			}
			seen = append(seen, line)
		case <-timeout:
			c.t.Fatalf("%s did not say what was expected within %v, but\n%s\n%s", c.name, patience, strings.Join(seen, "\n"), c.errors())
		}
	}
}

// signal sends the program a signal.
func (c *command) signal(s os.Signal) {
	c.t.Helper()
	if err := c.process.Signal(s); err != nil {
		c.t.Fatalf("%s: %v", c.name, err)
	}
}

// end waits until the program has ended by itself.
func (c *command) end() error {
	c.t.Helper()
	select {
	case err := <-c.ended:
		return err
	case <-time.After(patience):
		c.t.Fatalf("%s did not end within %v\n%s", c.name, patience, c.errors())
		return nil
	}
}

// errors gives what the program wrote to standard error.
func (c *command) errors() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stderr.String()
}

func contains(parts ...string) func(string) bool {
	return func(line string) bool {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				return false
			}
		}
		return true
	}
}

// tool gives a program's path, or skips the test.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("there is no %s; `make prepare` installs it: %v", name, err)
	}
	return path
}

// output runs a program to its end and gives what it wrote, and its exit code.
func output(t testing.TB, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if cmd.Env == nil {
		cmd.Env = process.Env()
	}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

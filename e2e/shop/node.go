package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// readyTime is how long Watchroute may take to serve.
	readyTime = 30 * time.Second
	// stopTime is longer than Watchroute's own limit for stopping.
	stopTime = 20 * time.Second
	// againTime is how long it stays away when it has ended, as by a kill -9 that shows
	// what happens then.
	againTime = 2 * time.Second
)

// node is Watchroute, as a process of its own.
type node struct {
	binary                       string // empty: it is built
	folder, settings, http, grpc string
	log                          io.Writer
}

// run runs Watchroute until ctx ends, again where it ends before, and calls ready when it
// serves for the first time.
func (n *node) run(ctx context.Context, ready func(pid int)) error {
	if n.binary == "" {
		n.binary = filepath.Join(n.folder, "watchroute")
		if err := n.build(ctx); err != nil {
			return err
		}
	}
	for first := true; ; first = false {
		running, stop := context.WithCancel(ctx)
		cmd := n.command(running)
		if err := cmd.Start(); err != nil {
			stop()
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if first {
			if err := n.await(ctx, ended); err != nil {
				stop()
				<-ended
				return err
			}
			ready(cmd.Process.Pid)
		} else {
			fmt.Fprintf(n.log, "Watchroute is back, as process %d\n", cmd.Process.Pid)
		}
		err := <-ended
		stop()
		if ctx.Err() != nil {
			return ignoreCancelled(err)
		}
		fmt.Fprintf(n.log, "Watchroute has ended (%v), and comes back in %v\n", err, againTime)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(againTime):
		}
	}
}

func (n *node) command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, n.binary, "serve", "--config", n.settings, "--http", n.http, "--grpc", n.grpc,
		"--data", filepath.Join(n.folder, "data"), "--drain-spread", "1s", "--log-level", "warn", "--audit-log", "off")
	cmd.Stdout, cmd.Stderr = n.log, n.log
	// In a group of its own, so that Ctrl-C reaches it by way of this process only.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTime
	return cmd
}

// build builds it as `make build` does.
func (n *node) build(ctx context.Context) error {
	fmt.Fprintln(n.log, "building Watchroute ...")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", n.binary, "github.com/watchroute/watchroute/cmd/watchroute")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "CGO_ENABLED=0"), n.log, n.log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build, in e2e/: %w; -watchroute names a binary that there is", err)
	}
	return nil
}

// await waits until it serves.
func (n *node) await(ctx context.Context, ended chan error) error {
	client := http.Client{Timeout: 5 * time.Second}
	deadline := time.Now().Add(readyTime)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			ended <- err // for who waits for it
			return fmt.Errorf("watchroute ended before it served (%v); it said why", err)
		case <-time.After(50 * time.Millisecond):
		}
		if resp, err := client.Get("http://" + n.http + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("watchroute did not serve within %v", readyTime)
		}
	}
}

// ignoreCancelled gives what went wrong with a process that was asked to end.
func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

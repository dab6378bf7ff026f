package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// job is one line of a set.
type job struct {
	args    string
	history int
	skip    func(Info) bool
}

func noMux(i Info) bool     { return !i.Mux }
func noMuxKeys(i Info) bool { return !i.MuxKeys }

// set is the jobs of each scenario.
type set map[string][]job

var fullSet = set{
	"s1": {
		{args: "-mode rate"}, {args: "-mode max"},
		{args: "-mode max -conns 4", skip: noMux},
	},
	"s2": {
		{args: "-mode rate -conns 100", skip: noMuxKeys},
		{args: "-mode max -conns 100", skip: noMuxKeys},
		{args: "-mode rate -n 5000"},
	},
	"s3": {{}, {args: "-conns 10", skip: noMuxKeys}},
	"s4": {{history: 4096}},
	"s5": {{}},
}

// shortSet shows in minutes where things stand. It runs beside Watchroute what was
// the cheapest of its kind in the full set.
var shortSet = set{
	"s1": {
		{args: "-mode rate -secs 2"}, {args: "-mode max -secs 2"},
		{args: "-mode max -secs 2 -conns 4", skip: noMux},
	},
	"s2": {{args: "-mode rate -secs 2 -n 2000 -conns 20", skip: noMuxKeys}},
	"s3": {{args: "-n 2000 -idle 1s"}},
	"s4": {{args: "-n 500", history: 4096}},
	"s5": {{args: "-n 20 -updates 5000"}},
}

var shortPeers = []string{"gosse", "centrifuge-pb", "grpc-naive", "etcd"}

// runAll starts a fresh server process for each job and the load in another.
func runAll(args []string) error {
	fs := flag.NewFlagSet("run", flag.ExitOnError)
	short := fs.Bool("short", false, "the short set, about 5 minutes")
	only := fs.String("peers", "", "which peers (default: all but the variants)")
	scen := fs.String("scenarios", "s1,s3,s4,s5,s2", "which scenarios")
	rounds := fs.Int("rounds", 1, "how often")
	out := fs.String("out", "", "append the JSON lines to this file")
	extra := fs.String("load", "", "more flags for every load, such as '-n 200 -secs 2'")
	fs.Parse(args)
	jobs, names := fullSet, strings.Split(*only, ",")
	if *only == "" {
		names = slices.DeleteFunc(peerNames(), func(n string) bool { return peers[n].Info().Variant })
	}
	if *short {
		jobs = shortSet
		if *only == "" {
			names = slices.DeleteFunc(names, func(n string) bool { return !ours(n) && !slices.Contains(shortPeers, n) })
		}
	}
	for _, name := range names {
		if _, err := peerByName(name); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if slices.ContainsFunc(names, ours) { // build once, for all servers
		path, err := watchrouteBinary(ctx)
		if err != nil {
			return err
		}
		os.Setenv(binaryVariable, path)
	}
	var sink io.Writer = os.Stdout
	if *out != "" {
		f, err := os.OpenFile(*out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		sink = io.MultiWriter(os.Stdout, f)
	}
	var all []*Result
	for round := range *rounds {
		for _, s := range strings.Split(*scen, ",") {
			for _, j := range jobs[s] {
				for _, name := range names {
					if j.skip != nil && j.skip(peers[name].Info()) {
						continue
					}
					args := append(append([]string{"-scenario", s}, strings.Fields(j.args)...), strings.Fields(*extra)...)
					rs, err := one(ctx, name, j.history, args)
					if ctx.Err() != nil {
						return ctx.Err()
					}
					if err != nil {
						fmt.Fprintf(os.Stderr, "round %d: %s %v: %v\n", round+1, name, args, err)
					}
					for _, r := range rs {
						b, _ := json.Marshal(r)
						fmt.Fprintf(sink, "%s\n", b)
					}
					all = append(all, rs...)
				}
			}
		}
	}
	m, _ := medians(all)
	fmt.Println(machine())
	table(os.Stdout, m)
	return nil
}

// child is a command that is killed when ctx or this process ends.
func child(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	// Linux sends the signal when the thread ends that started the process: the
	// caller keeps its thread, and must be main's goroutine or outlive the child.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// one runs one job and ends its server by its process id.
func one(ctx context.Context, name string, history int, args []string) ([]*Result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	sargs := []string{"serve", name}
	if history > 0 {
		sargs = append(sargs, "-history", strconv.Itoa(history))
	}
	srv := child(context.Background(), self, sargs...)
	srv.Stderr = os.Stderr
	stdout, err := srv.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := srv.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() { srv.Wait(); close(exited) }()
	defer func() {
		srv.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(5 * time.Second):
			srv.Process.Kill()
			<-exited
		}
	}()
	line := make(chan []string, 1)
	go func() {
		sc := bufio.NewScanner(stdout)
		for sc.Scan() {
			if f := strings.Fields(sc.Text()); len(f) > 2 && f[0] == "READY" {
				line <- append(f[1:], "")
			}
		}
	}()
	var at []string
	select {
	case at = <-line:
	case <-exited:
		return nil, fmt.Errorf("server exited")
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(20 * time.Second):
		return nil, fmt.Errorf("server not ready")
	}
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	largs := append([]string{"load", name, "-addr", at[0], "-pid", at[1], "-debug", at[2]}, args...)
	ld := child(ctx, self, largs...)
	ld.Stderr = os.Stderr
	b, err := ld.Output()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return readResults(strings.NewReader(string(b)))
}

package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// named takes the peer's name off args.
func named(args []string) (Peer, []string, error) {
	if len(args) == 0 {
		return nil, nil, fmt.Errorf("which peer? have %s", strings.Join(peerNames(), ", "))
	}
	p, err := peerByName(args[0])
	return p, args[1:], err
}

// serve runs one server. Its first line of output is "READY addr pid debug".
func serve(args []string) error {
	p, args, err := named(args)
	if err != nil {
		return err
	}
	fs := flag.NewFlagSet("serve", flag.ExitOnError)
	dir := fs.String("dir", "", "scratch directory (default: a temporary one)")
	history := fs.Int("history", 64, "updates per resource that stay resumable")
	fs.Parse(args)
	if *dir == "" {
		if *dir, err = os.MkdirTemp("", "peers-"); err != nil {
			return err
		}
		defer os.RemoveAll(*dir)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	http.HandleFunc("/debug/gc", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	go http.Serve(ln, nil)
	err = p.Serve(ctx, ServeOpts{Dir: *dir, History: *history}, func(r Ready) {
		if r.Pid == 0 {
			r.Pid, r.Debug = os.Getpid(), ln.Addr().String()
		}
		fmt.Println("READY", r.Addr, r.Pid, r.Debug)
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

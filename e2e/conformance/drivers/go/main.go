// Command go drives the Go client for the suite of conformance; the README above it says
// how it is spoken to.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	watchroute "github.com/watchroute/watchroute/clients/go"
)

func main() {
	address := flag.String("address", "127.0.0.1:9090", "the gRPC address")
	first := flag.Duration("first", time.Second, "the first ceiling of the back-off")
	most := flag.Duration("most", 30*time.Second, "its highest ceiling")
	flag.Duration("ladder", 0, "not of this client")
	flag.Parse()
	if err := run(*address, *first, *most); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(address string, first, most time.Duration) error {
	d := newDriver(os.Stdout)
	options := []watchroute.Option{
		watchroute.WithBackoff(first, most), watchroute.WithCredential(d.credential),
		watchroute.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))),
	}
	var err error
	if d.stream, err = watchroute.Dial("passthrough:///"+address, options...); err != nil {
		return err
	}
	defer d.stream.Close()
	if d.session, err = watchroute.Dial("passthrough:///"+address, append(options, watchroute.WithSession())...); err != nil {
		return err
	}
	defer d.session.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer d.running.Wait()
	defer cancel()
	d.report(map[string]any{"ready": true})
	return d.serve(ctx, os.Stdin)
}

package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/watchroute/watchroute/e2e/shop/stack"
)

//go:embed watchroute.yaml
var template []byte

type settings struct {
	kafka, watchroute, http, grpc, pages, customers string
	speed, rate                                     float64
}

func main() {
	var s settings
	flag.StringVar(&s.kafka, "kafka", "", "`HOST:PORT` of a Kafka that runs already (default: one is started, on a free port)")
	flag.StringVar(&s.watchroute, "watchroute", "", "`FILE` that is watchroute's binary (default: it is built)")
	flag.StringVar(&s.pages, "pages", "127.0.0.1:8088", "`HOST:PORT` of the pages, on loopback")
	flag.StringVar(&s.http, "http", "127.0.0.1:8089", "`HOST:PORT` of Watchroute for HTTP")
	flag.StringVar(&s.grpc, "grpc", "127.0.0.1:9099", "`HOST:PORT` of Watchroute for gRPC")
	flag.StringVar(&s.customers, "customers", "ada,grace,linus", "who buys, as `NAME,NAME`")
	flag.Float64Var(&s.speed, "speed", 1, "how fast everything is: at 1 an order is delivered some 12 s after it was placed")
	flag.Float64Var(&s.rate, "rate", 0.4, "orders a second that nobody has to place, at speed 1; 0: none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run runs the shop until ctx ends.
func run(ctx context.Context, s settings) error {
	if s.speed <= 0 || s.rate < 0 || flag.NArg() > 0 {
		return errors.New("-speed must be more than 0, -rate must not be negative, and there are no arguments")
	}
	folder, err := os.MkdirTemp("", "watchroute-shop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	lasts := func(d time.Duration) time.Duration { return time.Duration(float64(d) / s.speed) }
	cfg := stack.Config{Folder: folder, Template: template, Watchroute: s.http, Pages: s.pages, Customers: strings.Split(s.customers, ","),
		Packing: lasts(4 * time.Second), Loading: lasts(3 * time.Second), Driving: lasts(5 * time.Second), Logger: logger}
	if s.rate > 0 {
		cfg.Between = lasts(time.Duration(float64(time.Second) / s.rate))
	}
	return withKafka(ctx, s.kafka, filepath.Join(folder, "kafka"), func(address string) error {
		cfg.Brokers = []string{address}
		shop, err := stack.Prepare(ctx, cfg)
		if err != nil {
			return err
		}
		defer shop.Close()
		node := &node{binary: s.watchroute, folder: folder, settings: shop.Settings, http: s.http, grpc: s.grpc, log: os.Stderr}
		return node.run(ctx, func(pid int) {
			shop.Start()
			fmt.Print(invitation(&s, shop.URL, address, node.binary, pid, cfg.Customers))
		})
	})
}

package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/watchroute/watchroute/cmd/watchroute/feed"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	"github.com/watchroute/watchroute/internal/node"
	"github.com/watchroute/watchroute/server/config"
)

type demoCommand struct {
	config.Config `embed:""`
	Rate          float64 `name:"rate" env:"WATCHROUTE_RATE" default:"5" placeholder:"N" help:"Changes a second of the invented orders; 0: no feed. Default: ${default}."`
	Replay        string  `name:"replay" env:"WATCHROUTE_REPLAY" placeholder:"FILE" help:"Make the orders of real purchases instead: lines of customer, yyyymmdd, number of CDs, dollars."`
	Speed         float64 `name:"speed" env:"WATCHROUTE_SPEED" default:"0.05" placeholder:"DAYS" help:"Days of the replayed purchases in a second. Default: ${default}."`
	Seed          uint64  `name:"seed" env:"WATCHROUTE_SEED" default:"1" placeholder:"N" help:"Decides what the feed does, but for the times. Default: ${default}."`
}

// Validate implements kong's check, for the settings of the node too.
func (c *demoCommand) Validate() error {
	if c.Rate < 0 || c.Speed <= 0 {
		return fmt.Errorf("--rate must not be negative, and --speed must be more than 0")
	}
	if c.TLS() {
		return fmt.Errorf("the demo is plaintext: its feed and what it prints are; `watchroute serve` speaks TLS")
	}
	if c.Access != "" {
		return fmt.Errorf("the demo's feed has no credential; `watchroute serve` asks for them")
	}
	return c.Config.Validate()
}

// Run serves and feeds until ctx ends.
func (c *demoCommand) Run(ctx context.Context, term *terminal) error {
	steps, speed, err := c.steps()
	if err != nil {
		return err
	}
	c.Contracts = append(c.Contracts, config.ExampleContract)
	if c.Data == "" {
		folder, err := os.MkdirTemp("", "watchroute-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		c.Data = folder
	}
	logger := c.Logger(term.err)
	return node.Run(ctx, c.Config, logger, func(ctx context.Context, n *node.Node) {
		http, calls := n.Addresses()
		fmt.Fprint(term.out, invitation(os.Args[0], http.String(), calls.String()))
		conn, err := grpc.NewClient(calls.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			logger.Error("the feed cannot connect", "error", err)
			return
		}
		defer conn.Close()
		player := &feed.Player{Orders: shopv1.NewOrderServiceClient(conn), Speed: speed,
			Problem: func(err error) { logger.Warn("the feed tries again", "error", err) }}
		switch err := player.Play(ctx, steps); {
		case err != nil:
			logger.Error("the feed has stopped", "error", err, "written", player.Written())
		case ctx.Err() == nil:
			logger.Info("the feed is at its end", "written", player.Written())
		}
	})
}

// steps gives what the feed writes, and how fast.
func (c *demoCommand) steps() (iter.Seq[feed.Step], float64, error) {
	if c.Replay == "" {
		if c.Rate == 0 {
			return func(func(feed.Step) bool) {}, 1, nil
		}
		return feed.Generate(feed.Generated{Seed: c.Seed, Rate: c.Rate, Began: time.Now()}), 1, nil
	}
	f, err := os.Open(c.Replay)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	purchases, err := feed.ReadPurchases(f)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", c.Replay, err)
	}
	return feed.Replay(purchases, c.Seed), c.Speed * (24 * time.Hour).Seconds(), nil
}

// invitation says what to paste into a second terminal.
func invitation(command, http, calls string) string {
	at := ""
	if calls != "127.0.0.1:9090" {
		at = " --server " + calls
	}
	return strings.NewReplacer("HTTP", http, "GRPC", calls, "WATCHROUTE", command, " AT", at).Replace(`
Orders are moving through a shop. See them live:  http://HTTP/

Paste into a second terminal:

  # every change, as a browser's EventSource gets it
  curl -N -H 'Accept: text/event-stream' 'http://HTTP/v1/orders/watch-all'

  # the same as lines of JSON; only parcels on the van
  curl -N --get 'http://HTTP/v1/orders/watch-all' --data-urlencode 'filter=data.status == OrderStatus.OUT_FOR_DELIVERY'

  # the command line, which goes on by itself when the node restarts
  WATCHROUTE watch orders AT --filter 'data.total.units >= 100' --read-mask status,location

  # long-polling: the state and a token; then what came after it, waiting at most 30 s
  TOKEN=$(curl -s 'http://HTTP/v1/orders?pageSize=1' | sed -E 's/.*"resumeToken":"([^"]+)".*/\1/')
  curl -s "http://HTTP/v1/orders/watch-all?wait=30s&resume_token=$TOKEN"

  # any gRPC client, by reflection
  grpcurl -plaintext GRPC shop.v1.OrderService/WatchOrders
  buf curl --protocol grpc --http2-prior-knowledge http://GRPC/shop.v1.OrderService/WatchOrders

Ctrl-C ends it.

`)
}

// Caller calls a service that it knows by name only, and prints who answered.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	watchroute "github.com/watchroute/watchroute/clients/go"
	"github.com/watchroute/watchroute/clients/go/resolver"
)

func main() {
	server := flag.String("server", "127.0.0.1:9090", "the node's gRPC address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	client, err := watchroute.Dial(*server)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	conn, err := grpc.NewClient("watchroute:///services/greeter",
		grpc.WithResolvers(&resolver.Builder{Client: client}),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	greeter := healthv1.NewHealthClient(conn) // stands for a service of one's own
	for ctx.Err() == nil {
		answered := map[string]int{}
		for range 12 {
			var who peer.Peer
			_, err := greeter.Check(ctx, &healthv1.HealthCheckRequest{}, grpc.Peer(&who), grpc.WaitForReady(true))
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				log.Print(err)
				continue
			}
			answered[who.Addr.String()]++
		}
		var line []string
		for _, address := range slices.Sorted(maps.Keys(answered)) {
			line = append(line, fmt.Sprintf("%s x %d", address, answered[address]))
		}
		fmt.Println("12 calls:", strings.Join(line, ", "))
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

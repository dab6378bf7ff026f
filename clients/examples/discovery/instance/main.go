// Instance is one of several that offer the same service. It is found under services/ from
// when it serves until it goes.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	watchroute "github.com/watchroute/watchroute/clients/go"
)

// Endpoint is what package resolver reads by default.
type Endpoint struct {
	Service string `json:"service"`
	Address string `json:"address"`
}

func main() {
	server := flag.String("server", "127.0.0.1:9090", "the node's gRPC address")
	name := flag.String("name", "instance", "the name of this instance")
	flag.Parse()
	client, err := watchroute.Dial(*server)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	service := grpc.NewServer()
	healthv1.RegisterHealthServer(service, health.NewServer()) // stands for a service of one's own
	go func() {
		if err := service.Serve(listener); err != nil {
			log.Fatal(err)
		}
	}()

	ctx := context.Background()
	leave, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	at := Endpoint{Service: "greeter", Address: listener.Addr().String()}
	if _, err := watchroute.Put(ctx, client, "services/"+*name, at, watchroute.RequestID(watchroute.NewRequestID())); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s serves at %s\n", *name, at.Address)

	<-leave.Done()
	// First it is no longer found, then it finishes the calls that it has.
	if _, err := watchroute.Delete(ctx, client, "services/"+*name, watchroute.AllowMissing(), watchroute.RequestID(watchroute.NewRequestID())); err != nil {
		log.Print(err)
	}
	service.GracefulStop()
	fmt.Printf("%s is gone\n", *name)
}

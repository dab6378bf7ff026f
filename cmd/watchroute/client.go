package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/certificate"
)

// client is what every command has that calls a server.
type client struct {
	Server  string        `name:"server" env:"WATCHROUTE_SERVER" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"The server's gRPC address. Default: ${default}."`
	Timeout time.Duration `name:"timeout" env:"WATCHROUTE_TIMEOUT" default:"10s" placeholder:"DURATION" help:"How long one call may take; a watch may take longer. Default: ${default}."`
	TLS     bool          `name:"tls" env:"WATCHROUTE_TLS" help:"Speak TLS; goes without saying where --ca or --cert is given."`
	CA      string        `name:"ca" env:"WATCHROUTE_CA" placeholder:"FILE" help:"Authorities (PEM) by which the server is verified. Default: the system's."`
	Cert    string        `name:"cert" env:"WATCHROUTE_CERT" placeholder:"FILE" and:"pair" help:"Certificate (PEM) to show to the server. Default: none."`
	Key     string        `name:"key" env:"WATCHROUTE_KEY" placeholder:"FILE" and:"pair" help:"The certificate's key (PEM)."`
	Token   string        `name:"token" env:"WATCHROUTE_TOKEN" placeholder:"CREDENTIAL" help:"A JWT or an API key, or @FILE. Default: none."`
	As      string        `name:"tenant" env:"WATCHROUTE_TENANT" placeholder:"NAME" help:"The tenant whose collections are meant; for operators. Default: one's own."`
	Output  string        `name:"output" short:"o" default:"text" enum:"text,json" placeholder:"FORMAT" help:"text, or json: one JSON object a line. Default: ${default}."`
}

// connection is a client's connection.
type connection struct {
	watchroutev1.ResourceServiceClient
	conn  *grpc.ClientConn
	types *types
}

// dial makes a connection; the first call opens it.
func (c *client) dial() (*connection, error) {
	security, err := c.security()
	if err != nil {
		return nil, err
	}
	header := []string{"watchroute-json", "text"} // JSON objects as they were written, not as Struct, whose numbers are doubles
	if c.Token != "" {
		token, err := secretOf(c.Token)
		if err != nil {
			return nil, fmt.Errorf("--token: %w", err)
		}
		header = append(header, "authorization", "Bearer "+token)
	}
	if c.As != "" {
		header = append(header, "watchroute-tenant", c.As)
	}
	conn, err := grpc.NewClient(c.Server,
		grpc.WithTransportCredentials(security),
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(metadata.AppendToOutgoingContext(ctx, header...), method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(metadata.AppendToOutgoingContext(ctx, header...), desc, cc, method, opts...)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		// A dead peer is noticed without a message. The server allows a ping each 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// Fixed windows spare the pings by which gRPC would estimate them, which
		// halve the throughput of a watch.
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	return &connection{ResourceServiceClient: watchroutev1.NewResourceServiceClient(conn), conn: conn, types: newTypes(conn)}, nil
}

// secretOf gives the secret that a flag means: itself, or @FILE for a file.
func secretOf(arg string) (string, error) {
	name, isFile := strings.CutPrefix(arg, "@")
	if !isFile {
		return arg, nil
	}
	text, err := os.ReadFile(name)
	return strings.TrimSpace(string(text)), err
}

// security gives TLS, or plaintext.
func (c *client) security() (credentials.TransportCredentials, error) {
	if !c.TLS && c.CA == "" && c.Cert == "" {
		return insecure.NewCredentials(), nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		var err error
		if settings.RootCAs, err = certificate.Pool(c.CA); err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("--cert, --key: %w", err)
		}
		// Also to a server that knows not its authority, which then says so.
		settings.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return credentials.NewTLS(settings), nil
}

// call connects and makes calls, all within the time-out.
func (c *client) call(ctx context.Context, f func(context.Context, *connection) error) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return c.at(f(ctx, conn))
}

// at adds to an error where the server was expected.
func (c *client) at(err error) error {
	if err == nil {
		return nil
	}
	return &callError{error: err, server: c.Server}
}

// conditions are the preconditions of a write.
type conditions struct {
	IfRevision uint64 `name:"if-revision" xor:"if" placeholder:"N" help:"Only if the resource is at this revision."`
	IfETag     string `name:"if-etag" xor:"if" placeholder:"ETAG" help:"Only if the resource has this etag."`
	RequestID  string `name:"request-id" placeholder:"ID" help:"Apply once, however often it is sent within an hour."`
}

func (c *conditions) precondition() *watchroutev1.Precondition {
	switch {
	case c.IfRevision != 0:
		return &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Revision{Revision: c.IfRevision}}
	case c.IfETag != "":
		return &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Etag{Etag: c.IfETag}}
	}
	return nil
}

// document gives the JSON that an argument means: itself, `-` for standard input,
// @FILE for a file.
func document(arg string, in io.Reader) (string, error) {
	var text []byte
	var err error
	switch {
	case arg == "-":
		text, err = io.ReadAll(in)
	case strings.HasPrefix(arg, "@"):
		text, err = os.ReadFile(arg[1:])
	default:
		return arg, nil
	}
	return string(text), err
}

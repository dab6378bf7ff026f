package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Peer is one system under test. A peer is one file that registers itself in
// init; see README.md, "Adding a peer".
type Peer interface {
	Info() Info
	// Serve runs the server until ctx ends. It listens on 127.0.0.1 only and
	// calls ready once.
	Serve(ctx context.Context, o ServeOpts, ready func(Ready)) error
	// Dial opens one client connection (one TCP connection for watches).
	Dial(ctx context.Context, addr string) (Conn, error)
}

// Info says what a peer can do; scenarios it cannot do are reported as n/a.
type Info struct {
	Name     string
	About    string // one line for the results: version, settings that matter
	Mux      bool   // many watches of one resource can share a connection
	MuxKeys  bool   // many watches of different resources can share a connection
	Resume   bool   // a watch can resume after a position without losing updates
	Snapshot bool   // a new watcher can get the collection's state, then its updates
	Variant  bool   // not in the full set: run only when named
}

// ServeOpts are the server process's parameters.
type ServeOpts struct {
	Dir     string // empty scratch directory for the server's files
	History int    // updates per resource that must stay resumable
}

// Ready says where a server listens. Debug and Pid are filled in for a server
// that runs inside this program; a Serve that starts another program sets Pid
// to that program's process id, and Debug if it serves net/http/pprof.
type Ready struct {
	Addr  string // what Dial takes
	Debug string
	Pid   int
}

// Sink receives whole values as they came off the wire. A frame may carry
// several values and the peer's own framing; it is only valid during the call.
// Calls for one watch never overlap.
type Sink func(frame []byte)

// Pos is a peer's own resume position.
type Pos any

// Conn is one client connection. Publish may be called concurrently.
type Conn interface {
	// Publish sets key to val and returns when the server has acknowledged it.
	Publish(ctx context.Context, key string, val []byte) error
	// Watch follows one key: from now on when from is nil, else after from. It
	// returns when the server has accepted the watch.
	Watch(ctx context.Context, key string, from Pos, sink Sink) (Watch, error)
	// Snapshot gets all keys "i.*" (n of them) and stays subscribed to their
	// updates. It returns when the whole state has been handed to sink.
	Snapshot(ctx context.Context, n int, sink Sink) error
	// Err is the reason why the connection broke, nil while it works.
	Err() error
	Close() error
}

// Watch is an open watch. Pos may only be called once updates have ceased or
// the connection is closed.
type Watch interface{ Pos() Pos }

// ours says whether a peer is Watchroute itself.
func ours(name string) bool { return strings.HasPrefix(name, "wr-") }

var peers = map[string]Peer{}

func register(p Peer) { peers[p.Info().Name] = p }

func peerNames() []string {
	order := []string{"wr-sse", "wr-ws", "wr-grpc", "wr-session", "wr-ws-session", "wr-grpcweb", "wr-longpoll", "etcd", "nats-kv", "centrifuge-json", "centrifuge-pb", "gosse", "grpc-naive", "sse-naive"}
	var rest []string
	for n := range peers {
		if !slices.Contains(order, n) {
			rest = append(rest, n)
		}
	}
	slices.Sort(rest)
	return append(order, rest...)
}

func peerByName(n string) (Peer, error) {
	if p, ok := peers[n]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("no peer %q; have %s", n, strings.Join(peerNames(), ", "))
}

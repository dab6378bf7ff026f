package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// wrPeer is Watchroute over one transport: `watchroute serve` with its default
// settings and its durable log. Values are JSON objects in a collection without a
// schema; a watch asks for EVERY_CHANGE.
type wrPeer struct {
	info Info
	dial func(ctx context.Context, http, grpc string) (Conn, error)
}

func (p wrPeer) Info() Info {
	i := p.info
	i.Resume, i.Snapshot = true, true
	return i
}

// Serve starts the binary. Its data goes with the scratch directory, so it is
// killed at the end.
func (p wrPeer) Serve(ctx context.Context, o ServeOpts, ready func(Ready)) error {
	return p.serve(ctx, o, ready, nil)
}

// serve is Serve with further flags, and options for who publishes.
func (p wrPeer) serve(ctx context.Context, o ServeOpts, ready func(Ready), flags []string, opts ...grpc.DialOption) error {
	s, err := startWatchroute(ctx, o.Dir, flags...)
	if err != nil {
		return err
	}
	defer s.Stop(0)
	// A watch of a collection that does not exist is refused.
	pub := &wrPublisher{addr: s.GRPC, opts: opts}
	err = pub.Publish(ctx, "first", []byte("{}"))
	pub.close()
	if err != nil {
		return err
	}
	ready(Ready{Addr: s.HTTP + "," + s.GRPC, Debug: s.Debug, Pid: s.Pid})
	select {
	case <-s.exited:
		return errors.Join(errors.New("watchroute ended"), s.err)
	case <-ctx.Done():
		return nil
	}
}

func (p wrPeer) Dial(ctx context.Context, addr string) (Conn, error) {
	http, grpc, ok := strings.Cut(addr, ",")
	if !ok {
		return nil, fmt.Errorf("%q is not HTTP,GRPC", addr)
	}
	return p.dial(ctx, http, grpc)
}

const (
	wrCollection = "bench"
	wrService    = "/" + "watchroute.v1.ResourceService" + "/"
)

// wrRequest asks for the changes of one key from now on, or after a position.
func wrRequest(key string, from Pos) *watchroutev1.WatchRequest {
	r := &watchroutev1.WatchRequest{Names: []string{wrCollection + "/" + key}, Delivery: watchroutev1.Delivery_EVERY_CHANGE,
		Start: &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}}
	if token, _ := from.(string); token != "" {
		r.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: token}
	}
	return r
}

// wrPath is wrRequest as the path of a URL with a query.
func wrPath(key string, from Pos) string {
	q := url.Values{"delivery": {"EVERY_CHANGE"}, "from": {"NOW"}}
	if token, _ := from.(string); token != "" {
		q.Del("from")
		q.Set("resume_token", token)
	}
	return "/v1/" + wrCollection + "/" + key + "/watch?" + q.Encode()
}

// wrAll asks for the state of the collection, and then its changes.
var wrAll = &watchroutev1.WatchRequest{Parent: wrCollection}

const wrAllPath = "/v1/" + wrCollection + "/watch"

// wrPublisher writes through one gRPC connection, which is made when it is needed.
type wrPublisher struct {
	addr string
	opts []grpc.DialOption

	mu sync.Mutex
	cc *grpc.ClientConn
}

func (p *wrPublisher) conn() (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.cc == nil {
		p.cc, err = dialGRPC(p.addr, p.opts...)
	}
	return p.cc, err
}

func (p *wrPublisher) Publish(ctx context.Context, key string, val []byte) error {
	cc, err := p.conn()
	if err != nil {
		return err
	}
	return wrPut(ctx, cc, key, val)
}

func (p *wrPublisher) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cc != nil {
		p.cc.Close()
	}
}

func wrPut(ctx context.Context, cc *grpc.ClientConn, key string, val []byte) error {
	r, err := wrResource(key, val)
	if err != nil {
		return err
	}
	return cc.Invoke(ctx, wrService+"Put", &watchroutev1.PutRequest{Resource: r}, new(frame))
}

func wrResource(key string, val []byte) (*watchroutev1.Resource, error) {
	data, err := anypb.New(&watchroutev1.Json{Text: string(val)})
	return &watchroutev1.Resource{Name: wrCollection + "/" + key, Data: data}, err
}

// wrContext asks for values as they were written, not as google.protobuf.Struct.
func wrContext(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "watchroute-json", "text")
}

// Kinds of a WatchResponse: the field numbers of its body.
const (
	wrStarted     = 3
	wrEvents      = 4
	wrSnapshotEnd = 5
	wrBookmark    = 6
)

// wrWatch takes in the messages of one watch. Pos is its last token.
type wrWatch struct {
	sink Sink

	mu    sync.Mutex
	token []byte
}

func (w *wrWatch) Pos() Pos {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.token)
}

func (w *wrWatch) keep(token []byte) {
	if len(token) == 0 {
		return
	}
	w.mu.Lock()
	w.token = append(w.token[:0], token...)
	w.mu.Unlock()
}

// take takes in one encoded WatchResponse.
func (w *wrWatch) take(b []byte) (kind protowire.Number, err error) {
	kind, token, err := wrHead(b)
	if err != nil {
		return 0, err
	}
	w.keep(token) // before anybody can know of the values
	switch kind {
	case wrEvents:
		w.sink(b)
	case wrStarted, wrSnapshotEnd, wrBookmark:
	default:
		err = fmt.Errorf("the server says %q", b)
	}
	return kind, err
}

// wrHead reads a WatchResponse's token and which body it has. Like a parser it takes
// the last of what comes several times: batches of events may be joined.
func wrHead(b []byte) (kind protowire.Number, token []byte, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, nil, protowire.ParseError(n)
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return 0, nil, protowire.ParseError(m)
		}
		switch {
		case num == 2:
			token, _ = protowire.ConsumeBytes(b[n:])
		case num > 2:
			kind = num
		}
		b = b[n+m:]
	}
	if kind == 0 {
		return 0, nil, errors.New("a response without a body")
	}
	return kind, token, nil
}

// until takes in messages up to one of a kind.
func (w *wrWatch) until(kind protowire.Number, read func() ([]byte, error)) error {
	for {
		b, err := read()
		if err != nil {
			return err
		}
		k, err := w.take(b)
		if k == kind || err != nil {
			return err
		}
	}
}

// follow opens a watch whose messages come one at a time from read, and takes
// them in until the connection ends.
func (w *wrWatch) follow(l *lifetime, read func() ([]byte, error)) error {
	if err := w.until(wrStarted, read); err != nil {
		return err
	}
	go func() { l.fail(w.until(-1, read)) }()
	return nil
}

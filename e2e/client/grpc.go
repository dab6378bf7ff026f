package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// dial connects with static windows: grpc-go's own estimate of them halves the
// throughput of a client. It tries again soon: tests restart servers.
func dial(target Target) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+target.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(16<<20),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: 5 * time.Second}))
}

// GRPC is ResourceService.Watch on a connection that all of its watches share.
type GRPC struct{ conn *grpc.ClientConn }

// NewGRPC makes it. Close ends it.
func NewGRPC(target Target) (*GRPC, error) {
	conn, err := dial(target)
	return &GRPC{conn}, err
}

// Close closes the connection.
func (t *GRPC) Close() error { return t.conn.Close() }

// Name implements Transport.
func (*GRPC) Name() string { return "grpc" }

// Watch implements Transport.
func (t *GRPC) Watch(ctx context.Context, r Request, handle func(*Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := watchroutev1.NewResourceServiceClient(t.conn).Watch(ctx, r.proto())
	if err != nil {
		return err
	}
	return receive(stream.Recv, fromProto, handle)
}

// receive hands on what a stream brings until it ends.
func receive[M any](recv func() (M, error), read func(M) (*Message, error), handle func(*Message) error) error {
	for {
		in, err := recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := read(in)
		if err != nil {
			return err
		}
		if err := handle(m); err != nil {
			return err
		}
	}
}

// Typed is the shop's own OrderService.WatchOrders.
type Typed struct{ conn *grpc.ClientConn }

// NewTyped makes it. Close ends it.
func NewTyped(target Target) (*Typed, error) {
	conn, err := dial(target)
	return &Typed{conn}, err
}

// Close closes the connection.
func (t *Typed) Close() error { return t.conn.Close() }

// Name implements Transport.
func (*Typed) Name() string { return "typed-grpc" }

// Watch implements Transport.
func (t *Typed) Watch(ctx context.Context, r Request, handle func(*Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := shopv1.NewOrderServiceClient(t.conn).WatchOrders(ctx, r.orders())
	if err != nil {
		return err
	}
	return receive(stream.Recv, fromOrders, handle)
}

// Session is ResourceService.Session: all of its watches share one stream, which
// is opened when it is needed.
type Session struct {
	conn *grpc.ClientConn

	mu   sync.Mutex
	last int
	open *sessionStream // nil: none
}

type sessionStream struct {
	stream grpc.BidiStreamingClient[watchroutev1.SessionRequest, watchroutev1.SessionResponse]
	cancel context.CancelFunc

	sendMu sync.Mutex

	mu      sync.Mutex
	watches map[string]*sessionWatch // nil: the stream has ended
}

type sessionWatch struct {
	handle func(*Message) error
	done   chan error // gets one
}

// NewSession makes it. Close ends it.
func NewSession(target Target) (*Session, error) {
	conn, err := dial(target)
	return &Session{conn: conn}, err
}

// Close closes the connection.
func (t *Session) Close() error { return t.conn.Close() }

// Cut ends the stream under all its watches.
func (t *Session) Cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open != nil {
		t.open.cancel()
		t.open = nil
	}
}

// Name implements Transport.
func (*Session) Name() string { return "session" }

// Watch implements Transport.
func (t *Session) Watch(ctx context.Context, r Request, handle func(*Message) error) error {
	w := &sessionWatch{handle: handle, done: make(chan error, 1)}
	s, id, err := t.add(w)
	if err != nil {
		return err
	}
	if err := s.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Open{Open: &watchroutev1.OpenWatch{WatchId: id, Watch: r.proto()}}}); err != nil {
		return err
	}
	select {
	case err = <-w.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	_, open := s.watches[id]
	delete(s.watches, id)
	s.mu.Unlock()
	if open {
		// What still comes for it is ignored. If sending fails the stream is over.
		_ = s.send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Cancel{Cancel: &watchroutev1.CancelWatch{WatchId: id}}})
	}
	return err
}

// add puts a watch into the open stream, or into a new one.
func (t *Session) add(w *sessionWatch) (*sessionStream, string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	id := fmt.Sprintf("w%d", t.last)
	if s := t.open; s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.watches != nil {
			s.watches[id] = w
			return s, id, nil
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := watchroutev1.NewResourceServiceClient(t.conn).Session(ctx)
	if err != nil {
		cancel()
		return nil, "", err
	}
	s := &sessionStream{stream: stream, cancel: cancel, watches: map[string]*sessionWatch{id: w}}
	t.open = s
	go s.run()
	return s, id, nil
}

func (s *sessionStream) send(r *watchroutev1.SessionRequest) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.stream.Send(r)
}

func (s *sessionStream) run() {
	defer s.cancel()
	var err error
	for err == nil {
		var packed *watchroutev1.SessionResponse
		if packed, err = s.stream.Recv(); err != nil {
			break
		}
		for r := range resource.Unpack(packed) {
			s.take(r)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		select {
		case w.done <- ended(err):
		default:
		}
	}
	s.watches = nil
}

func (s *sessionStream) take(r *watchroutev1.SessionResponse) {
	s.mu.Lock()
	w := s.watches[r.GetWatchId()]
	s.mu.Unlock()
	if w == nil {
		return
	}
	if body, ok := r.GetBody().(*watchroutev1.SessionResponse_Closed); ok {
		s.end(r.GetWatchId(), w, fmt.Errorf("client: the server closed the watch: %v", body.Closed))
		return
	}
	m, err := fromProto(r.GetWatch())
	if err == nil {
		err = w.handle(m)
	}
	if err != nil {
		// It stays among the watches: Watch cancels it.
		s.mu.Lock()
		s.watches[r.GetWatchId()] = &sessionWatch{handle: func(*Message) error { return nil }, done: make(chan error, 1)}
		s.mu.Unlock()
		w.done <- err
	}
	if m != nil && m.Kind == Drain {
		s.end(r.GetWatchId(), w, nil)
	}
}

func (s *sessionStream) end(id string, w *sessionWatch, err error) {
	s.mu.Lock()
	delete(s.watches, id)
	s.mu.Unlock()
	select {
	case w.done <- err:
	default:
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

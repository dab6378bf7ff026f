package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func init() {
	register(wrPeer{Info{Name: "wr-session", About: "watchroute serve, gRPC: the watches of a connection share one Session stream", Mux: true, MuxKeys: true}, dialWRSession})
	register(wrPeer{Info{Name: "wr-ws-session", About: "watchroute serve, WebSocket /v1/session, binary: the same", Mux: true, MuxKeys: true}, dialWRSocketSession})
}

// wrSession is a Session: many watches on one stream, each under the number of its
// place in watches.
type wrSession struct {
	*lifetime
	*wrPublisher
	send func(*watchroutev1.SessionRequest) error // by one at a time

	sending sync.Mutex

	mu      sync.Mutex
	watches []*wrSessionWatch

	ids []int // of take
}

type wrSessionWatch struct {
	wrWatch
	started, complete chan struct{}
}

func dialWRSession(_ context.Context, _, addr string) (Conn, error) {
	cc, err := dialGRPC(addr)
	if err != nil {
		return nil, err
	}
	l := newLifetime()
	context.AfterFunc(l.ctx, func() { cc.Close() })
	st, err := cc.NewStream(wrContext(l.ctx), &grpc.StreamDesc{StreamName: "Session", ServerStreams: true, ClientStreams: true}, wrService+"Session")
	if err != nil {
		l.cancel()
		return nil, err
	}
	s := &wrSession{lifetime: l, wrPublisher: &wrPublisher{addr: addr, cc: cc},
		send: func(r *watchroutev1.SessionRequest) error { return st.SendMsg(r) }}
	var f frame
	go s.receive(func() ([]byte, error) {
		err := st.RecvMsg(&f)
		return f.b, err
	})
	return s, nil
}

func dialWRSocketSession(_ context.Context, http, grpc string) (Conn, error) {
	ws, err := dialWS(http, "/v1/session", wrSocketProtocol)
	if err != nil {
		return nil, err
	}
	l := newLifetime()
	context.AfterFunc(l.ctx, func() { ws.nc.Close() })
	s := &wrSession{lifetime: l, wrPublisher: &wrPublisher{addr: grpc}, send: func(r *watchroutev1.SessionRequest) error {
		b, err := proto.Marshal(r)
		if err != nil {
			return err
		}
		return ws.write(wsBinary, b)
	}}
	go s.receive(ws.read)
	return s, nil
}

// receive hands each message to its watch until the connection ends.
func (s *wrSession) receive(read func() ([]byte, error)) {
	defer s.cancel()
	for {
		b, err := read()
		if err == nil {
			err = s.take(b)
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// take takes in one encoded SessionResponse, with what is packed behind it.
func (s *wrSession) take(b []byte) error {
	const idField, watchField, alsoField, moreField = 1, 2, 5, 6
	var response []byte
	s.ids = s.ids[:0]
	for len(b) > 0 {
		num, _, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		value, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			return protowire.ParseError(m)
		}
		b = b[n+m:]
		switch num {
		case idField, alsoField:
			i := 0
			for _, digit := range value {
				i = i*10 + int(digit-'0')
			}
			s.ids = append(s.ids, i)
		case watchField:
			response = value
		case moreField:
			if err := s.hand(response); err != nil {
				return err
			}
			response = nil
			if err := s.take(value); err != nil {
				return err
			}
			s.ids = s.ids[:0]
		default:
			return fmt.Errorf("the server says %q", value)
		}
	}
	return s.hand(response)
}

// hand hands a response to the watches that it is for.
func (s *wrSession) hand(response []byte) error {
	if response == nil {
		return nil
	}
	for _, i := range s.ids {
		s.mu.Lock()
		w := s.watches[i]
		s.mu.Unlock()
		kind, err := w.wrWatch.take(response)
		switch kind {
		case wrStarted:
			close(w.started)
		case wrSnapshotEnd:
			close(w.complete)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open opens a watch and returns once it has started.
func (s *wrSession) open(ctx context.Context, r *watchroutev1.WatchRequest, sink Sink) (*wrSessionWatch, error) {
	return s.openWith(ctx, &watchroutev1.OpenWatch{Watch: r}, sink)
}

// openWith is open for a request without a watch_id.
func (s *wrSession) openWith(ctx context.Context, r *watchroutev1.OpenWatch, sink Sink) (*wrSessionWatch, error) {
	w := &wrSessionWatch{wrWatch: wrWatch{sink: sink}, started: make(chan struct{}), complete: make(chan struct{})}
	s.mu.Lock()
	r.WatchId = strconv.Itoa(len(s.watches))
	s.watches = append(s.watches, w)
	s.mu.Unlock()
	if err := s.say(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Open{Open: r}}); err != nil {
		return nil, err
	}
	return w, s.await(ctx, w.started)
}

// grant allows more events on the watch that was opened as the n-th, from 0.
func (s *wrSession) grant(n int, events uint32) error {
	return s.say(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Credit{Credit: &watchroutev1.Credit{WatchId: strconv.Itoa(n), Events: events}}})
}

func (s *wrSession) say(r *watchroutev1.SessionRequest) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.send(r)
}

func (s *wrSession) await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-s.ctx.Done():
		return errors.Join(errors.New("the session has ended"), s.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *wrSession) Watch(ctx context.Context, key string, from Pos, sink Sink) (Watch, error) {
	return s.open(ctx, wrRequest(key, from), sink)
}

func (s *wrSession) Snapshot(ctx context.Context, _ int, sink Sink) error {
	w, err := s.open(ctx, wrAll, sink)
	if err != nil {
		return err
	}
	return s.await(ctx, w.complete)
}

func (s *wrSession) Close() error {
	s.cancel()
	s.wrPublisher.close()
	return nil
}

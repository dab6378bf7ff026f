package watchroute

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// lines are a client's connections: one, but that one which fell silent is left to those
// who are on it, and others take another. gRPC itself would go on using it until its
// pings find out.
type lines struct {
	dial func() (*grpc.ClientConn, error) // nil: the connection is the caller's own

	mu      sync.Mutex
	current *line
	left    map[*line]bool // that are still used
	closed  bool
}

type line struct {
	watchroutev1.ResourceServiceClient
	of   *lines
	conn *grpc.ClientConn // nil: the caller's own
	used int
}

func newLines(dial func() (*grpc.ClientConn, error)) (*lines, error) {
	s := &lines{dial: dial, left: map[*line]bool{}}
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	s.current = s.line(conn)
	return s, nil
}

func (s *lines) line(conn *grpc.ClientConn) *line {
	return &line{ResourceServiceClient: watchroutev1.NewResourceServiceClient(conn), of: s, conn: conn}
}

// take gives the connection, which is to be given back.
func (s *lines) take() *line {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.used++
	return s.current
}

// takeFor is take, until ctx ends.
func (s *lines) takeFor(ctx context.Context) *line {
	l := s.take()
	context.AfterFunc(ctx, l.giveBack)
	return l
}

func (l *line) giveBack() {
	s := l.of
	s.mu.Lock()
	l.used--
	done := l.used == 0 && s.left[l]
	if done {
		delete(s.left, l)
	}
	s.mu.Unlock()
	if done {
		_ = l.conn.Close() // it was silent
	}
}

// leave lets others take another connection. Who calls it is on this one.
func (l *line) leave() {
	s := l.of
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != l || s.dial == nil || s.closed {
		return
	}
	conn, err := s.dial()
	if err != nil {
		return // that it worked before says that it works now; if not, this one stays
	}
	s.left[l] = true
	s.current = s.line(conn)
}

// close closes all connections that Dial made.
func (s *lines) close() error {
	s.mu.Lock()
	s.closed = true
	all := []*line{s.current}
	for l := range s.left {
		all = append(all, l)
	}
	clear(s.left)
	s.mu.Unlock()
	var first error
	for _, l := range all {
		if l.conn != nil {
			if err := l.conn.Close(); err != nil && first == nil {
				first = err
			}
		}
	}
	return first
}

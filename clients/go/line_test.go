package watchroute_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	watchroute "github.com/watchroute/watchroute/clients/go"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// lively is a server that says something every 50 ms, and that 500 ms of silence are the end.
type lively struct {
	watchroutev1.UnimplementedResourceServiceServer
}

func (*lively) tell(r *watchroutev1.WatchRequest, done <-chan struct{}, send func(*watchroutev1.WatchResponse) error) error {
	begin := started(snapshot, "")
	if t := r.GetResumeToken(); t != "" {
		begin = started(resumed, t)
	}
	begin.GetStarted().SilenceLimit = durationpb.New(500 * time.Millisecond)
	for _, m := range []*watchroutev1.WatchResponse{begin, snapshotEnd(1, "t1")} {
		if m.GetSnapshotEnd() != nil && r.GetResumeToken() != "" {
			continue
		}
		if err := send(m); err != nil {
			return err
		}
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := send(bookmark(1, "t1")); err != nil {
				return err
			}
		case <-done:
			return nil
		}
	}
}

func (l *lively) Watch(r *watchroutev1.WatchRequest, stream grpc.ServerStreamingServer[watchroutev1.WatchResponse]) error {
	return l.tell(r, stream.Context().Done(), stream.Send)
}

func (l *lively) Session(stream grpc.BidiStreamingServer[watchroutev1.SessionRequest, watchroutev1.SessionResponse]) error {
	r, err := stream.Recv()
	if err != nil {
		return err
	}
	return l.tell(r.GetOpen().GetWatch(), stream.Context().Done(), func(m *watchroutev1.WatchResponse) error {
		return stream.Send(&watchroutev1.SessionResponse{WatchId: r.GetOpen().GetWatchId(), Body: &watchroutev1.SessionResponse_Watch{Watch: m}})
	})
}

// serve serves on a loopback port.
func serve(t testing.TB, s watchroutev1.ResourceServiceServer) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxConcurrentStreams(1 << 20))
	watchroutev1.RegisterResourceServiceServer(server, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until Stop
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr().String()
}

// proxy forwards connections, until those that there are fall silent.
type proxy struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	mute  chan struct{} // of the connections that there are
}

func newProxy(t *testing.T, to string) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, to: to, mute: make(chan struct{})}
	p.running.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			on, err := net.Dial("tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, from, on)
			mute := p.mute
			p.mu.Unlock()
			p.running.Go(func() { p.forward(on, from, mute) })
			p.running.Go(func() { p.forward(from, on, mute) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

func (p *proxy) forward(to, from net.Conn, mute <-chan struct{}) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			_ = to.Close()
			return
		}
		select {
		case <-mute: // it is read, and goes nowhere
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.mute)
	p.mute = make(chan struct{})
}

// A connection that swallows everything is left as soon as it is too silent, although gRPC
// takes it for alive.
func TestWatch_LeavesAConnectionThatIsSilent(t *testing.T) {
	for _, session := range []bool{false, true} {
		t.Run(fmt.Sprintf("session=%v", session), func(t *testing.T) {
			p := newProxy(t, serve(t, &lively{}))
			options := []watchroute.Option{watchroute.WithBackoff(10*time.Millisecond, 10*time.Millisecond)}
			if session {
				options = append(options, watchroute.WithSession())
			}
			client, err := watchroute.Dial(p.listener.Addr().String(), options...)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			live := make(chan struct{}, 10)
			m, err := watchroute.NewMirror(t.Context(), client, "notes", watchroute.MirrorConfig[json.RawMessage]{}, watchroute.OnState(func(s watchroute.StateChange) {
				if s.State == watchroute.Live {
					live <- struct{}{}
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			<-live
			for range 2 {
				p.silence()
				began := time.Now()
				select {
				case <-live:
				case <-time.After(10 * time.Second):
					t.Fatal("it did not come back")
				}
				if took := time.Since(began); took < 300*time.Millisecond || took > 5*time.Second {
					t.Errorf("it came back after %v", took)
				}
			}
		})
	}
}

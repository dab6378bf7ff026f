package hostile

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

const (
	// Watchers is how many neighbours watch: one half over SSE, the other over gRPC, each
	// on a connection of its own.
	Watchers = 50
	// beat is the time between two of the publisher's changes.
	beat = 10 * time.Millisecond
	// settleTime is how long the last change may take.
	settleTime = 20 * time.Second
)

// Street is where neighbours live.
type Street struct {
	// URL is the node's, without a path, and Client reaches it from their address.
	URL    string
	Client *http.Client
	// Dial connects to gRPC from there.
	Dial func() *grpc.ClientConn
	// Token gives a credential; Publisher may write things.
	Token     func(subject string) string
	Publisher string
}

// Neighbours are a publisher of one resource and its watchers, who behave.
type Neighbours struct {
	t       testing.TB
	ctx     context.Context
	cancel  context.CancelFunc
	writer  watchroutev1.ResourceServiceClient
	writing context.Context
	done    sync.WaitGroup

	got  []atomic.Int64 // changes, by watcher
	news chan struct{}  // somebody got one; has room for one

	mu   sync.Mutex // nothing is locked below it
	late []time.Duration
	lost []string // what ended early, and why
}

// Meet lets neighbours move in. They leave when the test ends.
func Meet(t testing.TB, s Street) *Neighbours {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n := &Neighbours{t: t, ctx: ctx, cancel: cancel, got: make([]atomic.Int64, Watchers), news: make(chan struct{}, 1),
		writer: watchroutev1.NewResourceServiceClient(s.Dial()), writing: Bearer(ctx, s.Publisher)}
	t.Cleanup(func() {
		cancel()
		n.done.Wait()
	})
	if err := n.put(time.Now()); err != nil {
		t.Fatalf("the first beat: %v", err)
	}
	ready, failed := make(chan struct{}, Watchers), make(chan error, Watchers)
	for i := range Watchers {
		run := n.overSSE
		if i%2 == 1 {
			run = n.overGRPC
		}
		n.done.Go(func() {
			err := run(i, s, func() { ready <- struct{}{} })
			if ctx.Err() == nil {
				n.mu.Lock()
				n.lost = append(n.lost, fmt.Sprintf("neighbour %d: %v", i, err))
				n.mu.Unlock()
				failed <- err
			}
		})
	}
	timeout := time.After(settleTime)
	for range Watchers {
		select {
		case <-ready:
		case err := <-failed:
			t.Fatalf("a neighbour's watch ended: %v", err)
		case <-timeout:
			t.Fatal("the neighbours did not get their first change")
		}
	}
	return n
}

func (n *Neighbours) put(at time.Time) error {
	data, err := anypb.New(&watchroutev1.Json{Text: `{"at":"` + strconv.FormatInt(at.UnixNano(), 10) + `"}`})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(n.writing, settleTime)
	defer cancel()
	w, err := n.writer.Put(ctx, &watchroutev1.PutRequest{Resource: &watchroutev1.Resource{Name: "things/beat", Data: data}})
	if err == nil && !w.GetChanged() {
		err = fmt.Errorf("the change at %v was none, at revision %d", at, w.GetRevision())
	}
	return err
}

// note takes in what one watcher was told, if it is a change, and says whether it is its
// first.
func (n *Neighbours) note(i int, text string) (first bool) {
	_, rest, ok := strings.Cut(text, `"at":"`)
	if !ok {
		return false
	}
	digits, _, _ := strings.Cut(rest, `"`)
	at, _ := strconv.ParseInt(digits, 10, 64)
	took := time.Since(time.Unix(0, at))
	n.mu.Lock()
	n.late = append(n.late, took)
	n.mu.Unlock()
	first = n.got[i].Add(1) == 1
	select {
	case n.news <- struct{}{}:
	default:
	}
	return first
}

func (n *Neighbours) overSSE(i int, s Street, ready func()) error {
	q, err := http.NewRequestWithContext(n.ctx, http.MethodGet, s.URL+"/v1/things/beat/watch?delivery=EVERY_CHANGE", nil)
	if err != nil {
		return err
	}
	q.Header.Set("Accept", "text/event-stream")
	q.Header.Set("Authorization", "Bearer "+s.Token(fmt.Sprintf("neighbour-%d", i)))
	resp, err := s.Client.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if n.note(i, lines.Text()) {
			ready()
		}
	}
	return fmt.Errorf("the stream ended: %w", lines.Err())
}

func (n *Neighbours) overGRPC(i int, s Street, ready func()) error {
	stream, err := watchroutev1.NewResourceServiceClient(s.Dial()).Watch(Bearer(n.ctx, s.Token(fmt.Sprintf("neighbour-%d", i))),
		&watchroutev1.WatchRequest{Names: []string{"things/beat"}, Delivery: watchroutev1.Delivery_EVERY_CHANGE})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return fmt.Errorf("the stream ended")
		}
		if err != nil {
			return err
		}
		for _, e := range m.GetEvents().GetEvents() {
			value := new(structpb.Struct)
			if err := e.GetResource().GetData().UnmarshalTo(value); err != nil {
				return err
			}
			if n.note(i, `"at":"`+value.GetFields()["at"].GetStringValue()+`"`) {
				ready()
			}
		}
	}
}

// Latency is how late changes came, from when they were due to be written.
type Latency struct {
	P50, P99, Max time.Duration
	Changes       int
	// Others is the share of a processor that other processes of the machine took.
	Others float64
}

// During publishes a hundred changes a second while f runs, and at least for a while.
// Writes that are slow do not delay the next ones. Every neighbour must get every change,
// each once; what did not come is an error of the test.
func (n *Neighbours) During(least time.Duration, f func()) Latency {
	n.t.Helper()
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	n.mu.Lock()
	n.late = nil
	n.mu.Unlock()
	before := make([]int64, len(n.got))
	for i := range n.got {
		before[i] = n.got[i].Load()
	}
	var putting sync.WaitGroup
	var failed atomic.Int64
	var sample atomic.Pointer[error]
	sent := int64(0)
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	began, others := time.Now(), Others()
	for due, running := began, true; running; {
		sent++
		at := due
		putting.Go(func() {
			if err := n.put(at); err != nil {
				failed.Add(1)
				sample.Store(&err)
			}
		})
		due = <-ticks.C
		select {
		case <-over:
			running = time.Since(began) < least
		default:
		}
	}
	putting.Wait()
	share := max(0, (Others()-others).Seconds()/time.Since(began).Seconds()) // it is a little off
	if failed.Load() > 0 {
		n.t.Errorf("%d of %d of the neighbours' writes failed: %v", failed.Load(), sent, *sample.Load())
	}
	n.settle(before, sent-failed.Load())
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.lost) > 0 {
		n.t.Errorf("%d neighbours lost their watches: %v", len(n.lost), n.lost[0])
	}
	if len(n.late) == 0 {
		return Latency{}
	}
	slices.Sort(n.late)
	at := func(share int) time.Duration { return n.late[min(len(n.late)*share/100, len(n.late)-1)] }
	return Latency{P50: at(50), P99: at(99), Max: at(100), Changes: int(sent), Others: share}
}

func (n *Neighbours) settle(before []int64, sent int64) {
	n.t.Helper()
	timeout := time.After(settleTime)
	for {
		behind, most := 0, int64(0)
		for i := range n.got {
			if got := n.got[i].Load() - before[i]; got < sent {
				behind, most = behind+1, max(most, sent-got)
			}
		}
		if behind == 0 {
			break
		}
		select {
		case <-n.news:
			continue
		case <-timeout:
		}
		n.t.Errorf("%d neighbours did not get all of %d changes within %v, up to %d are missing", behind, sent, settleTime, most)
		return
	}
	for i := range n.got {
		if got := n.got[i].Load() - before[i]; got != sent {
			n.t.Errorf("neighbour %d got %d changes of %d", i, got, sent)
		}
	}
}

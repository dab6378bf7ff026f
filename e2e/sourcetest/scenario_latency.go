package sourcetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

const (
	// latencyRate is how many events are sent in a second.
	latencyRate = 1000
	// latencyTick is how often those are sent that are due.
	latencyTick = 2 * time.Millisecond
	traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

// latency: from the producer's send to a browser's receipt, and a trace that goes the same
// way.
func latency(w *world) {
	w.run()
	span := 2 * time.Second
	if full() {
		span = 30 * time.Second
	}
	count := int(span.Seconds() * latencyRate)
	ctx, cancel := context.WithTimeout(context.Background(), span+patience)
	defer cancel()
	browsers := []*browser{{name: "SSE", watch: w.watchSSE}, {name: "WebSocket", watch: w.watchWebSocket}}
	for _, b := range browsers {
		b.start(ctx, w)
		defer b.stop()
	}
	w.publish(w.producer.each()) // what is dear at first is not what is asked for
	first := w.producer.count()
	for _, b := range browsers {
		b.gets(ctx, w, first)
	}
	began := time.Now()
	for sent := 0; sent < count; {
		due := min(count, int(time.Since(began).Seconds()*latencyRate))
		if due == sent {
			<-time.After(latencyTick)
			continue
		}
		w.producer.pad = strconv.FormatInt(time.Now().UnixNano(), 10)
		w.broker.Publish(w, w.node, w.producer.next(due-sent))
		sent = due
	}
	rate := float64(count) / time.Since(began).Seconds()
	for _, b := range browsers {
		b.gets(ctx, w, first+count)
		b.read(func() { w.Logf("%s: %s at %.0f events/s", b.name, percentiles(b.took), rate) })
	}
	tracer, ok := w.broker.(Tracer)
	if !ok {
		return
	}
	tracer.PublishTraced(w, w.node, Event{Key: "traced", N: 1}, traceparent)
	for _, b := range browsers {
		b.gets(ctx, w, first+count+1)
		b.read(func() {
			if b.last.Name != things+"/traced" || b.last.Labels["traceparent"] != traceparent {
				w.Errorf("%s: the trace has not come with %s: %v", b.name, b.last.Name, b.last.Labels)
			}
		})
	}
}

func percentiles(all []time.Duration) string {
	if len(all) == 0 {
		return "nothing"
	}
	slices.Sort(all)
	at := func(share float64) time.Duration {
		return all[min(len(all)-1, int(share*float64(len(all))))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, at most %v, of %d", at(0.5), at(0.99), at(1), len(all))
}

// browser is a watch of things as a page has it.
type browser struct {
	name  string
	watch func(context.Context, func(*resource)) error

	board
	begun bool
	count int
	took  []time.Duration // by those events that say when they were sent
	last  resource
	err   error

	cancel context.CancelFunc
	over   chan struct{}
}

// start returns when the watch has begun.
func (b *browser) start(ctx context.Context, w *world) {
	w.Helper()
	ctx, b.cancel = context.WithCancel(ctx)
	b.over = make(chan struct{})
	go func() {
		defer close(b.over)
		err := b.watch(ctx, b.take)
		b.update(func() { b.err = err })
	}()
	b.wait(ctx, func() bool { return b.begun || b.err != nil })
	b.check(w)
}

func (b *browser) stop() {
	b.cancel()
	<-b.over
}

// take takes an event; nil: the watch has begun.
func (b *browser) take(r *resource) {
	now := time.Now()
	b.update(func() {
		if r == nil {
			b.begun = true
			return
		}
		if r.Name == things+"/"+seed {
			return
		}
		b.count++
		b.last = *r
		var value struct{ Pad string }
		if err := json.Unmarshal(r.Data, &value); err != nil {
			b.err = err
			return
		}
		if sent, err := strconv.ParseInt(value.Pad, 10, 64); err == nil {
			b.took = append(b.took, now.Sub(time.Unix(0, sent)))
		}
	})
}

// gets waits until so many events have come.
func (b *browser) gets(ctx context.Context, w *world, count int) {
	w.Helper()
	b.wait(ctx, func() bool { return b.count >= count || b.err != nil })
	b.check(w)
	b.read(func() {
		if b.count != count {
			w.Fatalf("%s: %d events have come, not %d; the source: %s", b.name, b.count, count, w.statuses.text())
		}
	})
}

func (b *browser) check(w *world) {
	w.Helper()
	b.read(func() {
		if b.err != nil {
			w.Fatalf("%s: %v", b.name, b.err)
		}
	})
}

const watchQuery = "/v1/" + things + "/watch?delivery=EVERY_CHANGE"

func (w *world) watchSSE(ctx context.Context, take func(*resource)) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.node.URL(watchQuery), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	var kind []byte
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		if is, ok := bytes.CutPrefix(line, []byte("event:")); ok {
			kind = bytes.TrimSpace(is)
		}
		text, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue
		}
		switch string(kind) {
		case "snapshot_end":
			take(nil)
		case "change":
			var e struct{ Resource resource }
			if err := json.Unmarshal(text, &e); err != nil {
				return err
			}
			take(&e.Resource)
		}
	}
}

func (w *world) watchWebSocket(ctx context.Context, take func(*resource)) error {
	conn, _, err := websocket.Dial(ctx, "ws://"+w.node.HTTP+watchQuery, &websocket.DialOptions{Subprotocols: []string{"watchroute.v1.json"}})
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(16 << 20)
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		var m struct {
			SnapshotEnd *struct{}
			Reset       *struct{}
			Events      struct{ Events []struct{ Resource resource } }
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return err
		}
		if m.Reset != nil {
			return errors.New("the watch was reset")
		}
		if m.SnapshotEnd != nil {
			take(nil)
		}
		for i := range m.Events.Events {
			take(&m.Events.Events[i].Resource)
		}
	}
}

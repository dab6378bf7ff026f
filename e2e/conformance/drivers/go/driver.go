package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"

	watchroute "github.com/watchroute/watchroute/clients/go"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// command is one line of the input; each op uses its own fields.
type command struct {
	Op      string          `json:"op"`
	ID      string          `json:"id"`
	Request json.RawMessage `json:"request"`
	Via     string          `json:"via"`
	Type    string          `json:"type"`
	Store   string          `json:"store"`

	Value    string `json:"value"`
	Revision uint64 `json:"revision,string"`

	N         json.RawMessage            `json:"n"`
	Name      string                     `json:"name"`
	Parent    string                     `json:"parent"`
	Data      json.RawMessage            `json:"data"`
	RequestID string                     `json:"requestId"`
	Puts      map[string]json.RawMessage `json:"puts"`
	Deletes   []string                   `json:"deletes"`
}

type driver struct {
	stream, session *watchroute.Client
	running         sync.WaitGroup

	outMu sync.Mutex
	out   *json.Encoder

	mu      sync.Mutex
	secret  string
	asked   int // for it
	watches map[string]*running
}

// running is a watch or a mirror.
type running struct {
	cancel context.CancelFunc
	gate   gate
	mirror mirror // nil: a watch
}

func newDriver(out io.Writer) *driver {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return &driver{out: encoder, watches: map[string]*running{}}
}

func (d *driver) report(line any) {
	d.outMu.Lock()
	defer d.outMu.Unlock()
	if err := d.out.Encode(line); err != nil {
		panic(err) // who reads the reports is gone
	}
}

// credential is the token provider.
func (d *driver) credential(context.Context, bool) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return d.secret, nil
}

// serve does what the input says, until it ends.
func (d *driver) serve(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("%s: %w", lines.Bytes(), err)
		}
		if err := d.do(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", lines.Bytes(), err)
		}
	}
	return lines.Err()
}

func (d *driver) do(ctx context.Context, c command) error {
	switch c.Op {
	case "credential":
		d.mu.Lock()
		d.secret = c.Value
		d.mu.Unlock()
		return nil
	case "asked":
		d.mu.Lock()
		asked := d.asked
		d.mu.Unlock()
		d.report(map[string]any{"n": c.N, "op": c.Op, "answer": map[string]int{"times": asked}})
		return nil
	case "watch", "mirror":
		return d.open(ctx, c)
	}
	if d.unary(ctx, c) {
		return nil
	}
	w, err := d.find(c.ID)
	if err != nil {
		return err
	}
	switch c.Op {
	case "pause":
		w.gate.close()
		return nil
	case "go":
		w.gate.open()
		return nil
	case "cancel":
		w.cancel()
		return nil
	}
	if w.mirror == nil {
		return fmt.Errorf("%q is no mirror", c.ID)
	}
	switch c.Op {
	case "dump":
		d.report(map[string]any{"id": c.ID, "dump": w.mirror.dump()})
	case "waitFor":
		d.running.Go(func() {
			if w.mirror.WaitFor(ctx, c.Revision) == nil {
				d.report(map[string]any{"id": c.ID, "reached": strconv.FormatUint(c.Revision, 10)})
			}
		})
	default:
		return fmt.Errorf("the driver does not know the op %q", c.Op)
	}
	return nil
}

func (d *driver) open(ctx context.Context, c command) error {
	switch {
	case c.Type == "" && c.Op == "watch":
		return startWatch[json.RawMessage](ctx, d, c)
	case c.Type == "":
		return startMirror[json.RawMessage](ctx, d, c)
	case c.Type == "shop.v1.Order" && c.Op == "watch":
		return startWatch[*shopv1.Order](ctx, d, c)
	case c.Type == "shop.v1.Order":
		return startMirror[*shopv1.Order](ctx, d, c)
	}
	return fmt.Errorf("the driver does not know the message %s", c.Type)
}

func (d *driver) find(id string) (*running, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.watches[id]
	if w == nil {
		return nil, fmt.Errorf("there was no watch %q", id)
	}
	return w, nil
}

func (d *driver) client(via string) (*watchroute.Client, error) {
	switch via {
	case "", "stream":
		return d.stream, nil
	case "session":
		return d.session, nil
	}
	return nil, fmt.Errorf("the client has no transport %q", via)
}

// options gives the options of a watch or a mirror, and reports its states.
func (d *driver) options(c command) ([]watchroute.WatchOption, error) {
	request := &watchroutev1.WatchRequest{}
	if len(c.Request) > 0 {
		if err := protojson.Unmarshal(c.Request, request); err != nil {
			return nil, err
		}
	}
	options := []watchroute.WatchOption{watchroute.Request(request), watchroute.Named(c.ID), watchroute.OnState(func(s watchroute.StateChange) {
		line := map[string]any{"id": c.ID, "state": s.State.String()}
		if s.Cause != nil {
			line["cause"] = s.Cause.Error()
		}
		d.report(line)
	})}
	if c.Store != "" {
		options = append(options, watchroute.KeepToken(watchroute.FileStore{}, c.Store))
	}
	return options, nil
}

// start notes a watch or a mirror under its id.
func (d *driver) start(ctx context.Context, id string) (context.Context, *running) {
	ctx, cancel := context.WithCancel(ctx)
	w := &running{cancel: cancel}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watches[id] = w
	return ctx, w
}

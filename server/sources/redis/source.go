package redis

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

// Source reads some streams. Its fields are set before Run.
type Source struct {
	// MaxEvents bounds what is read of a stream at a time. Default: 500.
	MaxEvents int
	// Wait is how long Redis is asked to wait for an entry. Default: 1 second.
	Wait time.Duration

	config  *watchroutev1.RedisSource
	connect func() (server, error)
}

var _ sources.Source = (*Source)(nil)

// New makes a *Source. It is a sources.Connector.
func New(s *watchroutev1.Source) (sources.Source, error) {
	r := s.GetRedis()
	if err := check(r); err != nil {
		return nil, err
	}
	return &Source{MaxEvents: 500, Wait: time.Second, config: r, connect: func() (server, error) { return dial(r, s.GetSourceId()) }}, nil
}

// check says what is wrong with a configuration.
func check(r *watchroutev1.RedisSource) error {
	bad := func(field, format string, args ...any) error {
		return resource.Errorf(resource.InvalidField, format, args...).In("redis." + field)
	}
	host, port, err := net.SplitHostPort(r.GetAddress())
	if n, bad16 := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad16 != nil || n == 0 {
		return bad("address", "HOST:PORT is expected, such as redis-1:6379, without a name or a password")
	}
	if r.GetDatabase() < 0 {
		return bad("database", "%d is no database; 0 or more is expected", r.GetDatabase())
	}
	if len(r.GetStreams()) == 0 {
		return bad("streams", "the streams are missing; the key of at least one is expected")
	}
	for i, key := range r.GetStreams() {
		field := fmt.Sprintf("streams[%d]", i)
		switch {
		case key == "":
			return bad(field, "the key is empty")
		case slices.Contains(r.GetStreams()[:i], key):
			return bad(field, "the stream %s is given twice", key)
		}
	}
	if _, known := watchroutev1.SourceStart_name[int32(r.GetStart())]; !known {
		return bad("start", "this server knows no start %d", r.GetStart())
	}
	if err := sources.CheckLogin("redis.login", r.GetLogin()); err != nil {
		return err
	}
	return sources.CheckTLS("redis.tls", r.GetTls())
}

// batch is what one read brings.
type batch struct {
	begins map[string]string // positions of streams that had none
	events []sources.Event
	lag    map[string]int64 // behind it, by stream
	err    error            // why reading has ended
}

// Run implements sources.Source.
func (s *Source) Run(ctx context.Context, from sources.Positions, to sources.Sink) error {
	cursors := make([]*cursor, len(s.config.GetStreams()))
	for i, key := range s.config.GetStreams() {
		c, err := newCursor(key, from.Position(key))
		if err != nil {
			return sources.Permanent(err)
		}
		c.latest = s.config.GetStart() == watchroutev1.SourceStart_LATEST_EVENT
		cursors[i] = c
	}
	client, err := s.connect()
	if err != nil {
		return err
	}
	within, stop := context.WithCancel(ctx)
	batches, ended := make(chan batch), make(chan struct{})
	defer func() { // closing it ends a read that waits
		stop()
		_ = client.Close()
		<-ended
	}()
	go func() {
		defer close(ended)
		s.read(within, client, cursors, batches)
	}()
	for connected := false; ; connected = true {
		var b batch
		select {
		case b = <-batches:
		case <-ctx.Done():
			return nil
		}
		for key, position := range b.begins {
			if b.err == nil {
				b.err = to.Pass(ctx, key, position)
			}
		}
		if b.err == nil && !connected {
			to.Connected()
		}
		if b.err == nil && len(b.events) > 0 {
			b.err = to.Take(ctx, b.events)
		}
		if ctx.Err() != nil {
			return nil
		}
		if b.err != nil {
			return b.err
		}
		for key, behind := range b.lag {
			to.Lag(key, behind)
		}
	}
}

// read reads until something fails or ctx ends.
func (s *Source) read(ctx context.Context, from server, cursors []*cursor, to chan<- batch) {
	for {
		b := batch{begins: map[string]string{}, lag: map[string]int64{}}
		b.err = s.next(ctx, from, cursors, &b)
		select {
		case to <- b:
		case <-ctx.Done():
			return
		}
		if b.err != nil {
			return
		}
		if len(b.events) == 0 {
			if err := from.Wait(ctx, places(cursors), s.Wait); err != nil {
				select {
				case to <- batch{err: err}:
				case <-ctx.Done():
				}
				return
			}
		}
	}
}

// next reads what comes next, if it is there.
func (s *Source) next(ctx context.Context, from server, cursors []*cursor, b *batch) error {
	states, err := from.Read(ctx, places(cursors), s.MaxEvents)
	if err != nil {
		return err
	}
	for i, c := range cursors {
		if err := c.check(&states[i], s.MaxEvents); err != nil {
			return sources.Permanent(fmt.Errorf("the stream %s: %w; a source with another id begins with what there is", c.key, err))
		}
		if !c.known {
			c.known = true
			b.begins[c.key] = c.position()
		}
		for _, entry := range states[i].entries {
			e, err := event(c, entry, s.config.GetField())
			if err != nil {
				return sources.Permanent(err)
			}
			b.events = append(b.events, e)
		}
		if c.had != unknown {
			b.lag[c.key] = states[i].added - c.had
		}
	}
	return nil
}

// place is where a stream is read from.
type place struct {
	key   string
	after string // an id; $: the end
}

func places(cursors []*cursor) []place {
	out := make([]place, len(cursors))
	for i, c := range cursors {
		out[i] = place{c.key, c.after()}
	}
	return out
}

package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

// connectTimeout bounds each step of connecting, and each command less its own waiting.
const connectTimeout = 5 * time.Second

// server is what is asked of Redis.
type server interface {
	// Read gives streams as they are at one time, with so many entries of each behind a
	// place.
	Read(ctx context.Context, from []place, most int) ([]state, error)
	// Wait returns when there may be an entry behind a place, or some time has passed.
	Wait(ctx context.Context, from []place, most time.Duration) error
	// Close ends the connection, and what is under way on it.
	Close() error
}

var errNoAnswer = errors.New("no answer from Redis")

// client is a connection to a real one.
type client struct{ *redis.Client }

// dial makes a client, which connects when it is used.
func dial(r *watchroutev1.RedisSource, id string) (server, error) {
	settings, err := sources.TLS(r.GetTls())
	if err != nil {
		return nil, fmt.Errorf("redis.%w", err)
	}
	password, err := sources.Secret(r.GetLogin().GetPassword())
	if err != nil {
		return nil, fmt.Errorf("redis.login.password: %w", err)
	}
	logging.Disable() // of what fails Run tells
	return &client{redis.NewClient(&redis.Options{
		Addr: r.GetAddress(), DB: int(r.GetDatabase()), Username: r.GetLogin().GetUsername(), Password: password, TLSConfig: settings, ClientName: "watchroute-" + id,
		DialTimeout: connectTimeout, ReadTimeout: connectTimeout, WriteTimeout: connectTimeout, ContextTimeoutEnabled: true,
		MaxRetries: -1, DialerRetries: 1, PoolSize: 1, // Run is called again after an error
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})}, nil
}

func (c *client) Read(ctx context.Context, from []place, most int) ([]state, error) {
	infos := make([]*redis.XInfoStreamCmd, len(from))
	var read *redis.XStreamSliceCmd
	_, failed := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for i := range from {
			infos[i] = p.XInfoStream(ctx, from[i].key)
		}
		read = p.XRead(ctx, ask(from, most, -1))
		return nil
	})
	if said := redis.Error(nil); failed != nil && !errors.As(failed, &said) {
		return nil, failed // not each command knows of it
	}
	states := make([]state, len(from))
	for i, info := range infos {
		var err error
		switch {
		case info.Val() != nil:
			states[i], err = stateOf(info.Val())
		case redis.HasErrorPrefix(info.Err(), "WRONGTYPE"):
			err = errors.New("the key is of another type")
		case redis.HasErrorPrefix(info.Err(), "no such key"):
		default:
			return nil, cmp.Or(failed, info.Err(), errNoAnswer)
		}
		if err != nil {
			return nil, fmt.Errorf("the stream %s: %w", from[i].key, err)
		}
	}
	if err := read.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	for _, stream := range read.Val() {
		i := slices.IndexFunc(from, func(p place) bool { return p.key == stream.Stream })
		if i < 0 {
			return nil, fmt.Errorf("the stream %s was not asked for", stream.Stream)
		}
		for _, m := range stream.Messages {
			states[i].entries = append(states[i].entries, entry{m.ID, m.Values})
		}
	}
	return states, nil
}

func (c *client) Wait(ctx context.Context, from []place, most time.Duration) error {
	if err := c.XRead(ctx, ask(from, 1, most)).Err(); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	return nil
}

func ask(from []place, most int, block time.Duration) *redis.XReadArgs {
	a := &redis.XReadArgs{Count: int64(most), Block: block}
	for _, p := range from {
		a.Streams = append(a.Streams, p.key)
	}
	for _, p := range from {
		a.Streams = append(a.Streams, p.after)
	}
	return a
}

func stateOf(info *redis.XInfoStream) (s state, err error) {
	s = state{exists: true, length: info.Length, added: info.EntriesAdded}
	if s.last, err = parseID(info.LastGeneratedID); err == nil && info.FirstEntry.ID != "" {
		s.first, err = parseID(info.FirstEntry.ID)
	}
	return s, err
}

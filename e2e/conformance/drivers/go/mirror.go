package main

import (
	"context"
	"strconv"
	"time"

	watchroute "github.com/watchroute/watchroute/clients/go"
)

// mirror is a mirror of any type.
type mirror interface {
	WaitFor(ctx context.Context, revision uint64) error
	dump() map[string]any
}

type mirrorOf[T any] struct{ *watchroute.Mirror[T] }

// dump gives what the mirror holds.
func (m mirrorOf[T]) dump() map[string]any {
	resources := map[string]any{}
	view := m.View()
	for _, r := range view.Resources {
		resources[r.Name] = map[string]any{"revision": strconv.FormatUint(r.Revision, 10), "data": plain(r.Value)}
	}
	return map[string]any{"revision": strconv.FormatUint(view.Revision, 10), "liveAsOf": view.LiveAsOf.UTC().Format(time.RFC3339Nano),
		"state": view.State.String(), "resources": resources}
}

// startMirror opens a mirror and reports what its callback is told.
func startMirror[T any](ctx context.Context, d *driver, c command) error {
	client, err := d.client(c.Via)
	if err != nil {
		return err
	}
	options, err := d.options(c)
	if err != nil {
		return err
	}
	ctx, w := d.start(ctx, c.ID)
	m, err := watchroute.NewMirror(ctx, client, "", watchroute.MirrorConfig[T]{OnChange: func(change watchroute.Change[T]) {
		d.report(map[string]any{"id": c.ID, "event": changed(change)})
		w.gate.pass(ctx)
	}}, options...)
	if err != nil {
		d.report(map[string]any{"id": c.ID, "ended": failureOf(err)})
		return nil
	}
	d.mu.Lock()
	w.mirror = mirrorOf[T]{m}
	d.mu.Unlock()
	d.running.Go(func() {
		<-m.Done()
		d.report(map[string]any{"id": c.ID, "ended": failureOf(m.Err())})
	})
	return nil
}

func changed[T any](c watchroute.Change[T]) map[string]any {
	out := map[string]any{"revision": strconv.FormatUint(c.Revision, 10), "cause": c.Cause.String(), "coalesced": c.Coalesced}
	if c.Before != nil {
		out["name"], out["before"] = c.Before.Name, plain(c.Before.Value)
	}
	if c.After != nil {
		out["kind"], out["name"], out["data"] = "PRESENT", c.After.Name, plain(c.After.Value)
	} else {
		out["kind"] = "ABSENT"
	}
	return out
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	watchroute "github.com/watchroute/watchroute/clients/go"
)

// startWatch opens a watch and reports what it tells.
func startWatch[T any](ctx context.Context, d *driver, c command) error {
	client, err := d.client(c.Via)
	if err != nil {
		return err
	}
	options, err := d.options(c)
	if err != nil {
		return err
	}
	ctx, w := d.start(ctx, c.ID)
	d.running.Go(func() {
		for event, err := range watchroute.Watch[T](ctx, client, "", options...) {
			if err != nil {
				d.report(map[string]any{"id": c.ID, "ended": failureOf(err)})
				return
			}
			d.report(map[string]any{"id": c.ID, "event": shown(event)})
			w.gate.pass(ctx)
		}
	})
	return nil
}

// shown gives an event as the reports show it.
func shown[T any](e watchroute.Event[T]) map[string]any {
	out := map[string]any{"kind": e.Kind.String(), "revision": strconv.FormatUint(e.Revision, 10)}
	switch e.Kind {
	case watchroute.Reset:
		out["reason"] = e.Reason
	case watchroute.Present, watchroute.Absent:
		out["name"], out["cause"], out["coalesced"] = e.Name, e.Cause.String(), e.Coalesced
		if e.Kind == watchroute.Present {
			out["data"] = plain(e.Value)
		}
	}
	return out
}

// plain gives the plain JSON of a value.
func plain(value any) json.RawMessage {
	switch v := value.(type) {
	case json.RawMessage:
		return v
	case proto.Message:
		text, err := protojson.Marshal(v)
		if err != nil {
			panic(err) // the contract's messages have JSON
		}
		return text
	}
	panic("the driver has no other values")
}

// failureOf gives an error as the reports show it: nothing of one that the program caused.
func failureOf(err error) map[string]any {
	if errors.Is(err, context.Canceled) || errors.Is(err, watchroute.ErrClosed) {
		return map[string]any{}
	}
	e, ok := errors.AsType[*watchroute.Error](err)
	if !ok {
		return map[string]any{"code": "UNKNOWN", "reason": "", "message": err.Error(), "metadata": map[string]string{}}
	}
	metadata := e.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	return map[string]any{"code": code.Code(e.Code).String(), "reason": e.Reason, "message": e.Message, "metadata": metadata}
}

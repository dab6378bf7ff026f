package main

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	watchroute "github.com/watchroute/watchroute/clients/go"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// unary makes a unary call, and reports its answer.
func (d *driver) unary(ctx context.Context, c command) bool {
	var call func() (any, error)
	var options []watchroute.WriteOption
	if c.RequestID != "" {
		options = append(options, watchroute.RequestID(c.RequestID))
	}
	written := func(revision uint64, err error) (any, error) {
		return map[string]string{"revision": strconv.FormatUint(revision, 10)}, err
	}
	switch c.Op {
	case "get":
		call = func() (any, error) {
			r, err := watchroute.Get[proto.Message](ctx, d.stream, c.Name)
			return resourceJSON(r), err
		}
	case "list":
		call = func() (any, error) {
			page, err := watchroute.List[proto.Message](ctx, d.stream, c.Parent)
			if err != nil {
				return nil, err
			}
			out := map[string]any{"revision": strconv.FormatUint(page.Revision, 10), "resumeToken": page.ResumeToken}
			if page.NextPageToken != "" {
				out["nextPageToken"] = page.NextPageToken
			}
			resources := []any{}
			for _, r := range page.Resources {
				resources = append(resources, resourceJSON(r))
			}
			out["resources"] = resources
			return out, nil
		}
	case "put":
		call = func() (any, error) {
			o, err := watchroute.Put(ctx, d.stream, c.Name, c.Data, options...)
			return written(o.Revision, err)
		}
	case "delete":
		call = func() (any, error) {
			o, err := watchroute.Delete(ctx, d.stream, c.Name, options...)
			return written(o.Revision, err)
		}
	case "write":
		var operations []watchroute.Operation
		for _, name := range slices.Sorted(maps.Keys(c.Puts)) {
			operations = append(operations, watchroute.PutOperation(name, c.Puts[name]))
		}
		for _, name := range c.Deletes {
			operations = append(operations, watchroute.DeleteOperation(name))
		}
		call = func() (any, error) {
			b, err := watchroute.Write(ctx, d.stream, c.Parent, operations, options...)
			if err != nil {
				return nil, err
			}
			return written(b.Revision, nil)
		}
	default:
		return false
	}
	d.running.Go(func() {
		line := map[string]any{"op": c.Op}
		if len(c.N) > 0 {
			line["n"] = c.N
		}
		if answer, err := call(); err != nil {
			line["error"] = failureOf(err)
		} else {
			line["answer"] = answer
		}
		d.report(line)
	})
	return true
}

// resourceJSON gives a resource as HTTP shows it.
func resourceJSON(r watchroute.Resource[proto.Message]) map[string]any {
	if r.Value == nil {
		return nil
	}
	out := map[string]any{"name": r.Name, "uid": r.UID, "revision": strconv.FormatUint(r.Revision, 10),
		"createRevision": strconv.FormatUint(r.CreateRevision, 10), "etag": r.ETag,
		"createTime": r.CreateTime.Format(time.RFC3339Nano), "updateTime": r.UpdateTime.Format(time.RFC3339Nano)}
	if len(r.Labels) > 0 {
		out["labels"] = r.Labels
	}
	if text, ok := r.Value.(*watchroutev1.Json); ok {
		out["data"] = json.RawMessage(text.GetText())
	} else {
		out["type"], out["data"] = string(proto.MessageName(r.Value)), plain(r.Value)
	}
	return out
}

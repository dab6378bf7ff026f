package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/wire"
)

// resourceJSON gives a resource as the HTTP transports show it.
func (t *types) resourceJSON(ctx context.Context, r *watchroutev1.Resource) ([]byte, error) {
	typ, data, err := t.value(ctx, r.GetData())
	if err != nil {
		return nil, err
	}
	out := wire.Resource{Name: r.GetName(), UID: r.GetUid(), Revision: r.GetRevision(), CreateRevision: r.GetCreateRevision(),
		ETag: r.GetEtag(), Labels: r.GetLabels(), Type: typ, Data: data}
	if r.GetCreateTime() != nil {
		out.CreateTime = r.GetCreateTime().AsTime()
	}
	if r.GetUpdateTime() != nil {
		out.UpdateTime = r.GetUpdateTime().AsTime()
	}
	return out.Append(nil), nil
}

// printResource prints one resource: as text its value, ready for `put`, and what
// else there is to know beside it.
func (c *client) printResource(ctx context.Context, term *terminal, t *types, r *watchroutev1.Resource) error {
	if c.Output == "json" {
		line, err := t.resourceJSON(ctx, r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(term.out, "%s\n", line)
		return err
	}
	_, data, err := t.value(ctx, r.GetData())
	if err != nil {
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, data, "", "  "); err != nil {
		return err
	}
	fmt.Fprintf(term.err, "# %s, revision %d, etag %s%s\n", r.GetName(), r.GetRevision(), r.GetEtag(), labelText(r.GetLabels()))
	_, err = fmt.Fprintln(term.out, pretty.String())
	return err
}

func labelText(labels map[string]string) string {
	if len(labels) == 0 {
		return ""
	}
	text, _ := json.Marshal(labels) // sorted; strings always have JSON
	return ", labels " + string(text)
}

// printWritten prints what a write did.
func (c *client) printWritten(ctx context.Context, term *terminal, t *types, r *watchroutev1.WriteResponse, did string) error {
	if c.Output == "json" {
		res, err := t.resourceJSON(ctx, r.GetResource())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(term.out, "{\"revision\":%q,\"resource\":%s,\"changed\":%t}\n", strconv.FormatUint(r.GetRevision(), 10), res, r.GetChanged())
		return err
	}
	if !r.GetChanged() {
		did = "unchanged"
	}
	_, err := fmt.Fprintf(term.out, "%s %s, revision %d\n", r.GetResource().GetName(), did, r.GetResource().GetRevision())
	return err
}

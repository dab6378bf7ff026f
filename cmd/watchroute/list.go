package main

import (
	"context"
	"fmt"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

type listCommand struct {
	client      `embed:""`
	Collection  string `arg:"" help:"The collection, such as orders."`
	Filter      string `name:"filter" placeholder:"CEL" help:"Only resources for which this holds, such as 'data.customer_id == \"42\"'."`
	Limit       int    `name:"limit" placeholder:"N" help:"At most so many. Default: all."`
	MinRevision uint64 `name:"min-revision" placeholder:"N" help:"Not as they were before this revision."`
}

// Run prints the resources, page by page, all of one revision.
func (c *listCommand) Run(ctx context.Context, term *terminal) error {
	if c.Limit < 0 {
		return fmt.Errorf("--limit: %d is negative", c.Limit)
	}
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.conn.Close()
	request := &watchroutev1.ListRequest{Parent: c.Collection, Filter: c.Filter, MinRevision: c.MinRevision, PageSize: 1000}
	for printed := 0; ; {
		if c.Limit > 0 {
			request.PageSize = int32(min(1000, c.Limit-printed))
		}
		page, err := c.page(ctx, term, conn, request)
		if err != nil {
			return c.at(err)
		}
		printed += len(page.GetResources())
		if page.GetNextPageToken() == "" || printed == c.Limit {
			if c.Output == "text" {
				fmt.Fprintf(term.err, "# %d of %s at revision %d\n", printed, c.Collection, page.GetRevision())
			}
			return nil
		}
		request.PageToken = page.GetNextPageToken()
	}
}

func (c *listCommand) page(ctx context.Context, term *terminal, conn *connection, request *watchroutev1.ListRequest) (*watchroutev1.ListResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	page, err := conn.List(ctx, request)
	if err != nil {
		return nil, err
	}
	for _, r := range page.GetResources() {
		var line []byte
		if c.Output == "json" {
			if line, err = conn.types.resourceJSON(ctx, r); err != nil {
				return nil, err
			}
		} else {
			_, data, err := conn.types.value(ctx, r.GetData())
			if err != nil {
				return nil, err
			}
			line = fmt.Appendf(nil, "%-8d %s %s", r.GetRevision(), r.GetName(), data)
		}
		if _, err := fmt.Fprintf(term.out, "%s\n", line); err != nil {
			return nil, err
		}
	}
	return page, nil
}

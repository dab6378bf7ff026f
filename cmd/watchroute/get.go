package main

import (
	"context"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

type getCommand struct {
	client      `embed:""`
	Name        string `arg:"" help:"The resource, such as orders/42."`
	MinRevision uint64 `name:"min-revision" placeholder:"N" help:"Not as it was before this revision."`
}

// Run prints the resource.
func (c *getCommand) Run(ctx context.Context, term *terminal) error {
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		r, err := conn.Get(ctx, &watchroutev1.GetRequest{Name: c.Name, MinRevision: c.MinRevision})
		if err != nil {
			return err
		}
		return c.printResource(ctx, term, conn.types, r)
	})
}

package main

import (
	"context"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

type deleteCommand struct {
	client       `embed:""`
	Name         string `arg:"" help:"The resource, such as orders/42."`
	AllowMissing bool   `name:"allow-missing" help:"It is fine if there is no such resource."`
	conditions   `embed:""`
}

// Run removes the resource.
func (c *deleteCommand) Run(ctx context.Context, term *terminal) error {
	return c.call(ctx, func(ctx context.Context, conn *connection) error {
		r, err := conn.Delete(ctx, &watchroutev1.DeleteRequest{Name: c.Name, Precondition: c.precondition(), RequestId: c.RequestID, AllowMissing: c.AllowMissing})
		if err != nil {
			return err
		}
		return c.printWritten(ctx, term, conn.types, r, "deleted")
	})
}

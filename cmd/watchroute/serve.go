package main

import (
	"context"

	"github.com/watchroute/watchroute/internal/node"
	"github.com/watchroute/watchroute/server/config"
)

type serveCommand struct {
	config.Config `embed:""`
}

// Run serves until ctx ends, and then drains.
func (c *serveCommand) Run(ctx context.Context, term *terminal) error {
	return node.Run(ctx, c.Config, c.Logger(term.err))
}

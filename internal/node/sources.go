package node

import (
	"fmt"
	"log/slog"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/server/config"
	"github.com/watchroute/watchroute/server/sources"
	"github.com/watchroute/watchroute/server/sources/connectors"
)

// newSources makes what runs the sources; it is to be started.
func newSources(cfg *config.Config, log changelog.Log, schemas *schema.Registry, observer sources.Observer, logger *slog.Logger) (*sources.Manager, error) {
	list, err := cfg.ReadSources()
	if err != nil {
		return nil, fmt.Errorf("sources: %w", err)
	}
	return sources.New(sources.Config{Log: log, Schemas: schemas, Connectors: connectors.All(), Sources: list, MaxValueBytes: int(cfg.MaxValueBytes),
		Observer: observer, Logger: logger.With("part", "sources")})
}

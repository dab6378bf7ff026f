package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/server/config"
)

// newControl makes what says who may do what. closing it lets the file of audit records
// go, too.
func newControl(ctx context.Context, cfg *config.Config, settings *config.Access, log changelog.Log, schemas *schema.Registry, limited func(string), others map[string]func(context.Context, *changelog.Op) error, logger *slog.Logger) (_ *access.Control, closing func(), err error) {
	c := access.ControlConfig{Log: log, Schemas: schemas, Limits: cfg.Limits(), Limited: limited, Others: others, Logger: logger.With("part", "access")}
	audit := "off"
	if settings != nil {
		c.Required, c.Credentials, c.Collections, c.ApiKeys = true, settings.Config, settings.Collections, settings.Keys
		audit = "log"
	}
	var file *os.File
	switch audit = cmp.Or(cfg.AuditLog, audit); audit {
	case "off":
	case "log":
		c.Audit = logger.With("part", "audit")
	default:
		if file, err = os.OpenFile(audit, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return nil, nil, fmt.Errorf("audit-log: %w", err)
		}
		c.Audit = slog.New(slog.NewJSONHandler(file, nil))
	}
	control, err := access.New(ctx, c)
	if err != nil {
		_ = file.Close() // of nil it is an error, and nothing
		return nil, nil, err
	}
	return control, func() {
		control.Close()
		_ = file.Close()
	}, nil
}

// limit bounds how fast one address may open connections.
func (n *Node) limit(l net.Listener) net.Listener {
	var proxies []netip.Prefix
	if n.access != nil {
		proxies = n.access.TrustedProxies
	}
	return access.LimitConnections(l, n.cfg.ConnectionsPerSecond(), proxies, n.metrics.Limited)
}

// Package connectors lists the connectors that a node has.
package connectors

import "github.com/watchroute/watchroute/server/sources"

// All gives the connectors, by the name of their field in watchroute.v1.Source.
func All() map[string]sources.Connector {
	return map[string]sources.Connector{}
}

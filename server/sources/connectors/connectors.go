// Package connectors lists the connectors that a node has.
package connectors

import (
	"github.com/watchroute/watchroute/server/sources"
	"github.com/watchroute/watchroute/server/sources/kafka"
	"github.com/watchroute/watchroute/server/sources/mqtt"
	"github.com/watchroute/watchroute/server/sources/nats"
	"github.com/watchroute/watchroute/server/sources/postgres"
	"github.com/watchroute/watchroute/server/sources/rabbitmq"
	"github.com/watchroute/watchroute/server/sources/redis"
	"github.com/watchroute/watchroute/server/sources/webhook"
)

// All gives the connectors, by the name of their field in watchroute.v1.Source.
func All() map[string]sources.Connector {
	return map[string]sources.Connector{
		"kafka":    kafka.New,
		"mqtt":     mqtt.New,
		"nats":     nats.New,
		"postgres": postgres.New,
		"rabbitmq": rabbitmq.New,
		"redis":    redis.New,
		"webhook":  webhook.New,
	}
}

package sourcetest

import (
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

func TestMain(m *testing.M) {
	process.Main(m)
}

func TestSources(t *testing.T) {
	for _, c := range []struct {
		name      string
		connector Connector
	}{
		{"kafka", Connector{Open: Kafka, Poison: "no JSON", Starts: true, Advertises: true, Groups: true, Kills: 2}},
		{"nats", Connector{Open: NATS, Poison: "no JSON", Starts: true}},
		{"rabbitmq", Connector{Open: RabbitMQ, Poison: "no JSON"}},
		{"rabbitmq-stream", Connector{Open: RabbitMQStream, Poison: "no JSON", Starts: true}},
		{"redis", Connector{Open: Redis, Poison: "no JSON", Starts: true}},
		{"postgres", Connector{Open: Postgres, Poison: `"poison-`}},
		{"webhook", Connector{Open: Webhook, Poison: `"n":1`, Posts: true}},
		{"mqtt", Connector{Open: MQTT, Poison: "no JSON"}},
	} {
		t.Run(c.name, func(t *testing.T) { Run(t, c.connector) })
	}
}

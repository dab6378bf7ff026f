package sourcetest

import (
	"os"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

func TestMain(m *testing.M) {
	// The race detector lets a process that ends wait for a second: a minute of the suite.
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=50") // the name is a good one
	}
	process.Main(m)
}

func TestSources(t *testing.T) {
	for _, c := range []struct {
		name      string
		connector Connector
	}{
		{"kafka", Connector{Open: Kafka, Poison: "no JSON", Advertises: true, Groups: true, Kills: 2}},
		{"nats", Connector{Open: NATS, Poison: "no JSON"}},
		{"rabbitmq", Connector{Open: RabbitMQ, Poison: "no JSON"}},
		{"rabbitmq-stream", Connector{Open: RabbitMQStream, Poison: "no JSON"}},
		{"redis", Connector{Open: Redis, Poison: "no JSON"}},
		{"postgres", Connector{Open: Postgres, Poison: `"poison-`}},
		{"webhook", Connector{Open: Webhook, Poison: `"n":1`, Posts: true}},
		{"mqtt", Connector{Open: MQTT, Poison: "no JSON"}},
	} {
		t.Run(c.name, func(t *testing.T) { Run(t, c.connector) })
	}
}

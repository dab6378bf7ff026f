package brokers

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// NATS starts a NATS server with JetStream.
func NATS(t testing.TB, o Options) *Broker {
	t.Helper()
	path, err := cached("nats/nats-server")
	if err != nil {
		missing(t, "NATS", err)
	}
	b := place(t, "NATS", o)
	b.Addr = loopback(process.FreePorts(t, 1)[0])
	b.URL = "nats://" + b.Addr
	conf := b.write("nats.conf", append([]string{
		fmt.Sprintf("listen: %q", b.Addr),
		fmt.Sprintf("jetstream { store_dir: %q }", filepath.Join(b.Dir, "data")),
	}, o.Settings...)...)
	b.commands = []command{{path: path, args: []string{"--config", conf}}}
	b.probe = func() error {
		_, err := ask(b.Addr, nil, len("INFO {")) // it speaks first, when JetStream is up
		return err
	}
	b.Start()
	return b
}

package brokers

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// Redis starts a Redis that writes every change to its append-only file at once.
func Redis(t testing.TB, o Options) *Broker {
	t.Helper()
	path, err := find("redis-server", "/usr/sbin")
	if err != nil {
		missing(t, "Redis", err)
	}
	b := place(t, "Redis", o)
	port := process.FreePorts(t, 1)[0]
	b.Addr = loopback(port)
	b.URL = "redis://" + b.Addr + "/0"
	conf := b.write("redis.conf", append([]string{
		"bind 127.0.0.1",
		fmt.Sprintf("port %d", port),
		fmt.Sprintf("dir %q", b.Dir),
		"appendonly yes",
		"appendfsync no",
		`save ""`,
	}, o.Settings...)...)
	b.commands = []command{{path: path, args: []string{conf}}}
	b.probe = func() error {
		answer, err := ask(b.Addr, []byte("PING\r\n"), 5)
		if err == nil && !bytes.Equal(answer, []byte("+PONG")) && !bytes.Equal(answer, []byte("-NOAU")) {
			err = fmt.Errorf("it answers %q", answer) // it loads what it has
		}
		return err
	}
	b.Start()
	return b
}

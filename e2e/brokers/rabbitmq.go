package brokers

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// RabbitMQ starts a RabbitMQ with quorum queues and streams, as whatever user the test
// is. Its user is guest, with the password guest. Its name server (epmd) is its own.
//
// It writes down where it keeps a new queue's log some half a second after it has
// said that the queue is there: a stream that Kill catches within that time stays
// down.
func RabbitMQ(t testing.TB, o Options) *Broker {
	t.Helper()
	// What is in PATH may be Debian's wrapper, which asks for root or rabbitmq and
	// changes to the latter.
	const debian = "/usr/lib/rabbitmq/bin"
	path := filepath.Join(debian, "rabbitmq-server")
	_, err := os.Stat(path)
	if err != nil {
		path, err = find("rabbitmq-server", "/usr/sbin")
	}
	if err != nil {
		missing(t, "RabbitMQ", err)
	}
	epmd, err := find("epmd", "/usr/lib/erlang/erts-*/bin")
	if err != nil {
		missing(t, "Erlang", err)
	}
	b := place(t, "RabbitMQ", o)
	ports := process.FreePorts(t, 4)
	port, streams, names, distribution := ports[0], ports[1], ports[2], ports[3]
	b.Addr, b.Streams = loopback(port), loopback(streams)
	b.URL = "amqp://guest:guest@" + b.Addr + "/"
	b.tools = filepath.Dir(path)
	conf := b.write("rabbitmq.conf", append([]string{
		"listeners.tcp.1 = " + b.Addr,
		"stream.listeners.tcp.1 = " + b.Streams,
		"stream.advertised_host = 127.0.0.1",
		fmt.Sprintf("stream.advertised_port = %d", streams),
	}, o.Settings...)...)
	in := func(name string) string { return filepath.Join(b.Dir, name) }
	b.env = append(without(b.env, "RABBITMQ_", "ERL_", "HOME="),
		"HOME="+b.Dir, // for the cookie by which the tools prove themselves
		fmt.Sprintf("ERL_EPMD_PORT=%d", names),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", distribution),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		"RABBITMQ_NODENAME=watchroute@localhost", // the data are bound to it
		"RABBITMQ_CONF_ENV_FILE="+os.DevNull,
		"RABBITMQ_CONFIG_FILE="+conf,
		"RABBITMQ_ADVANCED_CONFIG_FILE="+in("advanced.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+b.write("enabled_plugins", "[rabbitmq_stream]."),
		"RABBITMQ_FEATURE_FLAGS_FILE="+in("feature_flags"),
		"RABBITMQ_GENERATED_CONFIG_DIR="+in("generated"),
		"RABBITMQ_MNESIA_BASE="+in("data"),
		"RABBITMQ_LOG_BASE="+in("log"),
		"RABBITMQ_LOGS=-",
		"RABBITMQ_PID_FILE="+in("pid"),
		// So its script becomes the server, instead of a parent that waits for it.
		"RUNNING_UNDER_SYSTEMD=true",
	)
	b.commands = []command{
		{path: epmd, args: []string{"-port", fmt.Sprint(names), "-address", "127.0.0.1"}},
		{path: path},
	}
	b.probe = func() error {
		if _, err := ask(b.Addr, []byte("AMQP\x00\x00\x09\x01"), 1); err != nil {
			return err
		}
		conn, err := net.DialTimeout("tcp", b.Streams, probeTime)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	b.Start()
	return b
}

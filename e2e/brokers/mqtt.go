package brokers

import (
	"fmt"
	"os/user"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// MQTT starts a Mosquitto that lets anybody in and queues without a limit. Mosquitto
// keeps what it has in memory and writes all of it to its file when it stops, and
// here once a second too: what came later is lost by Kill.
func MQTT(t testing.TB, o Options) *Broker {
	t.Helper()
	path, err := find("mosquitto", "/usr/sbin")
	if err != nil {
		missing(t, "Mosquitto", err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	b := place(t, "Mosquitto", o)
	port := process.FreePorts(t, 1)[0]
	b.Addr = loopback(port)
	b.URL = "mqtt://" + b.Addr
	conf := b.write("mosquitto.conf", append([]string{
		fmt.Sprintf("listener %d 127.0.0.1", port),
		"user " + me.Username, // as root it would change to a user of its own
		"allow_anonymous true",
		"max_queued_messages 0",
		"set_tcp_nodelay true", // or acknowledgements wait for each other, 40 ms at a time
		"persistence true",
		"persistence_location " + b.Dir + "/",
		"autosave_interval 1",
	}, o.Settings...)...)
	b.commands = []command{{path: path, args: []string{"-c", conf}}}
	b.probe = func() error {
		_, err := ask(b.Addr, connect("", true), 4) // CONNACK
		return err
	}
	b.Start()
	return b
}

// connect gives MQTT 3.1.1's CONNECT. Without a name the session must be a clean one.
func connect(client string, clean bool) []byte {
	flags := byte(0)
	if clean {
		flags = 2
	}
	body := append([]byte("\x00\x04MQTT\x04"), flags, 0, 60, 0, byte(len(client)))
	body = append(body, client...)
	return append([]byte{0x10, byte(len(body))}, body...)
}

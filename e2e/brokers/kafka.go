package brokers

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// Secured is a listener of Kafka with TLS, where SASL asks for User and Password:
// PLAIN or SCRAM-SHA-256.
type Secured struct {
	Addr string
	// CA is the PEM file of the authority that signed the broker's certificate, which
	// is for localhost and 127.0.0.1.
	CA string
}

// Kafka starts a Kafka in KRaft mode: one node that is broker and controller, creates
// a topic when it is first written to, and holds each group's first rebalance for
// nobody.
//
// It takes little memory and compiles fast rather than well, which makes it start
// soon. After Kill it starts three seconds later than after Stop: so long it takes
// its own predecessor to be alive.
func Kafka(t testing.TB, o Options) *Broker {
	t.Helper()
	jars, err := cached("kafka/libs")
	if err != nil {
		missing(t, "Kafka", err)
	}
	java, err := find("java")
	if err != nil {
		missing(t, "Java", err)
	}
	b := place(t, "Kafka", o)
	ports := process.FreePorts(t, 3)
	b.Addr = loopback(ports[0])
	b.URL = "kafka://" + b.Addr
	controller, secured := loopback(ports[1]), loopback(ports[2])

	listeners := "PLAINTEXT://" + b.Addr
	var security []string
	if o.Secure {
		listeners += ",SECURE://" + secured
		keys, ca := b.certify()
		b.Secured = &Secured{Addr: secured, CA: ca}
		const login = "org.apache.kafka.common.security."
		security = []string{
			"listener.name.secure.ssl.keystore.type=PEM",
			"listener.name.secure.ssl.keystore.location=" + keys,
			"listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256",
			fmt.Sprintf("listener.name.secure.plain.sasl.jaas.config=%splain.PlainLoginModule required user_%s=%q;", login, User, Password),
			fmt.Sprintf("listener.name.secure.scram-sha-256.sasl.jaas.config=%sscram.ScramLoginModule required;", login),
		}
	}
	data := filepath.Join(b.Dir, "data")
	properties := b.write("server.properties", append(append([]string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + controller,
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=PLAINTEXT",
		"listeners=CONTROLLER://" + controller + "," + listeners,
		"advertised.listeners=" + listeners,
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
		"log.dirs=" + data,
		// Of one node's own topics there can be one replica only.
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"transaction.state.log.num.partitions=1",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
		"log.cleaner.dedupe.buffer.size=8388608",
		// How long a killed broker is still taken to be alive.
		"broker.session.timeout.ms=3000",
		"broker.heartbeat.interval.ms=500",
	}, security...), o.Settings...)...)

	run := func(class string, args ...string) command {
		return command{path: java, args: append([]string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m",
			"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
			"-cp", filepath.Join(jars, "*"), class}, args...)}
	}
	if _, err := os.Stat(filepath.Join(data, "meta.properties")); err != nil {
		b.prepare(run("kafka.tools.StorageTool", "format", "--cluster-id", "d2F0Y2hyb3V0ZS10ZXN0cw", "--config", properties,
			"--add-scram", fmt.Sprintf("SCRAM-SHA-256=[name=%s,password=%s]", User, Password)), "")
	}
	b.commands = []command{run("kafka.Kafka", properties)}
	b.probe = func() error { return known(b.Addr, "", false) }
	b.Start()
	return b
}

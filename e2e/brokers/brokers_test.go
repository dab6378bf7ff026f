package brokers

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// converse says something to a broker and waits until the answer has what is wanted.
func converse(t *testing.T, b *Broker, say, want string) {
	t.Helper()
	var heard []byte
	err := talk(b.Addr, []byte(say), func(r io.Reader) error {
		for part := make([]byte, 4096); !bytes.Contains(heard, []byte(want)); {
			n, err := r.Read(part)
			heard = append(heard, part[:n]...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%q was answered by %q, which has no %q: %v", say, heard, want, err)
	}
}

// eventually waits until there is no error.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// holds gives an error unless a file has a text in it.
func holds(path, want string) error {
	text, err := os.ReadFile(path)
	if err == nil && !bytes.Contains(text, []byte(want)) {
		err = fmt.Errorf("%s has no %q in it yet", path, want)
	}
	return err
}

// use runs one of the broker's tools and gives what it says.
func use(t *testing.T, b *Broker, stdin, name string, args ...string) string {
	t.Helper()
	cmd := b.Tool(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// restart kills a broker, which must be gone then, and starts it again.
func restart(t *testing.T, b *Broker) {
	t.Helper()
	b.Kill()
	refuses(t, b)
	b.Start()
}

// stop stops a broker, which must be gone then.
func stop(t *testing.T, b *Broker) {
	t.Helper()
	t.Logf("stopped in %v", b.Stop().Round(time.Millisecond))
	refuses(t, b)
}

func refuses(t *testing.T, b *Broker) {
	t.Helper()
	if conn, err := net.Dial("tcp", b.Addr); err == nil {
		_ = conn.Close()
		t.Fatalf("%s still accepts connections", b.Addr)
	}
}

func TestRedis_StreamSurvivesKill(t *testing.T) {
	b := Redis(t, Options{Settings: []string{"maxclients 77"}})
	converse(t, b, "XADD orders 7-1 state placed\r\n", "7-1")
	restart(t, b)
	converse(t, b, "XRANGE orders - +\r\n", "placed")
	converse(t, b, "CONFIG GET maxclients\r\n", "77")
	stop(t, b)
	b.Start()
	converse(t, b, "XLEN orders\r\n", ":1")
}

func TestNATS_StreamSurvivesKill(t *testing.T) {
	b := NATS(t, Options{})
	call := func(subject, text, want string) {
		t.Helper()
		converse(t, b, fmt.Sprintf("CONNECT {\"verbose\":false}\r\nSUB answer 1\r\nPUB %s answer %d\r\n%s\r\n", subject, len(text), text), want)
	}
	call("$JS.API.STREAM.CREATE.ORDERS", `{"name":"ORDERS","subjects":["orders.*"],"storage":"file"}`, `"did_create":true`)
	call("orders.7", "placed", `"seq":1`)
	restart(t, b)
	call("$JS.API.STREAM.INFO.ORDERS", "", `"messages":1`)
	stop(t, b)
}

func TestPostgres_RowSurvivesKill(t *testing.T) {
	b := Postgres(t, Options{Settings: []string{"max_connections = 33"}})
	sql := func(q string) string { return use(t, b, "", "psql", "-XAtqc", q) }
	sql("CREATE TABLE orders (id int PRIMARY KEY, state text); INSERT INTO orders VALUES (7, 'placed')")
	sql("SELECT pg_create_logical_replication_slot('watchroute', 'pgoutput')")
	restart(t, b)
	if got := sql("SELECT state FROM orders"); got != "placed" {
		t.Errorf("the order is %q", got)
	}
	if got := sql("SELECT slot_name FROM pg_replication_slots"); got != "watchroute" {
		t.Errorf("the slot is %q", got)
	}
	if got := sql("SHOW max_connections"); got != "33" {
		t.Errorf("the setting is %q", got)
	}
	if got := use(t, b, "", "psql", "-XAtqc", "SELECT 1", b.URL); got != "1" {
		t.Errorf("by its URL it says %q", got)
	}
	stranger := b.Tool("psql", "-XAtqc", "SELECT 1")
	stranger.Env = append(stranger.Env, "PGPASSWORD=guessed")
	if out, err := stranger.CombinedOutput(); err == nil {
		t.Errorf("it takes any password: %s", out)
	}
	stop(t, b)
}

func TestRabbitMQ_QuorumQueueAndStreamSurviveKill(t *testing.T) {
	b := RabbitMQ(t, Options{})
	use(t, b, `{"queues":[
		{"name":"orders","vhost":"/","durable":true,"auto_delete":false,"arguments":{"x-queue-type":"quorum"}},
		{"name":"events","vhost":"/","durable":true,"auto_delete":false,"arguments":{"x-queue-type":"stream"}}]}`,
		"rabbitmqctl", "import_definitions")
	coordinator := filepath.Join(b.Dir, "data/watchroute@localhost/coordination/watchroute@localhost/names.dets")
	eventually(t, func() error { return holds(coordinator, "rabbit_stream_coordinator") })
	restart(t, b)
	// A stream finds its leader after the broker has begun to serve.
	eventually(t, func() error {
		got := use(t, b, "", "rabbitmqctl", "-qs", "list_queues", "name", "type", "state")
		for _, want := range []string{"orders\tquorum\trunning", "events\tstream\trunning"} {
			if !strings.Contains(got, want) {
				return fmt.Errorf("the queues are %q, without %q", got, want)
			}
		}
		return nil
	})
	stop(t, b)
}

func TestMQTT_RetainedMessageSurvivesKill(t *testing.T) {
	b := MQTT(t, Options{})
	message := "\x00\x06orders\x00\x07placed" // topic, number, text
	converse(t, b, string(connect("shop", true))+"\x33"+string(rune(len(message)))+message, "\x40\x02\x00\x07")
	eventually(t, func() error { return holds(filepath.Join(b.Dir, "mosquitto.db"), "placed") })
	restart(t, b)
	converse(t, b, string(connect("page", true))+"\x82\x0b\x00\x01\x00\x06orders\x01", "placed")
	stop(t, b)
}

func TestKafka_TopicSurvivesKill(t *testing.T) {
	b := Kafka(t, Options{Secure: true, Settings: []string{"num.partitions=3"}})
	_ = known(b.Addr, "orders", true) // says that it is not there yet
	eventually(t, func() error { return known(b.Addr, "orders", false) })
	restart(t, b)
	eventually(t, func() error { return known(b.Addr, "orders", false) })
	if err := known(b.Addr, "others", false); err == nil {
		t.Error("a topic that nobody made is there")
	}

	if err := login(t, b.Secured, Password); err != nil {
		t.Error(err)
	}
	if err := login(t, b.Secured, "guessed"); err == nil {
		t.Error("it takes any password")
	}
	stop(t, b)
}

// login connects by TLS and proves itself by SASL's PLAIN.
func login(t *testing.T, s *Secured, password string) error {
	t.Helper()
	text, err := os.ReadFile(s.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	conn, err := tls.Dial("tcp", s.Addr, &tls.Config{RootCAs: pool})
	if err != nil {
		return err
	}
	defer conn.Close()
	proof := "\x00" + User + "\x00" + password
	for _, say := range []string{
		"\x00\x11\x00\x01\x00\x00\x00\x01\x00\x00\x00\x05PLAIN",                                   // SaslHandshake
		"\x00\x24\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00" + string(rune(len(proof))) + proof, // SaslAuthenticate
	} {
		if _, err := conn.Write(append([]byte{0, 0, 0, byte(len(say))}, say...)); err != nil {
			return err
		}
		head := make([]byte, 10) // size, correlation ID, error
		if _, err := io.ReadFull(conn, head); err != nil {
			return err
		}
		if head[9] != 0 {
			return fmt.Errorf("it refuses with Kafka's error %d", head[9])
		}
		if _, err := io.CopyN(io.Discard, conn, int64(head[3])-6); err != nil {
			return err
		}
	}
	return nil
}

func TestBroker_FolderOutlivesItsBroker(t *testing.T) {
	dir := t.TempDir()
	t.Run("first", func(t *testing.T) {
		b := Redis(t, Options{Dir: dir})
		converse(t, b, "SET order placed\r\n", "+OK")
	})
	b := Redis(t, Options{Dir: dir})
	converse(t, b, "GET order\r\n", "placed")
}

// A test that is killed, as by its time limit, leaves no broker behind.
func TestBroker_DiesWithItsTest(t *testing.T) {
	const asChild = "WATCHROUTE_BROKERS_CHILD"
	if dir := os.Getenv(asChild); dir != "" {
		b := Redis(t, Options{Dir: dir})
		fmt.Println("serves at", b.Addr)
		<-t.Context().Done() // it is killed
		return
	}
	if _, err := find("redis-server", "/usr/sbin"); err != nil {
		missing(t, "Redis", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), asChild+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addr string
	_, err = fmt.Fscanf(out, "serves at %s\n", &addr)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil
		}
		_ = conn.Close()
		return fmt.Errorf("%s still accepts connections", addr)
	})
}

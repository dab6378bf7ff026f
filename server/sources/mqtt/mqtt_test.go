package mqtt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker answers one client on a pipe.
type broker struct {
	conn    net.Conn
	connack packets.Connack
	granted []byte              // one for each filter
	waiting uint16              // messages in the session
	out     chan packets.Packet // holds all that a test sends, so that the broker always reads
	closed  chan struct{}

	mu   sync.Mutex
	said []packets.ControlPacket // by the client, but for pings
}

// serve answers until the pipe is closed.
func (b *broker) serve() {
	for {
		p, err := packets.ReadPacket(b.conn)
		if err != nil {
			return
		}
		switch c := p.Content.(type) {
		case *packets.Pingreq:
			b.send(&packets.Pingresp{})
			continue
		case *packets.Connect:
			b.send(&b.connack)
		case *packets.Subscribe:
			for id := range b.waiting {
				b.publish(id+1, "a")
			}
			b.send(&packets.Suback{PacketID: c.PacketID, Properties: &packets.Properties{}, Reasons: b.granted})
		}
		b.mu.Lock()
		b.said = append(b.said, *p)
		b.mu.Unlock()
	}
}

func (b *broker) send(p packets.Packet) { b.out <- p }

// write writes what is sent.
func (b *broker) write() {
	for {
		select {
		case p := <-b.out:
			_, _ = p.WriteTo(b.conn) // the client may have gone
		case <-b.closed:
			return
		}
	}
}

// publish sends a message of QoS 1.
func (b *broker) publish(id uint16, topic string, change ...func(*packets.Publish)) {
	p := &packets.Publish{QoS: 1, PacketID: id, Topic: topic, Payload: []byte(fmt.Sprint(id)), Properties: &packets.Properties{}}
	for _, c := range change {
		c(p)
	}
	b.send(p)
}

// heard gives what the client has said of a kind.
func heard[P any](b *broker) (all []P) {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.said {
		if c, ok := p.Content.(P); ok {
			all = append(all, c)
		}
	}
	return all
}

// acks gives the ids that the client has acknowledged, after all that it may wait for.
func (b *broker) acks() (ids []uint16) {
	time.Sleep(time.Second)
	for _, p := range heard[*packets.Puback](b) {
		ids = append(ids, p.PacketID)
	}
	return ids
}

// sink takes when it is let.
type sink struct {
	connected int
	takes     chan []sources.Event // has no buffer
	results   chan error
}

func (s *sink) Connected() { s.connected++ }

func (s *sink) Lag(string, int64) {}

func (s *sink) Pass(context.Context, string, string) error { return nil }

func (s *sink) Take(ctx context.Context, events []sources.Event) error {
	select {
	case s.takes <- slices.Clone(events):
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-s.results
}

type fixture struct {
	*broker
	sink   *sink
	cancel context.CancelFunc
	ended  chan error
}

// run runs a source against a broker of the test, in a bubble of synctest.
func run(t *testing.T, config *watchroutev1.MqttSource, change ...func(*fixture)) *fixture {
	t.Helper()
	config.Url = "mqtt://localhost"
	s, err := New(&watchroutev1.Source{SourceId: "shop", Connector: &watchroutev1.Source_Mqtt{Mqtt: config}})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	f := &fixture{sink: &sink{takes: make(chan []sources.Event), results: make(chan error)}, cancel: cancel, ended: make(chan error, 1),
		broker: &broker{conn: far, out: make(chan packets.Packet, 5000), closed: make(chan struct{}), connack: packets.Connack{Properties: &packets.Properties{}}, granted: slices.Repeat([]byte{1}, len(config.Topics))}}
	for _, c := range change {
		c(f)
	}
	s.(*Source).dial = func(context.Context) (net.Conn, error) { return near, nil }
	go f.serve()
	go f.write()
	go func() { f.ended <- s.Run(ctx, nil, f.sink) }()
	t.Cleanup(func() {
		cancel()
		_ = far.Close()
		close(f.closed)
		synctest.Wait()
	})
	synctest.Wait()
	return f
}

func topics(t ...string) *watchroutev1.MqttSource { return &watchroutev1.MqttSource{Topics: t} }

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	const url = "mqtt://broker"
	for _, test := range []struct {
		config *watchroutev1.MqttSource
		field  string
	}{
		{nil, "mqtt.url"},
		{&watchroutev1.MqttSource{Url: "broker:1883", Topics: []string{"a"}}, "mqtt.url"},
		{&watchroutev1.MqttSource{Url: "http://broker", Topics: []string{"a"}}, "mqtt.url"},
		{&watchroutev1.MqttSource{Url: "mqtt://:1883", Topics: []string{"a"}}, "mqtt.url"},
		{&watchroutev1.MqttSource{Url: "mqtt://me:hunter2@broker", Topics: []string{"a"}}, "mqtt.url"},
		{&watchroutev1.MqttSource{Url: "mqtt://broker/topic", Topics: []string{"a"}}, "mqtt.url"},
		{&watchroutev1.MqttSource{Url: url}, "mqtt.topics"},
		{&watchroutev1.MqttSource{Url: url, Topics: []string{"a", "a/#/b"}}, "mqtt.topics[1]"},
		{&watchroutev1.MqttSource{Url: url, Topics: []string{"a"}, Login: &watchroutev1.Login{}}, "mqtt.login.username"},
		{&watchroutev1.MqttSource{Url: url, Topics: []string{"a"}, Login: &watchroutev1.Login{Username: "me"}}, "mqtt.login.password"},
		{&watchroutev1.MqttSource{Url: url, Topics: []string{"a"}, Tls: &watchroutev1.ClientTls{CertFile: "x"}}, "mqtt.tls"},
		{&watchroutev1.MqttSource{Url: url, Topics: []string{"a", "+/b/#", "$share/g/c"}}, ""},
		{&watchroutev1.MqttSource{Url: "mqtts://broker:1/", Topics: []string{"#"}}, ""},
	} {
		_, err := New(&watchroutev1.Source{Connector: &watchroutev1.Source_Mqtt{Mqtt: test.config}})
		if test.field == "" {
			if err != nil {
				t.Errorf("%v: %v", test.config, err)
			}
			continue
		}
		if e := new(resource.Error); !errors.As(err, &e) || e.Reason != resource.InvalidField || e.Metadata["field"] != test.field || strings.Contains(e.Message, "hunter2") {
			t.Errorf("%v: got %v, want INVALID_FIELD in %s", test.config, err, test.field)
		}
	}
}

func TestParse_HasDefaultPorts(t *testing.T) {
	for url, want := range map[string]string{"mqtt://b": "b:1883 false", "mqtts://b": "b:8883 true", "mqtts://[::1]:7": "[::1]:7 true"} {
		address, secure, err := parse(url)
		if got := fmt.Sprint(address, " ", secure); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", url, got, err, want)
		}
	}
}

func TestRun_KeepsItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Setenv("MQTT_PASSWORD", "s3cret")
		config := topics("a/#", "b")
		config.Login = &watchroutev1.Login{Username: "me", Password: &watchroutev1.Secret{At: &watchroutev1.Secret_Env{Env: "MQTT_PASSWORD"}}}
		f := run(t, config)
		hello, wish := heard[*packets.Connect](f.broker), heard[*packets.Subscribe](f.broker)
		if len(hello) != 1 || len(wish) != 1 || f.sink.connected != 1 {
			t.Fatalf("%d CONNECT, %d SUBSCRIBE; told of %d connections", len(hello), len(wish), f.sink.connected)
		}
		c := hello[0]
		if c.CleanStart || *c.Properties.SessionExpiryInterval != math.MaxUint32 || *c.Properties.ReceiveMaximum != window || c.ClientID != "watchroute-shop" {
			t.Errorf("the session: %v", c)
		}
		if c.Username != "me" || string(c.Password) != "s3cret" {
			t.Errorf("the login: %q %q", c.Username, c.Password)
		}
		for i, sub := range wish[0].Subscriptions {
			if sub.Topic != config.Topics[i] || sub.QoS != 1 || sub.RetainHandling != 1 {
				t.Errorf("the subscription %d: %+v", i, sub)
			}
		}
		time.Sleep(time.Hour) // pings are answered
		f.cancel()
		if err := <-f.ended; err != nil {
			t.Errorf("Run returned %v when it was to end", err)
		}
		if bye := heard[*packets.Disconnect](f.broker); len(bye) != 1 || bye[0].Properties.SessionExpiryInterval != nil {
			t.Errorf("it parted with %v", bye)
		}
	})
}

func TestRun_AcknowledgesWhatIsDurableInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := run(t, topics("a"))
		for id := uint16(1); id <= 5; id++ {
			f.publish(id, "a")
			synctest.Wait()
		}
		if first := <-f.sink.takes; len(first) != 1 || string(first[0].Value) != "1" {
			t.Errorf("first %+v was taken", first)
		}
		if got := f.acks(); len(got) > 0 {
			t.Errorf("%v were acknowledged before anything was durable", got)
		}
		f.sink.results <- nil
		var values []string
		for _, e := range <-f.sink.takes {
			values = append(values, string(e.Value))
		}
		if got := strings.Join(values, " "); got != "2 3 4 5" {
			t.Errorf("then %s were taken", got)
		}
		if got := f.acks(); !slices.Equal(got, []uint16{1}) {
			t.Errorf("%v were acknowledged when 1 was durable", got)
		}
		f.sink.results <- nil
		if got := f.acks(); !slices.Equal(got, []uint16{1, 2, 3, 4, 5}) {
			t.Errorf("%v were acknowledged", got)
		}
	})
}

func TestRun_AcknowledgesNothingThatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := run(t, topics("a"))
		f.publish(1, "a")
		<-f.sink.takes
		f.publish(2, "a")
		full := errors.New("the disk is full")
		f.sink.results <- full
		if err := <-f.ended; !errors.Is(err, full) {
			t.Errorf("Run returned %v, want what Take said", err)
		}
		if got := f.acks(); len(got) > 0 {
			t.Errorf("%v were acknowledged", got)
		}
	})
}

func TestRun_EndsWhileItTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := run(t, topics("a"))
		f.publish(1, "a")
		synctest.Wait() // Take waits for the test
		f.cancel()
		if err := <-f.ended; err != nil {
			t.Errorf("Run returned %v when it was to end", err)
		}
		if got := f.acks(); len(got) > 0 {
			t.Errorf("%v were acknowledged", got)
		}
	})
}

// Mosquitto 2.0 does: with each connection it adds a window to what it sends again.
func TestRun_ReadsMoreThanTheBrokerMaySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiting = 3*window + 1
		f := run(t, topics("a"), func(f *fixture) { f.waiting = waiting })
		for n := 0; n < waiting; {
			events := <-f.sink.takes
			if len(events) > mostEvents {
				t.Errorf("%d were taken at once", len(events))
			}
			n += len(events)
			f.sink.results <- nil
		}
		if got := f.acks(); len(got) != waiting || !slices.IsSorted(got) {
			t.Errorf("%d were acknowledged, or in another order", len(got))
		}
		if f.sink.connected != 1 {
			t.Errorf("the sink was told of %d connections", f.sink.connected)
		}
	})
}

func TestRun_LeavesWhatItNoLongerAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := run(t, topics("new/+"))
		f.publish(1, "old")
		if got := f.acks(); !slices.Equal(got, []uint16{1}) {
			t.Errorf("%v were acknowledged", got)
		}
		f.publish(2, "new/x")
		if got := <-f.sink.takes; len(got) != 1 || got[0].Topic != "new/x" {
			t.Errorf("%+v were taken", got)
		}
		f.sink.results <- nil
	})
}

func TestRun_SaysWhyItEnds(t *testing.T) {
	zero := uint32(0)
	for name, test := range map[string]struct {
		change func(*fixture)
		then   func(*fixture)
		says   string
	}{
		"a wrong password":   {change: func(f *fixture) { f.connack.ReasonCode = packets.ConnackBadUsernameOrPassword }, says: "Bad User Name"},
		"no session":         {change: func(f *fixture) { f.connack.Properties.SessionExpiryInterval = &zero }, says: "keeps no sessions"},
		"a refused filter":   {change: func(f *fixture) { f.granted[1] = packets.SubackNotauthorized }, says: "refuses b: "},
		"less than QoS 1":    {change: func(f *fixture) { f.granted[0] = 0 }, says: "a with QoS 0 only"},
		"a broken line":      {then: func(f *fixture) { _ = f.conn.Close() }, says: "the connection ended"},
		"another client":     {then: func(f *fixture) { f.send(&packets.Disconnect{ReasonCode: packets.DisconnectSessionTakenOver}) }, says: "another client"},
		"the broker's going": {then: func(f *fixture) { f.send(&packets.Disconnect{ReasonCode: packets.DisconnectServerShuttingDown}) }, says: "0x8b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				change := test.change
				if change == nil {
					change = func(*fixture) {}
				}
				f := run(t, topics("a", "b"), change)
				if test.then != nil {
					test.then(f)
				}
				if err := <-f.ended; err == nil || sources.IsPermanent(err) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("Run returned %v, want an error that may pass with %q", err, test.says)
				}
				if want := test.then != nil; (f.sink.connected > 0) != want {
					t.Errorf("the sink was told of %d connections", f.sink.connected)
				}
			})
		})
	}
}

func TestEvent(t *testing.T) {
	for name, test := range map[string]struct {
		properties []packets.User
		want       sources.Event
	}{
		"none":             {nil, sources.Event{Headers: map[string]string{}}},
		"an id":            {[]packets.User{{Key: "Message-ID", Value: "1"}}, sources.Event{ID: "1", Headers: map[string]string{"message-id": "1"}}},
		"that of a device": {[]packets.User{{Key: "id", Value: "1"}}, sources.Event{Headers: map[string]string{"id": "1"}}},
		"the last counts":  {[]packets.User{{Key: "a", Value: "1"}, {Key: "a", Value: "2"}}, sources.Event{Headers: map[string]string{"a": "2"}}},
		"a CloudEvent": {[]packets.User{{Key: "specversion", Value: "1.0"}, {Key: "id", Value: "1"}, {Key: "source", Value: "/a b"}, {Key: "message-id", Value: "2"}},
			sources.Event{ID: "/a%20b 1", Headers: map[string]string{"specversion": "1.0", "id": "1", "source": "/a b", "message-id": "2",
				"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a b", "ce-message-id": "2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &packets.Publish{Topic: "a/b", Payload: []byte("x"), Duplicate: true, Properties: &packets.Properties{ContentType: "text/plain", User: test.properties}}
			got := event(paho.PublishFromPacketPublish(p))
			if got.Topic != "a/b" || string(got.Value) != "x" || got.ContentType != "text/plain" || !got.Redelivered || got.ID != test.want.ID || !maps.Equal(got.Headers, test.want.Headers) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			p.Duplicate = false
			if event(paho.PublishFromPacketPublish(p)).Redelivered {
				t.Error("it is said to come again")
			}
		})
	}
}

func TestValid(t *testing.T) {
	for filter, want := range map[string]bool{"a": true, "/": true, "+": true, "#": true, "a/+/b/#": true, "$SYS/#": true, "$share/g/a/#": true,
		"": false, "a#": false, "a/#/b": false, "a+/b": false, "a\x00": false, "$share/g": false, "$share//a": false, "$share/g+/a": false,
		strings.Repeat("a", 65536): false} {
		if valid(filter) != want {
			t.Errorf("%.20q: got %v", filter, !want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a", false}, {"a", "a/b", false}, {"a/b", "a/c", false},
		{"a/+", "a/b", true}, {"a/+", "a", false}, {"a/+", "a/", true}, {"+/+", "/a", true}, {"+", "/a", false}, {"a/+/c", "a/b/c", true},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "ab", false}, {"#", "a/b", true},
		{"#", "$SYS/a", false}, {"+/a", "$SYS/a", false}, {"$SYS/#", "$SYS/a", true}, {"$share/g/a/+", "a/b", true}, {"$share/g/a", "g/a", false},
	} {
		if got := matches(test.filter, test.topic); got != test.want {
			t.Errorf("%s and %s: got %v", test.filter, test.topic, got)
		}
	}
}

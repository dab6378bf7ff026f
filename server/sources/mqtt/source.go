package mqtt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

const (
	// window is how many messages the broker may send that it was not told of.
	window = 1000
	// mostEvents bounds what is taken at a time.
	mostEvents = 500
	// ackInterval is how long paho keeps acknowledgements back: window bounds what comes in
	// that time.
	ackInterval = 10 * time.Millisecond
	keepAlive   = 30 * time.Second
	// connectTimeout bounds each step of connecting, and what is said at the end.
	connectTimeout = 10 * time.Second
)

// Source reads the messages of some topics.
type Source struct {
	config *watchroutev1.MqttSource
	client string
	dial   func(context.Context) (net.Conn, error)
}

var _ sources.Source = (*Source)(nil)

// New makes a *Source. It is a sources.Connector.
func New(s *watchroutev1.Source) (sources.Source, error) {
	m := s.GetMqtt()
	address, secure, err := parse(m.GetUrl())
	if err != nil {
		return nil, err
	}
	if len(m.GetTopics()) == 0 {
		return nil, resource.Errorf(resource.InvalidField, "topics are missing").In("mqtt.topics")
	}
	for i, filter := range m.GetTopics() {
		if !valid(filter) {
			return nil, resource.Errorf(resource.InvalidField, "%q is no topic filter, such as shop/+/orders or shop/#", filter).In(fmt.Sprintf("mqtt.topics[%d]", i))
		}
	}
	if err := sources.CheckLogin("mqtt.login", m.GetLogin()); err != nil {
		return nil, err
	}
	if err := sources.CheckTLS("mqtt.tls", m.GetTls()); err != nil {
		return nil, err
	}
	out := &Source{config: m, client: m.GetClientId(), dial: dialer(address, secure, m.GetTls())}
	if out.client == "" {
		out.client = "watchroute-" + s.GetSourceId()
	}
	return out, nil
}

// parse gives the address of a broker.
func parse(text string) (address string, secure bool, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "mqtt" && u.Scheme != "mqtts" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false, resource.Errorf(resource.InvalidField, "mqtt://HOST:PORT or mqtts://HOST:PORT is expected").In("mqtt.url")
	}
	if u.User != nil {
		return "", false, resource.Errorf(resource.InvalidField, "a name and a password stand in `login`").In("mqtt.url")
	}
	port := u.Port()
	switch secure = u.Scheme == "mqtts"; {
	case port != "":
	case secure:
		port = "8883"
	default:
		port = "1883"
	}
	return net.JoinHostPort(u.Hostname(), port), secure, nil
}

// Run implements sources.Source.
func (s *Source) Run(ctx context.Context, _ sources.Positions, to sources.Sink) error {
	c, err := s.connect(ctx)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer c.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-c.subscribed:
			if err != nil {
				return unlessEnded(ctx, err)
			}
			to.Connected()
		case err := <-c.lost:
			return fmt.Errorf("the connection ended: %w", err)
		case first := <-c.messages:
			if err := c.take(ctx, first, to); err != nil {
				return unlessEnded(ctx, err)
			}
		}
	}
}

// unlessEnded gives the error, if that is why Run returns.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// client is one connection, which reads ahead.
type client struct {
	*paho.Client
	conn       net.Conn
	filters    []string
	messages   chan *paho.Publish // holds what the broker may send
	subscribed chan error         // what came of it, once; has its buffer
	lost       chan error         // has a buffer for one
	ended      <-chan struct{}
	stop       context.CancelFunc // closes ended
	work       sync.WaitGroup
}

// connect connects, and begins to subscribe in the session that the broker keeps. What has
// waited in it comes first, and must be read: Mosquitto 2.0 sends more of that than it may.
func (s *Source) connect(ctx context.Context) (*client, error) {
	password, err := sources.Secret(s.config.GetLogin().GetPassword())
	if err != nil {
		return nil, fmt.Errorf("mqtt.login.password: %w", err)
	}
	raw, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	c := &client{conn: newConn(raw), filters: s.config.GetTopics(), messages: make(chan *paho.Publish, window),
		subscribed: make(chan error, 1), lost: make(chan error, 1), ended: ctx.Done(), stop: stop}
	c.Client = paho.NewClient(paho.ClientConfig{
		Conn: c.conn, PacketTimeout: connectTimeout, EnableManualAcknowledgment: true, SendAcksInterval: ackInterval,
		OnPublishReceived:  []func(paho.PublishReceived) (bool, error){c.receive},
		OnClientError:      c.lose,
		OnServerDisconnect: func(d *paho.Disconnect) { c.lose(ended(d)) },
	})
	forever, most := uint32(math.MaxUint32), uint16(window)
	hello := &paho.Connect{ClientID: s.client, KeepAlive: uint16(keepAlive / time.Second),
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &forever, ReceiveMaximum: &most}}
	if login := s.config.GetLogin(); login != nil {
		hello.UsernameFlag, hello.Username, hello.PasswordFlag, hello.Password = true, login.GetUsername(), true, []byte(password)
	}
	answer, err := c.Connect(ctx, hello)
	if err != nil {
		stop()
		if answer != nil {
			return nil, fmt.Errorf("the broker refuses the connection: %s", (&packets.Connack{ReasonCode: answer.ReasonCode}).Reason())
		}
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if kept := answer.Properties.SessionExpiryInterval; kept != nil && *kept == 0 {
		c.close()
		return nil, errors.New("the broker keeps no sessions: what comes while nobody reads would be lost")
	}
	c.work.Go(func() { c.subscribed <- c.subscribe(ctx) })
	return c, nil
}

func (c *client) subscribe(ctx context.Context) error {
	wish := &paho.Subscribe{}
	for _, filter := range c.filters {
		// What is retained comes with a new subscription only.
		wish.Subscriptions = append(wish.Subscriptions, paho.SubscribeOptions{Topic: filter, QoS: 1, RetainHandling: 1})
	}
	answer, err := c.Subscribe(ctx, wish)
	if answer == nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	for i, granted := range answer.Reasons {
		switch {
		case granted >= 0x80:
			return fmt.Errorf("the broker refuses %s: %s", c.filters[i], (&packets.Suback{Reasons: answer.Reasons}).Reason(i))
		case granted == 0:
			return fmt.Errorf("the broker gives %s with QoS 0 only: messages would be lost", c.filters[i])
		}
	}
	return err
}

// receive is called by paho for each message, one after the other.
func (c *client) receive(p paho.PublishReceived) (bool, error) {
	select {
	case c.messages <- p.Packet:
	case <-c.ended:
	}
	return true, nil
}

// lose is called when the connection has ended, perhaps several times.
func (c *client) lose(err error) {
	select {
	case c.lost <- err:
	default:
	}
}

func ended(d *paho.Disconnect) error {
	if d.ReasonCode == packets.DisconnectSessionTakenOver {
		return errors.New("another client with this client id has connected")
	}
	return fmt.Errorf("the broker ended it with the reason 0x%02x", d.ReasonCode)
}

// take takes a message and those that have come with it.
func (c *client) take(ctx context.Context, first *paho.Publish, to sources.Sink) error {
	messages := []*paho.Publish{first}
	for more := true; more && len(messages) < mostEvents; {
		select {
		case next := <-c.messages:
			messages = append(messages, next)
		default:
			more = false
		}
	}
	var events []sources.Event
	for _, m := range messages {
		if wanted(c.filters, m.Topic) {
			events = append(events, event(m))
		}
	}
	if len(events) > 0 {
		if err := to.Take(ctx, events); err != nil {
			return err
		}
	}
	for _, m := range messages {
		// It fails where the connection has ended, which lost tells, too.
		_ = c.Ack(m)
	}
	return nil
}

// close ends the connection, and waits for what paho does. The broker keeps the session.
func (c *client) close() {
	c.stop()
	_ = c.conn.SetWriteDeadline(time.Now().Add(connectTimeout))
	_ = c.Disconnect(&paho.Disconnect{})
	c.work.Wait()
}

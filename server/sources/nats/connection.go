package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/watchroute/watchroute/server/sources"
)

const (
	// readAhead bounds the bytes of one request for messages, two of which may be under way.
	readAhead = 16 << 20
	// heartbeat is how often a server says that it is there; two that are missing are enough.
	heartbeat = 5 * time.Second
	// inactive is when a server drops the consumer of a node that is gone.
	inactive = 30 * time.Second
)

// connection is one to a server, with a consumer of the stream.
type connection struct {
	*Source
	conn     *nats.Conn
	js       jetstream.JetStream
	fail     func(error)
	consumer jetstream.Consumer       // nil: none
	reading  jetstream.ConsumeContext // nil: not yet
}

// dialer gives up when its context ends.
type dialer struct {
	context.Context
	net.Dialer
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(d.Context, network, address)
}

// connect gives a connection that is not mended when it fails: fail is told.
func (s *Source) connect(ctx context.Context, fail func(error)) (*connection, error) {
	opts := []nats.Option{
		nats.Name("watchroute " + s.id),
		nats.NoReconnect(),
		nats.Timeout(s.Patience),
		nats.SetCustomDialer(&dialer{Context: ctx, Dialer: net.Dialer{Timeout: s.Patience}}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { fail(err) }),
		nats.ClosedHandler(func(c *nats.Conn) {
			why := c.LastError()
			if why == nil {
				why = nats.ErrConnectionClosed
			}
			fail(fmt.Errorf("the connection is lost: %w", why))
		}),
	}
	secured, err := sources.TLS(s.config.GetTls())
	if err != nil {
		return nil, err
	}
	if secured != nil {
		opts = append(opts, nats.Secure(secured))
	}
	switch {
	case s.config.GetLogin() != nil:
		password, err := sources.Secret(s.config.GetLogin().GetPassword())
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.UserInfo(s.config.GetLogin().GetUsername(), password))
	case s.config.GetToken() != nil:
		token, err := sources.Secret(s.config.GetToken())
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Token(token))
	case s.config.GetCredentialsFile() != "":
		opts = append(opts, nats.UserCredentials(s.config.GetCredentialsFile()))
	}
	c := &connection{Source: s, fail: fail}
	if c.conn, err = nats.Connect(strings.Join(s.config.GetServers(), ","), opts...); err != nil {
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
			return nil, fmt.Errorf("the server refuses the login: %w", err)
		}
		return nil, fmt.Errorf("no server answers: %w", err)
	}
	if c.js, err = jetstream.New(c.conn); err != nil {
		c.conn.Close()
		return nil, err
	}
	return c, nil
}

// close ends what was opened.
func (c *connection) close() {
	if c.reading != nil {
		c.reading.Stop()
	}
	if c.consumer != nil && c.conn.IsConnected() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.js.DeleteConsumer(ctx, c.config.GetStream(), c.consumer.CachedInfo().Name) // or the server does
	}
	c.conn.Close()
}

// state gives how the stream is now.
func (c *connection) state(ctx context.Context) (*jetstream.StreamInfo, error) {
	stream, err := c.js.Stream(ctx, c.config.GetStream())
	switch {
	case err == nil:
		return stream.CachedInfo(), nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("there is no stream %s", c.config.GetStream())
	case errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return nil, fmt.Errorf("the server has no JetStream, at least not for this login: %w", err)
	}
	return nil, fmt.Errorf("asking for the stream %s: %w", c.config.GetStream(), err)
}

// consume lets receive have what the stream has from start on, and says how much that is
// now. Its consumer is what the client calls an ordered one, but that is made anew by Run
// alone, which looks at the position first.
func (c *connection) consume(ctx context.Context, start uint64, receive func(jetstream.Msg)) (pending uint64, err error) {
	c.consumer, err = c.js.CreateConsumer(ctx, c.config.GetStream(), jetstream.ConsumerConfig{
		Description: "watchroute source " + c.id, FilterSubjects: c.config.GetSubjects(), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: inactive})
	if err != nil {
		return 0, fmt.Errorf("making a consumer of the stream %s: %w", c.config.GetStream(), err)
	}
	c.reading, err = c.consumer.Consume(receive, jetstream.PullMaxMessagesWithBytesLimit(2*c.MaxEvents, max(readAhead, 2*int(c.conn.MaxPayload()))),
		jetstream.PullHeartbeat(heartbeat), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { c.fail(fmt.Errorf("reading the stream: %w", err)) }))
	return c.consumer.CachedInfo().NumPending, err
}

// look gives how the stream is now, up to where everything has been delivered (0: that is
// not known), and how many messages that was.
func (c *connection) look(ctx context.Context) (state *jetstream.StreamInfo, delivered, messages uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	if state, err = c.state(ctx); err != nil {
		return nil, 0, 0, err
	}
	info, err := c.consumer.Info(ctx)
	if err == nil && info.NumPending == 0 {
		delivered, messages = state.State.LastSeq, info.Delivered.Consumer
	}
	return state, delivered, messages, err
}

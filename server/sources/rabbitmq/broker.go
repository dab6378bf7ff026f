package rabbitmq

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

const (
	// connectTimeout bounds each step of connecting, and what is still to say when ctx has
	// ended.
	connectTimeout = 10 * time.Second
	heartbeat      = 10 * time.Second
	// closeTimeout is how long the broker may take to say good-bye.
	closeTimeout = 2 * time.Second
)

// broker is one connection.
type broker interface {
	// Consume begins to read a queue, or a stream at an offset. No more than prefetch
	// messages come before the first of them is acknowledged.
	Consume(name string, offset any, prefetch int) (*consumer, error)
	// Ready says how many messages of a queue nobody was given.
	Ready(name string) (int, error)
	// Close ends the connection and all consumers, and waits for them.
	Close()
}

// consumer gives the messages of a queue or stream.
type consumer struct {
	deliveries <-chan amqp.Delivery   // closed when it ends
	ack        func(tag uint64) error // all up to it
	why        func() error           // it has ended
	close      func()
}

// connection is a connection to a real broker.
type connection struct {
	*amqp.Connection
	raw   net.Conn
	hurry func() bool // stops what hurries it when ctx has ended
}

// conn is read in large pieces.
type conn struct {
	net.Conn
	in *bufio.Reader
}

// Read implements io.Reader.
func (c *conn) Read(p []byte) (int, error) { return c.in.Read(p) }

// dial connects. When ctx ends, what is under way on the connection has connectTimeout.
func dial(ctx context.Context, a address, r *watchroutev1.RabbitmqSource, id string) (broker, error) {
	auth := &amqp.PlainAuth{Username: "guest", Password: "guest"}
	if login := r.GetLogin(); login != nil {
		password, err := sources.Secret(login.GetPassword())
		if err != nil {
			return nil, fmt.Errorf("rabbitmq.login.password: %w", err)
		}
		auth.Username, auth.Password = login.GetUsername(), password
	}
	settings, err := sources.TLS(r.GetTls())
	if err != nil {
		return nil, fmt.Errorf("rabbitmq.%w", err)
	}
	if settings == nil && a.secure {
		settings = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	d := &net.Dialer{Timeout: connectTimeout}
	var raw net.Conn
	if settings == nil {
		raw, err = d.DialContext(ctx, "tcp", a.String())
	} else {
		raw, err = (&tls.Dialer{NetDialer: d, Config: settings}).DialContext(ctx, "tcp", a.String())
	}
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(connectTimeout)) // amqp takes it off again
	giveUp := context.AfterFunc(ctx, func() { _ = raw.Close() })
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName("watchroute-" + id)
	c, err := amqp.Open(&conn{raw, bufio.NewReaderSize(raw, 64<<10)}, amqp.Config{SASL: []amqp.Authentication{auth}, Vhost: a.vhost, Heartbeat: heartbeat, Locale: "en_US", Properties: properties})
	if !giveUp() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("connecting: %w", err)
	}
	out := &connection{Connection: c, raw: raw}
	out.hurry = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Now().Add(connectTimeout)) })
	return out, nil
}

// Close implements broker. Messages that were not acknowledged go back to the queue.
func (c *connection) Close() {
	c.hurry()
	_ = c.CloseDeadline(time.Now().Add(closeTimeout))
	_ = c.raw.Close()
}

// within ends the connection if something takes too long, such as what asks a queue whose
// nodes are not there.
func (c *connection) within(limit time.Duration, ask func() error) error {
	late := time.AfterFunc(limit, func() { _ = c.raw.Close() })
	err := ask()
	if !late.Stop() && err != nil {
		return fmt.Errorf("the broker has not answered within %v: %w", limit, err)
	}
	return err
}

// Consume implements broker.
func (c *connection) Consume(name string, offset any, prefetch int) (out *consumer, err error) {
	err = c.within(connectTimeout, func() error {
		out, err = c.consume(name, offset, prefetch)
		return err
	})
	return out, err
}

func (c *connection) consume(name string, offset any, prefetch int) (*consumer, error) {
	ch, err := c.Channel()
	if err != nil {
		return nil, err
	}
	out := &consumer{ack: func(tag uint64) error { return ch.Ack(tag, true) }, close: func() { _ = ch.Close() }}
	cancelled, closed := ch.NotifyCancel(make(chan string, 1)), ch.NotifyClose(make(chan *amqp.Error, 1))
	out.why = func() error {
		select {
		case _, ok := <-cancelled:
			if ok {
				return errors.New("the broker has ended the reading: it was deleted, or its leader has moved")
			}
		default:
		}
		select {
		case err := <-closed:
			if err != nil {
				return err
			}
		default:
		}
		return amqp.ErrClosed
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return nil, err
	}
	args := amqp.Table{}
	if offset != nil {
		args["x-stream-offset"] = offset
	}
	if out.deliveries, err = ch.Consume(name, "", false, false, false, false, args); err != nil {
		return nil, err
	}
	return out, nil
}

// Ready implements broker.
func (c *connection) Ready(name string) (ready int, err error) {
	err = c.within(connectTimeout, func() error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		defer ch.Close()
		q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		ready = q.Messages
		return err
	})
	return ready, err
}

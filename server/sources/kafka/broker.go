package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

// bounds gives the first offsets of topics, and those behind the last.
func (m *member) bounds(ctx context.Context, topics ...string) (first, end kadm.ListedOffsets, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.Patience)
	defer cancel()
	asks := kadm.NewClient(m.client)
	if end, err = asks.ListEndOffsets(ctx, topics...); err == nil {
		first, err = asks.ListStartOffsets(ctx, topics...)
	}
	return first, end, err
}

// bound gives an offset of a partition, or the error that keeps it from being known.
func bound(of kadm.ListedOffsets, topic string, number int32) kadm.ListedOffset {
	if found, ok := of.Lookup(topic, number); ok {
		return found
	}
	if whole, ok := of.Lookup(topic, -1); ok {
		return whole
	}
	return kadm.ListedOffset{Err: kerr.UnknownTopicOrPartition}
}

// look says whether a broker answers, and whether it has the topics that it had.
func (m *member) look(running context.Context) error {
	ctx, cancel := context.WithTimeout(running, m.Patience)
	defer cancel()
	err := m.client.Ping(ctx)
	if err != nil && ctx.Err() == nil {
		err = m.client.Ping(ctx) // the first may have taken a connection that was about to be closed
	}
	if running.Err() != nil {
		return running.Err()
	}
	if err != nil {
		m.dead = true
		switch sasl := m.config.GetSasl() != watchroutev1.KafkaSource_SASL_UNSPECIFIED; {
		case errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism):
			return fmt.Errorf("the broker refuses the login: %w", err)
		case sasl && errors.Is(err, io.EOF): // which is how some do it
			return fmt.Errorf("the broker hangs up on the login; it refuses it, perhaps: %w", err)
		}
		return fmt.Errorf("no broker answers: %w", err)
	}
	ask := kmsg.NewPtrMetadataRequest()
	for _, topic := range m.config.GetTopics() {
		of := kmsg.NewMetadataRequestTopic()
		of.Topic = kmsg.StringPtr(topic)
		ask.Topics = append(ask.Topics, of)
	}
	answer, err := ask.RequestWith(ctx, m.client)
	if err != nil {
		return fmt.Errorf("asking for the topics: %w", err)
	}
	for _, found := range answer.Topics {
		var name string
		if found.Topic != nil {
			name = *found.Topic
		}
		switch err := kerr.ErrorForCode(found.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return fmt.Errorf("there is no topic %s", name)
		case err != nil:
			return fmt.Errorf("the topic %s: %w", name, err)
		}
		if err := m.know(ctx, name, topic{found.TopicID, int32(len(found.Partitions))}); err != nil {
			return err
		}
	}
	return nil
}

// know compares a topic with what it was when the source began, which is kept as the
// position of a partition with the topic's name.
func (m *member) know(ctx context.Context, name string, now topic) (err error) {
	m.mu.Lock()
	was, known := m.topics[name]
	m.mu.Unlock()
	if !known {
		was = now
		if text := m.from.Position(name); text == "" {
			err = m.to.Pass(ctx, name, now.String())
		} else {
			was, err = parseTopic(text)
		}
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.topics[name] = was
		m.mu.Unlock()
	}
	if was.id != now.id && was.id != unknown && now.id != unknown {
		return sources.Permanent(fmt.Errorf("the topic %s was made anew; give the source another id to read it from its start", name))
	}
	return nil
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (m *member) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		m.worry()
	}
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (m *member) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { m.worry() }

func (m *member) worry() {
	select {
	case m.trouble <- struct{}{}:
	default:
	}
}

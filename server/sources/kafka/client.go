package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

// What the client reads ahead. One fetch of each broker waits while others are taken.
const (
	fetchBytes = 16 << 20
	// fetchWait is how long a broker may wait for events to come. Partitions that are assigned
	// meanwhile wait as long.
	fetchWait      = 500 * time.Millisecond
	partitionBytes = 4 << 20
)

// metadataAge is how soon partitions are read that are added to a topic.
const metadataAge = 30 * time.Second

// options are those of the client that do not depend on a run.
func (s *Source) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.ClientID("watchroute"),
		kgo.SoftwareNameAndVersion("watchroute", "1"),
		kgo.DisableClientMetrics(),
		kgo.SeedBrokers(s.config.GetBrokers()...),
		kgo.DialTimeout(s.Patience),
		kgo.MetadataMaxAge(metadataAge),
		kgo.ConsumerGroup(s.group),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(s.SessionTimeout),
		kgo.HeartbeatInterval(s.SessionTimeout / 6),
		kgo.BlockRebalanceOnPoll(),
		kgo.DisableAutoCommit(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // they count in offsets
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(partitionBytes),
	}
	secured, err := sources.TLS(s.config.GetTls())
	if err != nil {
		return nil, err
	}
	if secured != nil {
		opts = append(opts, kgo.DialTLSConfig(secured))
	}
	if mechanism := s.mechanism(); mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// mechanism reads the password whenever it is asked for: it may have been changed. nil: no
// SASL.
func (s *Source) mechanism() sasl.Mechanism {
	user, secret := s.config.GetLogin().GetUsername(), s.config.GetLogin().GetPassword()
	scrammed := func(context.Context) (scram.Auth, error) {
		password, err := sources.Secret(secret)
		return scram.Auth{User: user, Pass: password}, err
	}
	switch s.config.GetSasl() {
	case watchroutev1.KafkaSource_PLAIN:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := sources.Secret(secret)
			return plain.Auth{User: user, Pass: password}, err
		})
	case watchroutev1.KafkaSource_SCRAM_SHA_256:
		return scram.Sha256(scrammed)
	case watchroutev1.KafkaSource_SCRAM_SHA_512:
		return scram.Sha512(scrammed)
	}
	return nil
}

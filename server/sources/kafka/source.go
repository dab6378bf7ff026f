package kafka

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

// Source reads topics as a member of a consumer group. Its fields are set before Run.
type Source struct {
	// MaxEvents bounds what is taken at a time. Default: 1000.
	MaxEvents int
	// CommitInterval is how often offsets are committed. Default: 1 second.
	CommitInterval time.Duration
	// LookInterval is how often is looked whether the topics are still there. Default: 10
	// seconds.
	LookInterval time.Duration
	// SessionTimeout is how long the group waits for a member that has died, itself after a
	// restart as well. Default: 6 seconds, the least that brokers allow by default.
	SessionTimeout time.Duration
	// Patience is how long an answer of the broker may take, and how long what is left to
	// commit is tried when Run ends. Default: 5 seconds.
	Patience time.Duration

	config *watchroutev1.KafkaSource
	group  string
}

var _ sources.Source = (*Source)(nil)

// New makes a *Source. It is a sources.Connector.
func New(s *watchroutev1.Source) (sources.Source, error) {
	k := s.GetKafka()
	if err := check(k); err != nil {
		return nil, err
	}
	group := k.GetGroup()
	if group == "" {
		group = "watchroute-" + s.GetSourceId()
	}
	return &Source{MaxEvents: 1000, CommitInterval: time.Second, LookInterval: 10 * time.Second, SessionTimeout: 6 * time.Second, Patience: 5 * time.Second,
		config: k, group: group}, nil
}

// topicName is what Kafka allows.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// check says what is wrong with a configuration.
func check(k *watchroutev1.KafkaSource) error {
	bad := func(field, format string, args ...any) error {
		return resource.Errorf(resource.InvalidField, format, args...).In("kafka." + field)
	}
	if len(k.GetBrokers()) == 0 {
		return bad("brokers", "the brokers are missing; HOST:PORT of at least one is expected")
	}
	for i, address := range k.GetBrokers() {
		host, port, err := net.SplitHostPort(address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			return resource.Errorf(resource.InvalidField, "%q is no address; HOST:PORT is expected, such as broker-1:9092", address).In(fmt.Sprintf("kafka.brokers[%d]", i))
		}
	}
	if len(k.GetTopics()) == 0 {
		return bad("topics", "the topics are missing; at least one is expected")
	}
	for i, topic := range k.GetTopics() {
		field := fmt.Sprintf("topics[%d]", i)
		switch {
		case !topicName.MatchString(topic) || topic == "." || topic == "..":
			return bad(field, "%q is no topic; 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-' are expected", topic)
		case slices.Contains(k.GetTopics()[:i], topic):
			return bad(field, "the topic %s is given twice", topic)
		}
	}
	if _, known := watchroutev1.SourceStart_name[int32(k.GetStart())]; !known {
		return bad("start", "this server knows no start %d", k.GetStart())
	}
	switch k.GetSasl() {
	case watchroutev1.KafkaSource_SASL_UNSPECIFIED:
		if k.GetLogin() != nil {
			return bad("sasl", "the mechanism is missing: PLAIN, SCRAM_SHA_256 or SCRAM_SHA_512")
		}
	case watchroutev1.KafkaSource_PLAIN, watchroutev1.KafkaSource_SCRAM_SHA_256, watchroutev1.KafkaSource_SCRAM_SHA_512:
		if k.GetLogin() == nil {
			return bad("login", "the login is missing, which SASL shows")
		}
	default:
		return bad("sasl", "this server knows no mechanism %d", k.GetSasl())
	}
	if err := sources.CheckLogin("kafka.login", k.GetLogin()); err != nil {
		return err
	}
	return sources.CheckTLS("kafka.tls", k.GetTls())
}

// Run implements sources.Source.
func (s *Source) Run(ctx context.Context, from sources.Positions, to sources.Sink) error {
	m, err := s.join(from, to)
	if err != nil {
		return err
	}
	err = m.run(ctx)
	m.leave()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

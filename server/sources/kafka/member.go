package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/watchroute/watchroute/server/sources"
)

// firstPoll is how long an error may take to come up before the source is said to run.
const firstPoll = 200 * time.Millisecond

// member is what one Run is in its group. The client calls place, assigned and revoked, of
// which the last two never while events are being taken.
type member struct {
	*Source
	from   sources.Positions
	to     sources.Sink
	client *kgo.Client
	kill   context.CancelFunc // ends whatever the client does
	// trouble has something in it when a connection has failed.
	trouble chan struct{}
	dead    bool // no broker answers

	// events and strides are those of the batch that is being taken.
	events  []sources.Event
	strides []stride

	mu         sync.Mutex
	topics     map[string]topic
	partitions map[string]map[int32]*partition
	standing   bool // the group has given what it had to give
}

// join makes a client; run joins.
func (s *Source) join(from sources.Positions, to sources.Sink) (*member, error) {
	opts, err := s.options()
	if err != nil {
		return nil, err
	}
	ctx, kill := context.WithCancel(context.Background())
	m := &member{Source: s, from: from, to: to, kill: kill, trouble: make(chan struct{}, 1), topics: map[string]topic{}, partitions: map[string]map[int32]*partition{}}
	m.client, err = kgo.NewClient(append(opts, kgo.WithContext(ctx), kgo.WithHooks(m), kgo.AdjustFetchOffsetsFn(m.place),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked))...)
	if err != nil {
		kill()
	}
	return m, err
}

// leave commits what was taken, and returns when nothing is under way any more.
func (m *member) leave() {
	if !m.dead {
		ctx, cancel := context.WithTimeout(context.Background(), m.Patience)
		defer cancel()
		_ = m.client.LeaveGroupContext(ctx) // revoked commits; if it cannot, the group finds out by itself
	}
	m.kill()
	m.client.Close()
}

// run takes events until ctx ends or something fails.
func (m *member) run(ctx context.Context) error {
	if err := m.look(ctx); err != nil {
		return err
	}
	m.client.AddConsumeTopics(m.config.GetTopics()...)
	looked, committed, connected := time.Now(), time.Now(), false
	for ctx.Err() == nil {
		wait, standing := m.CommitInterval, m.stands()
		if !connected {
			wait = min(wait, firstPoll)
		}
		poll, cancel := context.WithTimeout(ctx, wait)
		fetches := m.client.PollRecords(poll, m.MaxEvents)
		cancel()
		err := m.failure(ctx, fetches)
		if err == nil && !connected && (standing || !fetches.Empty()) {
			connected = true
			m.to.Connected()
		}
		if err == nil {
			err = m.take(ctx, fetches)
		}
		if err == nil && len(fetches) > 0 && time.Since(committed) >= m.CommitInterval {
			_ = m.commit(ctx, m.CommitInterval, m.all()) // tried again with the next
			committed = time.Now()
		}
		m.client.AllowRebalance()
		if err != nil {
			return err
		}
		select {
		case <-m.trouble:
			looked = time.Time{}
		default:
		}
		if time.Since(looked) >= m.LookInterval {
			if err := m.look(ctx); err != nil {
				return err
			}
			looked = time.Now()
		}
	}
	return ctx.Err()
}

// failure gives what keeps events from coming; nil: nothing does.
func (m *member) failure(ctx context.Context, fetches kgo.Fetches) (first error) {
	fetches.EachError(func(topic string, number int32, err error) {
		if first == nil {
			first = m.explain(ctx, topic, number, err)
		}
	})
	return first
}

func (m *member) explain(ctx context.Context, topic string, number int32, err error) error {
	var session *kgo.ErrGroupSession
	var loss *kgo.ErrDataLoss
	p := m.find(topic, number)
	switch {
	case errors.As(err, &session):
		if sources.IsPermanent(err) {
			return session.Err
		}
		return fmt.Errorf("the group %s: %w", m.group, session.Err)
	case topic == "" && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)): // nothing came
		return nil
	case p != nil && errors.As(err, &loss):
		return p.diverged(loss, m.group)
	case p != nil && errors.Is(err, kerr.OffsetOutOfRange):
		first, end, failed := m.bounds(ctx, topic)
		if failed == nil {
			low, high := bound(first, topic, number), bound(end, topic, number)
			failed = p.within(low.Offset, high.Offset, m.group)
		}
		if failed != nil {
			return failed
		}
	case errors.Is(err, kerr.UnknownTopicID):
		if gone := m.look(ctx); gone != nil {
			return gone
		}
	}
	if topic == "" {
		return err
	}
	return fmt.Errorf("%s/%d: %w", topic, number, err)
}

// stride is how far a batch brings a partition.
type stride struct {
	of   *partition
	next kgo.EpochOffset
	end  int64 // of what the broker has
}

// take makes events durable.
func (m *member) take(ctx context.Context, fetches kgo.Fetches) error {
	m.events, m.strides = m.events[:0], m.strides[:0]
	var failed error
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		p := m.find(f.Topic, f.Partition)
		if p == nil {
			failed = fmt.Errorf("there are events of %s/%d, which the group has not given", f.Topic, f.Partition)
			return
		}
		for _, r := range f.Records {
			if !r.Attrs.IsControl() {
				m.events = append(m.events, p.event(r))
			}
		}
		last, end := f.Records[len(f.Records)-1], f.LastStableOffset
		if end < 0 {
			end = f.HighWatermark
		}
		m.strides = append(m.strides, stride{of: p, next: kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset + 1}, end: end})
	})
	if failed == nil && len(m.events) > 0 {
		failed = m.to.Take(ctx, m.events)
		clear(m.events) // they hold what was fetched
	}
	if failed != nil {
		return failed
	}
	for _, s := range m.strides {
		s.of.next = s.next
		m.to.Lag(s.of.name, s.end-s.next.Offset)
	}
	return nil
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// place says where partitions begin that the group gives to this member, and remembers
// them.
func (m *member) place(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	firsts, ends, err := m.bounds(ctx, slices.Collect(maps.Keys(offsets))...)
	if err != nil {
		return nil, err
	}
	var placed, begun []*partition
	for topic, numbers := range offsets {
		for number, committed := range numbers {
			first, end := bound(firsts, topic, number), bound(ends, topic, number)
			if err := errors.Join(first.Err, end.Err); err != nil {
				return nil, fmt.Errorf("%s/%d: %w", topic, number, err)
			}
			p := newPartition(topic, number)
			known, err := p.begin(m.from.Position(p.name), committed.EpochOffset())
			if err == nil && known {
				err = p.within(first.Offset, end.Offset, m.group)
			}
			if err != nil {
				return nil, err
			}
			if !known {
				p.next.Offset = first.Offset
				if m.config.GetStart() == watchroutev1.SourceStart_LATEST_EVENT && !m.added(topic, number) {
					p.next.Offset = end.Offset
				}
				begun = append(begun, p)
			}
			numbers[number] = kgo.NewOffset().At(p.next.Offset).WithEpoch(p.next.Epoch)
			m.to.Lag(p.name, end.Offset-p.next.Offset)
			placed = append(placed, p)
		}
	}
	// Who is killed now must not begin later the next time.
	if err := m.commit(ctx, m.Patience, begun); err != nil {
		return nil, fmt.Errorf("committing where to begin: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range placed {
		if m.partitions[p.topic] == nil {
			m.partitions[p.topic] = map[int32]*partition{}
		}
		m.partitions[p.topic][p.number] = p
	}
	m.standing = true
	return offsets, nil
}

// added says whether a partition was not there when the source began: all of it is new.
func (m *member) added(topic string, number int32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, known := m.topics[topic]
	return known && number >= t.partitions
}

// assigned sees a group that has nothing new for this member; place sees the others.
func (m *member) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	if len(added) == 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.standing = true
	}
}

// revoked commits what was taken of partitions that are given up.
func (m *member) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	_ = m.commit(ctx, m.Patience, m.forget(gone)) // whoever goes on begins earlier, then
}

// forget takes partitions away.
func (m *member) forget(gone map[string][]int32) (forgotten []*partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, numbers := range gone {
		for _, number := range numbers {
			if p := m.partitions[topic][number]; p != nil {
				delete(m.partitions[topic], number)
				forgotten = append(forgotten, p)
				m.to.Lag(p.name, 0) // another's
			}
		}
	}
	return forgotten
}

// find gives a partition; nil: this member does not have it.
func (m *member) find(topic string, number int32) *partition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.partitions[topic][number]
}

func (m *member) all() (all []*partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, numbers := range m.partitions {
		all = slices.AppendSeq(all, maps.Values(numbers))
	}
	return all
}

func (m *member) stands() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.standing
}

// commit tells the group where partitions are that it does not know of.
func (m *member) commit(ctx context.Context, patience time.Duration, of []*partition) (failed error) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for _, p := range of {
		if p.next.Offset != p.committed {
			if offsets[p.topic] == nil {
				offsets[p.topic] = map[int32]kgo.EpochOffset{}
			}
			offsets[p.topic][p.number] = p.next
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		if failed = err; err != nil {
			return
		}
		for _, topic := range answer.Topics {
			for _, p := range topic.Partitions {
				failed = errors.Join(failed, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	if failed == nil {
		for _, p := range of {
			p.committed = p.next.Offset
		}
	}
	return failed
}

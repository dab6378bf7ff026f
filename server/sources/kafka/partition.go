package kafka

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/watchroute/watchroute/server/sources"
)

// partition is one that the group has given to this member. It is touched where nothing of
// it can be given up: between a poll and AllowRebalance, and in what the client calls
// otherwise.
type partition struct {
	topic  string
	number int32
	name   string
	// next is the offset of the event that comes next, and the epoch of the leader that gave
	// the one before; -1: unknown.
	next kgo.EpochOffset
	// committed is the offset that the group has; -1: none.
	committed int64
}

func newPartition(topic string, number int32) *partition {
	return &partition{topic: topic, number: number, name: topic + "/" + strconv.Itoa(int(number)), next: kgo.EpochOffset{Epoch: -1, Offset: -1}, committed: -1}
}

// begin says where the partition begins, by its position in the log and by what the group
// has. false: there is neither.
func (p *partition) begin(position string, committed kgo.EpochOffset) (known bool, err error) {
	if committed.Offset >= 0 {
		p.committed, p.next = committed.Offset, committed
	}
	if position != "" {
		last, err := strconv.ParseInt(position, 10, 64)
		if err != nil || last < 0 {
			return false, sources.Permanent(fmt.Errorf("the position of %s is %q, an offset is expected", p.name, position))
		}
		if last+1 > p.next.Offset {
			p.next = kgo.EpochOffset{Epoch: -1, Offset: last + 1}
		}
	}
	return p.next.Offset >= 0, nil
}

// within says whether the broker, which has the offsets from first to before end, has what
// comes next.
func (p *partition) within(first, end int64, group string) error {
	switch next := p.next.Offset; {
	case next < first:
		return sources.Permanent(fmt.Errorf("the events %d to %d of %s are gone: the broker has those from %d on; "+
			"to go on there, commit that offset to the group %s and change the source; to read all that is left, give it another id", next, first-1, p.name, first, group))
	case next > end:
		return sources.Permanent(fmt.Errorf("%s ends at %d, and was read up to %d: it was made anew, or the broker has lost events; "+
			"give the source another id to read it from its start", p.name, end, next-1))
	}
	return nil
}

// diverged is for a broker that has lost what was read, and may have other events there.
func (p *partition) diverged(loss *kgo.ErrDataLoss, group string) error {
	return sources.Permanent(fmt.Errorf("the broker has lost the events %d to %d of %s, which were read, and has or will have others in their place; "+
		"to go on behind them, commit an offset to the group %s and change the source; to read all that is left, give it another id",
		loss.ResetTo, loss.ConsumedTo-1, p.name, group))
}

// event gives an event of a record. They share their bytes.
func (p *partition) event(r *kgo.Record) sources.Event {
	e := sources.Event{Partition: p.name, Position: strconv.FormatInt(r.Offset, 10), Topic: r.Topic, Key: r.Key, Value: r.Value, Time: r.Timestamp}
	if len(r.Headers) > 0 {
		e.Headers = make(map[string]string, len(r.Headers))
		for _, h := range r.Headers {
			e.Headers[strings.ToLower(h.Key)] = string(h.Value)
		}
		e.ContentType = e.Headers["content-type"]
	}
	return e
}

package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/server/sources"
)

// commitAt sets what the group has, as an operator does.
func (b *broker) commitAt(number int32, offset int64) {
	b.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset("orders", number, offset, -1)
	if err := kadm.NewClient(b.client).CommitAllOffsets(b.Context(), "watchroute-shop", offsets); err != nil {
		b.Fatal(err)
	}
}

func TestRun_GivesTheWholeEvent(t *testing.T) {
	b := newBroker(t)
	at := time.UnixMilli(1767323045000)
	b.produce(&kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte("v"), Timestamp: at,
		Headers: []kgo.RecordHeader{{Key: "Traceparent", Value: []byte("1")}, {Key: "traceparent", Value: []byte("2")}, {Key: "content-type", Value: []byte("application/json")}}})
	l := newLog()
	start(t, place(t, b.config()), l)
	l.has(t, "orders/0", "v")
	e := l.lastOf(t)
	if e.Position != "0" || e.Topic != "orders" || string(e.Key) != "k" || !e.Time.Equal(at) || e.ContentType != "application/json" || e.ID != "" ||
		e.Headers["traceparent"] != "2" || e.Headers["Traceparent"] != "" {
		t.Errorf("got %+v", e)
	}
}

func TestRun_BeginsBehindTheLaterOfLogAndGroup(t *testing.T) {
	for name, tc := range map[string]struct {
		position string
		group    int64 // -1: nothing
		start    watchroutev1.SourceStart
		want     []string // of 0 to 9, before 10 is published
	}{
		"nothing is known":         {group: -1, want: numbers(0, 10)},
		"nothing is known, latest": {group: -1, start: watchroutev1.SourceStart_LATEST_EVENT},
		"the log":                  {position: "3", group: -1, start: watchroutev1.SourceStart_LATEST_EVENT, want: numbers(4, 10)},
		"the group":                {group: 7, start: watchroutev1.SourceStart_LATEST_EVENT, want: numbers(7, 10)},
		"the log is later":         {position: "7", group: 2, want: numbers(8, 10)},
		"the group is later":       {position: "2", group: 8, want: numbers(8, 10)},
		"the log has all":          {position: "9", group: 3},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t)
			b.publish(0, numbers(0, 10)...)
			if tc.group >= 0 {
				b.commitAt(0, tc.group)
			}
			l := newLog()
			if tc.position != "" {
				l.positions["orders/0"] = tc.position
			}
			r := start(t, place(t, b.config(func(k *watchroutev1.KafkaSource) { k.Start = tc.start })), l)
			l.waitConnected(t, r)
			b.publish(0, "10")
			l.has(t, "orders/0", append(tc.want, "10")...)
		})
	}
}

func TestRun_LatestIsRememberedBeforeAnythingComes(t *testing.T) {
	b := newBroker(t)
	b.publish(0, "old")
	latest := func(k *watchroutev1.KafkaSource) { k.Start = watchroutev1.SourceStart_LATEST_EVENT }
	first := newLog()
	s := place(t, b.config(latest))
	s.CommitInterval = time.Hour
	r := start(t, s, first)
	first.waitConnected(t, r)
	if got := b.group(0); got != 1 { // as one that is killed now leaves it
		t.Errorf("the group has %d, want 1", got)
	}
	r.stop()
	b.publish(0, "while it was away")
	second := newLog()
	start(t, place(t, b.config(latest)), second)
	second.has(t, "orders/0", "while it was away")
}

func TestRun_CommitsWhatIsTakenAndNothingElse(t *testing.T) {
	b := newBroker(t)
	b.publish(0, numbers(0, 3)...)
	l, entered, release := newLog(), make(chan struct{}), make(chan struct{})
	l.taking = func(context.Context, []sources.Event) error {
		entered <- struct{}{}
		<-release
		return nil
	}
	r := start(t, quick(place(t, b.config())), l)
	<-entered
	if got := b.group(0); got > 0 {
		t.Errorf("%d is committed before anything was taken", got)
	}
	close(release)
	wait(t, b, 0, 3)
	b.publish(0, "3") // its commit is that of the end
	<-entered
	r.stop()
	if got := b.group(0); got != 4 {
		t.Errorf("the group has %d, want 4", got)
	}
}

// wait waits until the group of the source has an offset.
func wait(t *testing.T, b *broker, number int32, offset int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := b.WaitGroupInfo(ctx, "watchroute-shop", func(g *kfake.GroupInfo) bool { return g.Commits["orders"][number].Offset == offset }); err != nil {
		t.Fatalf("the group has %d, want %d: %v", b.group(number), offset, err)
	}
}

func TestRun_WhatCannotBeTakenComesAgain(t *testing.T) {
	b := newBroker(t)
	b.publish(0, numbers(0, 5)...)
	l, full := newLog(), errors.New("the log is full")
	l.taking = func(context.Context, []sources.Event) error { return full }
	s := place(t, b.config())
	if err := start(t, s, l).failure(); !errors.Is(err, full) || sources.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	l.taking = nil
	start(t, s, l)
	l.has(t, "orders/0", numbers(0, 5)...)
}

func TestRun_GoesOnAfterARestart(t *testing.T) {
	b := newBroker(t)
	l := newLog()
	for i := range 4 {
		b.publish(0, numbers(10*i, 10*i+10)...)
		r := start(t, place(t, b.config()), l)
		l.has(t, "orders/0", numbers(0, 10*i+10)...)
		r.stop()
	}
}

func TestRun_KeepsTheOrderOfEachPartition(t *testing.T) {
	b := newBroker(t, kfake.SeedTopics(3, "orders"))
	for i := range 3 {
		b.publish(int32(i), numbers(0, 40)...)
	}
	l := newLog()
	s := place(t, b.config())
	s.MaxEvents = 7
	start(t, s, l)
	for i := range 3 {
		l.has(t, partitionOf(i), numbers(0, 40)...)
	}
}

func TestRun_PartitionsMoveBetweenTwoNodes(t *testing.T) {
	b := newBroker(t, kfake.SeedTopics(4, "orders"))
	logs := []*log{newLog(), newLog()}
	// Each partition has one reader at a time, however its events are spread.
	var mu sync.Mutex
	readers := map[string]*log{}
	for _, l := range logs {
		l.taking = func(_ context.Context, events []sources.Event) error {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range events {
				readers[e.Partition] = l
			}
			return nil
		}
	}
	published := 0
	publish := func() {
		for i := range 4 {
			b.publish(int32(i), numbers(published, published+10)...)
		}
		published += 10
	}
	taken := func() bool {
		for i := range 4 {
			if len(logs[0].values(partitionOf(i)))+len(logs[1].values(partitionOf(i))) < published {
				return false
			}
		}
		return true
	}
	first := start(t, place(t, b.config()), logs[0])
	publish()
	until(t, taken, logs...)
	second := start(t, place(t, b.config()), logs[1])
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	shared := func(g *kfake.GroupInfo) bool {
		return g.State == "Stable" && len(g.Members) == 2 && g.Members[0].NumAssigned() == 2 && g.Members[1].NumAssigned() == 2
	}
	for i := range 5 {
		publish()
		if i == 2 {
			if _, err := b.WaitGroupInfo(ctx, "watchroute-shop", shared); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, taken, logs...)
	mu.Lock()
	of := map[*log]int{}
	for _, l := range readers {
		of[l]++
	}
	mu.Unlock()
	if of[logs[0]] != 2 || of[logs[1]] != 2 {
		t.Errorf("of four partitions, the nodes read %d and %d", of[logs[0]], of[logs[1]])
	}
	first.stop()
	publish()
	until(t, taken, logs...)
	second.stop()
	for i := range 4 {
		all := append(logs[0].values(partitionOf(i)), logs[1].values(partitionOf(i))...)
		slices.SortFunc(all, func(a, b string) int { return len(a)*100 - len(b)*100 + compare(a, b) })
		if !slices.Equal(all, numbers(0, published)) {
			t.Errorf("orders/%d: got %q", i, all)
		}
		if got := b.group(int32(i)); got != int64(published) {
			t.Errorf("orders/%d: the group has %d, want %d", i, got, published)
		}
	}
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestRun_APartitionIsNotGivenUpWhileItIsTaken(t *testing.T) {
	b := newBroker(t, kfake.SeedTopics(2, "orders"))
	b.publish(0, "0")
	b.publish(1, "0")
	first, entered, release := newLog(), make(chan struct{}), make(chan struct{})
	var once sync.Once
	first.taking = func(context.Context, []sources.Event) error {
		once.Do(func() {
			close(entered)
			<-release
		})
		return nil
	}
	start(t, place(t, b.config()), first)
	<-entered
	second := newLog()
	start(t, place(t, b.config()), second)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := b.WaitGroupInfo(ctx, "watchroute-shop", func(g *kfake.GroupInfo) bool { return len(g.Members) == 2 }); err != nil {
		t.Fatal(err)
	}
	// The first hears of it, again and again.
	beats := b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Observe: true, Count: -1})
	if err := beats.Wait(ctx, 3); err != nil {
		t.Fatal(err)
	}
	if n := len(second.values("orders/0")) + len(second.values("orders/1")); n != 0 {
		t.Errorf("the second node has taken %d events that the first was taking", n)
	}
	close(release)
	if _, err := b.WaitGroupInfo(ctx, "watchroute-shop", func(g *kfake.GroupInfo) bool {
		return g.State == "Stable" && len(g.Members) == 2 && g.Members[0].NumAssigned() == 1 && g.Members[1].NumAssigned() == 1
	}); err != nil {
		t.Fatal(err)
	}
	b.publish(0, "1")
	b.publish(1, "1")
	for i := range 2 {
		p := partitionOf(i)
		until(t, func() bool { return len(first.values(p))+len(second.values(p)) >= 2 }, first, second)
		if all := append(first.values(p), second.values(p)...); !slices.Equal(all, numbers(0, 2)) {
			t.Errorf("%s: got %q", p, all)
		}
	}
}

func TestRun_SaysWhatIsGone(t *testing.T) {
	b := newBroker(t)
	b.publish(0, numbers(0, 10)...)
	if err := b.DeleteRecords("orders", 0, 6); err != nil {
		t.Fatal(err)
	}
	l := newLog()
	l.positions["orders/0"] = "2"
	s := place(t, b.config())
	fetches := b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1})
	says(t, start(t, s, l).failure(), true, "the events 3 to 5 of orders/0 are gone", "from 6 on", "watchroute-shop")
	if n := fetches.Hits(); n > 0 {
		t.Errorf("it read %d times all the same", n)
	}
	// What the error advises lets it go on.
	b.commitAt(0, 6)
	start(t, s, l)
	l.has(t, "orders/0", numbers(6, 10)...)
}

func TestRun_SaysWhatIsGoneWhileItRuns(t *testing.T) {
	b := newBroker(t)
	b.publish(0, numbers(0, 2)...)
	l, entered, release := newLog(), make(chan struct{}), make(chan struct{})
	l.taking = func(context.Context, []sources.Event) error {
		entered <- struct{}{}
		<-release
		return nil
	}
	// What was read ahead is what the client has asked for before: it asks for nothing now.
	held := make(chan struct{})
	r := start(t, place(t, b.config()), l)
	<-entered
	b.ControlKey(kmsg.Fetch.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.SleepControl(func() { <-held })
		return nil, nil, false
	})
	b.publish(0, numbers(2, 10)...)
	if err := b.DeleteRecords("orders", 0, 6); err != nil {
		t.Fatal(err)
	}
	close(held)
	close(release)
	go func() {
		for range entered { // whatever comes beside
		}
	}()
	err := r.failure()
	close(entered)
	says(t, err, true, "gone", "from 6 on")
	for _, v := range l.values("orders/0") {
		if v >= "6" {
			t.Errorf("took %q behind what is gone", v)
		}
	}
}

func TestRun_SaysThatATopicWasMadeAnew(t *testing.T) {
	b := newBroker(t)
	b.publish(0, numbers(0, 10)...)
	anew := func() {
		if err := errors.Join(b.DeleteTopic("orders"), b.CreateTopic("orders", 1, nil)); err != nil {
			t.Fatal(err)
		}
	}
	l := newLog()
	s := quick(place(t, b.config()))
	r := start(t, s, l)
	l.has(t, "orders/0", numbers(0, 10)...)
	anew()
	says(t, r.failure(), true, "was made anew")
	// Nobody looked this time, and it has more events than were read.
	again := connect(t, b.Cluster)
	produce := func() {
		if err := again.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("new")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		produce()
	}
	says(t, start(t, s, l).failure(), true, "was made anew")
	// A broker that tells no ids, and it has fewer.
	l.positions["orders"] = topic{partitions: 1}.String()
	anew()
	again = connect(t, b.Cluster)
	produce()
	says(t, start(t, s, l).failure(), true, "orders/0 ends at 1, and was read up to 9")
}

func TestRun_APartitionThatIsAddedIsReadFromItsStart(t *testing.T) {
	b := newBroker(t)
	b.publish(0, "old")
	s := quick(place(t, b.config(func(k *watchroutev1.KafkaSource) { k.Start = watchroutev1.SourceStart_LATEST_EVENT })))
	l := newLog()
	r := start(t, s, l)
	l.waitConnected(t, r)
	r.stop()
	if added, err := kadm.NewClient(b.client).CreatePartitions(t.Context(), 1, "orders"); err != nil || added.Error() != nil {
		t.Fatal(err, added.Error())
	}
	later := connect(t, b.Cluster) // which knows of it
	if err := later.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: 1, Value: []byte("new")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	start(t, s, l)
	l.has(t, "orders/1", "new")
	if got := l.values("orders/0"); len(got) > 0 {
		t.Errorf("took %q of before it began", got)
	}
}

func TestRun_WaitsForATopicAndABroker(t *testing.T) {
	b := newBroker(t)
	k := b.config(func(k *watchroutev1.KafkaSource) { k.Topics = []string{"orders", "returns"} })
	says(t, start(t, place(t, k), newLog()).failure(), false, "there is no topic returns")

	l := newLog()
	s := quick(place(t, b.config()))
	r := start(t, s, l)
	l.waitConnected(t, r)
	b.Close()
	says(t, r.failure(), false, "no broker answers")
	says(t, start(t, s, newLog()).failure(), false, "no broker answers")
}

func TestRun_ATopicThatMayNotBeReadIsNotForGood(t *testing.T) {
	b := newBroker(t)
	b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "orders", Err: kerr.TopicAuthorizationFailed, Count: -1})
	l := newLog()
	says(t, start(t, place(t, b.config()), l).failure(), false, "orders/0", "TOPIC_AUTHORIZATION_FAILED")
	select {
	case <-l.connected:
		t.Error("it was said to run")
	default:
	}
}

func TestRun_ReadsWhatIsCommitted(t *testing.T) {
	b := newBroker(t)
	producer := connect(t, b.Cluster, kgo.TransactionalID("t"))
	write := func(value string, end kgo.TransactionEndTry) {
		t.Helper()
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := producer.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	write("aborted", kgo.TryAbort)
	write("committed", kgo.TryCommit)
	l := newLog()
	r := start(t, quick(place(t, b.config())), l)
	l.has(t, "orders/0", "committed")
	wait(t, b, 0, 4) // two events, and an end for each
	r.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lag["orders/0"] != 0 {
		t.Errorf("the lag is %d", l.lag["orders/0"])
	}
}

func TestRun_TellsTheLag(t *testing.T) {
	b := newBroker(t)
	b.publish(0, numbers(0, 10)...)
	l := newLog()
	l.positions["orders/0"] = "3"
	entered, release := make(chan struct{}), make(chan struct{})
	l.taking = func(context.Context, []sources.Event) error {
		entered <- struct{}{}
		<-release
		return nil
	}
	s := place(t, b.config())
	s.MaxEvents = 2
	lag := func() int64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.lag["orders/0"]
	}
	start(t, s, l)
	for _, want := range []int64{6, 4, 2} {
		<-entered
		if got := lag(); got != want {
			t.Errorf("the lag is %d, want %d", got, want)
		}
		release <- struct{}{}
	}
	l.has(t, "orders/0", numbers(4, 10)...)
}

package transporttest

import (
	"fmt"
	"maps"
	"sync"
	"time"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

const (
	pending = shopv1.OrderStatus_PENDING
	shipped = shopv1.OrderStatus_SHIPPED
)

// States are the scenarios about how a watch begins and what it then holds.
var States = []Scenario{
	{Name: "P1 started comes first and at once, on a collection where nothing happens", Run: startsAtOnce, Both: true},
	{Name: "P7 the state comes first, then snapshot_end, then the changes", Run: snapshotThenChanges, Both: true},
	{Name: "P7 the snapshot equals List at that revision, all pages of it", Run: snapshotEqualsList, Both: true},
	{Name: "P7 a snapshot that is taken while others write is the state of one revision", Run: snapshotWhileWriting},
	{Name: "P7 a list is continued by its token", Run: listContinues},
	{Name: "P7 an empty selection has a snapshot too", Run: emptySnapshot},
	{Name: "P1 P2 events come in order, and none twice", Run: orderedAndUnique, Options: Options{RingBytes: 64 << 10}},
	{Name: "P1 a delete is told by name and revision only", Run: deletes, Both: true},
	{Name: "P7 labels are told and are changes", Run: labels, Both: true},
	{Name: "contract: a watch of names tells of them when they come into being", Run: namesThatDoNotExistYet, Both: true},
	{Name: "contract: a watch of several names tells of no others", Run: severalNames, On: func(k Kit) bool { return !k.Typed }},
	{Name: "contract: a watch from now tells nothing of before", Run: watchFromNow},
	{Name: "contract: a watch after a revision tells what came since", Run: watchAfterRevision, Both: true},
	{Name: "contract: a resource that was deleted and created anew has another uid", Run: createdAnew},
}

// exists makes the collection exist, and empty.
func (c *Case) exists() uint64 {
	if c.Collection == ordersCollection {
		return 0
	}
	c.Put("first", Value{Units: 1})
	return c.Delete("first")
}

func startsAtOnce(c *Case) {
	revision := c.exists()
	rd := c.Watch()
	first := rd.Next()
	if first.Kind != Started || first.Mode != watchroutev1.Started_SNAPSHOT {
		c.Errorf("the first message is %v", first)
	}
	if want := 2 * c.Node.options.Heartbeat; first.SilenceLimit != want {
		c.Errorf("the silence limit is %v, twice the heartbeat is %v", first.SilenceLimit, want)
	}
	if end := rd.Next(); end.Kind != SnapshotEnd || end.Revision != revision {
		c.Errorf("the collection is empty at %d, and yet there is %v", revision, end)
	}
	asked := c.Watch(heartbeat(3 * time.Second))
	if got := asked.Next().SilenceLimit; got != 6*time.Second {
		c.Errorf("the silence limit is %v, and the heartbeat that was asked for 3 s", got)
	}
	if !c.Kit.Poll { // whose answer waits for something to say
		now := c.Watch(fromNow)
		if m := now.Next(); m.Kind != Started || m.Mode != watchroutev1.Started_NOW || m.Revision != revision {
			c.Errorf("the first message is %v", m)
		}
	}
}

func snapshotThenChanges(c *Case) {
	c.Put("a", Value{Units: 1})
	b := c.Put("b", Value{Units: 1, Customer: "7", Status: pending, Place: `"Zürich" \ <&>` + "\u2028\n"})
	a := c.Put("a", Value{Units: 2})
	rd := c.Watch(everyChange)
	rd.UntilRevision(a)
	rd.Want(startedSnapshot, did(entered, "b", b), did(entered, "a", a), "snapshot_end")
	c.WantTruth(rd)
	if got, want := rd.State[c.name("b")].Data, (Value{Units: 1, Customer: "7", Status: pending, Place: `"Zürich" \ <&>` + "\u2028\n"}).JSON(c.name("b")); got != want {
		c.Errorf("got  %s\nwant %s", got, want)
	}
	created1 := c.Put("c", Value{Units: 1})
	gone := c.Delete("a")
	changed := c.Put("b", Value{Units: 3})
	rd.UntilRevision(changed)
	rd.Want(did(created, "c", created1), did(deleted, "a", gone), did(updated, "b", changed))
	c.WantTruth(rd)
}

// fill writes many resources in batches, some of them again and some deleted.
func (c *Case) fill(n int) (revision uint64) {
	var ops []Op
	for i := range n {
		v := Value{Customer: fmt.Sprint(i % 7), Status: shopv1.OrderStatus(i % 7), Units: i}
		if i%3 == 0 {
			v.Labels = map[string]string{"third": fmt.Sprint(i), "k": ""}
		}
		ops = append(ops, put(fmt.Sprintf("n%04d", i), v))
	}
	for len(ops) > 0 {
		k := min(97, len(ops))
		c.Write(ops[:k]...)
		ops = ops[k:]
	}
	ops = nil
	for i := 0; i < n; i += 5 {
		if i%2 == 0 {
			ops = append(ops, del(fmt.Sprintf("n%04d", i)))
		} else {
			ops = append(ops, put(fmt.Sprintf("n%04d", i), Value{Customer: "7", Units: -i}))
		}
	}
	return c.Write(ops...)
}

func snapshotEqualsList(c *Case) {
	revision := c.fill(300)
	for _, changes := range [][]requestChange{
		nil,
		{filter(ofCustomer("3"))},
		{filter("data.total.units > 250 && labels.third != ''")},
		{mask(statusPath, "customer_id")},
		{filter(ofCustomer("3")), mask(unitsPath), everyChange},
	} {
		rd := c.Watch(changes...)
		end := rd.UntilKind(SnapshotEnd)
		if end.Revision != revision {
			c.Errorf("the snapshot of {%v} ends at %d, the collection is at %d", rd.request, end.Revision, revision)
		}
		want, at, err := listAll(c.ctx, c.Transport.Caller(), rd.request, 17)
		if err != nil {
			c.Fatal(err)
		}
		if at != end.Revision {
			c.Errorf("the list is of %d, the snapshot of %d", at, end.Revision)
		}
		if len(want) == 0 {
			c.Fatalf("nothing matches {%v}", rd.request)
		}
		if d := diff(rd.State, want, true); d != "" {
			c.Errorf("snapshot and list of {%v}:%s", rd.request, d)
		}
	}
}

func snapshotWhileWriting(c *Case) {
	c.exists()
	var mu sync.Mutex
	truth := map[uint64]map[string]string{}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	begun := make(chan struct{})
	writer.Go(func() {
		state := map[string]string{}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			// Each write changes two names together.
			a, b := fmt.Sprintf("a%d", i%5), fmt.Sprintf("b%d", i%5)
			v := Value{Units: i + 1}
			ops := []Op{put(a, v), put(b, v)}
			if i%4 == 3 {
				ops = []Op{del(a), del(b)}
			}
			out, err := c.write(ops)
			if err != nil {
				c.Error(err)
				return
			}
			for _, id := range []string{a, b} {
				delete(state, c.name(id))
				if i%4 != 3 {
					state[c.name(id)] = v.JSON(c.name(id))
				}
			}
			mu.Lock()
			truth[out.GetRevision()] = maps.Clone(state)
			mu.Unlock()
			if i == 10 {
				close(begun)
			}
		}
	})
	<-begun
	for range 4 {
		rd := c.Watch()
		end := rd.UntilKind(SnapshotEnd)
		rd.Close()
		got := map[string]string{}
		for name, h := range rd.State {
			got[name] = h.Data
		}
		// The writer notes a state once its write has returned.
		c.awaitNoted(&mu, truth, end.Revision)
		mu.Lock()
		want := truth[end.Revision]
		mu.Unlock()
		if !maps.Equal(got, want) {
			c.Errorf("the snapshot at %d is %v, the state was %v", end.Revision, got, want)
		}
	}
	close(stop)
	writer.Wait()
}

// awaitNoted waits until the writer has gone past a revision, by writing itself.
func (c *Case) awaitNoted(mu *sync.Mutex, truth map[uint64]map[string]string, revision uint64) {
	c.Helper()
	for deadline := time.Now().Add(patience); ; {
		mu.Lock()
		_, ok := truth[revision]
		mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("the writer never wrote revision %d, at which a snapshot ends", revision)
		}
		if _, err := c.Node.Service().List(c.ctx, &watchroutev1.ListRequest{Parent: c.Collection, PageSize: 1}); err != nil {
			c.Fatal(err)
		}
	}
}

func listContinues(c *Case) {
	c.fill(30)
	match := filter("data.total.units >= 0")
	for _, changes := range [][]requestChange{nil, {match}} {
		request := c.Request(changes...)
		page, err := c.Transport.Caller().List(c.ctx, &watchroutev1.ListRequest{Parent: request.Parent, Filter: request.Filter, PageSize: 5})
		if err != nil {
			c.Fatal(err)
		}
		at := c.Put("later", Value{Units: 5, Customer: "7"})
		rd := c.Watch(append(changes, token(page.ResumeToken))...)
		rd.UntilRevision(at)
		rd.Want(startedResumed, did(created, "later", at))
		c.Delete("later")
	}
}

func emptySnapshot(c *Case) {
	at := c.Put("a", Value{Units: 1})
	rd := c.Watch(filter("data.total.units > 1000"))
	rd.UntilRevision(at)
	rd.Want(startedSnapshot, "snapshot_end")
	at = c.Put("a", Value{Units: 1001})
	rd.UntilRevision(at)
	rd.Want(did(entered, "a", at))
}

func orderedAndUnique(c *Case) {
	c.exists()
	slow, quick := c.Watch(), c.Watch(everyChange)
	quick.UntilKind(SnapshotEnd)
	var last uint64
	writes := 0
	for i := range 60 {
		ops := []Op{put(fmt.Sprintf("a%d", i%4), Value{Units: i + 1}), put("all", Value{Units: i + 1})}
		last = c.Write(ops...)
		writes += len(ops)
		if i%10 == 0 {
			slow.Next()
		}
	}
	slow.UntilRevision(last)
	quick.UntilRevision(last)
	if len(quick.Events) != writes {
		c.Errorf("P3: %d changes were written, %d events came", writes, len(quick.Events))
	}
	c.WantTruth(slow)
	c.WantTruth(quick)
}

func deletes(c *Case) {
	at := c.Write(put("a", Value{Units: 1, Labels: map[string]string{"k": "v"}}), put("b", Value{Units: 1}))
	all, some := c.Watch(), c.Watch(filter("data.total.units > 0"))
	all.UntilRevision(at)
	some.UntilRevision(at)
	all.Want(startedSnapshot, did(entered, "a", at), did(entered, "b", at), "snapshot_end")
	some.Want(startedSnapshot, did(entered, "a", at), did(entered, "b", at), "snapshot_end")
	gone := c.Delete("a")
	again := c.Delete("a") // is not there: no change
	if again != gone {
		c.Errorf("a second delete has the revision %d, after %d", again, gone)
	}
	next := c.Put("b", Value{Units: 2})
	for _, rd := range []*Reader{all, some} {
		rd.UntilRevision(next)
		rd.Want(did(deleted, "a", gone), did(updated, "b", next)) // Fold checks what a DELETED holds
		c.WantTruth(rd)
	}
}

func labels(c *Case) {
	at := c.Put("a", Value{Units: 1, Labels: map[string]string{"team": "red", "x": "1"}})
	all := c.Watch()
	red := c.Watch(filter("labels.team == 'red'"))
	masked := c.Watch(mask(statusPath))
	changed := c.Watch(delta)
	all.UntilRevision(at)
	red.UntilRevision(at)
	masked.UntilRevision(at)
	changed.UntilRevision(at)
	for _, rd := range []*Reader{all, red, masked, changed} {
		rd.said = nil
	}
	at = c.Put("a", Value{Units: 1, Labels: map[string]string{"team": "blue"}})
	for _, rd := range []*Reader{all, masked, changed} {
		rd.UntilRevision(at)
		rd.Want(did(updated, "a", at))
		c.WantTruth(rd)
	}
	red.UntilRevision(at)
	red.Want(did(exited, "a", at))
	c.WantTruth(red)
}

func namesThatDoNotExistYet(c *Case) {
	c.Put("other", Value{Units: 1})
	rd := c.Watch(names(c.name("a")), everyChange)
	rd.UntilKind(SnapshotEnd)
	rd.Want(startedSnapshot, "snapshot_end")
	c.Put("other", Value{Units: 2})
	one := c.Put("a", Value{Units: 1})
	two := c.Delete("a")
	c.Put("other", Value{Units: 3})
	three := c.Put("a", Value{Units: 2})
	rd.UntilRevision(three)
	rd.Want(did(created, "a", one), did(deleted, "a", two), did(created, "a", three))
	rd.Cut()
	c.Put("other", Value{Units: 4})
	four := c.Put("a", Value{Units: 3})
	rd.Resume(c.Transport)
	rd.UntilRevision(four)
	rd.Want(startedResumed, did(updated, "a", four))
	c.WantTruth(rd)
}

func severalNames(c *Case) {
	at := c.Write(put("a", Value{Units: 1}), put("b", Value{Units: 1}), put("c", Value{Units: 1}))
	some := func(r *watchroutev1.WatchRequest) { r.Names = []string{c.name("c"), c.name("a"), c.name("d")} }
	rd := c.Watch(some, filter("data.total.units > 0"))
	rd.UntilKind(SnapshotEnd)
	rd.Want(startedSnapshot, did(entered, "a", at), did(entered, "c", at), "snapshot_end")
	at = c.Write(put("a", Value{Units: 2}), put("b", Value{Units: 2}), put("d", Value{Units: 2}))
	out := c.Put("c", Value{Units: -1})
	rd.UntilRevision(out)
	rd.Want(did(updated, "a", at), did(created, "d", at), did(exited, "c", out))
	c.WantTruth(rd)
}

func watchFromNow(c *Case) {
	c.Put("a", Value{Units: 1})
	rd := c.Watch(fromNow)
	// A poll is opened by reading.
	first := make(chan *Message, 1)
	go func() {
		defer close(first)
		if m, err := rd.Try(); err != nil {
			c.Error(err)
		} else {
			first <- m
		}
	}()
	c.Node.AwaitWatches(1)
	if !c.Kit.Poll {
		if m := <-first; m == nil || m.Mode != watchroutev1.Started_NOW {
			c.Fatalf("the first message is %v", m)
		}
	}
	one := c.Put("b", Value{Units: 1})
	two := c.Put("a", Value{Units: 2})
	<-first
	rd.UntilRevision(two)
	rd.Want(startedNow, did(created, "b", one), did(updated, "a", two))
}

func watchAfterRevision(c *Case) {
	c.exists()
	one := c.Put("a", Value{Units: 1})
	two := c.Put("b", Value{Units: 1})
	three := c.Put("a", Value{Units: 2})
	gone := c.Delete("b")
	rd := c.Watch(after(one), everyChange)
	rd.UntilRevision(gone)
	rd.Want(startedResumed, did(created, "b", two), did(updated, "a", three), did(deleted, "b", gone))
	latest := c.Watch(after(two))
	latest.UntilRevision(gone)
	latest.Want(startedResumed, did(updated, "a", three), did(deleted, "b", gone))
	next := c.Put("c", Value{Units: 1})
	head := c.Watch(after(gone))
	head.UntilRevision(next)
	head.Want(startedResumed, did(created, "c", next))
	begin := c.Watch(after(0))
	begin.UntilRevision(next)
	c.WantTruth(begin)
}

func createdAnew(c *Case) {
	c.Put("a", Value{Units: 1})
	rd := c.Watch(everyChange, delta)
	rd.UntilKind(SnapshotEnd)
	c.Delete("a")
	at := c.Put("a", Value{Units: 1})
	rd.UntilRevision(at)
	before, anew := rd.Events[0].Resource, rd.Events[len(rd.Events)-1].Resource
	if anew.UID == before.UID || anew.ETag == before.ETag || anew.CreateRevision != at {
		c.Errorf("before %+v, anew %+v", before, anew)
	}
	// Deleted and created in one reading: no delta can tell it.
	rd.Cut()
	c.Delete("a")
	at = c.Put("a", Value{Units: 2})
	rd.Resume(c.Transport)
	rd.UntilRevision(at)
	c.WantTruth(rd)
	latest := c.Watch(delta)
	latest.UntilKind(SnapshotEnd)
	latest.Cut()
	c.Delete("a")
	at = c.Put("a", Value{Units: 2, Place: "x"})
	latest.Resume(c.Transport)
	latest.UntilRevision(at)
	if e := latest.Events[len(latest.Events)-1]; e.Updated != nil {
		c.Errorf("a resource that was created anew comes as the delta %+v", e)
	}
	c.WantTruth(latest)
}

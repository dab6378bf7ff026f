package transporttest

import (
	"slices"
	"time"
)

// Shapes are the scenarios about what an event carries, and when it comes.
var Shapes = []Scenario{
	{Name: "P6 a change outside of the mask is no event, and yet the token moves", Run: maskHides, Both: true},
	{Name: "P6 a change outside of the filter is no event, and yet the token moves", Run: filterHides},
	{Name: "contract: a delta carries what changed and nothing else", Run: deltaCarries, Both: true},
	{Name: "contract: a delta under a filter, and after a resume", Run: deltaUnderFilter, Both: true},
	{Name: "contract: entering, changing and leaving a filter are told by their causes", Run: causes, Both: true},
	{Name: "P6 a quiet watch gets bookmarks within its heartbeat, whose tokens resume", Run: bookmarks},
	{Name: "P6 min_interval gathers what comes in between", Run: gathers, On: func(k Kit) bool { return !k.Poll }},
	{Name: "P3 min_interval does not hold up a change after quiet", Run: quietIsPrompt, On: func(k Kit) bool { return !k.Poll }},
}

func maskHides(c *Case) {
	at := c.Put("a", Value{Status: pending, Units: 1, Customer: "7"})
	rd := c.Watch(mask(statusPath), everyChange, heartbeat(time.Second))
	rd.UntilRevision(at)
	rd.Want(startedSnapshot, did(entered, "a", at), "snapshot_end")
	if got, want := rd.State[c.name("a")].Data, (Value{Status: pending}).JSON(c.name("a"), statusPath); got != want {
		c.Errorf("got %s, want %s", got, want)
	}
	hidden := c.Put("a", Value{Status: pending, Units: 2, Customer: "8"})
	rd.UntilRevision(hidden)
	rd.Want()
	rd.Resume(c.Transport)
	seen := c.Put("a", Value{Status: shipped, Units: 2})
	rd.UntilRevision(seen)
	rd.Want(startedResumed, did(updated, "a", seen))
	c.WantTruth(rd)
	// In a catch-up too.
	rd.Cut()
	c.Put("a", Value{Status: shipped, Units: 3})
	b := c.Put("b", Value{Units: 3})
	rd.Resume(c.Transport)
	rd.UntilRevision(b)
	rd.Want(startedResumed, did(created, "b", b))
	c.WantTruth(rd)
	gone := c.Delete("a")
	rd.UntilRevision(gone)
	rd.Want(did(deleted, "a", gone))
}

func filterHides(c *Case) {
	at := c.Write(put("a", Value{Customer: "7"}), put("b", Value{Customer: "8"}))
	rd := c.Watch(filter(ofCustomer("7")), heartbeat(time.Second))
	rd.UntilRevision(at)
	rd.Want(startedSnapshot, did(entered, "a", at), "snapshot_end")
	hidden := c.Put("b", Value{Customer: "8", Units: 1})
	rd.UntilRevision(hidden)
	hidden = c.Delete("b")
	rd.UntilRevision(hidden)
	rd.Want()
	rd.Resume(c.Transport)
	seen := c.Put("b", Value{Customer: "7"})
	rd.UntilRevision(seen)
	rd.Want(startedResumed, did(created, "b", seen))
}

// lastDelta checks what the last event carries: all of v where no paths are given,
// otherwise the paths of it.
func (c *Case) lastDelta(rd *Reader, id string, base uint64, v Value, paths ...string) {
	c.Helper()
	e := &rd.Events[len(rd.Events)-1]
	want := v.JSON(c.name(id))
	if paths != nil {
		want = v.JSON(c.name(id), paths...)
		if c.Collection == ordersCollection {
			paths = slices.Clone(paths)
			for i := range paths {
				paths[i] = jsonPath(paths[i])
			}
			slices.Sort(paths)
		}
	}
	if !slices.Equal(e.Updated, paths) || paths != nil && e.Base != base || e.Resource.Data != want {
		c.Errorf("%v carries %v of base %d: %s\nwant %v of base %d: %s", e, e.Updated, e.Base, e.Resource.Data, paths, base, want)
	}
}

func deltaCarries(c *Case) {
	v := Value{Customer: "7", Status: pending, Units: 1, Place: "here"}
	at := c.Put("a", v)
	rd := c.Watch(delta)
	rd.UntilRevision(at)
	c.lastDelta(rd, "a", 0, v)
	next := func(change func(*Value), paths ...string) {
		c.Helper()
		before := at
		change(&v)
		at = c.Put("a", v)
		rd.UntilRevision(at)
		c.lastDelta(rd, "a", before, v, paths...)
		c.WantTruth(rd)
	}
	next(func(v *Value) { v.Status = shipped }, "status")
	next(func(v *Value) { v.Units = 2 }, "total.units")
	next(func(v *Value) { v.Customer = ""; v.Units = 3 }, "customer_id", "total.units")
	next(func(v *Value) { v.Customer = "9" }, "customer_id")
	next(func(v *Value) { v.Place = "" }, "location")
	next(func(v *Value) { v.Place = "there"; v.Status = 0 }, "location", "status")
	at = c.Delete("a")
	rd.UntilRevision(at)
	at = c.Put("a", v)
	rd.UntilRevision(at)
	c.lastDelta(rd, "a", 0, v)
	c.WantTruth(rd)
	// Under a mask only what it selects.
	masked := c.Watch(delta, mask(statusPath, unitsPath))
	masked.UntilRevision(at)
	before := at
	v.Customer, v.Units = "10", 5
	at = c.Put("a", v)
	masked.UntilRevision(at)
	c.lastDelta(masked, "a", before, v, unitsPath)
	c.WantTruth(masked)
}

func deltaUnderFilter(c *Case) {
	v := Value{Customer: "7", Units: 1}
	at := c.Put("a", v)
	rd := c.Watch(delta, filter(ofCustomer("7")))
	rd.UntilRevision(at)
	before := at
	v.Units = 2
	at = c.Put("a", v)
	rd.UntilRevision(at)
	c.lastDelta(rd, "a", before, v, unitsPath)
	v.Customer = "8"
	at = c.Put("a", v)
	rd.UntilRevision(at)
	v.Customer, v.Units = "7", 3
	at = c.Put("a", v)
	rd.UntilRevision(at)
	c.lastDelta(rd, "a", 0, v) // it entered: whole
	rd.Cut()
	before = at
	v.Units = 4
	c.Put("a", v)
	v.Status = shipped
	at = c.Put("a", v)
	rd.Resume(c.Transport)
	rd.UntilRevision(at)
	c.WantTruth(rd)
	if e := &rd.Events[len(rd.Events)-1]; e.Updated == nil || e.Base < before {
		c.Errorf("%v after a resume has %v of base %d", e, e.Updated, e.Base)
	}
	// It left and came again while nobody read.
	rd.Cut()
	v.Customer = "8"
	c.Put("a", v)
	v.Customer, v.Place = "7", "back"
	at = c.Put("a", v)
	rd.Resume(c.Transport)
	rd.UntilRevision(at)
	c.WantTruth(rd)
}

func causes(c *Case) {
	at := c.Put("a", Value{Customer: "7"})
	rd := c.Watch(filter(ofCustomer("7")), everyChange)
	rd.UntilRevision(at)
	rd.said = nil
	b := c.Put("b", Value{Customer: "7"})
	a1 := c.Put("a", Value{Customer: "7", Units: 1})
	out := c.Put("a", Value{Customer: "8"})
	c.Put("a", Value{Customer: "9"})
	in := c.Put("a", Value{Customer: "7"})
	gone := c.Delete("a")
	out2 := c.Put("b", Value{Customer: "8"})
	c.Delete("b")
	again := c.Put("b", Value{Customer: "7"})
	rd.UntilRevision(again)
	rd.Want(did(created, "b", b), did(updated, "a", a1), did(exited, "a", out), did(entered, "a", in), did(deleted, "a", gone),
		did(exited, "b", out2), did(created, "b", again))
	c.WantTruth(rd)
}

func bookmarks(c *Case) {
	at := c.Put("a", Value{Customer: "7"})
	rd := c.Watch(filter(ofCustomer("7")), heartbeat(time.Second))
	limit := rd.Next().SilenceLimit
	if limit != 2*time.Second {
		c.Errorf("the silence limit is %v", limit)
	}
	rd.UntilRevision(at)
	// The machine may be busy: most of the bookmarks must come in time.
	late, last := 0, time.Now()
	for range 3 {
		m := rd.UntilKind(Bookmark)
		if now := time.Now(); now.Sub(last) > limit {
			late++
			last = now
		} else {
			last = now
		}
		if m.Token == "" || m.Revision != at {
			c.Errorf("the bookmark %v; nothing happened after %d", m, at)
		}
	}
	if late > 1 {
		c.Errorf("P6: %d of 3 bookmarks came after the silence limit", late)
	}
	past := c.Put("b", Value{Customer: "8"})
	rd.UntilRevision(past)
	rd.said = nil
	rd.Cut()
	b := c.Put("b", Value{Customer: "7"})
	rd.Resume(c.Transport)
	rd.UntilRevision(b)
	rd.Want(startedResumed, did(entered, "b", b))
}

func gathers(c *Case) {
	const interval = time.Second
	at := c.Put("a", Value{Units: 1})
	rd := c.Watch(minInterval(interval))
	rd.UntilRevision(at)
	for attempt := range 10 {
		rd.said, rd.Events = nil, nil
		began := time.Now()
		first := c.Put("a", Value{Units: 10*attempt + 2})
		rd.UntilRevision(first)
		c.Put("a", Value{Units: 10*attempt + 3})
		third := c.Put("a", Value{Units: 10*attempt + 4})
		b := c.Put("b", Value{Units: 10*attempt + 4})
		wrote := time.Since(began)
		rd.UntilRevision(b)
		took := time.Since(began)
		if wrote > interval/2 {
			continue // the machine is too busy to tell
		}
		if took < interval {
			c.Errorf("two deliveries within %v", took)
		}
		cause := updated
		if attempt == 0 {
			cause = created
		}
		rd.Want(did(updated, "a", first), did(updated, "a", third), did(cause, "b", b))
		if got := rd.Events[1].Coalesced; got != 1 {
			c.Errorf("one change was folded, %d is said", got)
		}
		return
	}
	c.Log("the machine was too busy every time")
}

func quietIsPrompt(c *Case) {
	at := c.Put("a", Value{Units: 1})
	rd := c.Watch(minInterval(time.Hour))
	rd.UntilRevision(at)
	at = c.Put("a", Value{Units: 2})
	rd.UntilRevision(at) // and not in an hour
}

package transporttest

import (
	"fmt"
	"strings"
	"testing"
)

// RunPairs checks P5 for every ordered pair of transports, each with itself too: a
// watch is cut off on the one and goes on with the same token on the other, exactly.
func RunPairs(t *testing.T, kits []Kit) {
	n := StartNode(t, Options{RingBytes: 256 << 10})
	transports := make([]Transport, len(kits))
	for i, kit := range kits {
		transports[i] = kit.New(t, n, Dialer{})
	}
	// The group ends when its parallel parts have ended.
	t.Run("from", func(t *testing.T) {
		for i, from := range kits {
			for j, to := range kits {
				t.Run(from.Name+" to "+to.Name, func(t *testing.T) {
					t.Parallel()
					c := NewCase(t, n, from, ordersCollection).On(from, transports[i])
					handOver(c, fmt.Sprintf("%d-%d", i, j), transports[j], (i+j)%2 == 0)
				})
			}
		}
	})
}

// handOver lets one customer's watch go from the case's transport to another one.
// Nobody else writes that customer's orders.
func handOver(c *Case, customer string, to Transport, every bool) {
	id := func(text string) string { return text + "." + customer }
	v := func(units int) Value { return Value{Customer: customer, Units: units} }
	changes := []requestChange{filter(ofCustomer(customer))}
	if every {
		changes = append(changes, everyChange)
	}
	at := c.Write(put(id("a"), v(1)), put(id("b"), v(1)))
	rd := c.Watch(changes...)
	rd.UntilRevision(at)
	rd.Want(startedSnapshot, did(entered, id("a"), at), did(entered, id("b"), at), "snapshot_end")
	seen := c.Put(id("a"), v(2))
	rd.UntilRevision(seen)
	rd.Want(did(updated, id("a"), seen))
	rd.Cut()

	batch := c.Write(put(id("b"), v(2)), put(id("c"), v(1)))
	gone := c.Delete(id("a"))
	left := c.Put(id("b"), Value{Customer: "nobody"})
	rd.Resume(to)
	rd.UntilRevision(left)
	live := c.Put(id("d"), v(1))
	rd.UntilRevision(live)
	if every {
		rd.Want(startedResumed, did(updated, id("b"), batch), did(created, id("c"), batch), did(deleted, id("a"), gone),
			did(exited, id("b"), left), did(created, id("d"), live))
	} else {
		// What was folded is up to the server; what is told of a name last is not.
		last := map[string]string{}
		for _, said := range rd.said[1:] {
			_, what, _ := strings.Cut(said, " ")
			name, _, _ := strings.Cut(what, "@")
			last[name] = said
		}
		want := map[string]string{id("a"): did(deleted, id("a"), gone), id("b"): did(exited, id("b"), left),
			id("c"): did(created, id("c"), batch), id("d"): did(created, id("d"), live)}
		if rd.said[0] != startedResumed || fmt.Sprint(last) != fmt.Sprint(want) {
			c.Errorf("said %q, want %v", rd.said, want)
		}
	}
	c.WantTruth(rd)
	rd.Close()
}

// RunTour checks P1 to P5 for a watch that is handed from transport to transport
// along every ordered pair, while others write, and that sees each change.
func RunTour(t *testing.T, kits []Kit) {
	t.Parallel()
	n := StartNode(t, Options{RingBytes: 64 << 10})
	transports := make([]Transport, len(kits))
	for i, kit := range kits {
		transports[i] = kit.New(t, n, Dialer{})
	}
	tour := circuit(len(kits))
	c := NewCase(t, n, kits[tour[0]], ordersCollection).On(kits[tour[0]], transports[tour[0]])
	every, latest := c.Watch(everyChange), c.Watch(delta, mask(unitsPath, "customer_id"))
	every.UntilKind(SnapshotEnd)
	latest.UntilKind(SnapshotEnd)
	changes := map[string]bool{}
	var last uint64
	for i, stop := range tour[1:] {
		for k := range 1 + i%3 {
			ids := []string{fmt.Sprintf("a%d", i%4), fmt.Sprintf("b%d", k), fmt.Sprintf("c%d", i%7)}[:1+(i+k)%3]
			var ops []Op
			for _, id := range ids {
				ops = append(ops, put(id, Value{Customer: fmt.Sprint(k), Units: 10*i + k + 1, Place: pad(100)}))
			}
			last = c.Write(ops...)
			for _, id := range ids {
				changes[fmt.Sprintf("%s@%d", c.name(id), last)] = true
			}
		}
		for _, rd := range []*Reader{every, latest} {
			for range 1 + (i+len(rd.said))%3 { // perhaps not all of it
				if rd.Token == "" || rd.Revision < last {
					rd.Next()
				}
			}
			rd.Resume(transports[stop])
		}
	}
	every.UntilRevision(last)
	latest.UntilRevision(last)
	for i := range every.Events {
		r := &every.Events[i].Resource
		delete(changes, fmt.Sprintf("%s@%d", r.Name, r.Revision))
	}
	for change := range changes {
		t.Errorf("P3: %s was never told", change)
	}
	if len(every.Resets)+len(latest.Resets) > 0 {
		t.Errorf("P5: resets on the tour: %v, %v", every.Resets, latest.Resets)
	}
	c.WantTruth(every)
	c.WantTruth(latest)
}

// circuit goes along every ordered pair of n once (Hierholzer's way).
func circuit(n int) []int {
	next := make([]int, n) // of each: the pairs before it are used
	stack, out := []int{0}, []int{}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		if next[at] == at {
			next[at]++ // not with itself
		}
		if next[at] >= n {
			out = append(out, at)
			stack = stack[:len(stack)-1]
			continue
		}
		stack = append(stack, next[at])
		next[at]++
	}
	return out
}

package transporttest

import (
	"fmt"
	"runtime"
	"testing"
)

// RunMemory checks P12: stalled readers pin no memory that grows with what is
// written. What they hold is what is freed when they are closed.
func RunMemory(t *testing.T, kits []Kit) {
	const (
		ring    = 1 << 20
		value   = 64 << 10
		changes = 500 // 32 MB, several times as much as JSON and in the readers' views
		each    = 2
	)
	n := StartNode(t, Options{RingBytes: ring, WriteBuffer: narrow.WriteBuffer, Dir: t.TempDir()})
	var stalled []*Reader
	var c *Case
	for _, kit := range kits {
		if kit.Poll {
			continue
		}
		c = NewCase(t, n, kit, ordersCollection).slowly()
		for range each {
			stalled = append(stalled, c.Watch(everyChange))
		}
	}
	for i := range changes {
		c.Put(fmt.Sprintf("a%d", i%10), Value{Units: i + 1, Place: pad(value)})
	}
	with := liveHeap()
	for _, rd := range stalled {
		rd.Close()
	}
	n.AwaitWatches(0)
	without := liveHeap()
	held := with - without
	t.Logf("%d stalled readers hold %d KiB, of %d KiB that were written", len(stalled), held>>10, changes*value>>10)
	// Each may have one budget of frames in its connection, and the frames of the
	// ring's newest batch are kept whatever their size.
	if most := int64(len(stalled))*(512<<10) + 4*ring; held > most {
		t.Errorf("P12: %d stalled readers hold %d KiB, more than %d", len(stalled), held>>10, most>>10)
	}
}

// liveHeap is what is reachable.
func liveHeap() int64 {
	var m runtime.MemStats
	for range 3 { // finalizers take another round
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

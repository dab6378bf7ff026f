package conformance

import (
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/process"
)

// errNoClock says that this machine gives no process a time of day of its own.
var errNoClock = errors.New("no process can be given a time of day of its own")

// WallClock is the time of day of one process, which can be set while it runs, as an
// administrator or NTP sets that of a machine. The monotonic clock goes on as it does.
//
// A process asks for the time in code that the kernel maps into it (the vDSO). Before its first instruction that code is
// exchanged for one that asks the kernel and adds an offset. So it is the same for each language, Go's
// runtime included, which asks no library that could be replaced.
type WallClock struct {
	offsets []int64 // where the process keeps them
	pid     int
	ahead   time.Duration
}

// NewWallClock makes one. The test is skipped where there is no such thing.
func NewWallClock(t testing.TB) *WallClock {
	t.Helper()
	c := &WallClock{}
	// What cannot be had is found out with a process that costs nothing.
	try := exec.Command("true")
	err := c.start(try)
	if err == nil {
		err = try.Wait()
	}
	if err != nil {
		process.Skip(t, "%v: %v", errNoClock, err)
	}
	return &WallClock{}
}

// Now is what the process takes for the time.
func (c *WallClock) Now() time.Time { return time.Now().Add(c.ahead) }

// Set sets how far the process's time is ahead of that of the machine.
func (c *WallClock) Set(t testing.TB, ahead time.Duration) {
	t.Helper()
	if err := c.set(ahead); err != nil {
		t.Fatalf("the driver's clock cannot be set: %v", err)
	}
	c.ahead = ahead
}

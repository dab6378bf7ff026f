package watchroute

import (
	"math"
	"testing"
	"time"
)

func TestRenewIn_IsAheadOfTheEnd(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		time.Hour:                    54 * time.Minute,
		50 * time.Second:             45 * time.Second,
		30 * time.Second:             25 * time.Second,
		10 * time.Second:             5 * time.Second,
		10*time.Second - 2:           5*time.Second - 1,
		4 * time.Second:              2 * time.Second,
		1500 * time.Millisecond:      time.Second,
		1:                            time.Second,
		0:                            0,
		-time.Hour:                   0,
		math.MinInt64:                0,
		math.MaxInt64 / 10 * 10:      math.MaxInt64 / 10 * 9,
		time.Duration(math.MaxInt64): math.MaxInt64 / 10 * 9,
	} {
		if got, plan := renewIn(left); got != want || plan != (left > 0) {
			t.Errorf("%v left: renewed in %v (%v), not %v", left, got, plan, want)
		}
	}
}

package hub

import (
	"testing"
	"time"
)

// TestPass_OthersWorkIsNotItsOwn: a pass that took long, because something else computed,
// is not followed by a long rest.
func TestPass_OthersWorkIsNotItsOwn(t *testing.T) {
	began := time.Now().Add(-time.Second)
	for watches, most := range map[int]time.Duration{10: 0, 20: time.Millisecond, 100: 5 * time.Millisecond, 400: maxPause, 100_000: maxPause} {
		if rest := (Pass{began: began}).Rest(watches); rest != most {
			t.Errorf("after a second, with %d watches: %v, want %v", watches, rest, most)
		}
	}
	// One that is as long as the process computes: as if it had computed for ever.
	p := Pass{began: time.Now(), computed: -time.Hour}
	if rest := p.Rest(20); rest > 2*20*pausePerWatch {
		t.Errorf("with 20 watches: %v", rest)
	}
}

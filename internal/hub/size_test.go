package hub

import (
	"testing"
	"unsafe"
)

// TestSizes keeps what every idle watch takes from growing unseen: it is multiplied by
// their number.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name       string
		size, most uintptr
	}{
		{"Watch", unsafe.Sizeof(Watch{}), 384},
		{"view", unsafe.Sizeof(view{}), 224},
		{"group", unsafe.Sizeof(group{}), 48},
	} {
		t.Logf("%s: %d bytes", c.name, c.size)
		if c.size > c.most {
			t.Errorf("%s has %d bytes, more than %d", c.name, c.size, c.most)
		}
	}
}

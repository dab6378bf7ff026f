package access

import "testing"

func TestCache_ForgetsWhatWasAskedForLeastRecently(t *testing.T) {
	c := newCache[int](3, 100)
	key := func(b byte) digest { return digest{b} }
	for b := range byte(3) {
		c.put(key(b), int(b), 1)
	}
	c.get(key(0))
	c.put(key(3), 3, 1)
	if _, ok := c.get(key(1)); ok {
		t.Error("kept the one that nobody asked for")
	}
	for _, b := range []byte{0, 2, 3} {
		if v, ok := c.get(key(b)); !ok || v != int(b) {
			t.Errorf("%d: got %d, %v", b, v, ok)
		}
	}
	c.put(key(4), 4, 99)
	if len(c.found) != 2 || c.order.Len() != 2 || c.used != 100 {
		t.Errorf("%d entries of %d bytes", len(c.found), c.used)
	}
	c.put(key(4), 5, 1)
	c.remove(key(3))
	c.remove(key(3))
	if v, _ := c.get(key(4)); v != 5 || c.used != 1 {
		t.Errorf("got %d; %d bytes", v, c.used)
	}
	c.put(key(5), 5, 101) // too large for all
	if len(c.found) != 0 || c.used != 0 {
		t.Errorf("%d entries of %d bytes", len(c.found), c.used)
	}
}

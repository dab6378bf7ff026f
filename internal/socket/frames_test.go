package socket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// clientFrame makes a frame as a client does, or may not.
func clientFrame(first byte, payload string) []byte {
	b := AppendFrame(nil, 0, []byte(payload))
	head := len(b) - len(payload)
	b[0] = first
	b[1] |= 0x80
	key := [4]byte{0xDE, 0xAD, 0xBE, 0xEF}
	b = slices.Insert(b, head, key[:]...)
	for i := range payload {
		b[head+4+i] ^= key[i%4]
	}
	return b
}

// feed gives the frames, and what went wrong, of a stream that comes in pieces, each
// as long as next says.
func feed(f *Frames, stream []byte, next func() int) (frames []string, err error) {
	stream = bytes.Clone(stream)
	for len(stream) > 0 && err == nil {
		n := min(max(next(), 1), len(stream))
		err = f.Feed(stream[:n], func(opcode byte, fin bool, payload []byte) error {
			frames = append(frames, fmt.Sprintf("%d %v %q", opcode, fin, payload))
			return nil
		})
		clear(stream[:n]) // as the next read does
		stream = stream[n:]
	}
	return frames, err
}

func TestFrames_AreTheSameHoweverTheyCome(t *testing.T) {
	long, longer := strings.Repeat("long", 100), strings.Repeat("longer", 15000)
	stream := slices.Concat(
		clientFrame(0x80|OpPing, ""), clientFrame(0x80|OpPong, "0123456789"), clientFrame(OpText, "frag"),
		clientFrame(0x80|OpPing, strings.Repeat("x", 125)), clientFrame(0x80|OpContinuation, "ment"),
		clientFrame(0x80|OpBinary, long), clientFrame(0x80|OpBinary, longer), clientFrame(0x80|OpClose, "\x03\xe8bye"),
	)
	want := []string{
		`9 true ""`, `10 true "0123456789"`, `1 false "frag"`, fmt.Sprintf("9 true %q", strings.Repeat("x", 125)), `0 true "ment"`,
		fmt.Sprintf("2 true %q", long), fmt.Sprintf("2 true %q", longer), `8 true "\x03\xe8bye"`,
	}
	for _, n := range []int{1, 2, 3, 5, 7, 13, 100, 4096, len(stream)} {
		f := &Frames{MaxPayload: 90000}
		got, err := feed(f, stream, func() int { return n })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %d frames, %v", n, len(got), err)
		}
		if f.partial != nil {
			t.Errorf("in pieces of %d: something is kept between frames", n)
		}
	}
}

func TestFrames_RefuseWhatAClientMayNotSend(t *testing.T) {
	head := func(first byte, length uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, length), 1, 2, 3, 4)
	}
	for name, c := range map[string]struct {
		stream []byte
		code   uint16
	}{
		"reserved bit 1":              {clientFrame(0xC0|OpText, "x"), 1002},
		"reserved bit 2":              {clientFrame(0xA0|OpText, "x"), 1002},
		"reserved bit 3":              {clientFrame(0x90|OpText, "x"), 1002},
		"unknown opcode":              {clientFrame(0x83, "x"), 1002},
		"unknown control opcode":      {clientFrame(0x8B, "x"), 1002},
		"not masked":                  {AppendFrame(nil, OpPing, []byte("x")), 1002},
		"ping in fragments":           {clientFrame(OpPing, "x"), 1002},
		"ping of 126 bytes":           {clientFrame(0x80|OpPing, strings.Repeat("x", 126)), 1002},
		"negative length":             {head(0x80|OpText, 1<<63), 1002},
		"enormous length":             {head(0x80|OpText, 1<<63-1), 1009},
		"one byte too many":           {clientFrame(0x80|OpText, strings.Repeat("x", 201)), 1009},
		"refused before it is there":  {head(0x80|OpText, 201), 1009},
		"refused by its first byte":   {[]byte{0xF1}, 1002},
		"refused by its second byte":  {[]byte{0x80 | OpPing, 5}, 1002},
		"the largest frame is fine":   {clientFrame(0x80|OpText, strings.Repeat("x", 200)), 0},
		"a frame that is yet to come": {head(0x80|OpText, 200), 0},
	} {
		for _, n := range []int{1, 3, len(c.stream)} {
			_, err := feed(&Frames{MaxPayload: 200}, c.stream, func() int { return n })
			if code := codeOf(err); code != c.code {
				t.Errorf("%s, in pieces of %d: %v, want code %d", name, n, err, c.code)
			}
		}
	}
	if _, err := feed(new(Frames), clientFrame(0x80|OpPing, strings.Repeat("x", 125)), func() int { return 200 }); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}

func codeOf(err error) uint16 {
	if fe := (*FrameError)(nil); errors.As(err, &fe) {
		return fe.Code
	}
	return 0
}

func TestFrames_StopWhenToldTo(t *testing.T) {
	enough, calls := errors.New("enough"), 0
	err := new(Frames).Feed(slices.Concat(clientFrame(0x89, ""), clientFrame(0x89, "")), func(byte, bool, []byte) error {
		calls++
		return enough
	})
	if err != enough || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestFrames_ReadWhatIsWholeWithoutAllocating(t *testing.T) {
	stream := slices.Concat(clientFrame(0x89, "ping"), clientFrame(0x8A, ""))
	var f Frames
	buf := make([]byte, len(stream))
	on := func(byte, bool, []byte) error { return nil }
	if n := testing.AllocsPerRun(100, func() {
		copy(buf, stream)
		if err := f.Feed(buf, on); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAppendFrame_SizesAreTheShortest(t *testing.T) {
	for size, head := range map[int]string{
		0: "\x81\x00", 125: "\x81\x7d", 126: "\x81\x7e\x00\x7e", 65535: "\x81\x7e\xff\xff", 65536: "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
	} {
		payload := bytes.Repeat([]byte("p"), size)
		if got := AppendFrame([]byte("before"), OpText, payload); string(got) != "before"+head+string(payload) {
			t.Errorf("%d bytes begin with %x", size, got[6:min(len(got), 16)])
		}
	}
}

func TestCloseCode_ReadsWhatMayBeSent(t *testing.T) {
	of := func(code uint16, reason string) []byte {
		return append(binary.BigEndian.AppendUint16(nil, code), reason...)
	}
	for _, c := range []struct {
		payload []byte
		code    uint16
		reason  string
		refused uint16
	}{
		{nil, 1005, "", 0},
		{[]byte{3}, 0, "", 1002},
		{of(1000, ""), 1000, "", 0},
		{of(1001, "see you, André"), 1001, "see you, André", 0},
		{of(1003, ""), 1003, "", 0},
		{of(1007, ""), 1007, "", 0},
		{of(1014, ""), 1014, "", 0},
		{of(3000, ""), 3000, "", 0},
		{of(4999, ""), 4999, "", 0},
		{of(0, ""), 0, "", 1002},
		{of(999, ""), 0, "", 1002},
		{of(1004, ""), 0, "", 1002},
		{of(1005, ""), 0, "", 1002},
		{of(1006, ""), 0, "", 1002},
		{of(1015, ""), 0, "", 1002},
		{of(2999, ""), 0, "", 1002},
		{of(5000, ""), 0, "", 1002},
		{of(1000, "\xff"), 0, "", 1007},
	} {
		code, reason, err := CloseCode(c.payload)
		if code != c.code || reason != c.reason || codeOf(err) != c.refused || (err != nil) != (c.refused != 0) {
			t.Errorf("%x: %d %q %v", c.payload, code, reason, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(clientFrame(0x89, "ping"), clientFrame(0x01, "a"), clientFrame(0x80, "b")), []byte{1, 2, 3})
	f.Add(clientFrame(0x82, strings.Repeat("x", 300)), []byte{1, 0, 200})
	f.Add(clientFrame(0x88, "\x03\xe8"), []byte{})
	f.Add([]byte{0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6}, []byte{9})
	f.Add([]byte{0x89, 0x01, 0x00}, []byte{1})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		whole := Frames{MaxPayload: 1000}
		want, wantErr := feed(&whole, stream, func() int { return len(stream) })
		pieces := Frames{MaxPayload: 1000}
		i := -1
		got, err := feed(&pieces, stream, func() int {
			if i++; len(cuts) == 0 {
				return 1
			}
			return int(cuts[i%len(cuts)])
		})
		if !slices.Equal(got, want) || codeOf(err) != codeOf(wantErr) || (err == nil) != (wantErr == nil) {
			t.Fatalf("in one piece %q, %v; in pieces %q, %v", want, wantErr, got, err)
		}
		if err == nil && !bytes.Equal(whole.partial, pieces.partial) {
			t.Fatalf("kept %x, in pieces %x", whole.partial, pieces.partial)
		}
		if len(pieces.partial) > 1000+14 {
			t.Fatalf("kept %d bytes", len(pieces.partial))
		}
	})
}

package transporttest

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// sseEvent is an event as EventSource dispatches it.
type sseEvent struct {
	typ    string
	data   string
	lastID string // EventSource.lastEventId
	hasID  bool   // this event has an id of its own, be it empty
}

// sseReader reads an event stream as the WHATWG's HTML standard, section 9.2.6,
// tells a browser to.
type sseReader struct {
	in     *bufio.Reader
	lastID string
	retry  int // milliseconds; -1: not set
	begun  bool
}

func newSSEReader(r io.Reader) *sseReader { return &sseReader{in: bufio.NewReader(r), retry: -1} }

// next gives the next event. Events that are cut off by the end are dropped.
func (r *sseReader) next() (*sseEvent, error) {
	e := &sseEvent{lastID: r.lastID}
	var data []string
	for {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		if line == "" {
			r.lastID = e.lastID
			if data == nil {
				e, data = &sseEvent{lastID: r.lastID}, nil
				continue
			}
			e.data = strings.Join(data, "\n")
			if e.typ == "" {
				e.typ = "message"
			}
			return e, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.typ = value
		case "data":
			data = append(data, value)
		case "id":
			if !strings.Contains(value, "\x00") {
				e.lastID, e.hasID = value, true
			}
		case "retry":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil {
				r.retry = int(n)
			}
		}
	}
}

// line gives a line, which ends with LF, CR or both.
func (r *sseReader) line() (string, error) {
	if !r.begun {
		r.begun = true
		if bom, _ := r.in.Peek(3); string(bom) == "\xef\xbb\xbf" {
			_, _ = r.in.Discard(3)
		}
	}
	var b strings.Builder
	for {
		c, err := r.in.ReadByte()
		if err != nil {
			return "", err
		}
		switch c {
		case '\n':
			return b.String(), nil
		case '\r':
			if next, err := r.in.Peek(1); err == nil && next[0] == '\n' {
				_, _ = r.in.Discard(1)
			}
			return b.String(), nil
		}
		b.WriteByte(c)
	}
}

package hostile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// largestFrame is what any server takes (RFC 9113, section 4.2).
const largestFrame = 16 << 10

// HTTP2 is a connection of HTTP/2 on which anything may be sent. Its methods may be
// called at once, but for those of Framer, which Write guards.
type HTTP2 struct {
	Conn net.Conn
	// Goaway is the code of the last GOAWAY, -1 before one came.
	Goaway atomic.Int64
	// Resets counts streams that the server reset.
	Resets atomic.Int64
	// Closed is closed when the server has closed the connection.
	Closed chan struct{}

	out *bufio.Writer
	fr  *http2.Framer
	enc *hpack.Encoder
	buf bytes.Buffer

	mu      sync.Mutex
	wake    *sync.Cond
	window  int64 // of the connection
	initial int64 // of a new stream
	streams map[uint32]int64
	answers map[uint32]*Answer
	next    uint32
	dead    bool
}

// Answer is what came on a stream.
type Answer struct {
	Header map[string]string // its trailers, too; to be read once it is done
	Done   chan struct{}     // is closed when the stream or the connection ends
}

// OpenHTTP2 says the preface and answers what must be answered until the connection
// ends.
func OpenHTTP2(conn net.Conn) (*HTTP2, error) {
	h := &HTTP2{Conn: conn, Closed: make(chan struct{}), out: bufio.NewWriterSize(conn, 64<<10), window: 65535, initial: 65535,
		streams: map[uint32]int64{}, answers: map[uint32]*Answer{}, next: 1}
	h.Goaway.Store(-1)
	h.wake = sync.NewCond(&h.mu)
	h.fr = http2.NewFramer(h.out, bufio.NewReader(conn))
	h.fr.AllowIllegalWrites = true
	h.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.enc = hpack.NewEncoder(&h.buf)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	if err := h.Write(func(fr *http2.Framer) error { return fr.WriteSettings() }); err != nil {
		return nil, err
	}
	go h.read()
	return h, nil
}

// Close resets the connection and waits until nothing reads it.
func (h *HTTP2) Close() {
	Abort(h.Conn)
	<-h.Closed
}

// Write lets f write frames, and sends them.
func (h *HTTP2) Write(f func(*http2.Framer) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writeLocked(f)
}

func (h *HTTP2) writeLocked(f func(*http2.Framer) error) error {
	if err := f(h.fr); err != nil {
		return err
	}
	return h.out.Flush()
}

func (h *HTTP2) read() {
	defer func() {
		h.mu.Lock()
		h.dead = true
		for id := range h.answers {
			h.endLocked(id)
		}
		h.wake.Broadcast()
		h.mu.Unlock()
		close(h.Closed)
	}()
	for {
		f, err := h.fr.ReadFrame()
		if err != nil {
			if streamErr := (http2.StreamError{}); errors.As(err, &streamErr) {
				continue
			}
			return
		}
		h.mu.Lock()
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
					for id := range h.streams { // section 6.9.2
						h.streams[id] += int64(v) - h.initial
					}
					h.initial = int64(v)
					h.wake.Broadcast()
				}
				_ = h.writeLocked(func(fr *http2.Framer) error { return fr.WriteSettingsAck() })
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = h.writeLocked(func(fr *http2.Framer) error { return fr.WritePing(true, f.Data) })
			}
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				h.window += int64(f.Increment)
			} else {
				h.streams[f.StreamID] += int64(f.Increment)
			}
			h.wake.Broadcast()
		case *http2.GoAwayFrame:
			h.Goaway.Store(int64(f.ErrCode))
		case *http2.RSTStreamFrame:
			h.Resets.Add(1)
			h.endLocked(f.StreamID)
		case *http2.MetaHeadersFrame:
			if a := h.answers[f.StreamID]; a != nil {
				for _, field := range f.Fields {
					a.Header[field.Name] = field.Value
				}
			}
			if f.StreamEnded() {
				h.endLocked(f.StreamID)
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				h.endLocked(f.StreamID)
			}
		}
		h.mu.Unlock()
	}
}

func (h *HTTP2) endLocked(id uint32) {
	if a := h.answers[id]; a != nil {
		close(a.Done)
		delete(h.answers, id)
	}
	h.wake.Broadcast()
}

// Block encodes a header block. It uses the connection's table.
func (h *HTTP2) Block(fields ...[2]string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.blockLocked(fields))
}

func (h *HTTP2) blockLocked(fields [][2]string) []byte {
	h.buf.Reset()
	for _, f := range fields {
		_ = h.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // into a buffer
	}
	return h.buf.Bytes()
}

// Call are the fields of a call of gRPC.
func Call(method string, more ...[2]string) [][2]string {
	return append([][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/watchroute.v1.ResourceService/" + method}, {":authority", "x"},
		{"content-type", "application/grpc"}, {"te", "trailers"}}, more...)
}

// Open opens a stream with a header.
func (h *HTTP2) Open(end bool, fields ...[2]string) (id uint32, a *Answer, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.openLocked(end, h.blockLocked(fields))
}

// Wide opens a stream without a body whose header ends with the same entry of HPACK's
// table again and again, and says how many bytes that took.
func (h *HTTP2) Wide(fields [][2]string, entry byte, times int) (n int, a *Answer, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	block := append(bytes.Clone(h.blockLocked(fields)), bytes.Repeat([]byte{0x80 | entry}, times)...)
	_, a, err = h.openLocked(false, block)
	return len(block), a, err
}

func (h *HTTP2) openLocked(end bool, block []byte) (id uint32, a *Answer, err error) {
	if h.dead {
		return 0, nil, net.ErrClosed
	}
	id, a = h.next, &Answer{map[string]string{}, make(chan struct{})}
	h.next += 2
	h.streams[id] += h.initial
	h.answers[id] = a
	return id, a, h.writeLocked(func(fr *http2.Framer) error {
		head, rest := block[:min(largestFrame, len(block))], block[min(largestFrame, len(block)):]
		err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndHeaders: len(rest) == 0, EndStream: end})
		for err == nil && len(rest) > 0 {
			part := rest[:min(largestFrame, len(rest))]
			rest = rest[len(part):]
			err = fr.WriteContinuation(id, len(rest) == 0, part)
		}
		return err
	})
}

// Data sends data as fast as the server's windows let it, until the context ends or the
// stream does.
func (h *HTTP2) Data(ctx context.Context, id uint32, data []byte, end bool) error {
	stop := context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.wake.Broadcast()
	})
	defer stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		for h.answers[id] != nil && !h.dead && ctx.Err() == nil && len(data) > 0 && min(h.window, h.streams[id]) <= 0 {
			h.wake.Wait()
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case h.dead, h.answers[id] == nil:
			return net.ErrClosed
		}
		n := min(int64(len(data)), largestFrame, h.window, h.streams[id])
		last := int64(len(data)) == n
		if err := h.writeLocked(func(fr *http2.Framer) error { return fr.WriteData(id, end && last, data[:n]) }); err != nil {
			return err
		}
		h.window -= n
		h.streams[id] -= n
		if data = data[n:]; last {
			return nil
		}
	}
}

// Message puts a message of gRPC into its frame.
func Message(compressed bool, length int, data []byte) []byte {
	head := []byte{0}
	if compressed {
		head[0] = 1
	}
	return append(binary.BigEndian.AppendUint32(head, uint32(length)), data...)
}

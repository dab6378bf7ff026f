package socket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// The opcodes of frames (RFC 6455, section 5.2).
const (
	OpContinuation = 0x0
	OpText         = 0x1
	OpBinary       = 0x2
	OpClose        = 0x8
	OpPing         = 0x9
	OpPong         = 0xA
)

// maxControl is the largest payload of a control frame.
const maxControl = 125

// The close codes of what Frames and CloseCode refuse (RFC 6455, section 7.4.1).
const (
	closeProtocol = 1002
	closeNoStatus = 1005
	closeInvalid  = 1007
	closeTooBig   = 1009
)

// FrameError is what a client may not send, and the code to close the connection with.
type FrameError struct {
	Code   uint16
	Reason string
}

// Error implements error.
func (e *FrameError) Error() string { return fmt.Sprintf("socket: %s (%d)", e.Reason, e.Code) }

func refuse(code uint16, format string, args ...any) error {
	return &FrameError{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// Frames reads the frames of a WebSocket client from any pieces of its stream. The
// zero value is ready. Only a frame that is not complete is kept, and grows as it
// comes; between frames nothing is. What goes beyond a frame is the caller's: the
// order of fragments, and whether text is UTF-8.
type Frames struct {
	// MaxPayload of one frame in bytes; 125, which a control frame may have, if less.
	MaxPayload int

	partial []byte // the beginning of a frame; nil between frames
}

// Feed reads the next piece of the stream and calls on for each frame that is now
// complete, with the payload unmasked, which is valid during the call only. It
// changes data. The first error ends it, be it a *FrameError or on's own: then
// nothing more may be fed.
func (f *Frames) Feed(data []byte, on func(opcode byte, fin bool, payload []byte) error) error {
	for len(data) > 0 {
		frame, kept := data, f.partial != nil
		if kept {
			frame = f.partial
		}
		h, err := f.parse(frame)
		if err != nil {
			return err
		}
		if kept {
			// No more than is known to belong to the frame.
			n := min(h.size-len(f.partial), len(data))
			f.partial = append(f.partial, data[:n]...)
			data = data[n:]
			if h, err = f.parse(f.partial); err != nil {
				return err
			}
			frame = f.partial
		}
		if len(frame) < h.size {
			if !kept {
				f.partial, data = bytes.Clone(data), nil
			}
			continue
		}
		if kept {
			f.partial = nil
		} else {
			data = data[h.size:]
		}
		payload := frame[h.payload:h.size:h.size]
		unmask(payload, h.key)
		if err := on(h.opcode, h.fin, payload); err != nil {
			return err
		}
	}
	return nil
}

// header is the beginning of a frame.
type header struct {
	opcode  byte
	fin     bool
	key     [4]byte
	payload int // where it begins
	size    int // of the frame, or of the part that must be there to know it
}

// parse reads the beginning of a frame, as far as it is there, and refuses as early
// as it can. If the frame is complete, b is as long as size, or longer.
func (f *Frames) parse(b []byte) (h header, err error) {
	if h.size = 2; len(b) < 1 {
		return h, nil
	}
	h.fin, h.opcode = b[0]&0x80 != 0, b[0]&0x0F
	control := h.opcode >= OpClose
	switch {
	case b[0]&0x70 != 0:
		return h, refuse(closeProtocol, "a reserved bit is set")
	case h.opcode > OpPong || h.opcode > OpBinary && !control:
		return h, refuse(closeProtocol, "opcode %d is unknown", h.opcode)
	case control && !h.fin:
		return h, refuse(closeProtocol, "a control frame is in fragments")
	}
	if len(b) < 2 {
		return h, nil
	}
	length, wide := uint64(b[1]&0x7F), 0
	switch {
	case b[1]&0x80 == 0:
		return h, refuse(closeProtocol, "a client's frame is not masked")
	case control && length > maxControl:
		return h, refuse(closeProtocol, "a control frame has more than %d bytes", maxControl)
	case length == 126:
		wide = 2
	case length == 127:
		wide = 8
	}
	if h.size = 2 + wide; len(b) < h.size {
		return h, nil
	}
	switch wide {
	case 2:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 8:
		length = binary.BigEndian.Uint64(b[2:])
	}
	limit := max(f.MaxPayload, maxControl)
	switch {
	case length>>63 != 0:
		return h, refuse(closeProtocol, "a length has its highest bit set")
	case length > uint64(limit):
		return h, refuse(closeTooBig, "a frame has %d bytes, of at most %d", length, limit)
	}
	h.payload = h.size + copy(h.key[:], b[h.size:])
	if h.size += len(h.key); len(b) < h.size {
		return h, nil
	}
	h.size += int(length)
	return h, nil
}

// unmask undoes the masking of a payload, which is the same as doing it.
func unmask(b []byte, key [4]byte) {
	word := uint64(binary.LittleEndian.Uint32(key[:]))
	word |= word << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i%4]
	}
}

// AppendFrame appends a whole frame of a server, which is not masked.
func AppendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	switch n := len(payload); {
	case n <= maxControl:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// CloseCode reads the payload of a close frame. An empty one is fine: 1005, which
// means that no code was given, and must not be sent. Errors are *FrameError.
func CloseCode(payload []byte) (code uint16, reason string, err error) {
	switch len(payload) {
	case 0:
		return closeNoStatus, "", nil
	case 1:
		return 0, "", refuse(closeProtocol, "a close frame has half a code")
	}
	if code = binary.BigEndian.Uint16(payload); !sendable(code) {
		return 0, "", refuse(closeProtocol, "close code %d may not be sent", code)
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", refuse(closeInvalid, "the reason of a close is not UTF-8")
	}
	return code, string(payload[2:]), nil
}

// sendable tells which close codes may be in a frame: those that are registered, but
// for the three that stand for what no frame said, and those free for applications.
func sendable(code uint16) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

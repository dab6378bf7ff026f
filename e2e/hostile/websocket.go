package hostile

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
)

// The opcodes of RFC 6455.
const (
	OpContinuation = 0x0
	OpText         = 0x1
	OpClose        = 0x8
	OpPing         = 0x9

	Final      = 0x80
	Compressed = 0x40 // RSV1, which permessage-deflate uses
)

// WebSocket is a connection on which any frame may be sent.
type WebSocket struct {
	net.Conn
	In     *bufio.Reader
	Answer *http.Response // to the handshake
}

// UpgradeWebSocket makes the handshake. Where the answer is another one than 101 the
// connection is not usable.
func UpgradeWebSocket(conn net.Conn, path string, header http.Header) (*WebSocket, error) {
	q := "GET " + path + " HTTP/1.1\r\nHost: " + conn.RemoteAddr().String() + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	for name, values := range header {
		for _, v := range values {
			q += name + ": " + v + "\r\n"
		}
	}
	if _, err := io.WriteString(conn, q+"\r\n"); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	return &WebSocket{conn, in, answer}, nil
}

// FrameHeader is that of a client's frame whose mask is zeros: it changes nothing.
func FrameHeader(first byte, length uint64) []byte {
	b := []byte{first}
	switch {
	case length < 126:
		b = append(b, 0x80|byte(length))
	case length < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), length)
	}
	return append(b, 0, 0, 0, 0)
}

// Frame is a whole frame.
func Frame(first byte, payload []byte) []byte {
	return append(FrameHeader(first, uint64(len(payload))), payload...)
}

// CloseCode reads until the server closes, and gives its code; an error where it said
// none.
func (w *WebSocket) CloseCode() (code int, err error) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(w.In, head[:]); err != nil {
			return 0, err
		}
		length := uint64(head[1] & 0x7f)
		switch length {
		case 126:
			var b [2]byte
			_, err = io.ReadFull(w.In, b[:])
			length = uint64(binary.BigEndian.Uint16(b[:]))
		case 127:
			var b [8]byte
			_, err = io.ReadFull(w.In, b[:])
			length = binary.BigEndian.Uint64(b[:])
		}
		if err != nil {
			return 0, err
		}
		if length > 16<<20 {
			return 0, fmt.Errorf("hostile: a frame of %d bytes", length)
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(w.In, payload); err != nil {
			return 0, err
		}
		if head[0]&0xf == OpClose {
			if len(payload) < 2 {
				return 1005, nil
			}
			return int(binary.BigEndian.Uint16(payload)), nil
		}
	}
}

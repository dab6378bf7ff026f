package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// wsBinary is the opcode of a binary message.
const wsBinary = 2

// wsConn is a small WebSocket client: one buffer, no goroutine of its own.
type wsConn struct {
	nc  net.Conn
	br  *bufio.Reader
	buf []byte

	mu  sync.Mutex
	out []byte
}

func dialWS(addr, path, subprotocol string) (*wsConn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", path, addr, subprotocol)
	br := bufio.NewReader(nc)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		nc.Close()
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		nc.Close()
		return nil, errors.New(res.Status)
	}
	return &wsConn{nc: nc, br: br}, nil
}

// read returns the next data message; it is valid until the next read.
func (w *wsConn) read() ([]byte, error) {
	w.buf = w.buf[:0]
	for {
		var h [8]byte
		if _, err := io.ReadFull(w.br, h[:2]); err != nil {
			return nil, err
		}
		fin, op, n := h[0]&0x80 != 0, h[0]&15, uint64(h[1]&0x7f)
		switch n {
		case 126:
			if _, err := io.ReadFull(w.br, h[:2]); err != nil {
				return nil, err
			}
			n = uint64(binary.BigEndian.Uint16(h[:]))
		case 127:
			if _, err := io.ReadFull(w.br, h[:8]); err != nil {
				return nil, err
			}
			n = binary.BigEndian.Uint64(h[:])
		}
		at := len(w.buf)
		if need := at + int(n); cap(w.buf) < need {
			w.buf = append(make([]byte, 0, need), w.buf...)
		}
		w.buf = w.buf[:at+int(n)]
		if _, err := io.ReadFull(w.br, w.buf[at:]); err != nil {
			return nil, err
		}
		switch op {
		case 8:
			return nil, fmt.Errorf("closed by the server: %q", w.buf[at:])
		case 9:
			if err := w.write(10, w.buf[at:]); err != nil {
				return nil, err
			}
			w.buf = w.buf[:at]
			continue
		}
		if fin {
			return w.buf, nil
		}
	}
}

// write sends one frame, masked with zero, which leaves the payload as it is.
func (w *wsConn) write(op byte, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := append(w.out[:0], 0x80|op)
	switch n := len(b); {
	case n < 126:
		o = append(o, 0x80|byte(n))
	case n < 1<<16:
		o = binary.BigEndian.AppendUint16(append(o, 0x80|126), uint16(n))
	default:
		o = binary.BigEndian.AppendUint64(append(o, 0x80|127), uint64(n))
	}
	w.out = append(append(o, 0, 0, 0, 0), b...)
	_, err := w.nc.Write(w.out)
	return err
}

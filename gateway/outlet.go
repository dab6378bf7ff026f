package gateway

import (
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
)

// outlet writes to a client that may stop reading. Every write has a deadline, and
// none is left set: the next request on the connection has its own time.
type outlet struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	buf     []byte
}

func (g *Gateway) outlet(w http.ResponseWriter) *outlet {
	return &outlet{w: w, rc: http.NewResponseController(w), timeout: g.cfg.WriteTimeout}
}

// open sends the header of a stream, before there is anything to stream.
func (o *outlet) open(contentType string) error {
	streamHeader(o.w.Header(), contentType)
	return o.within(func() error {
		o.w.WriteHeader(http.StatusOK)
		return o.rc.Flush()
	})
}

func streamHeader(h http.Header, contentType string) {
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
}

// write sends bytes, all the way. A client that does not take them in time is a
// slow reader.
func (o *outlet) write(b []byte) error {
	return o.within(func() error {
		if _, err := o.w.Write(b); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
			return err
		}
		return o.rc.Flush()
	})
}

// frames sends frames in one write.
func (o *outlet) frames(frames []hub.Frame) error {
	if len(frames) == 1 {
		return o.write(frames[0].Bytes)
	}
	const keep = 16 << 10 // an idle watch keeps no more
	o.buf = o.buf[:0]
	for i := range frames {
		o.buf = append(o.buf, frames[i].Bytes...)
	}
	err := o.write(o.buf)
	if cap(o.buf) > keep {
		o.buf = nil
	}
	return err
}

// within bounds the time of what f writes. After a failure the deadline stays: the
// connection is over, and must not hold up whoever closes it.
func (o *outlet) within(f func() error) error {
	began := time.Now()
	if err := o.rc.SetWriteDeadline(began.Add(o.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if err := f(); err != nil {
		if time.Since(began) >= o.timeout {
			err = os.ErrDeadlineExceeded // HTTP/2 only says that the stream is over
		}
		return lost(err, o.timeout)
	}
	if err := o.rc.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// lostError is the end of a connection: nothing more can be sent.
type lostError struct{ why *resource.Error }

// Error implements error.
func (e *lostError) Error() string { return e.why.Error() }

// Unwrap lets the reason be found.
func (e *lostError) Unwrap() error { return e.why }

// lost says why a write failed: the client did not read, or it left.
func lost(err error, timeout time.Duration) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &lostError{resource.Errorf(resource.SlowReader, "the client took nothing for %v", timeout).Because(err)}
	}
	return &lostError{resource.Errorf(resource.Cancelled, "the client left").Because(err)}
}

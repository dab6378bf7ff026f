package hostile

import (
	"io"
	"net"
	"sync"
)

// Relay stands between clients and a server. When it freezes, nothing goes through any
// more, and nobody is told: as where a client's machine has lost its network.
type Relay struct {
	net.Listener
	from, to string
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	gate  sync.Cond
	state int // 0: forwards; 1: frozen; 2: closed
}

// NewRelay starts one that reaches the server from an address. Close ends it.
func NewRelay(from, to string) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{Listener: l, from: from, to: to}
	r.gate.L = &r.mu
	r.running.Go(r.accept)
	return r, nil
}

func (r *Relay) accept() {
	for {
		in, err := r.Accept()
		if err != nil {
			return
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(r.from)}}
		out, err := d.Dial("tcp", r.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		r.mu.Lock()
		if r.conns = append(r.conns, in, out); r.state == 2 {
			Abort(in)
			Abort(out)
		}
		r.mu.Unlock()
		r.running.Go(func() { r.pump(out, in) })
		r.running.Go(func() { r.pump(in, out) })
	}
}

func (r *Relay) pump(to, from net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		r.mu.Lock()
		for r.state == 1 {
			r.gate.Wait()
		}
		r.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err == io.EOF {
				_ = to.Close()
			}
			return
		}
	}
}

// Freeze lets nothing through from now on.
func (r *Relay) Freeze() { r.set(1) }

func (r *Relay) set(state int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = state
	r.gate.Broadcast()
}

// Close ends it and its connections.
func (r *Relay) Close() error {
	err := r.Listener.Close()
	r.mu.Lock()
	r.state = 2
	for _, c := range r.conns {
		Abort(c)
	}
	r.gate.Broadcast()
	r.mu.Unlock()
	r.running.Wait()
	return err
}

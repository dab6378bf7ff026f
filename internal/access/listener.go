package access

import (
	"net"
	"net/netip"
)

// LimitConnections gives a listener that closes at once what an address opens beyond a
// number of connections in a second, with bursts of ten times as many: there is no
// protocol yet in which to say why. exempt are proxies, behind which many are; limited is
// told of each connection.
func LimitConnections(l net.Listener, perSecond float64, exempt []netip.Prefix, limited func(limit string)) net.Listener {
	if perSecond == 0 {
		return l
	}
	return &limitedListener{Listener: l, attempts: buckets{rate: perSecond}, exempt: exempt, limited: limited}
}

type limitedListener struct {
	net.Listener
	attempts buckets
	exempt   []netip.Prefix
	limited  func(limit string)
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.allow(c.RemoteAddr()) {
			return c, err
		}
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // nothing of it stays behind, not even TIME_WAIT
		}
		_ = c.Close()
		l.limited("connections")
	}
}

func (l *limitedListener) allow(from net.Addr) bool {
	a, ok := from.(*net.TCPAddr)
	if !ok {
		return true
	}
	address := Plain(a.AddrPort().Addr())
	for _, n := range l.exempt {
		if n.Contains(address) {
			return true
		}
	}
	return l.attempts.take(subnet(address)) == 0
}

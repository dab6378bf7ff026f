package brokers

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"
)

// freePorts finds ports on which a broker can listen, below the range from which the
// kernel gives ports to clients: so nobody takes them while the broker is away.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range 1000 {
		port := 15000 + rand.IntN(15000)
		if slices.Contains(ports, port) {
			continue
		}
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		_ = l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("brokers: no free port found")
	return nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// talk connects, says something, and hands over the answer.
func talk(addr string, say []byte, hear func(io.Reader) error) error {
	conn, err := net.DialTimeout("tcp", addr, probeTime)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(probeTime)) // fails where the next ones do
	if _, err := conn.Write(say); err != nil {
		return err
	}
	return hear(conn)
}

// ask is talk that gives the first n bytes of the answer.
func ask(addr string, say []byte, n int) ([]byte, error) {
	answer := make([]byte, n)
	err := talk(addr, say, func(r io.Reader) error {
		_, err := io.ReadFull(r, answer)
		return err
	})
	return answer, err
}

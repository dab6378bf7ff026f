package brokers

import (
	"fmt"
	"io"
	"net"
	"time"
)

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

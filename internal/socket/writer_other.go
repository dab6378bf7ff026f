//go:build !unix

package socket

// Writer is made for Unix: a connection of another system cannot be written to
// without waiting.
type Writer struct{}

// TryWrite finds every connection full, whatever bufs are: what there is to write is
// for Conn.Write.
func (*Writer) TryWrite(*Conn, [][]byte) (n int, err error) { return 0, nil }

func (c *Conn) writeAll(bufs [][]byte) error {
	for _, b := range bufs {
		if _, err := c.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

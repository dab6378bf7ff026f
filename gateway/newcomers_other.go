//go:build !unix

package gateway

import "net"

// readyReader is for systems that can be asked whether there is something to read.
type readyReader struct{}

func (*readyReader) of(net.Conn) {}

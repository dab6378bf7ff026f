package client

import (
	"errors"
	"io"
)

// All makes one of each transport. Close ends them.
func All(target Target) (Transports, error) {
	grpc, err1 := NewGRPC(target)
	typed, err2 := NewTyped(target)
	session, err3 := NewSession(target)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	return Transports{grpc, typed, session, NewGRPCWeb(target), NewNDJSON(target), NewSSE(target),
		NewWebSocketJSON(target), NewWebSocketBinary(target), NewLongPoll(target)}, nil
}

// Transports is a list of transports.
type Transports []Transport

// Close closes what they hold.
func (all Transports) Close() error {
	var errs []error
	for _, t := range all {
		if c, ok := t.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

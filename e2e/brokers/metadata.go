package brokers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// known asks a Kafka for its metadata: an error unless the broker has joined the
// cluster and has the topic, where one is named. If create, a topic that is not there
// is made; it is in a later answer.
func known(addr, topic string, create bool) error {
	body := []byte{0, 3, 0, 4, 0, 0, 0, 1, 0, 0} // Metadata, version 4, correlation ID 1, no client ID
	if topic == "" {
		body = binary.BigEndian.AppendUint32(body, 0)
	} else {
		body = binary.BigEndian.AppendUint32(body, 1)
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(topic))), topic...)
	}
	if create {
		body = append(body, 1)
	} else {
		body = append(body, 0)
	}
	return talk(addr, append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...), func(r io.Reader) error {
		var size uint32
		if err := binary.Read(r, binary.BigEndian, &size); err != nil {
			return err
		}
		answer := make([]byte, size)
		if _, err := io.ReadFull(r, answer); err != nil {
			return err
		}
		m := metadata{Reader: bytes.NewReader(answer)}
		m.number32() // the correlation ID
		m.number32() // the throttle time
		brokers := m.number32()
		for range brokers {
			m.number32() // ID
			m.text()     // host
			m.number32() // port
			m.text()     // rack
		}
		m.text()     // the cluster's ID
		m.number32() // the controller
		topics := m.number32()
		var code int16
		if topics > 0 {
			code = m.number16()
		}
		switch {
		case m.err != nil:
			return fmt.Errorf("its metadata: %w", m.err)
		case brokers == 0:
			return errors.New("no broker has joined the cluster yet")
		case code != 0:
			return fmt.Errorf("the topic %s has Kafka's error %d", topic, code)
		}
		return nil
	})
}

// metadata reads what a Kafka answers, up to the first error.
type metadata struct {
	*bytes.Reader
	err error
}

func (m *metadata) number32() (n int32) {
	m.err = errors.Join(m.err, binary.Read(m, binary.BigEndian, &n))
	return n
}

func (m *metadata) number16() (n int16) {
	m.err = errors.Join(m.err, binary.Read(m, binary.BigEndian, &n))
	return n
}

// text skips a string; -1 is the length of one that is not there.
func (m *metadata) text() {
	if n := m.number16(); n > 0 {
		_, err := m.Seek(int64(n), io.SeekCurrent)
		m.err = errors.Join(m.err, err)
	}
}

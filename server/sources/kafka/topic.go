package kafka

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/watchroute/watchroute/server/sources"
)

// topic is one as it was when the source began.
type topic struct {
	id         [16]byte
	partitions int32
}

// unknown is the id where a broker tells none, as before Kafka 2.8.
var unknown [16]byte

// String gives the form that is kept, ID/PARTITIONS.
func (t topic) String() string {
	return base64.RawURLEncoding.EncodeToString(t.id[:]) + "/" + strconv.Itoa(int(t.partitions))
}

// parseTopic reads what String wrote.
func parseTopic(text string) (t topic, err error) {
	id, partitions, _ := strings.Cut(text, "/")
	raw, err := base64.RawURLEncoding.DecodeString(id)
	n, bad := strconv.ParseInt(partitions, 10, 32)
	if err != nil || bad != nil || len(raw) != len(t.id) {
		return topic{}, sources.Permanent(fmt.Errorf("the position %q is of no topic", text))
	}
	copy(t.id[:], raw)
	t.partitions = int32(n)
	return t, nil
}

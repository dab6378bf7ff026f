package changelog

import (
	"encoding/binary"
	"hash/fnv"
	"strconv"
	"time"
)

// Record is the state of one name after one change.
type Record struct {
	ID       string // within its collection
	Revision uint64
	// Prev is the revision of the change of this name before, 0 if there is none
	// or if that was a tombstone that was no longer kept. That record may meanwhile
	// have been dropped.
	Prev   uint64
	Absent bool // a tombstone: the fields below are empty, but for Time

	UID            string // 16 characters
	CreateRevision uint64
	CreateTime     time.Time
	Time           time.Time // of this change; it never goes back within a collection
	Labels         map[string]string
	// Type is the full name of the value's message; empty for a JSON object.
	Type string
	// Data is the value: the message in protobuf's wire form, encoded
	// deterministically, or the text of a JSON object.
	Data []byte
}

// Size is roughly what the record takes in memory, in bytes.
func (r *Record) Size() int {
	n := 160 + len(r.ID) + len(r.UID) + len(r.Type) + len(r.Data)
	for k, v := range r.Labels {
		n += 32 + len(k) + len(v)
	}
	return n
}

// ETag is a strong validator of the state: equal for the same record, different
// for any other record of the name, also in another epoch. It tells nothing of the
// value: who sees only a part of that sees the etag.
func (r *Record) ETag() string {
	h := fnv.New64a()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], r.Revision)
	h.Write(b[:])
	binary.BigEndian.PutUint64(b[:], uint64(r.Time.UnixNano()))
	h.Write(b[:])
	h.Write([]byte(r.UID))
	return strconv.FormatUint(h.Sum64(), 36)
}

// Change is what happened to one name: New after, Old before. Old is nil where
// the name did not exist, a tombstone counting as not existing. New may be a
// tombstone.
type Change struct {
	New *Record
	Old *Record
}

// Batch is what was written together, with one revision.
type Batch struct {
	Collection string
	Revision   uint64
	Time       time.Time
	Changes    []Change // at least one, no name twice, by id
}

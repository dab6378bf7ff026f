package store

import (
	"encoding/binary"
	"fmt"
)

// Every key begins with the number of its collection, big-endian, and one letter
// for the kind. Collection 0 holds what belongs to no collection.
//
//	0 'E'                      format, epoch
//	0 'C' name                 number of the collection
//	0 'K' key                  a mark
//	n 'H' revision id          the record: history
//	n 'I' revision id          flags, and the successor's revision if it has one
//	n 'L' id                   flags, and the newest revision of the name
//	n 'M' 'h'                  head
//	n 'M' 'f'                  floors
//	n 'Q' request id           what a write with this request id did
//	n 'T' time request id      the same by time, for expiry
const (
	kindEpoch   = 'E'
	kindCatalog = 'C'
	kindHistory = 'H'
	kindIndex   = 'I'
	kindLatest  = 'L'
	kindMeta    = 'M'
	kindMark    = 'K'
	kindRequest = 'Q'
	kindTime    = 'T'
)

type number uint32

func prefix(dst []byte, n number, kind byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(n)), kind)
}

func epochKey() []byte              { return prefix(nil, 0, kindEpoch) }
func catalogKey(name string) []byte { return append(prefix(nil, 0, kindCatalog), name...) }
func markKey(key string) []byte     { return append(prefix(nil, 0, kindMark), key...) }
func headKey(n number) []byte       { return append(prefix(nil, n, kindMeta), 'h') }
func floorsKey(n number) []byte     { return append(prefix(nil, n, kindMeta), 'f') }
func requestKey(n number, id string) []byte {
	return append(prefix(nil, n, kindRequest), id...)
}

func timeKey(n number, nanos int64, request string) []byte {
	k := binary.BigEndian.AppendUint64(prefix(nil, n, kindTime), uint64(nanos))
	return append(k, request...)
}

func latestKey(dst []byte, n number, id string) []byte {
	return append(prefix(dst, n, kindLatest), id...)
}

// changeKey is a key of kindHistory or kindIndex, which share their order.
func changeKey(dst []byte, n number, kind byte, revision uint64, id string) []byte {
	dst = binary.BigEndian.AppendUint64(prefix(dst, n, kind), revision)
	return append(dst, id...)
}

const (
	prefixLen = 4 + 1
	changeLen = prefixLen + 8
)

// splitChange takes a key of kindHistory or kindIndex apart.
func splitChange(key []byte) (revision uint64, id []byte, err error) {
	if len(key) < changeLen {
		return 0, nil, fmt.Errorf("%w: key %x", errCorrupt, key)
	}
	return binary.BigEndian.Uint64(key[prefixLen:]), key[changeLen:], nil
}

const flagAbsent = 1

// appendPointer encodes the value of kindIndex and kindLatest: flags and, where it
// is not 0, a revision.
func appendPointer(dst []byte, absent bool, revision uint64) []byte {
	var flags byte
	if absent {
		flags = flagAbsent
	}
	dst = append(dst, flags)
	if revision != 0 {
		dst = binary.BigEndian.AppendUint64(dst, revision)
	}
	return dst
}

func parsePointer(value []byte) (absent bool, revision uint64, err error) {
	switch len(value) {
	case 1:
	case 9:
		revision = binary.BigEndian.Uint64(value[1:])
	default:
		return false, 0, fmt.Errorf("%w: pointer %x", errCorrupt, value)
	}
	return value[0]&flagAbsent != 0, revision, nil
}

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
)

var errCorrupt = errors.New("the store is corrupt")

// The form of a record, after one byte of version and flags:
//
//	prev, and if not 0 the size of its encoding; time; unless absent:
//	uid, create revision, create time, [labels], [type], data to the end
//
// Its id and revision stand in the key. Numbers are varints, times fixed
// nanoseconds since 1970, texts have their length before them.
const (
	recordVersion = 1 << 4
	versionMask   = 0xf0
	hasLabels     = 1 << 1
	hasType       = 1 << 2
)

func appendRecord(dst []byte, r *changelog.Record, prevSize int) []byte {
	flags := byte(recordVersion)
	switch {
	case r.Absent:
		flags |= flagAbsent
	default:
		if len(r.Labels) > 0 {
			flags |= hasLabels
		}
		if r.Type != "" {
			flags |= hasType
		}
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, r.Prev)
	if r.Prev != 0 {
		dst = binary.AppendUvarint(dst, uint64(prevSize))
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Time.UnixNano()))
	if r.Absent {
		return dst
	}
	dst = appendText(dst, r.UID)
	dst = binary.AppendUvarint(dst, r.CreateRevision)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.CreateTime.UnixNano()))
	if flags&hasLabels != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(r.Labels)))
		if len(r.Labels) == 1 {
			for k, v := range r.Labels {
				dst = appendText(appendText(dst, k), v)
			}
		} else {
			for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
				dst = appendText(appendText(dst, k), r.Labels[k])
			}
		}
	}
	if flags&hasType != 0 {
		dst = appendText(dst, r.Type)
	}
	return append(dst, r.Data...)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// lineage is what compaction and walks down a name's history need of a record.
type lineage struct {
	absent   bool
	prev     uint64
	prevSize int
	nanos    int64
}

func decodeLineage(value []byte) (lineage, error) {
	d := decoder{in: value}
	l := d.lineage(d.flags())
	return l, d.err
}

// decodeRecord copies what it keeps of value.
func decodeRecord(id string, revision uint64, value []byte) (*changelog.Record, error) {
	d := decoder{in: value}
	flags := d.flags()
	l := d.lineage(flags)
	r := &changelog.Record{ID: id, Revision: revision, Prev: l.prev, Absent: l.absent, Time: fromNanos(l.nanos)}
	if r.Absent {
		if d.err == nil && len(d.in) > 0 {
			d.fail()
		}
		return r, d.err
	}
	r.UID = string(d.text())
	r.CreateRevision = d.uvarint()
	r.CreateTime = fromNanos(d.nanos())
	if flags&hasLabels != 0 {
		n := d.uvarint()
		if n == 0 || n > uint64(len(d.in)) { // each takes two bytes at least
			d.fail()
		}
		if d.err == nil {
			r.Labels = make(map[string]string, n)
		}
		for ; n > 0 && d.err == nil; n-- {
			k := string(d.text())
			r.Labels[k] = string(d.text())
		}
	}
	if flags&hasType != 0 {
		r.Type = string(d.text())
	}
	if d.err != nil {
		return nil, d.err
	}
	r.Data = bytes.Clone(d.in)
	return r, nil
}

func fromNanos(n int64) time.Time { return time.Unix(0, n).UTC() }

// decoder reads from in and remembers the first error, after which it gives zero
// values.
type decoder struct {
	in  []byte
	err error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = fmt.Errorf("%w: a record cannot be read", errCorrupt)
	}
	d.in = nil
}

func (d *decoder) flags() byte {
	if len(d.in) == 0 || d.in[0]&versionMask != recordVersion {
		d.fail()
		return 0
	}
	f := d.in[0]
	d.in = d.in[1:]
	return f
}

func (d *decoder) lineage(flags byte) lineage {
	l := lineage{absent: flags&flagAbsent != 0, prev: d.uvarint()}
	if l.prev != 0 {
		l.prevSize = int(d.uvarint())
	}
	l.nanos = d.nanos()
	return l
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.in)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.in = d.in[n:]
	return v
}

func (d *decoder) nanos() int64 {
	if len(d.in) < 8 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(d.in)
	d.in = d.in[8:]
	return int64(v)
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.in) {
		d.fail()
		return nil
	}
	b := d.in[:n]
	d.in = d.in[n:]
	return b
}

func (d *decoder) text() []byte {
	n := d.uvarint()
	if n > uint64(len(d.in)) {
		d.fail()
		return nil
	}
	return d.bytes(int(n))
}

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/watchroute/watchroute/internal/changelog"
)

// Request is what is remembered of a write with a request id.
type Request struct {
	Digest   [16]byte
	Time     time.Time
	Revision uint64
	// Records and Changes are as in changelog.Result. Records that come from the
	// disk lack labels, type and data.
	Records []*changelog.Record
	Changes []bool
}

// Request finds an earlier write by its request id; nil where there was none, or
// one that is older than Retention.RequestIDs.
func (g *Group) Request(collection, id string) (*Request, error) {
	c := g.s.all[collection]
	if c == nil {
		return nil, nil
	}
	r, err := g.findRequest(c, id)
	if r != nil && !r.Time.After(g.s.config.Now().Add(-g.s.config.Retention.RequestIDs)) {
		return nil, err
	}
	return r, err
}

func (g *Group) findRequest(c *collection, id string) (*Request, error) {
	if r, ok := g.request[name{c, id}]; ok {
		return r, nil
	}
	r, err := g.s.readRequest(requestKey(c.number, id))
	if err != nil {
		return nil, g.s.fail(err)
	}
	g.remember(c, id, r)
	return r, nil
}

// readRequest reads what is remembered under a key; nil where there is nothing, as there
// mostly is: Get would read a block of the lowest level to find that out, since it does
// not use the filters there.
func (s *Store) readRequest(key []byte) (r *Request, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.SeekPrefixGE(key) {
		return nil, it.Error()
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	return decodeRequest(value)
}

// PutRequest remembers what a write did.
func (g *Group) PutRequest(collection, id string, r *Request) error {
	c := g.collection(collection)
	old, err := g.findRequest(c, id) // one that is too old
	if err != nil {
		return err
	}
	if old != nil {
		_ = g.batch.Delete(timeKey(c.number, old.Time.UnixNano(), id), nil)
	}
	g.set(requestKey(c.number, id), appendRequest(nil, r))
	g.set(timeKey(c.number, r.Time.UnixNano(), id), nil)
	g.remember(c, id, r)
	return nil
}

func (g *Group) remember(c *collection, id string, r *Request) {
	if g.request == nil {
		g.request = map[name]*Request{}
	}
	g.request[name{c, id}] = r
}

const (
	requestVersion = 1

	opChanged = 1 << 0
	opExists  = 1 << 1 // has a record, which may be a tombstone
)

func appendRequest(dst []byte, r *Request) []byte {
	dst = append(append(dst, requestVersion), r.Digest[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Time.UnixNano()))
	dst = binary.AppendUvarint(dst, r.Revision)
	var value []byte
	for i, rec := range r.Records {
		var flags byte
		if r.Changes[i] {
			flags |= opChanged
		}
		if rec == nil {
			dst = append(dst, flags)
			continue
		}
		dst = append(dst, flags|opExists)
		dst = appendText(dst, rec.ID)
		dst = binary.AppendUvarint(dst, rec.Revision)
		bare := *rec
		bare.Labels, bare.Type, bare.Data = nil, "", nil
		value = appendRecord(value[:0], &bare, 0)
		dst = append(binary.AppendUvarint(dst, uint64(len(value))), value...)
	}
	return dst
}

func decodeRequest(value []byte) (*Request, error) {
	d := decoder{in: value}
	if v := d.bytes(1); len(v) == 0 || v[0] != requestVersion {
		return nil, fmt.Errorf("%w: a request cannot be read", errCorrupt)
	}
	r := &Request{}
	copy(r.Digest[:], d.bytes(len(r.Digest)))
	r.Time = fromNanos(d.nanos())
	r.Revision = d.uvarint()
	for len(d.in) > 0 {
		flags := d.bytes(1)[0]
		r.Changes = append(r.Changes, flags&opChanged != 0)
		if flags&opExists == 0 {
			r.Records = append(r.Records, nil)
			continue
		}
		id, revision := string(d.text()), d.uvarint()
		record := d.text()
		if d.err != nil {
			break
		}
		rec, err := decodeRecord(id, revision, record)
		if err != nil {
			return nil, err
		}
		r.Records = append(r.Records, rec)
	}
	if d.err != nil {
		return nil, d.err
	}
	return r, nil
}

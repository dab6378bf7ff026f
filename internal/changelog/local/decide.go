package local

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/store"
	"github.com/watchroute/watchroute/internal/resource"
)

// decision says what one write does, in a group that shows what those before it
// did. It changes nothing before it is put.
type decision struct {
	group *store.Group
	write changelog.Write
	now   time.Time

	batch *changelog.Batch // what it changes; nil: nothing
	// The answer to the writer: one of them.
	result  changelog.Result
	refused error
}

// take decides. An error is the store's and ends the group.
func (d *decision) take() error {
	w := d.write
	if w.RequestID != "" && !w.Afresh {
		earlier, err := d.group.Request(w.Collection, w.RequestID)
		if err != nil {
			return err
		}
		if earlier != nil {
			d.replay(earlier)
			return nil
		}
	}
	head, last := d.group.Head(w.Collection)
	batch := &changelog.Batch{Collection: w.Collection, Revision: head + 1, Time: fromClock(d.now, last)}
	d.result = changelog.Result{
		Records: make([]*changelog.Record, len(w.Ops)),
		Changes: make([]bool, len(w.Ops)),
	}
	for i := range w.Ops {
		old, err := d.group.Newest(w.Collection, w.Ops[i].ID)
		if err != nil {
			return err
		}
		d.result.Records[i] = old
		if old != nil && old.Absent {
			old = nil
		}
		if w.Guard != nil {
			d.refused = w.Guard(&w.Ops[i], old)
		}
		if d.refused == nil {
			d.refused = d.check(&w.Ops[i], old)
		}
		if d.refused != nil {
			return nil
		}
		r := next(&w.Ops[i], old, batch)
		if r == nil {
			continue
		}
		d.result.Records[i], d.result.Changes[i], d.result.Changed = r, true, true
		batch.Changes = append(batch.Changes, changelog.Change{New: r})
	}
	d.result.Revision, d.result.Time = head, batch.Time
	if d.result.Changed {
		slices.SortFunc(batch.Changes, func(a, b changelog.Change) int { return cmp.Compare(a.New.ID, b.New.ID) })
		d.batch, d.result.Revision = batch, batch.Revision
	}
	return nil
}

// put puts what was decided into the group, and appends what changes to batches.
func (d *decision) put(batches []*changelog.Batch) ([]*changelog.Batch, error) {
	if d.refused != nil || d.result.Replayed {
		return batches, nil
	}
	w := d.write
	d.group.Create(w.Collection)
	if d.batch != nil {
		if err := d.group.Put(d.batch); err != nil {
			return batches, err
		}
		batches = append(batches, d.batch)
	}
	if w.RequestID != "" {
		return batches, d.group.PutRequest(w.Collection, w.RequestID, &store.Request{
			Digest: w.Digest, Time: d.result.Time, Revision: d.result.Revision,
			Records: d.result.Records, Changes: d.result.Changes,
		})
	}
	return batches, nil
}

// fromClock is now, as it is written down, or last if the clock went back.
func fromClock(now, last time.Time) time.Time {
	now = time.Unix(0, now.UnixNano()).UTC()
	if now.Before(last) {
		return last
	}
	return now
}

// replay gives the earlier result. Where only the store has the values, Write
// fetches them.
func (d *decision) replay(earlier *store.Request) {
	if earlier.Digest != d.write.Digest {
		d.refused = resource.Errorf(resource.RequestIDReused, "the request id %q was used for another write", d.write.RequestID)
		return
	}
	d.result = changelog.Result{
		Revision: earlier.Revision, Time: earlier.Time, Replayed: true,
		Changed: slices.Contains(earlier.Changes, true),
		Records: slices.Clone(earlier.Records), Changes: slices.Clone(earlier.Changes),
	}
}

// check says whether an op's precondition holds for what is there; nil: nothing.
func (d *decision) check(op *changelog.Op, old *changelog.Record) error {
	name := resource.Name{Collection: resource.Shared(d.write.Collection), ID: op.ID}.String()
	fail := func(format string, args ...any) error {
		args = append([]any{name}, args...)
		err := resource.Errorf(resource.PreconditionFailed, "%s "+format, args...).With("name", name)
		if old == nil {
			return err.With("revision", "0")
		}
		return err.With("revision", strconv.FormatUint(old.Revision, 10)).With("etag", old.ETag())
	}
	c := op.If
	switch {
	case c == changelog.Precondition{}:
		return nil
	case c.MustNotExist && old != nil:
		return fail("exists, at revision %d", old.Revision)
	case old == nil && (c.MustExist || c.Revision != 0 || c.ETag != ""):
		return fail("does not exist")
	case c.Revision != 0 && c.Revision != old.Revision:
		return fail("is at revision %d, not %d", old.Revision, c.Revision)
	case c.ETag != "" && c.ETag != old.ETag():
		return fail("has another etag: it is at revision %d", old.Revision)
	}
	return nil
}

// next is the record that an op makes of what is there; nil where it changes
// nothing.
func next(op *changelog.Op, old *changelog.Record, b *changelog.Batch) *changelog.Record {
	r := &changelog.Record{ID: op.ID, Revision: b.Revision, Time: b.Time}
	if op.Delete {
		if old == nil {
			return nil
		}
		r.Absent = true
		return r
	}
	r.Labels, r.Type, r.Data = op.Labels, op.Type, op.Data
	if old == nil {
		r.UID, r.CreateRevision, r.CreateTime = newUID(), b.Revision, b.Time
		return r
	}
	if r.Type == old.Type && bytes.Equal(r.Data, old.Data) && maps.Equal(r.Labels, old.Labels) {
		return nil
	}
	r.UID, r.CreateRevision, r.CreateTime = old.UID, old.CreateRevision, old.CreateTime
	return r
}

var uidEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567")

func newUID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return uidEncoding.EncodeToString(b[:])
}

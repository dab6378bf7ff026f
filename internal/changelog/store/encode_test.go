package store

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/watchroute/watchroute/internal/changelog"
)

func drawRecord(t *rapid.T) *changelog.Record {
	text := rapid.StringN(0, 20, 60)
	r := &changelog.Record{
		ID:       "id",
		Revision: rapid.Uint64().Draw(t, "revision"),
		Prev:     rapid.Uint64().Draw(t, "prev"),
		Absent:   rapid.Bool().Draw(t, "absent"),
		Time:     time.Unix(0, rapid.Int64().Draw(t, "time")).UTC(),
	}
	if r.Absent {
		return r
	}
	r.UID = text.Draw(t, "uid")
	r.CreateRevision = rapid.Uint64().Draw(t, "create revision")
	r.CreateTime = time.Unix(0, rapid.Int64().Draw(t, "create time")).UTC()
	if labels := rapid.MapOfN(text, text, 0, 5).Draw(t, "labels"); len(labels) > 0 {
		r.Labels = labels
	}
	r.Type = text.Draw(t, "type")
	r.Data = rapid.SliceOf(rapid.Byte()).Draw(t, "data")
	return r
}

func TestRecord_IsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawRecord(t)
		size := rapid.IntRange(0, math.MaxInt).Draw(t, "prev size")
		value := appendRecord([]byte("before"), want, size)[len("before"):]
		got, err := decodeRecord(want.ID, want.Revision, value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		l, err := decodeLineage(value)
		if want.Prev == 0 {
			size = 0
		}
		if err != nil || l != (lineage{want.Absent, want.Prev, size, want.Time.UnixNano()}) {
			t.Fatalf("got %+v, %v, want %+v", l, err, want)
		}
		if again := appendRecord(nil, got, size); !bytes.Equal(again, value) {
			t.Fatalf("encoded again: %x, before %x", again, value)
		}
	})
}

func TestRequest_IsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &Request{Time: time.Unix(0, rapid.Int64().Draw(t, "time")).UTC(), Revision: rapid.Uint64().Draw(t, "revision")}
		copy(want.Digest[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "digest"))
		for range rapid.IntRange(0, 4).Draw(t, "ops") {
			var r *changelog.Record
			if rapid.Bool().Draw(t, "exists") {
				r = drawRecord(t)
			}
			want.Records = append(want.Records, r)
			want.Changes = append(want.Changes, rapid.Bool().Draw(t, "changed"))
		}
		got, err := decodeRequest(appendRequest(nil, want))
		for _, r := range want.Records {
			if r != nil {
				r.Labels, r.Type, r.Data = nil, "", nil
			}
		}
		if got != nil {
			for _, r := range got.Records {
				if r != nil && len(r.Data) == 0 {
					r.Data = nil
				}
			}
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

// FuzzDecode gives the decoders of what is on the disk anything: they give an
// error or a value, and what they take for whole they write the same again.
func FuzzDecode(f *testing.F) {
	now := time.Unix(0, 1767225600_000000000).UTC()
	full := &changelog.Record{
		ID: "1", Revision: 9, Prev: 300, UID: "abcdefgh23456777", CreateRevision: 1, CreateTime: now, Time: now,
		Labels: map[string]string{"a": "b", "c": ""}, Type: "shop.v1.Order", Data: []byte(`{"a":1}`),
	}
	gone := &changelog.Record{ID: "1", Revision: 9, Prev: 8, Absent: true, Time: now}
	f.Add(appendRecord(nil, full, 1000))
	f.Add(appendRecord(nil, gone, 10))
	f.Add(appendRequest(nil, &Request{Time: now, Revision: 9, Records: []*changelog.Record{full, nil, gone}, Changes: []bool{true, false, true}}))
	f.Add([]byte{recordVersion | hasLabels, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte("\x12\x0000000000\x00000000000\x00")) // says that it has labels, and has none
	f.Add(appendPointer(nil, true, 7))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decodeRecord("1", 9, value)
		check(t, err)
		l, lineageErr := decodeLineage(value)
		check(t, lineageErr)
		if err == nil {
			if lineageErr != nil || l.prev != r.Prev || l.absent != r.Absent {
				t.Errorf("the lineage is %+v, %v, the record %+v", l, lineageErr, r)
			}
			again, err := decodeRecord("1", 9, appendRecord(nil, r, l.prevSize))
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("%+v becomes %+v, %v", r, again, err)
			}
		}
		if q, err := decodeRequest(value); err == nil {
			if len(q.Records) != len(q.Changes) {
				t.Errorf("the request is %+v", q)
			}
			if _, err := decodeRequest(appendRequest(nil, q)); err != nil {
				t.Errorf("%+v cannot be read again: %v", q, err)
			}
		} else {
			check(t, err)
		}
		_, _, err = parsePointer(value)
		check(t, err)
		_, _, err = splitChange(value)
		check(t, err)
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, errCorrupt) {
		t.Errorf("the error is %v", err)
	}
}

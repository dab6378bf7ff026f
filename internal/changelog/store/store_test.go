package store

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testConfig(fs vfs.FS) Config {
	return Config{Dir: "data", FS: fs, Logger: slog.New(slog.DiscardHandler)}
}

func mustOpen(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpen_AFolderInUseIsRefused(t *testing.T) {
	for name, c := range map[string]Config{"memory": testConfig(vfs.NewMem()), "disk": {Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}} {
		s := mustOpen(t, c)
		if _, err := Open(c); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), c.Dir) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpen_ANewerFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testConfig(fs))
	if err := s.db.Set(epochKey(), []byte{format + 1, 2, 3}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the folder is let go after the refusal
		if _, err := Open(testConfig(fs)); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("our format: %v", err)
		}
	}
}

func TestOpen_ANewerPebbleIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	if err := mustOpen(t, testConfig(fs)).Close(); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create("data/marker.format-version.000999.999", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Open(testConfig(fs)); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("Pebble's format: %v", err)
		}
	}
}

func TestOpen_ACorruptEpochIsFound(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testConfig(fs))
	if err := s.db.Set(epochKey(), []byte{format, 1}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testConfig(fs)); !errors.Is(err, errCorrupt) {
		t.Error(err)
	}
}

func TestConfig_Validate(t *testing.T) {
	for name, c := range map[string]Config{
		"no folder":       {},
		"negative cache":  {Dir: "x", CacheBytes: -1},
		"huge memtable":   {Dir: "x", MemTableBytes: 2 << 30},
		"negative age":    {Dir: "x", Retention: changelog.Retention{Age: -1}},
		"negative number": {Dir: "x", Retention: changelog.Retention{Bytes: -1}},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%s is accepted", name)
		}
		if _, err := Open(c); err == nil {
			t.Errorf("%s is opened", name)
		}
	}
}

func change(id string) []changelog.Change {
	return []changelog.Change{{New: &changelog.Record{ID: id, Data: []byte("1")}}}
}

// Nothing that is applied but not yet durable is read; the next group sees it.
func TestGroup_ReadersSeeWhatIsDurable(t *testing.T) {
	s := mustOpen(t, testConfig(vfs.NewMem()))
	defer s.Close()
	put := func(g *Group, revision uint64, id string) {
		t.Helper()
		changes := change(id)
		changes[0].New.Revision = revision
		if err := g.Put(&changelog.Batch{Collection: "orders", Revision: revision, Changes: changes}); err != nil {
			t.Fatal(err)
		}
	}
	head := func(want uint64) {
		t.Helper()
		if b := s.Bounds("orders"); b.Head != want {
			t.Errorf("the head is %d, want %d", b.Head, want)
		}
		var n uint64
		for r, err := range s.Latest(t.Context(), "orders", changelog.Position{}, 100) {
			if err != nil || r.Revision > want {
				t.Errorf("read %v, %v", r, err)
			}
			n++
		}
		if n != want {
			t.Errorf("%d records, want %d", n, want)
		}
		for id, at := range map[string]uint64{"a": 1, "b": 2, "c": 3} {
			r, err := s.Get(t.Context(), "orders", id, 0)
			if err != nil || (r != nil) != (at <= want) {
				t.Errorf("%s is %v, %v", id, r, err)
			}
		}
	}
	first, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	put(first, 1, "a")
	put(first, 2, "b")
	if err := first.apply(); err != nil {
		t.Fatal(err)
	}
	head(0)
	second, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if at, _ := second.Head("orders"); at != 2 {
		t.Errorf("the second group begins at %d", at)
	}
	put(second, 3, "c")
	if err := second.apply(); err != nil {
		t.Fatal(err)
	}
	head(0)
	if err := first.wait(); err != nil {
		t.Fatal(err)
	}
	head(2)
	if err := second.wait(); err != nil {
		t.Fatal(err)
	}
	head(3)
}

func TestGroup_RevisionsMustGrow(t *testing.T) {
	s := mustOpen(t, testConfig(vfs.NewMem()))
	defer s.Close()
	for i, revision := range []uint64{5, 5} {
		g, err := s.Begin()
		if err != nil {
			t.Fatal(err)
		}
		changes := change("a")
		changes[0].New.Revision = revision
		err = g.Put(&changelog.Batch{Collection: "orders", Revision: revision, Changes: changes})
		if i == 0 {
			if err := errors.Join(err, g.Commit()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !resource.HasReason(err, resource.StoreUnavailable) {
			t.Errorf("the same revision again: %v", err)
		}
		g.Drop()
	}
	if _, err := s.Begin(); !resource.HasReason(err, resource.StoreUnavailable) {
		t.Errorf("the store goes on: %v", err)
	}
	if r, err := s.Get(t.Context(), "orders", "a", 0); err != nil || r.Revision != 5 {
		t.Errorf("reading: %v, %v", r, err)
	}
}

// What is remembered of names is bounded and never wrong.
func TestNames(t *testing.T) {
	n := newNames(10 * (entryOverhead + 160 + 1))
	c := &collection{}
	for i := range 100 {
		id := string(rune('a' + i%26))
		n.put(name{c, id}, newest{&changelog.Record{ID: id, Revision: uint64(i)}, i})
		if v, ok := n.get(name{c, id}); !ok || v.size != i {
			t.Fatalf("%s is %v, %v", id, v, ok)
		}
		n.get(name{c, "a"}) // stays
		n.trim()
		if n.bytes > n.limit {
			t.Fatalf("%d bytes are kept, the limit is %d", n.bytes, n.limit)
		}
	}
	if len(n.all) != 10 {
		t.Errorf("%d names are kept", len(n.all))
	}
	if _, ok := n.get(name{c, "a"}); !ok {
		t.Error("what was used last was forgotten")
	}
	for k := range n.all {
		n.drop(k)
	}
	if n.bytes != 0 || n.ring.after != &n.ring || n.ring.before != &n.ring {
		t.Errorf("%d bytes are left", n.bytes)
	}
}

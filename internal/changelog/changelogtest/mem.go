package changelogtest

import (
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/watchroute/watchroute/internal/changelog/local"
)

// NewMem opens a log in memory with the default retention, which the test closes
// at its end. Nothing is compacted unless the test calls Compact.
func NewMem(t testing.TB) *local.Log {
	t.Helper()
	return OpenMem(t, local.Config{})
}

// OpenMem is NewMem with a configuration of one's own, of which Dir, FS, Logger and
// CompactEvery are filled in if they are not set.
func OpenMem(t testing.TB, c local.Config) *local.Log {
	t.Helper()
	if c.Dir == "" {
		c.Dir = "data"
	}
	if c.FS == nil {
		c.FS = vfs.NewMem()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.CompactEvery == 0 {
		c.CompactEvery = -1
	}
	l, err := local.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

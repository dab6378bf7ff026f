package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// options sets Pebble up for records of about 1 KB that come in order, are
// written with a synced write-ahead log and mostly read near the head or by name.
func options(c Config, lock *pebble.Lock) *pebble.Options {
	o := &pebble.Options{
		FS:                          c.FS,
		Lock:                        lock,
		Logger:                      logger{c.Logger},
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   c.CacheBytes + 4*c.MemTableBytes, // Pebble takes the tables in memory out of it
		MemTableSize:                uint64(c.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               256 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		MaxOpenFiles:                1000,
		BytesPerSync:                1 << 20,
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 16 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// A table's Bloom filter is read and cached as one block. By default each level's
	// tables are twice as large as those above, and the filters of the lowest ones would
	// not fit into a shard of the cache: every look-up of a new name would read one.
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 16 << 20
	}
	return o
}

// logger passes Pebble's messages on.
type logger struct{ to *slog.Logger }

func (l logger) Infof(format string, args ...any) { l.log(slog.LevelDebug, format, args) }

func (l logger) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

// Fatalf must not return: Pebble has nothing safe left to do, as when its manifest
// cannot be written. Ending the process is right, since what is acknowledged is on
// the disk and a restart recovers it.
func (l logger) Fatalf(format string, args ...any) {
	l.log(slog.LevelError, format, args)
	panic("pebble: " + fmt.Sprintf(format, args...))
}

func (l logger) log(level slog.Level, format string, args []any) {
	if l.to.Enabled(context.Background(), level) {
		l.to.Log(context.Background(), level, fmt.Sprintf(format, args...), "component", "pebble")
	}
}

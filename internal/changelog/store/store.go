package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

// Errors of Open, for errors.Is.
var (
	ErrInUse       = errors.New("another process uses the folder")
	ErrNewerFormat = errors.New("the folder was written by a newer version")
)

// format numbers the layout of keys and values.
const format = 1

// Config says how to open a Store. The zero value of all but Dir is usable.
type Config struct {
	// Dir is the folder; it is made if it is not there.
	Dir string
	// FS holds the folder. Default: the disk.
	FS vfs.FS
	// Retention says what compaction lets go.
	Retention changelog.Retention
	// CacheBytes bounds the cache of blocks. Default: 64 MiB.
	CacheBytes int64
	// MemTableBytes is the size of one table of recent writes in memory, of which
	// there may be four. Default: 32 MiB.
	MemTableBytes int64
	// NameBytes bounds what is remembered of the newest records of names, for
	// writers. Default: 32 MiB.
	NameBytes int64
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Logger gets Pebble's messages, most of them at debug. Default: slog's.
	Logger *slog.Logger
	// NoSync answers before the disk has synced, so that power loss loses writes
	// that were acknowledged. Only for tests.
	NoSync bool
}

// Validate says what of the Config cannot be used.
func (c Config) Validate() error {
	r := c.Retention
	switch {
	case c.Dir == "":
		return errors.New("store: Dir is missing")
	case c.CacheBytes < 0, c.MemTableBytes < 0, c.NameBytes < 0:
		return errors.New("store: a size is negative")
	case c.MemTableBytes > 1<<30:
		return errors.New("store: MemTableBytes is over 1 GiB")
	case min(r.Age, r.MinAge, r.Tombstones, r.RequestIDs) < 0, r.Bytes < 0:
		return errors.New("store: a part of Retention is negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.CacheBytes = cmp.Or(c.CacheBytes, 64<<20)
	c.MemTableBytes = cmp.Or(c.MemTableBytes, 32<<20)
	c.NameBytes = cmp.Or(c.NameBytes, 32<<20)
	c.Retention = c.Retention.WithDefaults()
	return c
}

// Store is one folder. All methods may be called at once.
type Store struct {
	config Config
	db     *pebble.DB
	lock   *pebble.Lock
	epoch  uint64
	gate   gate

	// compacting is held by Compact, before writing.
	compacting sync.Mutex
	// writing is held from Begin to Commit or Drop, and by each step of Compact that
	// looks at what is newest. It guards what only writers look at.
	writing sync.Mutex
	all     map[string]*collection // those that are not durable yet as well
	names   *names
	next    number
	scratch []byte

	// mu guards the two below; it comes after writing.
	mu      sync.RWMutex
	durable map[string]*collection
	failure error
}

// Open opens or makes the folder. It fails with ErrInUse or ErrNewerFormat, or
// with what the disk says.
func Open(c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	fail := func(err error) (*Store, error) {
		return nil, fmt.Errorf("store: opening %s: %w", c.Dir, err)
	}
	if err := c.FS.MkdirAll(c.Dir, 0o755); err != nil {
		return fail(err)
	}
	lock, err := pebble.LockDirectory(c.Dir, c.FS)
	if err != nil {
		return fail(fmt.Errorf("%w, or the folder cannot be locked: %w", ErrInUse, err))
	}
	db, err := pebble.Open(c.Dir, options(c, lock))
	if err != nil {
		err = errors.Join(err, lock.Close())
		if strings.Contains(err.Error(), "unknown format major version") {
			err = fmt.Errorf("%w of Pebble: %w", ErrNewerFormat, err)
		}
		return fail(err)
	}
	s := &Store{config: c, db: db, lock: lock, all: map[string]*collection{}, names: newNames(int(c.NameBytes)), next: 1}
	err = s.loadEpoch()
	if err == nil {
		err = s.loadCollections()
	}
	if err != nil {
		return fail(errors.Join(err, db.Close(), lock.Close()))
	}
	s.durable = maps.Clone(s.all)
	return s, nil
}

func (s *Store) loadEpoch() error {
	value, closer, err := s.db.Get(epochKey())
	if err == nil {
		defer closer.Close()
		if len(value) < 1 || value[0] != format {
			return fmt.Errorf("%w: format %x, this version knows %d", ErrNewerFormat, value, format)
		}
		if len(value) != 9 {
			return fmt.Errorf("%w: epoch %x", errCorrupt, value)
		}
		s.epoch = binary.BigEndian.Uint64(value[1:])
		return nil
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	s.epoch = binary.BigEndian.Uint64(random[:])
	return s.db.Set(epochKey(), append([]byte{format}, random[:]...), pebble.Sync)
}

// Epoch is made with the folder.
func (s *Store) Epoch() uint64 { return s.epoch }

// Retention is the configured one, its defaults filled in.
func (s *Store) Retention() changelog.Retention { return s.config.Retention }

// Collections lists the collections by name.
func (s *Store) Collections() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.durable))
}

// Close waits for the reads under way and lets the folder go. No group may be
// open. Closing twice is fine.
func (s *Store) Close() error {
	if !s.gate.close() {
		return nil
	}
	s.compacting.Lock()
	defer s.compacting.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := errors.Join(s.db.Close(), s.lock.Close()); err != nil {
		return fmt.Errorf("store: closing %s: %w", s.config.Dir, err)
	}
	return nil
}

// writable gives the reason why nothing can be written, if there is one.
func (s *Store) writable() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.failure != nil {
		return unavailable("the store failed and takes no writes until it is opened again", s.failure)
	}
	return nil
}

// fail makes the store refuse writes from now on.
func (s *Store) fail(cause error) error {
	s.mu.Lock()
	first := s.failure == nil
	if first {
		s.failure = cause
	}
	s.mu.Unlock()
	if first {
		s.config.Logger.Error("the store failed and takes no writes until it is opened again", "err", cause)
	}
	return unavailable("the store cannot be written", cause)
}

func unavailable(message string, cause error) error {
	return resource.Errorf(resource.StoreUnavailable, "%s", message).Because(cause)
}

func errClosed() error { return unavailable("the log is closed", nil) }

// readFailed is the error of a read that the disk or the data let down.
func readFailed(err error) error {
	var known *resource.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return unavailable("the store cannot be read", err)
}

package changelog

import (
	"context"
	"iter"
	"time"
)

// Log is the ordered, durable, compacted history of collections. All methods
// may be called at once. Errors that a client may see are *resource.Error.
type Log interface {
	// Epoch names the life of the log. Tokens of another epoch mean nothing here.
	Epoch() uint64

	// Collections lists those that were ever written to or created, by name.
	Collections() []string

	// Create makes a collection exist. Doing so twice is fine. A write to a
	// collection that does not exist creates it too: whether it may is decided
	// above the log.
	Create(ctx context.Context, collection string) error

	// Bounds says what can be read. A collection that does not exist has zero
	// bounds.
	Bounds(collection string) Bounds

	// Write applies a batch, all of it or nothing, and returns when it is durable
	// and every subscriber has been called. Reasons of errors: PreconditionFailed,
	// RequestIDReused, StoreUnavailable (nothing of the batch is or will be
	// there, as far as the log can know), the context's error.
	Write(ctx context.Context, w Write) (Result, error)

	// WriteAll applies units in their order and makes all of them durable in one step,
	// together with marks: after a crash all of it is there, or nothing. It returns as
	// Write does, with an outcome for each unit. An error stands for all of them, as
	// StoreUnavailable and the context's error do for Write.
	//
	// A mark is a text under a key of the caller's choosing, such as how far something
	// else was read; the empty text removes it.
	WriteAll(ctx context.Context, units []Unit, marks map[string]string) ([]Outcome, error)

	// Marks gives the marks whose keys begin with a prefix.
	Marks(prefix string) (map[string]string, error)

	// Get returns the newest state of a name at or below a revision (0: the
	// newest of all), a tombstone included; nil where there is none. Below
	// Bounds.History the answer for a name that has changed since is not known:
	// the reason is Compacted.
	Get(ctx context.Context, collection, id string, at uint64) (*Record, error)

	// Exactly returns the record of one change, which Record.Prev names; nil where
	// it is not kept.
	Exactly(ctx context.Context, collection, id string, revision uint64) (*Record, error)

	// Latest yields, of every name that changed after `after` and up to `at`, the
	// last of those changes, by (revision, id), tombstones included. With a zero
	// `after` it is the state at `at`, plus tombstones. It can be broken off
	// anywhere and taken up at the position of the last record, with the same
	// `at`. It fails with Compacted where `at` < Bounds.History, as soon as that
	// is noticed, or where 0 < after.Revision < Bounds.Tombstones at the call and
	// after.ID is empty. Taken up at a record's position it cannot know where the
	// reading began, and a snapshot may go on there whatever was dropped; who catches
	// up from a revision in several calls compares that with Bounds.Tombstones after
	// each of them. An `at` above the head means the head at the call. The iteration
	// holds an engine's iterator: take some, break off, and send without it.
	Latest(ctx context.Context, collection string, after Position, at uint64) iter.Seq2[*Record, error]

	// History yields every change after `after` and up to `until`, with what was
	// before, by (revision, id). It fails with Compacted where after.Revision <
	// Bounds.History, or is equal to it and the position within that revision. To be
	// used as Latest is.
	History(ctx context.Context, collection string, after Position, until uint64) iter.Seq2[Change, error]

	// List yields the state at `at` by id, tombstones left out, beginning behind
	// the id `after`. It fails with Compacted where at < Bounds.History. To be
	// used as Latest is.
	List(ctx context.Context, collection, after string, at uint64) iter.Seq2[*Record, error]

	// Subscribe calls f with every batch of every collection from now on, in
	// order, from one goroutine, until cancel is called. f must not block and must
	// not write. When cancel returns f is not running and will not run again;
	// calling it twice is fine, calling it from f is not.
	Subscribe(f func(*Batch)) (cancel func())

	// Compact drops what the retention rules of its configuration let go, as the
	// log also does by itself now and then.
	Compact(ctx context.Context) error

	// Close waits for the writes under way, makes them durable and lets the files
	// go. Later calls fail with StoreUnavailable. Closing twice is fine.
	Close() error
}

// Position is a place in the order (revision, id), exclusive when something
// begins after it. With an empty ID: after all of the revision.
type Position struct {
	Revision uint64
	ID       string
}

// Before says whether a record stands behind the position.
func (p Position) Before(r *Record) bool {
	return r.Revision > p.Revision || r.Revision == p.Revision && p.ID != "" && r.ID > p.ID
}

// Bounds says what of a collection can be read.
type Bounds struct {
	// Head is the newest revision; 0 if nothing was ever written.
	Head uint64
	// History: every change after it is kept, with what was before.
	History uint64
	// Tombstones: the newest change of every name is kept, if it came after it.
	// At most History.
	Tombstones uint64
}

// Write is a batch to be written to one collection.
type Write struct {
	Collection string
	// Ops has no id twice.
	Ops []Op
	// RequestID, where it is not empty, makes the write apply once: within
	// Retention.RequestIDs the same id with the same Digest returns the first
	// result, with another one it is refused with RequestIDReused.
	RequestID string
	// Digest tells requests apart: a hash of all that was asked for, and by whom.
	Digest [16]byte
	// Guard, where it is set, is asked for each op with what is there (nil: nothing)
	// when the batch is applied, before the preconditions. An error refuses the batch.
	// It is not asked in a replay. It must not block. It may change all of the op but ID.
	Guard func(op *Op, old *Record) error
	// Afresh applies the write though its RequestID was used: it is remembered for those
	// that come later.
	Afresh bool
}

// Unit is what WriteAll applies entirely or not at all.
type Unit struct {
	// Writes have no collection twice. Each is a batch of its own.
	Writes []Write
	// Else, where it is set, gives what is written in place of a unit that is refused, and
	// why that was. It is not refused itself. It must not block.
	Else func(error) Write
}

// Outcome tells what became of a unit.
type Outcome struct {
	// Results are those of its writes, in their order; where it was refused that of Else,
	// if there was one.
	Results []Result
	// Refused says why nothing of it was applied.
	Refused error
}

// Op is one part of a batch. Its labels and data are the log's from the call on,
// however the call ends: nobody may change them.
type Op struct {
	ID     string
	Delete bool // of a name that is not there: no change
	Labels map[string]string
	Type   string
	Data   []byte
	If     Precondition
}

// Precondition must hold when the batch is applied. The zero value always holds.
type Precondition struct {
	MustNotExist bool
	MustExist    bool
	Revision     uint64 // 0: any
	ETag         string // "": any
}

// Result tells what a Write did.
type Result struct {
	// Revision is the collection's head right after the write: reads at or above
	// it show the write.
	Revision uint64
	Time     time.Time
	// Changed says whether there was any change at all.
	Changed bool
	// Replayed says that it is the result of an earlier write with the same
	// RequestID.
	Replayed bool
	// Records has the state of each op's name after the write, in the order of the
	// ops; a tombstone, or nil, where the name does not exist. In a replay the
	// records are those of then, as far as they are still kept, otherwise without
	// their values.
	Records []*Record
	// Changes says for each op whether it changed anything.
	Changes []bool
}

// Retention says how long a log keeps what is no longer the newest.
type Retention struct {
	// Age: superseded changes are kept this long. Default: 1 hour.
	Age time.Duration
	// MinAge: they are kept at least this long, whatever their size, so that a
	// reader can finish what it began. Default: 1 minute.
	MinAge time.Duration
	// Bytes: superseded changes of one collection take at most about this much.
	// Default: 1 GiB.
	Bytes int64
	// Tombstones are kept this long, at least as long as Age. Default: 24 hours.
	Tombstones time.Duration
	// RequestIDs are remembered this long. Default: 1 hour.
	RequestIDs time.Duration
}

// WithDefaults fills in what is zero.
func (r Retention) WithDefaults() Retention {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&r.Age, time.Hour)
	set(&r.MinAge, time.Minute)
	set(&r.Tombstones, 24*time.Hour)
	set(&r.RequestIDs, time.Hour)
	if r.Bytes == 0 {
		r.Bytes = 1 << 30
	}
	r.Tombstones = max(r.Tombstones, r.Age)
	return r
}

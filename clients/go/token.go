package watchroute

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Store keeps the tokens of watches across restarts of a program. Several watches may use
// it at a time, each with a key of its own. A save may take 5 s, and the watch goes on
// meanwhile: but for one that drops the token before a Reset is told, and the last one.
type Store interface {
	// Load gives the token that was saved last; "" where there is none.
	Load(ctx context.Context, key string) (string, error)
	// Save keeps a token in place of the one before. "": there is none any more.
	Save(ctx context.Context, key, token string) error
}

// FileStore keeps each token in a file of its own: the key is its path, below Folder
// unless it is absolute. A file is replaced as a whole, so that a crash leaves either
// token. It is not synced to the disk: a token that is older than the last only makes a
// watch tell again.
type FileStore struct {
	// Folder is where the files are. Default: the working directory.
	Folder string
}

func (s FileStore) path(key string) string {
	if filepath.IsAbs(key) {
		return key
	}
	return filepath.Join(s.Folder, key)
}

// Load implements Store.
func (s FileStore) Load(_ context.Context, key string) (string, error) {
	text, err := os.ReadFile(s.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// Save implements Store.
func (s FileStore) Save(_ context.Context, key, token string) (err error) {
	path := s.path(key)
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // what is left of it harms nobody
		}
	}()
	_, err = file.WriteString(token)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

const (
	// saveEvery is how long a save may be put off, so that several are one.
	saveEvery = time.Second
	// saveTime is how long a store may take.
	saveTime = 5 * time.Second
)

// keeper saves the tokens of one watch. A save that failed is tried again after a second,
// and when the watch ends.
type keeper struct {
	store    Store
	key      string
	counters tally
	log      *slog.Logger

	saving chan struct{} // has one while nobody saves; taken before mu

	mu     sync.Mutex
	token  string
	due    bool // token is not saved, and timer runs
	timer  *time.Timer
	closed bool
	// Of batches: while held, the program has not finished with what comes before later.
	held  bool
	later *string // nil: token is the last
}

func newKeeper(store Store, key string, counters tally, log *slog.Logger) *keeper {
	k := &keeper{store: store, key: key, counters: counters, log: log, saving: make(chan struct{}, 1)}
	k.saving <- struct{}{}
	return k
}

func (k *keeper) load(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	token, err := k.store.Load(ctx, k.key)
	if err != nil {
		k.failed("a token cannot be loaded", err)
		return ""
	}
	return token
}

// keep saves a token soon; while it is held, once it is released.
func (k *keeper) keep(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held {
		k.later = &token
		return
	}
	k.keepLocked(token)
}

func (k *keeper) keepLocked(token string) {
	k.token = token
	if k.due {
		return
	}
	k.due = true
	if k.timer == nil {
		k.timer = time.AfterFunc(saveEvery, k.save)
	} else {
		k.timer.Reset(saveEvery)
	}
}

// hold lets tokens wait, as the program has not finished with what comes before them. A
// token that was dropped is dropped at once if that is about to be told.
func (k *keeper) hold(reset bool) {
	k.mu.Lock()
	k.held = true
	drop := reset && k.later != nil && *k.later == ""
	if drop {
		k.later = nil
		k.keepLocked("")
	}
	k.mu.Unlock()
	if drop {
		k.save()
	}
}

// release lets tokens wait no longer.
func (k *keeper) release() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = false
	if k.later != nil {
		k.keepLocked(*k.later)
		k.later = nil
	}
}

// drop saves at once that there is no token: the program will forget what it stands for.
func (k *keeper) drop() {
	k.keep("")
	k.save()
}

// close saves what is not saved.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
	k.mu.Unlock()
	<-k.saving
	defer func() { k.saving <- struct{}{} }()
	k.write()
}

func (k *keeper) save() {
	<-k.saving
	defer func() { k.saving <- struct{}{} }()
	k.mu.Lock()
	closed := k.closed
	k.mu.Unlock()
	if !closed {
		k.write()
	}
}

// write is called by who took saving.
func (k *keeper) write() {
	k.mu.Lock()
	token, due := k.token, k.due
	k.due = false
	k.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTime)
	defer cancel()
	err := k.store.Save(ctx, k.key, token)
	if err == nil {
		return
	}
	k.failed("a token cannot be saved", err)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.due {
		return // there is another one by now
	}
	k.due = true
	if !k.closed {
		k.timer.Reset(saveEvery)
	}
}

func (k *keeper) failed(what string, err error) {
	k.counters.storeFailure()
	k.log.Warn(what, "key", k.key, "error", err)
}

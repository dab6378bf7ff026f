package access

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// mostReceived is how many requests of one account are taken in at a time: each may hold
	// as much memory as the largest request until it is whole, or has taken too long.
	mostReceived = 16
	// mostHeaders bounds the headers of those that wait, in bytes as HTTP/2 counts them
	// (RFC 9113, section 6.5.2); in memory they are up to four times as large.
	mostHeaders = 16 << 20
)

// Receive waits until a request of the caller may be taken in, in the order in which they
// came, and gives what to call once it is whole. header is the size of its header, in
// bytes. The errors are that of ctx, LimitReached where too much waits, and
// CredentialMissing where nobody may do anything without a credential.
func (c *Control) Receive(ctx context.Context, caller *Caller, header int) (done func(), err error) {
	if c.cfg.Required && caller.Principal().Method == Anonymous && !c.anonymous.Load() {
		return nil, Missing()
	}
	done, err = c.receiving.enter(ctx, account(caller.Principal(), caller.address), header)
	if errors.Is(err, errFull) {
		return nil, c.limited("requests", 0, "too many requests of this caller are not whole")
	}
	return done, err
}

var errFull = errors.New("too much waits")

// turns let a number of those with the same key go on at a time.
type turns struct {
	mu sync.Mutex
	of map[string]*turn
}

type turn struct {
	places *semaphore.Weighted
	users  int // those who have a place or wait for one
	header int // bytes of theirs
}

func (t *turns) enter(ctx context.Context, key string, header int) (done func(), err error) {
	t.mu.Lock()
	at := t.of[key]
	if at == nil {
		if t.of == nil {
			t.of = map[string]*turn{}
		}
		at = &turn{places: semaphore.NewWeighted(mostReceived)}
		t.of[key] = at
	}
	if at.users > 0 && at.header+header > mostHeaders {
		t.mu.Unlock()
		return nil, errFull
	}
	at.users++
	at.header += header
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		at.header -= header
		if at.users--; at.users == 0 {
			delete(t.of, key)
		}
	}
	if err := at.places.Acquire(ctx, 1); err != nil {
		leave()
		return nil, err
	}
	return func() {
		at.places.Release(1)
		leave()
	}, nil
}

package watchroute

import (
	"context"
	"sync"
	"time"
)

// Credential gives a JWT or an API key, or "" for none. refused says that the server did
// not take, or takes no longer, the one that was given last. An error is a failure to
// connect: it is tried again.
type Credential func(ctx context.Context, refused bool) (string, error)

// StaticCredential always gives the same.
func StaticCredential(credential string) Credential {
	return func(context.Context, bool) (string, error) { return credential, nil }
}

// joinedFor is for how long a call of a provider is joined by others: one that takes longer
// may hang.
const joinedFor = time.Second

// question is a call of a provider that several wait for.
type question struct {
	at         time.Time
	waiting    int
	cancel     context.CancelFunc
	done       chan struct{} // closed once the answer is there
	credential string
	err        error
}

// together has who asks while an answer is on its way wait for that one: watches that are
// refused together are no crowd at the login. The provider's context ends when nobody waits
// any more.
func together(ask Credential) Credential {
	if ask == nil {
		return nil
	}
	var mu sync.Mutex
	asked := map[bool]*question{} // by refused
	forget := func(refused bool, q *question) {
		if asked[refused] == q {
			delete(asked, refused)
		}
		q.cancel()
	}
	return func(ctx context.Context, refused bool) (string, error) {
		mu.Lock()
		q := asked[refused]
		if q == nil || time.Since(q.at) > joinedFor {
			shared, cancel := context.WithCancel(context.WithoutCancel(ctx))
			q = &question{at: time.Now(), cancel: cancel, done: make(chan struct{})}
			asked[refused] = q
			go func() {
				q.credential, q.err = ask(shared, refused)
				mu.Lock()
				defer mu.Unlock()
				forget(refused, q)
				close(q.done)
			}()
		}
		q.waiting++
		mu.Unlock()
		select {
		case <-q.done:
			return q.credential, q.err
		case <-ctx.Done():
		}
		mu.Lock()
		defer mu.Unlock()
		if q.waiting--; q.waiting == 0 {
			forget(refused, q)
		}
		return "", context.Cause(ctx)
	}
}

// wallet is what a chain of connections knows of its credential.
type wallet struct {
	ask Credential // nil: none

	mu      sync.Mutex
	given   string // with the last connection
	refused bool
	next    *string // asked for already
}

// take gives the credential of a connection that is about to be made.
func (w *wallet) take(ctx context.Context) (string, error) {
	if w.ask == nil {
		return "", nil
	}
	w.mu.Lock()
	next, refused := w.next, w.refused
	w.next = nil
	w.mu.Unlock()
	if next == nil {
		credential, err := w.ask(ctx, refused)
		if err != nil {
			return "", unavailable(err, "there is no credential")
		}
		next = &credential
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.given, w.refused = *next, false
	return w.given, nil
}

// refuse notes that the credential was refused.
func (w *wallet) refuse() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = true
}

// another says whether there is another credential than the one that was refused.
func (w *wallet) another(ctx context.Context) bool {
	if w.ask == nil {
		return false
	}
	w.refuse()
	credential, err := w.ask(ctx, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || credential == w.given {
		return false
	}
	w.next = &credential
	return true
}

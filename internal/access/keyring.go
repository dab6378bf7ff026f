package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// When keys are fetched.
const (
	refreshEvery = time.Minute      // at least
	firstRetry   = time.Second      // after a failure; then twice as late each time
	askEvery     = 10 * time.Second // for tokens that name an unknown key, on average
	askBurst     = 2
	fetchTimeout = 5 * time.Second
)

// maxKeys bounds a key set: a token that names no key is tried with each.
const maxKeys = 100

// keyring is a key set that is fetched anew all the time. It is the jwkset.Storage from
// which keyfunc reads.
type keyring struct {
	*jwkset.MemoryJWKSet
	find   keyfunc.Keyfunc
	fetch  func(context.Context) ([]byte, error)
	logger *slog.Logger

	asks       chan ask
	done       chan struct{} // closed when run has ended
	generation atomic.Uint64 // 0: nothing was fetched yet
	last       []byte        // what was fetched last; run's
	retry      time.Duration // how long to wait after the next failure; run's
	limit      *rate.Limiter // of asks; run's
}

// ask is that somebody needs a key that is not there.
type ask struct {
	kid      string // empty: any
	answered chan struct{}
}

func newKeyring(fetch func(context.Context) ([]byte, error), logger *slog.Logger) *keyring {
	r := &keyring{
		MemoryJWKSet: jwkset.NewMemoryStorage(),
		fetch:        fetch,
		logger:       logger,
		asks:         make(chan ask),
		done:         make(chan struct{}),
		retry:        firstRetry,
		limit:        rate.NewLimiter(rate.Every(askEvery), askBurst),
	}
	var err error
	if r.find, err = keyfunc.New(keyfunc.Options{Storage: r}); err != nil {
		panic("access: " + err.Error()) // only without a storage
	}
	return r
}

// KeyfuncCtx implements keySet.
func (r *keyring) KeyfuncCtx(ctx context.Context) jwt.Keyfunc { return r.find.KeyfuncCtx(ctx) }

// Generation implements keySet.
func (r *keyring) Generation() uint64 { return r.generation.Load() }

// Ready implements keySet.
func (r *keyring) Ready() bool { return r.generation.Load() > 0 }

// KeyRead gives the key with an id. One that is not there is fetched, if that is due.
func (r *keyring) KeyRead(ctx context.Context, kid string) (jwkset.JWK, error) {
	if key, err := r.MemoryJWKSet.KeyRead(ctx, kid); err == nil {
		return key, nil
	}
	if err := r.ask(ctx, kid); err != nil {
		return jwkset.JWK{}, err
	}
	return r.MemoryJWKSet.KeyRead(ctx, kid)
}

// KeyReadAll gives all keys, for tokens that name none. As long as there are none they are
// fetched, if that is due.
func (r *keyring) KeyReadAll(ctx context.Context) ([]jwkset.JWK, error) {
	if keys, err := r.MemoryJWKSet.KeyReadAll(ctx); err != nil || len(keys) > 0 {
		return keys, err
	}
	if err := r.ask(ctx, ""); err != nil {
		return nil, err
	}
	return r.MemoryJWKSet.KeyReadAll(ctx)
}

// ask waits for a fetch, which is not its own: a caller who leaves must not spoil what
// others wait for.
func (r *keyring) ask(ctx context.Context, kid string) error {
	a := ask{kid, make(chan struct{})}
	select {
	case r.asks <- a:
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-a.answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run fetches keys until the context ends.
func (r *keyring) run(ctx context.Context) {
	defer close(r.done)
	timer := time.NewTimer(r.refresh(ctx))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(r.refresh(ctx))
		case a := <-r.asks:
			// It may have waited while the key came.
			if !r.has(ctx, a.kid) && r.limit.Allow() {
				timer.Reset(r.refresh(ctx))
			}
			close(a.answered)
		}
	}
}

func (r *keyring) has(ctx context.Context, kid string) bool {
	if kid == "" {
		keys, _ := r.MemoryJWKSet.KeyReadAll(ctx)
		return len(keys) > 0
	}
	_, err := r.MemoryJWKSet.KeyRead(ctx, kid)
	return err == nil
}

// refresh fetches the keys and says how long to wait for the next time. What cannot be
// fetched or read leaves the keys as they are.
func (r *keyring) refresh(ctx context.Context) time.Duration {
	text, err := func() ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		return r.fetch(ctx)
	}()
	if err == nil && !bytes.Equal(text, r.last) {
		err = r.replace(ctx, text)
	}
	if err == nil || ctx.Err() != nil {
		r.retry = firstRetry
		return refreshEvery
	}
	wait := r.retry
	r.retry = min(2*wait, refreshEvery)
	r.logger.Warn("the keys of an issuer cannot be fetched", "error", err, "retry", wait)
	return wait
}

// replace puts the keys of a key set in force.
func (r *keyring) replace(ctx context.Context, text []byte) error {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return fmt.Errorf("the key set: %w", err)
	}
	// An empty list is an answer; an error page is none.
	if set.Keys == nil {
		return errors.New("the key set has no keys member")
	}
	if len(*set.Keys) > maxKeys {
		return fmt.Errorf("the key set has %d keys, %d are allowed", len(*set.Keys), maxKeys)
	}
	var keys []jwkset.JWK
	for i, raw := range *set.Keys {
		key, err := parseKey(raw)
		if err != nil {
			// The others may still be good, so they count.
			r.logger.Warn("a key of an issuer cannot be used", "index", i, "error", err)
			continue
		}
		keys = append(keys, key)
	}
	if err := r.KeyReplaceAll(ctx, keys); err != nil {
		return err
	}
	r.last = text
	r.generation.Add(1)
	r.logger.Info("an issuer has new keys", "keys", len(keys))
	return nil
}

// parseKey reads a public key for signatures.
func parseKey(raw []byte) (key jwkset.JWK, err error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &m); err != nil {
		return key, err
	}
	if m.USE != "" && m.USE != jwkset.UseSig {
		return key, fmt.Errorf("its use is %q", m.USE)
	}
	// Symmetric keys have no business in a set that is fetched.
	if m.KTY == jwkset.KtyOct {
		return key, errors.New("it is symmetric")
	}
	// The key counts because of where it came from; certificates would only be compared
	// with it.
	m.X5U, m.X5C, m.X5T, m.X5TS256 = "", nil, "", ""
	if key, err = jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{}); err != nil {
		return key, err
	}
	return key, checkKey(key.Key())
}

package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// Keys are the API keys there are. A hub of the collection system.keys keeps them.
type Keys interface {
	// Key gives the key with an id. It must not block, and the key must not change.
	Key(id string) (*watchroutev1.ApiKey, bool)
}

const (
	keyPrefix   = "wr_"
	maxKeyID    = 32
	secretBytes = 32
	// usedEvery is how often Used is told of a key, at most.
	usedEvery = time.Hour
	// How many checked secrets are remembered. The bad ones are apart, so that they
	// cannot drive out the good ones.
	maxGoodSecrets = 10_000
	maxBadSecrets  = 1_000
)

// NewKey makes an API key, which only its owner may keep, and the hash to store. id is 1
// to 32 lower-case letters, digits and '-'.
func NewKey(id string) (key, hash string, err error) {
	if !checkKeyID(id) {
		return "", "", errors.New("the id of a key must be 1 to 32 lower-case letters, digits and '-'")
	}
	random := make([]byte, secretBytes)
	rand.Read(random) // never fails
	secret := base64.RawURLEncoding.EncodeToString(random)
	return keyPrefix + id + "_" + secret, newHash(secret), nil
}

func checkKeyID(id string) bool { return id != "" && len(id) <= maxKeyID && plain(id) }

// parseKeyText takes wr_KEYID_SECRET apart.
func parseKeyText(text string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		return "", "", false
	}
	// The secret may have more of them.
	id, secret, ok = strings.Cut(rest, "_")
	// The decoder skips line breaks, which the length then tells.
	if !ok || !checkKeyID(id) || len(secret) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return "", "", false
	}
	random, err := base64.RawURLEncoding.Strict().DecodeString(secret)
	return id, secret, err == nil && len(random) == secretBytes
}

// apiKeys checks API keys.
type apiKeys struct {
	keys   Keys
	used   func(keyID string)
	logger *slog.Logger

	// Of a secret together with the hash that it fits, or does not fit.
	good, bad *cache[struct{}]
	turns     chan struct{} // has room for as many as may hash at a time

	mu    sync.Mutex
	told  map[string]time.Time // when Used was told of a key, within the last hour or two
	swept time.Time
}

func newAPIKeys(keys Keys, used func(string), logger *slog.Logger) *apiKeys {
	return &apiKeys{
		keys: keys, used: used, logger: logger,
		good:  newCache[struct{}](maxGoodSecrets, maxGoodSecrets),
		bad:   newCache[struct{}](maxBadSecrets, maxBadSecrets),
		turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		told:  map[string]time.Time{},
	}
}

// apiKey gives the principal of an API key.
func (a *Authenticator) apiKey(ctx context.Context, text string) (*Principal, error) {
	if a.keys == nil {
		return nil, invalid("API keys are not accepted here")
	}
	id, secret, ok := parseKeyText(text)
	if !ok {
		return nil, invalid("the credential is not an API key, wr_KEYID_SECRET")
	}
	key, ok := a.keys.keys.Key(id)
	if !ok {
		return nil, errBadKey()
	}
	if err := a.keys.check(ctx, key, text, secret); err != nil {
		return nil, err
	}
	p := &Principal{Method: APIKey, ID: id, Tenant: key.GetTenant(), Subject: key.GetSubject(),
		Roles: key.GetRoles(), Scopes: key.GetScopes(), Operator: key.GetOperator(), key: key}
	if t := key.GetExpireTime(); t != nil {
		p.Expires = t.AsTime()
		// After the secret was checked: a stranger need not know.
		if !time.Now().Before(p.Expires) {
			return nil, expired("the API key has expired")
		}
	}
	if p.Subject == "" || len(p.Subject) > MaxSubject || resource.CheckTenant("", p.Tenant) != nil {
		a.keys.logger.Warn("an API key has no subject, or no valid tenant", "key_id", id)
		return nil, errBadKey()
	}
	a.keys.tell(id)
	return p, nil
}

// errBadKey says the same of an id that does not exist and of a wrong secret.
func errBadKey() error { return invalid("there is no such API key") }

// check says whether a presented key fits the stored hash.
func (k *apiKeys) check(ctx context.Context, key *watchroutev1.ApiKey, text, secret string) error {
	// With the hash, so that a new one is asked anew. The length of text is bounded, and it
	// has no `$`, with which a hash begins.
	about := digest(sha256.Sum256([]byte(text + key.GetHash())))
	if known, err := k.recall(about); known {
		return err
	}
	h, err := parseHash(key.GetHash())
	if err != nil {
		k.logger.Warn("the hash of an API key cannot be used", "key_id", key.GetKeyId(), "error", err)
		return errBadKey()
	}
	select {
	case k.turns <- struct{}{}:
		defer func() { <-k.turns }()
	case <-ctx.Done():
		return interrupted(ctx)
	}
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	// After a restart many come at once with the same key: one of them hashes.
	if known, err := k.recall(about); known {
		return err
	}
	if !h.fits(secret) {
		k.bad.put(about, struct{}{}, 1)
		return errBadKey()
	}
	k.good.put(about, struct{}{}, 1)
	return nil
}

// recall says what is remembered of a secret.
func (k *apiKeys) recall(about digest) (known bool, err error) {
	if _, ok := k.good.get(about); ok {
		return true, nil
	}
	if _, ok := k.bad.get(about); ok {
		return true, errBadKey()
	}
	return false, nil
}

// tell calls Used, if that is due.
func (k *apiKeys) tell(id string) {
	if k.used == nil {
		return
	}
	now := time.Now()
	k.mu.Lock()
	if now.Sub(k.swept) >= usedEvery {
		k.swept = now
		for other, at := range k.told {
			if now.Sub(at) >= usedEvery {
				delete(k.told, other)
			}
		}
	}
	at, ok := k.told[id]
	due := !ok || now.Sub(at) >= usedEvery
	if due {
		k.told[id] = now
	}
	k.mu.Unlock()
	if due {
		k.used(id)
	}
}

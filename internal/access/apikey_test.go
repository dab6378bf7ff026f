package access

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// keyTable is the keys of a test.
type keyTable struct {
	mu   sync.Mutex
	keys map[string]*watchroutev1.ApiKey
}

func (k *keyTable) Key(id string) (*watchroutev1.ApiKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[id]
	return key, ok
}

func (k *keyTable) put(id string, key *watchroutev1.ApiKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[id] = key
}

// cheap hashes a secret with parameters that take no time.
func cheap(key string) string {
	_, secret, _ := parseKeyText(key)
	h := phc{memory: 8, passes: 1, lanes: 1, salt: []byte("saltsalt")}
	h.hash = h.of(secret, 32)
	return h.String()
}

// keyText gives a key whose secret is made of one byte.
func keyText(id string, b byte) string {
	return keyPrefix + id + "_" + base64.RawURLEncoding.EncodeToString(slices.Repeat([]byte{b}, secretBytes))
}

func newKeys(text string) *keyTable {
	id, _, _ := parseKeyText(text)
	return &keyTable{keys: map[string]*watchroutev1.ApiKey{id: {KeyId: id, Hash: cheap(text), Subject: "robot"}}}
}

func TestNewKey_IsAccepted(t *testing.T) {
	text, hash, err := NewKey("ci-1")
	if err != nil || CheckHash(hash) != nil || !strings.HasPrefix(text, "wr_ci-1_") || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatal(text, hash, err)
	}
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	keys := &keyTable{keys: map[string]*watchroutev1.ApiKey{"ci-1": {KeyId: "ci-1", Hash: hash, Tenant: "shop", Subject: "robot",
		Roles: []string{"r"}, Scopes: []string{"s"}, Operator: true, ExpireTime: timestamppb.New(expires)}}}
	f := newFixture(t, Config{Keys: keys})
	want := &Principal{Tenant: "shop", Subject: "robot", Roles: []string{"r"}, Scopes: []string{"s"}, Operator: true, Method: APIKey, ID: "ci-1", Expires: expires, key: keys.keys["ci-1"]}
	for range 2 {
		if p := f.accepts(text); !reflect.DeepEqual(p, want) {
			t.Errorf("got %+v", p)
		}
	}
	again, other, _ := NewKey("ci-1")
	if again == text || other == hash {
		t.Error("the same key twice")
	}
	f.refuses(again, resource.CredentialInvalid)
}

func TestNewKey_RefusesBadIDs(t *testing.T) {
	for _, id := range []string{"", "A", "a_b", "a b", "a\n", strings.Repeat("a", 33), "ä"} {
		if text, _, err := NewKey(id); err == nil {
			t.Errorf("%q gave %q", id, text)
		}
	}
	if _, _, err := NewKey(strings.Repeat("9", 32)); err != nil {
		t.Error(err)
	}
}

func TestAuthenticate_RefusesKeysThatProveNothing(t *testing.T) {
	text := keyText("ci", 1)
	keys := newKeys(text)
	f := newFixture(t, Config{Keys: keys})
	f.accepts(text)
	for name, bad := range map[string]string{
		"another secret":      keyText("ci", 2),
		"unknown id":          keyText("other", 1),
		"no secret":           "wr_ci_",
		"only the prefix":     "wr_",
		"no id":               "wr__" + text[len("wr_ci_"):],
		"short":               text[:len(text)-1],
		"long":                text + "A",
		"padding":             text + "=",
		"line break":          text[:20] + "\n" + text[20:],
		"line break for one":  text[:20] + "\n" + text[21:],
		"spare bits":          text[:len(text)-1] + "F",
		"id in capitals":      "wr_CI_" + text[len("wr_ci_"):],
		"id is too long":      keyText(strings.Repeat("c", 33), 1),
		"the hash":            "wr_ci_" + keys.keys["ci"].Hash,
		"the hash's last":     "wr_ci_" + strings.Split(keys.keys["ci"].Hash, "$")[5],
		"very long":           "wr_" + strings.Repeat("c", maxSecret),
		"just not too long":   "wr_" + strings.Repeat("c", maxSecret-3),
		"a JWT behind prefix": "wr_" + good(nil),
	} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.t = t
			f.refuses(bad, resource.CredentialInvalid)
			f.refuses(bad, resource.CredentialInvalid)
		})
	}
	one := f.refuses(keyText("ci", 3), resource.CredentialInvalid)
	two := f.refuses(keyText("nobody", 3), resource.CredentialInvalid)
	if one.Error() != two.Error() {
		t.Errorf("the errors tell which ids there are: %v, %v", one, two)
	}
}

func TestAuthenticate_AChangeOfAKeyCountsAtOnce(t *testing.T) {
	text := keyText("ci", 1)
	keys := newKeys(text)
	f := newFixture(t, Config{Keys: keys})
	f.accepts(text)
	hash := cheap(text)
	keys.put("ci", &watchroutev1.ApiKey{KeyId: "ci", Hash: hash, Subject: "robot", Roles: []string{"new"}})
	if p := f.accepts(text); !slices.Equal(p.Roles, []string{"new"}) {
		t.Errorf("got %+v", p)
	}
	for name, key := range map[string]*watchroutev1.ApiKey{
		"another secret": {KeyId: "ci", Hash: cheap(keyText("ci", 2)), Subject: "robot"},
		"bad hash":       {KeyId: "ci", Hash: "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", Subject: "robot"},
		"no hash":        {KeyId: "ci", Subject: "robot"},
		"no subject":     {KeyId: "ci", Hash: hash},
		"bad tenant":     {KeyId: "ci", Hash: hash, Subject: "robot", Tenant: "A"},
	} {
		keys.put("ci", key)
		if e := f.refuses(text, resource.CredentialInvalid); e == nil {
			t.Error(name)
		}
	}
	keys.put("ci", &watchroutev1.ApiKey{KeyId: "ci", Hash: hash, Subject: "robot", ExpireTime: timestamppb.New(time.Now().Add(-time.Second))})
	f.refuses(text, resource.CredentialExpired)
	f.refuses(keyText("ci", 2), resource.CredentialInvalid) // a stranger does not learn that
	keys.put("ci", &watchroutev1.ApiKey{KeyId: "ci", Hash: hash, Subject: "robot"})
	f.accepts(text)
	keys.mu.Lock()
	delete(keys.keys, "ci")
	keys.mu.Unlock()
	f.refuses(text, resource.CredentialInvalid)
}

func TestAuthenticate_HashesForFewAtATimeAndOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := keyText("ci", 1)
		keys := newKeys(text)
		f := newFixture(t, Config{Keys: keys})
		f.accepts(text)
		for range cap(f.keys.turns) {
			f.keys.turns <- struct{}{}
		}
		f.accepts(text) // what is known waits for nobody
		f.refuses(keyText("unknown", 1), resource.CredentialInvalid)

		late := keyText("ci", 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f.refusesIn(ctx, late, resource.DeadlineExceeded)

		// Of many who wait with the same key, the first hashes for all: here it was told
		// right, which the hash itself would not say.
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				if _, err := f.Authenticate(t.Context(), Credential{Secret: late}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		key, _ := keys.Key("ci")
		f.keys.good.put(sha256.Sum256([]byte(late+key.GetHash())), struct{}{}, 1)
		for range cap(f.keys.turns) {
			<-f.keys.turns
		}
		wait.Wait()
	})
}

func TestAuthenticate_TellsOfUseOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, other := keyText("ci", 1), keyText("two", 2)
		keys := newKeys(text)
		keys.put("two", &watchroutev1.ApiKey{KeyId: "two", Hash: cheap(other), Subject: "robot"})
		var told []string
		f := newFixture(t, Config{Keys: keys, Used: func(id string) { told = append(told, id) }})
		f.refuses(keyText("ci", 3), resource.CredentialInvalid)
		for range 4 {
			f.accepts(text)
			f.accepts(text)
			time.Sleep(20 * time.Minute)
		}
		f.accepts(other)
		time.Sleep(3 * time.Hour)
		f.accepts(other)
		if want := []string{"ci", "ci", "two", "two"}; !slices.Equal(told, want) {
			t.Errorf("told of %q, not %q", told, want)
		}
		if n := len(f.keys.told); n != 1 {
			t.Errorf("%d keys are remembered", n)
		}
	})
}

func TestCheckHash(t *testing.T) {
	good := "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"
	if err := CheckHash(good); err != nil {
		t.Error(err)
	}
	change := func(old, by string) string { return strings.Replace(good, old, by, 1) }
	for name, bad := range map[string]string{
		"empty":          "",
		"argon2i":        change("argon2id", "argon2i"),
		"old version":    change("v=19", "v=16"),
		"no version":     change("$v=19", ""),
		"4 TiB":          change("m=19456", "m=4294967295"),
		"over 64 MiB":    change("m=19456", "m=65537"),
		"overflow":       change("m=19456", "m=4294967297"),
		"little memory":  change("m=19456", "m=7"),
		"less than p":    change("m=19456,t=2,p=1", "m=31,t=2,p=4"),
		"no passes":      change("t=2", "t=0"),
		"many passes":    change("t=2", "t=9"),
		"no lanes":       change("p=1", "p=0"),
		"many lanes":     change("p=1", "p=5"),
		"negative":       change("t=2", "t=-1"),
		"plus":           change("t=2", "t=+2"),
		"leading zero":   change("t=2", "t=02"),
		"order":          change("m=19456,t=2", "t=2,m=19456"),
		"more":           change("p=1", "p=1,keyid=x"),
		"short salt":     change("c2FsdHNhbHQ", "c2FsdA"),
		"padded salt":    change("c2FsdHNhbHQ", "c2FsdHNhbHQ="),
		"broken salt":    change("c2FsdHNhbHQ", "c2FsdHN\nhbHQ"),
		"short hash":     change("AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAA"),
		"long hash":      change("AAAAAAAAAAAAAAAAAAAAAA", strings.Repeat("A", 88)),
		"very long hash": change("AAAAAAAAAAAAAAAAAAAAAA", strings.Repeat("A", 1<<20)),
		"no hash":        change("$AAAAAAAAAAAAAAAAAAAAAA", ""),
		"bcrypt":         "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
	} {
		if err := CheckHash(bad); err == nil {
			t.Errorf("%s: accepted", name)
		} else if len(bad) > 20 && strings.Contains(err.Error(), bad[len(bad)-10:]) {
			t.Errorf("%s: quoted: %v", name, err)
		}
	}
}

// The vector is one of the reference implementation's tests.
func TestHash_IsThatOfOthers(t *testing.T) {
	h, err := parseHash("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
	if err != nil || !h.fits("password") || h.fits("passwore") {
		t.Error(h, err)
	}
}

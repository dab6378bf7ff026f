package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The parameters of new hashes are the first of OWASP's password storage cheat sheet:
// 19 MiB, two passes, one lane.
const (
	defaultMemory = 19456 // KiB
	defaultPasses = 2
	defaultLanes  = 1
	saltBytes     = 16
	hashBytes     = 32
)

// The bounds of those that are stored: whoever writes a hash must not make us take all
// memory or time. Weaker ones than the default are no danger, as secrets are random.
const (
	maxMemory = 64 << 10 // KiB
	maxPasses = 8
	maxLanes  = 4
	minSalt   = 8
	maxSalt   = 64
	minHash   = 16
	maxHash   = 64
	// No valid string is longer.
	maxPHC = 256
)

// phc is an Argon2id hash.
type phc struct {
	memory, passes uint32 // memory in KiB
	lanes          uint8
	salt, hash     []byte
}

// CheckHash says whether a text is a hash that an API key can have:
// $argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH with at most 64 MiB, 8 passes and 4
// lanes, the salt (8 to 64 bytes) and the hash (16 to 64) in base64 without padding. The
// hash is of SECRET as it stands in wr_KEYID_SECRET.
func CheckHash(phc string) error {
	_, err := parseHash(phc)
	return err
}

// parseHash reads a PHC string. No error quotes it.
func parseHash(text string) (h phc, err error) {
	if len(text) > maxPHC {
		return h, fmt.Errorf("the hash has more than %d bytes", maxPHC)
	}
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return h, errors.New("the hash must begin with $argon2id$v=19$ and have three more parts")
	}
	parameters := strings.Split(parts[3], ",")
	if len(parameters) != 3 {
		return h, errors.New("the hash must have the parameters m, t and p, in this order")
	}
	var n [3]uint64
	for i, p := range []struct {
		name     string
		min, max uint64
	}{{"m=", 8, maxMemory}, {"t=", 1, maxPasses}, {"p=", 1, maxLanes}} {
		digits, ok := strings.CutPrefix(parameters[i], p.name)
		if n[i], err = strconv.ParseUint(digits, 10, 32); !ok || err != nil || strconv.FormatUint(n[i], 10) != digits || n[i] < p.min || n[i] > p.max {
			return h, fmt.Errorf("the hash's %s must be a number from %d to %d", p.name, p.min, p.max)
		}
	}
	h.memory, h.passes, h.lanes = uint32(n[0]), uint32(n[1]), uint8(n[2])
	if h.memory < 8*uint32(h.lanes) {
		return h, errors.New("the hash's m must be at least 8 times its p")
	}
	if h.salt, err = decodePHC(parts[4]); err != nil || len(h.salt) < minSalt || len(h.salt) > maxSalt {
		return h, fmt.Errorf("the hash's salt must be %d to %d bytes in base64 without padding", minSalt, maxSalt)
	}
	if h.hash, err = decodePHC(parts[5]); err != nil || len(h.hash) < minHash || len(h.hash) > maxHash {
		return h, fmt.Errorf("the hash itself must be %d to %d bytes in base64 without padding", minHash, maxHash)
	}
	return h, nil
}

func decodePHC(text string) ([]byte, error) {
	// The decoder would skip them.
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break")
	}
	return base64.RawStdEncoding.Strict().DecodeString(text)
}

// newHash hashes a secret with a new salt.
func newHash(secret string) string {
	h := phc{memory: defaultMemory, passes: defaultPasses, lanes: defaultLanes, salt: make([]byte, saltBytes)}
	rand.Read(h.salt) // never fails
	h.hash = h.of(secret, hashBytes)
	return h.String()
}

// String gives the PHC string.
func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.hash))
}

// fits hashes a secret, slowly, and compares.
func (h phc) fits(secret string) bool {
	return subtle.ConstantTimeCompare(h.of(secret, len(h.hash)), h.hash) == 1
}

func (h phc) of(secret string, bytes int) []byte {
	return argon2.IDKey([]byte(secret), h.salt, h.passes, h.memory, h.lanes, uint32(bytes))
}

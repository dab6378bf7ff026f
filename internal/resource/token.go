package resource

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// Token is a place in the log of one collection: what a resume_token holds.
// It grants nothing, so it is not secret; the checksum finds mutilation only.
type Token struct {
	// Epoch names the life of the log: a restored backup has another.
	Epoch uint64
	// Scope is the hash of everything that decides which events the watch has:
	// names, filter, mask, delivery, access.
	Scope uint64
	// Revision: everything at or below it was sent.
	Revision uint64
	// Collection is the key of the one that Revision counts in.
	Collection string
}

const tokenVersion = 1

var tokenEncoding = base64.RawURLEncoding

// String gives the opaque form: URL-safe, about 50 characters.
func (t Token) String() string {
	return string(t.Append(make([]byte, 0, 64)))
}

// Append appends the opaque form to dst.
func (t Token) Append(dst []byte) []byte {
	var raw [1 + 8 + 8 + binary.MaxVarintLen64 + MaxTenant + 1 + MaxCollection + 4]byte
	b := append(raw[:0], tokenVersion)
	b = binary.BigEndian.AppendUint64(b, t.Epoch)
	b = binary.BigEndian.AppendUint64(b, t.Scope)
	b = binary.AppendUvarint(b, t.Revision)
	b = append(b, t.Collection...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return tokenEncoding.AppendEncode(dst, b)
}

// ParseToken reads the opaque form. The error's reason is InvalidToken.
func ParseToken(field, text string) (Token, error) {
	bad := func() (Token, error) {
		return Token{}, Errorf(InvalidToken, "not a resume token of this service").In(field)
	}
	if len(text) > 256 {
		return bad()
	}
	b, err := tokenEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 1+8+8+1+1+4 || b[0] != tokenVersion {
		return bad()
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return bad()
	}
	t := Token{Epoch: binary.BigEndian.Uint64(body[1:]), Scope: binary.BigEndian.Uint64(body[9:])}
	rest := body[17:]
	rev, n := binary.Uvarint(rest)
	if n <= 0 {
		return bad()
	}
	t.Revision, t.Collection = rev, string(rest[n:])
	tenant, collection, tenanted := strings.Cut(t.Collection, ":")
	if !tenanted {
		tenant, collection = "", t.Collection
	}
	if CheckTenant("", tenant) != nil || CheckCollection("", collection) != nil || t.String() != text {
		return bad()
	}
	return t, nil
}

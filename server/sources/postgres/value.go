package postgres

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"
)

// maxExact is up to which number each integer is a double.
const maxExact = 1 << 53

// kind says what JSON the text of a value becomes.
type kind byte

const (
	textual kind = iota // a string
	boolean
	integer
	float
	embedded // JSON
	instant  // timestamptz
	local    // timestamp
	octets   // bytea
)

// valueType is a type of PostgreSQL as far as its JSON is concerned.
type valueType struct {
	kind kind
	list bool // an array of it
}

// scalars are the types that are no strings.
var scalars = map[uint32]kind{
	pgtype.BoolOID: boolean,
	pgtype.Int2OID: integer, pgtype.Int4OID: integer, pgtype.Int8OID: integer, pgtype.OIDOID: integer,
	pgtype.Float4OID: float, pgtype.Float8OID: float,
	pgtype.JSONOID: embedded, pgtype.JSONBOID: embedded,
	pgtype.TimestamptzOID: instant, pgtype.TimestampOID: local,
	pgtype.ByteaOID: octets,
}

// firstUsers is the first OID of a type that is not PostgreSQL's own.
const firstUsers = 16384

// builtin gives a type of PostgreSQL's own.
func builtin(known *pgtype.Map, oid uint32) valueType {
	if t, ok := known.TypeForOID(oid); ok && oid != pgtype.BoxArrayOID { // whose delimiter is another
		if array, ok := t.Codec.(*pgtype.ArrayCodec); ok {
			return valueType{kind: scalars[array.ElementType.OID], list: true}
		}
	}
	return valueType{kind: scalars[oid]}
}

// append appends the JSON of a value's text. What is not of the form that is expected
// becomes a string.
func (t valueType) append(dst, text []byte) []byte {
	if t.list {
		if out, ok := appendArray(dst, text, t.kind); ok {
			return out
		}
		return appendString(dst, text)
	}
	return t.kind.append(dst, text)
}

func (k kind) append(dst, text []byte) []byte {
	switch k {
	case boolean:
		switch string(text) {
		case "t":
			return append(dst, "true"...)
		case "f":
			return append(dst, "false"...)
		}
	case integer:
		if n, err := strconv.ParseInt(string(text), 10, 64); err == nil && n >= -maxExact && n <= maxExact {
			return strconv.AppendInt(dst, n, 10)
		}
	case float:
		if len(text) > 0 && (text[0] == '-' || text[0] >= '0' && text[0] <= '9') && json.Valid(text) {
			return append(dst, text...)
		}
	case embedded: // PostgreSQL has checked it, and so will the sink
		return append(dst, text...)
	case instant:
		if at, ok := bytes.CutSuffix(text, []byte("+00")); ok && dated(at) {
			dst = appendTime(dst, at)
			return append(dst, `Z"`...)
		}
	case local:
		if dated(text) {
			return append(appendTime(dst, text), '"')
		}
	case octets:
		if digits, ok := bytes.CutPrefix(text, []byte(`\x`)); ok {
			if raw, err := hex.AppendDecode(nil, digits); err == nil {
				return append(base64.StdEncoding.AppendEncode(append(dst, '"'), raw), '"')
			}
		}
	}
	return appendString(dst, text)
}

// dated says whether a text is a date and a time of the years that RFC 3339 knows.
func dated(text []byte) bool {
	_, err := time.Parse("2006-01-02 15:04:05.999999", string(text))
	return err == nil && len(text) <= len("2006-01-02 15:04:05.999999")
}

// appendTime appends a date and a time, and the quotation mark before them.
func appendTime(dst, text []byte) []byte {
	dst = append(append(dst, '"'), text[:10]...)
	return append(append(dst, 'T'), text[11:]...)
}

// appendString appends a text as a JSON string; what is not UTF-8 is replaced.
func appendString[T string | []byte](dst []byte, s T) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			dst = append(append(dst, s[start:i]...), "\uFFFD"...)
		} else {
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

package postgres

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"
)

func TestValue_JSONOfText(t *testing.T) {
	known := pgtype.NewMap()
	for _, test := range []struct {
		oid        uint32
		text, want string
	}{
		{pgtype.BoolOID, "t", `true`},
		{pgtype.BoolOID, "f", `false`},
		{pgtype.Int2OID, "-7", `-7`},
		{pgtype.Int8OID, "9007199254740992", `9007199254740992`},
		{pgtype.Int8OID, "9007199254740993", `"9007199254740993"`},
		{pgtype.Int8OID, "-9223372036854775808", `"-9223372036854775808"`},
		{pgtype.NumericOID, "12.30", `"12.30"`},
		{pgtype.Float8OID, "1.5e+300", `1.5e+300`},
		{pgtype.Float8OID, "-0", `-0`},
		{pgtype.Float4OID, "NaN", `"NaN"`},
		{pgtype.Float8OID, "-Infinity", `"-Infinity"`},
		{pgtype.JSONBOID, `{"a": [1, null]}`, `{"a": [1, null]}`},
		{pgtype.JSONOID, `null`, `null`},
		{pgtype.TimestamptzOID, "2026-01-02 03:04:05+00", `"2026-01-02T03:04:05Z"`},
		{pgtype.TimestamptzOID, "2026-01-02 03:04:05.000678+00", `"2026-01-02T03:04:05.000678Z"`},
		{pgtype.TimestamptzOID, "infinity", `"infinity"`},
		{pgtype.TimestamptzOID, "0044-03-15 12:00:00+00 BC", `"0044-03-15 12:00:00+00 BC"`},
		{pgtype.TimestamptzOID, "12026-01-02 03:04:05+00", `"12026-01-02 03:04:05+00"`},
		{pgtype.TimestampOID, "2026-01-02 03:04:05.5", `"2026-01-02T03:04:05.5"`},
		{pgtype.DateOID, "2026-01-02", `"2026-01-02"`},
		{pgtype.ByteaOID, `\xdeadbeef`, `"3q2+7w=="`},
		{pgtype.ByteaOID, `\x`, `""`},
		{pgtype.ByteaOID, `\x0`, `"\\x0"`},
		{pgtype.UUIDOID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`},
		{pgtype.TextOID, "a\"b\\c\n\t\x01é\u2028😀", `"a\"b\\c\n\t\u0001é` + "\u2028😀" + `"`},
		{pgtype.TextOID, "a\xffb", `"a` + "\uFFFD" + `b"`},
		{pgtype.TextOID, "", `""`},
		{pgtype.Int4ArrayOID, "{1,NULL,3}", `[1,null,3]`},
		{pgtype.Int4ArrayOID, "{}", `[]`},
		{pgtype.Int4ArrayOID, "[0:1][2:3]={{1,2},{3,4}}", `[[1,2],[3,4]]`},
		{pgtype.BoolArrayOID, "{t,f}", `[true,false]`},
		{pgtype.TextArrayOID, `{a,"b c","NULL",NULL,"q\"\\",""}`, `["a","b c","NULL",null,"q\"\\",""]`},
		{pgtype.NumericArrayOID, "{1.0}", `["1.0"]`},
		{pgtype.ByteaArrayOID, `{"\\xff"}`, `["/w=="]`},
		{pgtype.JSONBArrayOID, `{"{\"a\": 1}"}`, `[{"a": 1}]`},
		{pgtype.TimestamptzArrayOID, `{"2026-01-02 03:04:05+00"}`, `["2026-01-02T03:04:05Z"]`},
		{pgtype.TextArrayOID, "{a", `"{a"`},
		{pgtype.TextArrayOID, "{a}b", `"{a}b"`},
		{pgtype.TextArrayOID, "{a,}", `"{a,}"`},
		{pgtype.TextArrayOID, "[0:1]", `"[0:1]"`},
		{pgtype.TextArrayOID, "{{{{{{{1}}}}}}}", `"{{{{{{{1}}}}}}}"`},
		{pgtype.BoxArrayOID, "{(2,2),(0,0);(1,1),(0,0)}", `"{(2,2),(0,0);(1,1),(0,0)}"`},
	} {
		got := string(builtin(known, test.oid).append([]byte("x"), []byte(test.text)))
		if got != "x"+test.want {
			t.Errorf("%d %q: %s, expected %s", test.oid, test.text, got[1:], test.want)
		}
	}
}

// FuzzValue: whatever stands in a column, the event is JSON, and a text arrives as it is.
func FuzzValue(f *testing.F) {
	for _, text := range []string{"t", "-1", "1e5", "NaN", `{"a":1}`, "2026-01-02 03:04:05.5+00", `\xff`, `[0:1]={"a\"b",NULL,{1}}`, "a\xff\n"} {
		for k := textual; k <= octets; k++ {
			f.Add(byte(k), true, text)
			f.Add(byte(k), false, text)
		}
	}
	f.Fuzz(func(t *testing.T, k byte, list bool, text string) {
		typ := valueType{kind: kind(k % byte(octets+1)), list: list}
		if typ.kind == embedded {
			t.Skip("PostgreSQL has checked it")
		}
		out := typ.append(nil, []byte(text))
		if !json.Valid(out) || !utf8.Valid(out) {
			t.Fatalf("%+v %q: %s", typ, text, out)
		}
		var back string
		if typ == (valueType{}) && (json.Unmarshal(out, &back) != nil || back != strings.ToValidUTF8(text, "\uFFFD")) && utf8.ValidString(text) {
			t.Fatalf("%q came back as %q", text, back)
		}
	})
}

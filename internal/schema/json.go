package schema

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// jsonError says what is wrong with a text, and where.
type jsonError struct {
	path string // such as items[2].sku; empty at the top
	msg  string
}

func (e *jsonError) Error() string { return e.msg }

// compactObject checks that text is one JSON object, as strictly as RFC 8259 and
// I-JSON have it (UTF-8, no name twice, no lone surrogates, numbers in the range
// of a double, nested at most MaxDepth deep), and takes out the white space
// between its tokens. Everything else stays as it was written.
func compactObject(text string) ([]byte, *jsonError) {
	s := &scanner{in: text}
	if s.space(); s.peek() != '{' && utf8.ValidString(text) {
		return nil, s.errorf("a JSON object is expected, not %s", s.found())
	}
	return compactJSON(text)
}

// compactJSON is compactObject for any JSON value.
func compactJSON(text string) ([]byte, *jsonError) {
	s := &scanner{in: text, out: make([]byte, 0, len(text))}
	if !utf8.ValidString(text) {
		return nil, &jsonError{msg: "the text is not UTF-8"}
	}
	s.space()
	noun := "value"
	if s.peek() == '{' {
		noun = "object"
	}
	if err := s.value(); err != nil {
		return nil, err
	}
	s.space()
	if s.pos < len(s.in) {
		return nil, s.errorf("%s follows the %s", s.found(), noun)
	}
	return s.out, nil
}

// scanner checks a text and copies it without white space to out. With a stop it
// ends there, with errStop, and the path tells what stands there.
type scanner struct {
	in   string
	pos  int
	out  []byte
	path []element
	keys []string // of all open objects
}

type element struct {
	key   string
	index int // -1: key counts
}

func (s *scanner) peek() byte {
	if s.pos < len(s.in) {
		return s.in[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.in) {
		switch s.in[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// take moves n bytes to out.
func (s *scanner) take(n int) {
	s.out = append(s.out, s.in[s.pos:s.pos+n]...)
	s.pos += n
}

func (s *scanner) found() string {
	if s.pos >= len(s.in) {
		return "the end"
	}
	r, _ := utf8.DecodeRuneInString(s.in[s.pos:])
	return strconv.QuoteRune(r)
}

func (s *scanner) errorf(format string, args ...any) *jsonError {
	return &jsonError{path: pathString(s.path), msg: fmt.Sprintf(format, args...)}
}

func pathString(path []element) string {
	var b []byte
	for _, e := range path {
		if e.index >= 0 {
			b = append(b, '[')
			b = strconv.AppendInt(b, int64(e.index), 10)
			b = append(b, ']')
			continue
		}
		if len(b) > 0 {
			b = append(b, '.')
		}
		b = append(b, e.key...)
	}
	return string(b)
}

func (s *scanner) value() *jsonError {
	switch c := s.peek(); {
	case c == '{':
		return s.object()
	case c == '[':
		return s.array()
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if len(s.in)-s.pos >= len(word) && s.in[s.pos:s.pos+len(word)] == word {
			s.take(len(word))
			return nil
		}
	}
	return s.errorf("a JSON value is expected, not %s", s.found())
}

func (s *scanner) object() *jsonError {
	if len(s.path) >= MaxDepth {
		return s.errorf("the value is nested more than %d deep", MaxDepth)
	}
	first := len(s.keys)
	var seen map[string]bool // once there are many
	s.path = append(s.path, element{index: -1})
	top := len(s.path) - 1
	s.take(1)
	s.space()
	for n := 0; s.peek() != '}' || n > 0; n++ {
		if s.peek() != '"' {
			s.path = s.path[:top]
			return s.errorf("a name in quotes is expected, not %s", s.found())
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		s.path[top].key = key
		twice := false
		if seen == nil {
			for _, k := range s.keys[first:] {
				twice = twice || k == key
			}
			if s.keys = append(s.keys, key); n == 32 {
				seen = make(map[string]bool, 64)
				for _, k := range s.keys[first:] {
					seen[k] = true
				}
			}
		} else {
			twice = seen[key]
			seen[key] = true
		}
		if twice {
			return s.errorf("the name %s stands there twice", clipQuote(key))
		}
		s.space()
		if s.peek() != ':' {
			return s.errorf("':' is expected, not %s", s.found())
		}
		s.take(1)
		s.space()
		if err := s.value(); err != nil {
			return err
		}
		s.space()
		if s.peek() == '}' {
			break
		}
		if s.peek() != ',' {
			return s.errorf("',' or '}' is expected, not %s", s.found())
		}
		s.take(1)
		s.space()
	}
	s.take(1)
	s.path, s.keys = s.path[:top], s.keys[:first]
	return nil
}

func (s *scanner) array() *jsonError {
	if len(s.path) >= MaxDepth {
		return s.errorf("the value is nested more than %d deep", MaxDepth)
	}
	s.path = append(s.path, element{})
	top := len(s.path) - 1
	s.take(1)
	s.space()
	for n := 0; s.peek() != ']' || n > 0; n++ {
		s.path[top].index = n
		if err := s.value(); err != nil {
			return err
		}
		s.space()
		if s.peek() == ']' {
			break
		}
		if s.peek() != ',' {
			return s.errorf("',' or ']' is expected, not %s", s.found())
		}
		s.take(1)
		s.space()
	}
	s.take(1)
	s.path = s.path[:top]
	return nil
}

// str copies a string and gives what it stands for.
func (s *scanner) str() (string, *jsonError) {
	start, escapes := s.pos, false
	for i := s.pos + 1; i < len(s.in); i++ {
		switch c := s.in[i]; {
		case c == '"':
			s.take(i + 1 - start)
			if !escapes {
				return s.in[start+1 : i], nil
			}
			text, ok := unquote([]byte(s.in[start : i+1]))
			if !ok {
				return "", s.errorf("the string %s has an escape that stands for no character", clipQuote(s.in[start+1:i]))
			}
			return text, nil
		case c == '\\':
			escapes = true
			i++
		case c < ' ':
			s.pos = i
			return "", s.errorf("the control character %s stands in a string", s.found())
		}
	}
	return "", s.errorf("a string does not end")
}

func (s *scanner) number() *jsonError {
	i := s.pos
	digits := func() bool {
		from := i
		for i < len(s.in) && s.in[i] >= '0' && s.in[i] <= '9' {
			i++
		}
		return i > from
	}
	bad := func() *jsonError {
		s.pos = i
		return s.errorf("a digit is expected, not %s", s.found())
	}
	if s.in[i] == '-' {
		i++
	}
	if i < len(s.in) && s.in[i] == '0' {
		i++
	} else if !digits() {
		return bad()
	}
	long := i-s.pos > 300
	if i < len(s.in) && s.in[i] == '.' {
		i++
		if !digits() {
			return bad()
		}
	}
	if i < len(s.in) && (s.in[i] == 'e' || s.in[i] == 'E') {
		long = true
		if i++; i < len(s.in) && (s.in[i] == '+' || s.in[i] == '-') {
			i++
		}
		if !digits() {
			return bad()
		}
	}
	if long {
		if f, err := strconv.ParseFloat(s.in[s.pos:i], 64); err != nil && math.IsInf(f, 0) {
			return s.errorf("the number %s is out of the range of a double", clip(s.in[s.pos:i]))
		}
	}
	s.take(i - s.pos)
	return nil
}

// unquote gives what a JSON string, quotes included, stands for; false where it
// is not one, or stands for something that is not Unicode.
func unquote(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", false
	}
	raw = raw[1 : len(raw)-1]
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		if i++; i >= len(raw) {
			return "", false
		}
		switch c := raw[i]; c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := hex4(raw[i+1:])
			if !ok {
				return "", false
			}
			i += 4
			switch {
			case r >= 0xD800 && r < 0xDC00: // the first half of a pair
				if len(raw) < i+7 || raw[i+1] != '\\' || raw[i+2] != 'u' {
					return "", false
				}
				low, ok := hex4(raw[i+3:])
				if !ok || low < 0xDC00 || low > 0xDFFF {
					return "", false
				}
				i += 6
				r = 0x10000 + (r-0xD800)<<10 + (low - 0xDC00)
			case r >= 0xDC00 && r <= 0xDFFF:
				return "", false
			}
			out = utf8.AppendRune(out, r)
		default:
			return "", false
		}
	}
	return string(out), true
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(n), err == nil && b[0] != '+' && b[0] != '_'
}

// clip shortens what a stranger sent before it goes into a message.
func clip(text string) string {
	if len(text) <= 80 {
		return text
	}
	return text[:80] + "..."
}

func clipQuote(text string) string { return strconv.Quote(clip(text)) }

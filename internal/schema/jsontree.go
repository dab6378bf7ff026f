package schema

import (
	"bytes"
	"iter"
	"math"
	"strconv"
)

// The functions of this file read JSON that was checked when it was written.
// Given anything else they make something of it, without a panic.

// skip gives the index behind the value that begins at b[i]; always more than i,
// if i < len(b), and at most len(b).
func skip(b []byte, i int) int {
	if i >= len(b) {
		return len(b)
	}
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			i = min(i+1, len(b))
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':':
			i++
			if depth <= 0 {
				return i
			}
			continue
		default:
			for i++; i < len(b); i++ {
				if c := b[i]; c == ',' || c == ':' || c == '}' || c == ']' || c == '{' || c == '[' || c == '"' {
					break
				}
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return len(b)
}

// members yields the raw keys, in their quotes, and the raw values of an object.
func members(obj []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		if len(obj) < 2 || obj[0] != '{' {
			return
		}
		for i := 1; i < len(obj) && obj[i] == '"'; i++ {
			key := obj[i:skip(obj, i)]
			i += len(key) + 1
			value := obj[min(i, len(obj)):skip(obj, i)]
			if len(value) == 0 || !yield(key, value) {
				return
			}
			i += len(value)
			if i >= len(obj) || obj[i] != ',' {
				return
			}
		}
	}
}

// elements yields the raw elements of an array.
func elements(arr []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if len(arr) < 2 || arr[0] != '[' {
			return
		}
		for i := 1; i < len(arr) && arr[i] != ']'; i++ {
			value := arr[i:skip(arr, i)]
			if !yield(value) {
				return
			}
			i += len(value)
			if i >= len(arr) || arr[i] != ',' {
				return
			}
		}
	}
}

// keyText gives what a raw key or string stands for.
func keyText(raw []byte) string {
	if len(raw) < 2 {
		return ""
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	s, _ := unquote(raw)
	return s
}

// keyBytes is keyText without a copy, where it can be.
func keyBytes(raw []byte) []byte {
	if len(raw) < 2 || bytes.IndexByte(raw, '\\') >= 0 {
		return []byte(keyText(raw))
	}
	return raw[1 : len(raw)-1]
}

// decode gives a value for CEL: map[string]any, []any, string, bool, nil, and for
// numbers float64, or int64 and uint64 where only they are exact.
func decode(raw []byte, depth int) any {
	if len(raw) == 0 || depth > MaxDepth {
		return nil
	}
	switch raw[0] {
	case '{':
		m := map[string]any{}
		for k, v := range members(raw) {
			m[keyText(k)] = decode(v, depth+1)
		}
		return m
	case '[':
		l := []any{}
		for v := range elements(raw) {
			l = append(l, decode(v, depth+1))
		}
		return l
	case '"':
		return keyText(raw)
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	}
	return decodeNumber(raw)
}

func decodeNumber(raw []byte) any {
	text := string(raw)
	f, _ := strconv.ParseFloat(text, 64)
	if math.Abs(f) >= 1<<53 && !bytes.ContainsAny(raw, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n
		}
	}
	return f
}

// sameJSON compares two values. The order of names does not count, the spelling
// of numbers does.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 || a[0] != b[0] {
		return false
	}
	switch a[0] {
	case '{':
		in := map[string][]byte{}
		for k, v := range members(a) {
			in[keyText(k)] = v
		}
		n := 0
		for k, v := range members(b) {
			old, ok := in[keyText(k)]
			if !ok || !sameJSON(old, v) {
				return false
			}
			n++
		}
		return n == len(in)
	case '[':
		var in [][]byte
		for v := range elements(a) {
			in = append(in, v)
		}
		n := 0
		for v := range elements(b) {
			if n >= len(in) || !sameJSON(in[n], v) {
				return false
			}
			n++
		}
		return n == len(in)
	case '"':
		return keyText(a) == keyText(b)
	}
	return false
}

package postgres

import "bytes"

// maxDimensions is how many PostgreSQL allows.
const maxDimensions = 6

// appendArray appends the JSON of an array such as {1,NULL,"a b"} or {{1,2},{3,4}}, with or
// without bounds, [0:1]={1,2}, which are left out. false: it is none.
func appendArray(dst, text []byte, element kind) ([]byte, bool) {
	if len(text) > 0 && text[0] == '[' {
		_, after, ok := bytes.Cut(text, []byte("="))
		if !ok {
			return dst, false
		}
		text = after
	}
	p := arrayParser{text: text, element: element}
	out, ok := p.list(dst, 1)
	if !ok || p.at != len(text) {
		return dst, false
	}
	return out, true
}

type arrayParser struct {
	text    []byte
	at      int
	element kind
	scratch []byte
}

// next takes a character, if it is the next one.
func (p *arrayParser) next(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *arrayParser) list(dst []byte, depth int) ([]byte, bool) {
	if depth > maxDimensions || !p.next('{') {
		return dst, false
	}
	dst = append(dst, '[')
	if p.next('}') {
		return append(dst, ']'), true
	}
	for {
		var ok bool
		if dst, ok = p.item(dst, depth); !ok {
			return dst, false
		}
		if p.next('}') {
			return append(dst, ']'), true
		}
		if !p.next(',') {
			return dst, false
		}
		dst = append(dst, ',')
	}
}

func (p *arrayParser) item(dst []byte, depth int) ([]byte, bool) {
	if p.at < len(p.text) && p.text[p.at] == '{' {
		return p.list(dst, depth+1)
	}
	quoted := p.next('"')
	p.scratch = p.scratch[:0]
	for ; p.at < len(p.text); p.at++ {
		c := p.text[p.at]
		if quoted && c == '"' {
			p.at++
			return p.element.append(dst, p.scratch), true
		}
		if !quoted && (c == ',' || c == '}') {
			break
		}
		if c == '\\' {
			if p.at++; p.at == len(p.text) {
				return dst, false
			}
			c = p.text[p.at]
		}
		p.scratch = append(p.scratch, c)
	}
	switch {
	case quoted || len(p.scratch) == 0:
		return dst, false
	case string(p.scratch) == "NULL":
		return append(dst, "null"...), true
	}
	return p.element.append(dst, p.scratch), true
}

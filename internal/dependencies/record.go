package main

import "strings"

// record is what docs/dependencies.md says: under each of its headings, the rows
// of the tables there, by the first cell.
type record map[string]map[string]row

// row is a row's further cells.
type row []string

// The headings that have a table.
const (
	inProduct = "In the product"
	inTests   = "In tests only"
	inTools   = "Tools"
	overrides = "Overrides"
	accepted  = "Accepted"
)

func parseRecord(text string) record {
	parsed := record{}
	heading := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			heading = title
		}
		line, ok := strings.CutPrefix(line, "| `") // headers have no backquotes
		if !ok {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(line, "|"), "|")
		for i, cell := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cell), "`")
		}
		if parsed[heading] == nil {
			parsed[heading] = map[string]row{}
		}
		parsed[heading][cells[0]] = cells[1:]
	}
	return parsed
}

// cell returns a row's cell, or nothing where the row is shorter.
func (r row) cell(i int) string {
	if i < len(r) {
		return r[i]
	}
	return ""
}

// accepts reports whether a module or a finding is recorded as one to live with.
func (r record) accepts(what string) bool {
	_, ok := r[accepted][what]
	return ok
}

package config

import (
	"slices"
	"strings"
)

// nearest gives the one of names that takes the fewest edits to make of text
// (Levenshtein's distance); of several the first by name.
func nearest(text string, names []string) string {
	slices.Sort(names)
	best, least := "", 0
	for _, name := range names {
		if d := distance(text, name); best == "" || d < least {
			best, least = name, d
		}
	}
	return best
}

func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

func sortErrors(errs []error) {
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
}

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// allowedLicences ask for no more than that they are quoted, or that changed
// files of theirs stay open.
var allowedLicences = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0", "Unlicense"}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([.-].*)?$`)

// licencesOf returns the licences that the files at a module's root grant, in
// order; none where none is recognized.
func licencesOf(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		if entry.IsDir() || !licenceFile.MatchString(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		found = append(found, recognizeLicences(string(text))...)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// licencePhrases are words that one licence has and no other.
var licencePhrases = []struct{ phrase, licence string }{
	{"apache license version 2.0", "Apache-2.0"},
	{"apache license, version 2.0", "Apache-2.0"},
	{"permission is hereby granted, free of charge, to any person obtaining a copy", "MIT"},
	{"permission to use, copy, modify, and/or distribute this software for any purpose", "ISC"},
	{"permission to use, copy, modify, and distribute this software for any purpose", "ISC"},
	{"mozilla public license version 2.0", "MPL-2.0"},
	{"mozilla public license, version 2.0", "MPL-2.0"},
	{"this is free and unencumbered software released into the public domain", "Unlicense"},
	{"cc0 1.0 universal", "CC0-1.0"},
	{"gnu general public license", "GPL"},
	{"gnu lesser general public license", "LGPL"},
	{"gnu affero general public license", "AGPL"},
	{"business source license", "BUSL"},
	{"server side public license", "SSPL"},
	{"elastic license", "Elastic"},
	{"community license agreement", "community licence"},
	{"commons clause", "Commons Clause"},
}

func recognizeLicences(text string) []string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	var found []string
	for _, known := range licencePhrases {
		if strings.Contains(text, known.phrase) {
			found = append(found, known.licence)
		}
	}
	if _, terms, ok := strings.Cut(text, "redistribution and use in source and binary forms"); ok {
		if strings.Contains(terms, "neither the name") || strings.Contains(terms, "may not be used to endorse") {
			found = append(found, "BSD-3-Clause")
		} else {
			found = append(found, "BSD-2-Clause")
		}
	}
	if slices.Contains(found, "MPL-2.0") { // whose text speaks of the GNU licences
		found = slices.DeleteFunc(found, func(licence string) bool { return strings.HasSuffix(licence, "GPL") })
	}
	if strings.Contains(text, "eclipse public license v2.0 and eclipse distribution license v1.0") { // one may choose
		return []string{"BSD-3-Clause"}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// allowed reports whether all the licences are, and there is one at all.
func allowed(licences []string) bool {
	for _, licence := range licences {
		if !slices.Contains(allowedLicences, licence) {
			return false
		}
	}
	return len(licences) > 0
}

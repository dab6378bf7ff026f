package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRecognizeLicences_KnowsThemByTheirWords(t *testing.T) {
	for text, want := range map[string][]string{
		"Apache License\n   Version 2.0, January 2004":                                                                   {"Apache-2.0"},
		"Permission is hereby granted, free of charge,\nto any person obtaining a copy":                                  {"MIT"},
		"Redistribution and use in source and binary forms ... Neither the name of Google":                               {"BSD-3-Clause"},
		"Redistribution and use in source and binary forms, with or without":                                             {"BSD-2-Clause"},
		"Permission to use, copy, modify, and distribute this software for any purpose":                                  {"ISC"},
		"Mozilla Public License Version 2.0 ... the GNU General Public License, Version 2.0":                             {"MPL-2.0"},
		"terms of the Eclipse Public License v2.0\nand Eclipse Distribution License v1.0 ... GNU General Public License": {"BSD-3-Clause"},
		"GNU GENERAL PUBLIC LICENSE Version 3":                                                                           {"GPL"},
		"Apache License Version 2.0 ... Permission is hereby granted, free of charge, to any person obtaining a copy":    {"Apache-2.0", "MIT"},
		"All rights reserved.": nil,
	} {
		if got := recognizeLicences(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	for want, licences := range map[bool][]string{true: {"Apache-2.0", "MIT"}, false: {"Apache-2.0", "GPL"}} {
		if allowed(licences) != want {
			t.Errorf("%q: allowed is %v", licences, !want)
		}
	}
	if allowed(nil) {
		t.Error("what has no licence is allowed")
	}
}

const someRecord = `
## In the product

| module | licence | why |
|---|---|---|
| ` + "`example.com/known`" + ` | MIT | because |
| ` + "`example.com/unused`" + ` | MIT | because |
| ` + "`example.com/other`" + ` | ISC | because |

## Accepted

| what | why |
|---|---|
| ` + "`GO-2026-0001`" + ` | harmless |
`

func TestReview_ComparesImportsWithTheRecord(t *testing.T) {
	folder := t.TempDir()
	licence := "Permission is hereby granted, free of charge, to any person obtaining a copy"
	if err := os.WriteFile(filepath.Join(folder, "LICENCE.md"), []byte(licence), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &reviewer{record: parseRecord(someRecord)}
	r.reviewDirect(inProduct, map[string]*module{
		"example.com/known": {Dir: folder},
		"example.com/new":   {Dir: folder},
		"example.com/other": {Dir: folder},
	})
	want := []string{
		`example.com/new is imported, and not on record under "In the product"`,
		`example.com/other: the licence is "MIT", and on record "ISC"`,
		`example.com/unused is on record under "In the product", and not imported there`,
	}
	if !slices.Equal(r.wrong, want) {
		t.Errorf("got %q, want %q", r.wrong, want)
	}
}

// What govulncheck prints, cut down to what is read.
const findings = `
{"config": {"go_version": "go1.26.8"}}
{"osv": {"id": "GO-2026-0001", "summary": "one"}}
{"finding": {"osv": "GO-2026-0001", "fixed_version": "v1.2.0", "trace": [{"module": "example.com/a", "version": "v1.1.0"}]}}
{"finding": {"osv": "GO-2026-0001", "fixed_version": "v1.2.0", "trace": [{"module": "example.com/a", "version": "v1.1.0", "package": "example.com/a", "function": "F"}, {"module": "m", "position": {"filename": "main.go", "line": 7}}]}}
{"finding": {"osv": "GO-2026-0002", "trace": [{"module": "example.com/b", "version": "v1.0.0", "package": "example.com/b"}]}}
{"finding": {"osv": "GO-2026-0003", "fixed_version": "v1.26.9", "trace": [{"module": "stdlib", "version": "v1.26.8", "package": "os", "function": "Open"}]}}
{"finding": {"osv": "GO-2026-0004", "fixed_version": "v1.26.10", "trace": [{"module": "stdlib", "version": "v1.26.8", "package": "os", "function": "Open"}]}}
`

func TestReport_BlamesOnlyWhatIsCalledAndNotAccepted(t *testing.T) {
	messages, err := decodeAll[message]([]byte(findings))
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	if bad := report(record{}, ".", messages, &told); bad != 1 {
		t.Errorf("%d are bad, want 1", bad)
	}
	for _, want := range []string{
		"CALLED: GO-2026-0001 in example.com/a v1.1.0, fixed in v1.2.0, called from main.go:7 (one)",
		"not called: GO-2026-0002 in example.com/b v1.0.0",
		"building with go1.26.10: GO-2026-0003 GO-2026-0004",
		"1 called, 1 imported, 0 only required",
	} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, told.String())
		}
	}
	if bad := report(parseRecord(someRecord), ".", messages, &told); bad != 0 {
		t.Errorf("%d are bad although accepted", bad)
	}
}

func TestLayOutDatabase_IndexesEntriesByModule(t *testing.T) {
	entries, folder := t.TempDir(), t.TempDir()
	entry := `{"id": "GO-2026-0001", "modified": "2026-01-02T03:04:05Z", "affected": [
		{"package": {"name": "example.com/a"}}, {"package": {"name": "example.com/a"}}, {"package": {"name": "stdlib"}}]}`
	if err := os.WriteFile(filepath.Join(entries, "GO-2026-0001.json"), []byte(entry), 0o600); err != nil {
		t.Fatal(err)
	}
	modified, err := pseudoVersionTime("/cache/golang.org/x/vulndb@v0.0.0-20261105234957-e22db6528018")
	if err != nil || !modified.Equal(time.Date(2026, 11, 5, 23, 49, 57, 0, time.UTC)) {
		t.Fatalf("got %v, %v", modified, err)
	}
	if _, err := layOutDatabase(entries, folder, modified); err != nil {
		t.Fatal(err)
	}
	const meta = `{"id":"GO-2026-0001","modified":"2026-01-02T03:04:05Z"}`
	for file, want := range map[string]string{
		"index/db.json":        `{"modified":"2026-11-05T23:49:57Z"}`,
		"index/vulns.json":     `[` + meta + `]`,
		"index/modules.json":   `[{"path":"example.com/a","vulns":[` + meta + `]},{"path":"stdlib","vulns":[` + meta + `]}]`,
		"ID/GO-2026-0001.json": entry,
	} {
		if got, err := os.ReadFile(filepath.Join(folder, file)); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v; want %s", file, got, err, want)
		}
	}
}

// A program that uses the Go client depends on gRPC and protobuf, and on nothing of the
// server's: why the client needs no module of its own.
func TestGoClient_BringsGRPCAndProtobufOnly(t *testing.T) {
	text, err := goCommand("../..", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./clients/go/...")
	if err != nil {
		t.Fatal(err)
	}
	found := slices.Compact(slices.Sorted(strings.FieldsSeq(string(text))))
	want := []string{
		"github.com/grpc-ecosystem/grpc-gateway/v2", // of the generated package
		"github.com/watchroute/watchroute",
		"golang.org/x/net", "golang.org/x/sys", "golang.org/x/text",
		"google.golang.org/genproto/googleapis/api", "google.golang.org/genproto/googleapis/rpc",
		"google.golang.org/grpc", "google.golang.org/protobuf",
	}
	if !slices.Equal(found, want) {
		t.Errorf("got %q, want %q", found, want)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// npmLock is what the review needs of a package-lock.json.
type npmLock struct {
	Packages map[string]struct {
		License    string
		Deprecated string
		Link       bool // to a folder of this repository
	}
}

// npmAudit is what `npm audit --json` answers, or why it cannot.
type npmAudit struct {
	Message         string
	AuditReport     int `json:"auditReportVersion"`
	Vulnerabilities map[string]struct{ Severity string }
}

// reviewNPM looks at the licences in each lock file, and asks the registry for
// advisories.
func (r *reviewer) reviewNPM() error {
	files, err := filepath.Glob("*/*/package-lock.json")
	if err != nil {
		return err
	}
	unreachable := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var lock npmLock
		if err := json.Unmarshal(text, &lock); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, path := range sorted(lock.Packages) {
			name := strings.TrimPrefix(path, "node_modules/")
			entry := lock.Packages[path]
			if path != "" && !entry.Link && !allowed(spdxLicences(entry.License)) {
				r.blame("%s: the licence %q of %s is not known and allowed", file, entry.License, name)
			}
			if entry.Deprecated != "" && !r.record.accepts(name) {
				r.blame("%s: %s is deprecated: %s", file, name, entry.Deprecated)
			}
		}
		if unreachable != "" {
			continue
		}
		audit, err := auditNPM(filepath.Dir(file))
		if err != nil {
			unreachable = err.Error()
			continue
		}
		for _, name := range sorted(audit.Vulnerabilities) {
			if !r.record.accepts(name) {
				r.blame("%s: npm audit: %s (%s)", file, name, audit.Vulnerabilities[name].Severity)
			}
		}
	}
	if unreachable != "" {
		fmt.Fprintln(r.out, "deps-review: npm audit: skipped, the registry answers no audits:", unreachable)
	}
	return nil
}

func auditNPM(folder string) (npmAudit, error) {
	command := exec.Command("npm", "audit", "--json", "--package-lock-only", "--fetch-retries=0", "--fetch-timeout=15000")
	command.Dir = folder
	out, failure := command.Output() // fails where it finds something, too
	var answer npmAudit
	if err := json.Unmarshal(out, &answer); err != nil {
		if failure != nil {
			err = failure
		}
		return answer, err
	}
	if answer.AuditReport == 0 {
		message, _, _ := strings.Cut(answer.Message, " - ") // behind it stands the address
		return answer, fmt.Errorf("%s", message)
	}
	return answer, nil
}

// spdxLicences returns the licences of an expression; all of them have to be
// allowed, so AND and OR need no telling apart.
func spdxLicences(expression string) []string {
	words := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(expression))
	return slices.DeleteFunc(words, func(word string) bool { return word == "AND" || word == "OR" })
}

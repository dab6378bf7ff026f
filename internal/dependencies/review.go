package main

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

const toolsFile = "proto/tools/go.mod"

// reviewer gathers what is wrong, so that one run tells all of it.
type reviewer struct {
	record record
	out    io.Writer
	wrong  []string
}

func (r *reviewer) blame(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

func review(known record, out io.Writer) error {
	r := &reviewer{record: known, out: out}
	found, err := readDependencies()
	if err != nil {
		return err
	}
	r.reviewDirect(inProduct, found.product)
	r.reviewDirect(inTests, found.tests)
	r.reviewLicences(found.linked)
	for _, step := range []func(*dependencies) error{r.reviewTools, r.reviewOverrides, r.reviewVersions} {
		if err := step(found); err != nil {
			return err
		}
	}
	if err := r.reviewNPM(); err != nil {
		return err
	}
	if len(r.wrong) > 0 {
		return fmt.Errorf("deps-review: %s\ndeps-review: %d to mend, in %s or in the code", strings.Join(r.wrong, "\ndeps-review: "), len(r.wrong), recordFile)
	}
	fmt.Fprintf(out, "deps-review: %d direct modules and %d of tests are on record\n", len(found.product), len(found.tests))
	return nil
}

// reviewDirect compares the modules that are imported with the rows for them.
func (r *reviewer) reviewDirect(heading string, imported map[string]*module) {
	for _, path := range sorted(imported) {
		cells, ok := r.record[heading][path]
		if !ok {
			r.blame("%s is imported, and not on record under %q", path, heading)
			continue
		}
		if cells.cell(1) == "" {
			r.blame("%s: the record does not say why", path)
		}
		licences, err := licencesOf(imported[path].Dir)
		if err != nil {
			r.blame("%s: %v", path, err)
		} else if got := strings.Join(licences, ", "); got != cells.cell(0) {
			r.blame("%s: the licence is %q, and on record %q", path, got, cells.cell(0))
		}
	}
	for _, path := range sorted(r.record[heading]) {
		if imported[path] == nil {
			r.blame("%s is on record under %q, and not imported there", path, heading)
		}
	}
}

func (r *reviewer) reviewLicences(linked map[string]*module) {
	count := map[string]int{}
	for _, path := range sorted(linked) {
		licences, err := licencesOf(linked[path].Dir)
		if err != nil {
			r.blame("%s: %v", path, err)
		} else if !allowed(licences) {
			r.blame("%s is linked, and its licences %q are not all known and allowed", path, licences)
		}
		count[strings.Join(licences, " and ")]++
	}
	var told []string
	for _, licence := range sorted(count) {
		told = append(told, fmt.Sprintf("%d %s", count[licence], licence))
	}
	fmt.Fprintf(r.out, "deps-review: %d modules are linked: %s\n", len(linked), strings.Join(told, ", "))
}

func (r *reviewer) reviewTools(*dependencies) error {
	recorded := sorted(r.record[inTools])
	used := map[string]bool{}
	for _, file := range []string{"go.mod", "e2e/go.mod", toolsFile} {
		mod, err := readGoMod(file)
		if err != nil {
			return err
		}
		for _, tool := range mod.Tool {
			at := slices.IndexFunc(recorded, func(path string) bool { return within(tool.Path, path) })
			if at < 0 {
				r.blame("%s: the tool %s is not on record under %q", file, tool.Path, inTools)
				continue
			}
			used[recorded[at]] = true
		}
	}
	for _, path := range recorded {
		if !used[path] && path != databaseModule {
			r.blame("%s is on record under %q, and no go.mod has it", path, inTools)
		}
	}
	return nil
}

// reviewOverrides looks at each version that is ours and not a dependency's
// wish: replaced, excluded, or raised without being imported.
func (r *reviewer) reviewOverrides(found *dependencies) error {
	ours := map[string]string{}
	files, err := filepath.Glob("e2e/*/go.mod")
	if err != nil {
		return err
	}
	for _, file := range append(files, "go.mod", "e2e/go.mod", toolsFile) {
		mod, err := readGoMod(file)
		if err != nil {
			return err
		}
		for _, replaced := range mod.Replace {
			if strings.HasPrefix(replaced.New.Path, "..") && within(mod.Module.Path, replaced.Old.Path) {
				continue // a module within this repository sees it as it lies there
			}
			ours[replaced.Old.Path] = strings.TrimSpace(replaced.New.Path + " " + replaced.New.Version)
		}
		for _, excluded := range mod.Exclude {
			ours[excluded.Path] = "not " + excluded.Version
		}
		if file != "go.mod" {
			continue
		}
		up, err := raised(mod)
		if err != nil {
			return err
		}
		tools := r.record[inTools]
		for path, version := range up {
			_, isTool := tools[path]
			if found.product[path] == nil && found.tests[path] == nil && !isTool {
				ours[path] = version
			}
		}
	}
	for _, path := range sorted(ours) {
		if on := r.record[overrides][path].cell(0); on != ours[path] {
			r.blame("%s is overridden with %q, and on record under %q with %q", path, ours[path], overrides, on)
		} else if r.record[overrides][path].cell(1) == "" {
			r.blame("%s is overridden, and the record does not say why", path)
		}
	}
	for _, path := range sorted(r.record[overrides]) {
		if ours[path] == "" {
			r.blame("%s is on record under %q, and nothing overrides it", path, overrides)
		}
	}
	return nil
}

// reviewVersions asks the module proxy what has become of the versions in use.
func (r *reviewer) reviewVersions(found *dependencies) error {
	mod, err := readGoMod("go.mod")
	if err != nil {
		return err
	}
	var used []string
	for _, m := range mod.Require {
		used = append(used, m.Path)
	}
	// -u keeps silent where it reaches nothing; this does not.
	if _, err := goCommand(".", "list", "-m", "-versions", used[0]); err != nil {
		fmt.Fprintln(r.out, "deps-review: retracted and deprecated: skipped, the module proxy cannot be asked:", err)
		return nil
	}
	out, err := goCommand(".", append([]string{"list", "-e", "-m", "-u", "-retracted", "-json"}, used...)...)
	if err != nil {
		return err
	}
	modules, err := decodeAll[module](out)
	if err != nil {
		return err
	}
	var newer []string
	for _, m := range modules {
		if m.Error != nil {
			fmt.Fprintf(r.out, "deps-review: retracted and deprecated: skipped for %s: %s\n", m.Path, m.Error.Err)
			continue
		}
		if m.Deprecated != "" && !r.record.accepts(m.Path) {
			r.blame("%s is deprecated: %s", m.Path, m.Deprecated)
		}
		if len(m.Retracted) > 0 && !r.record.accepts(m.Path) {
			r.blame("%s %s is retracted: %s", m.Path, m.Version, strings.Join(m.Retracted, "; "))
		}
		if m.Update != nil && (found.product[m.Path] != nil || found.tests[m.Path] != nil) {
			newer = append(newer, m.Path+" "+m.Update.Version)
		}
	}
	if len(newer) > 0 {
		fmt.Fprintf(r.out, "deps-review: newer versions of direct modules: %s\n", strings.Join(newer, ", "))
	}
	return nil
}

// within reports whether a path is another or lies below it.
func within(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func sorted[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

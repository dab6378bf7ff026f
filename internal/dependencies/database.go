package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// databaseModule is the repository of the Go vulnerability database. It is a Go
// module, so that the module proxy has the database where its own host cannot be
// reached.
const databaseModule = "golang.org/x/vulndb"

// advisory is what the index needs of one entry, in the OSV format.
type advisory struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Aliases  []string  `json:"aliases,omitempty"`
	Affected []struct {
		Package struct{ Name string }
	} `json:"affected,omitempty"`
}

// database is a folder as govulncheck reads it, documented at
// go.dev/security/vuln/database.
type database struct {
	folder   string
	modified time.Time
	entries  int
}

// findDatabase lays out the newest database that can be had in a new folder.
func findDatabase(folder string) (*database, error) {
	source, err := databaseSource()
	if err != nil {
		return nil, err
	}
	modified, err := pseudoVersionTime(source)
	if err != nil {
		return nil, err
	}
	return layOutDatabase(filepath.Join(source, "data", "osv"), folder, modified)
}

// databaseSource returns where the module lies: the one of the last day, or the
// newest of the proxy, or else the newest that was once downloaded.
func databaseSource() (string, error) {
	cache, err := goCommand(".", "env", "GOMODCACHE")
	if err != nil {
		return "", err
	}
	kept, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(cache)), databaseModule+"@*"))
	if err != nil {
		return "", err
	}
	newest := ""
	if len(kept) > 0 {
		newest = slices.Max(kept) // the versions begin with the time
		if at, err := pseudoVersionTime(newest); err == nil && time.Since(at) < 24*time.Hour {
			return newest, nil
		}
	}
	// Outside of any module, whose go.sum this must not touch.
	out, err := goCommand(os.TempDir(), "mod", "download", "-json", databaseModule+"@latest")
	var downloaded struct{ Dir, Error string }
	if json.Unmarshal(out, &downloaded) == nil && downloaded.Error != "" {
		err = errors.New(downloaded.Error)
	}
	switch {
	case err == nil && downloaded.Dir != "":
		return downloaded.Dir, nil
	case newest != "":
		return newest, nil
	}
	return "", cmp.Or(err, errors.New("go mod download names no folder"))
}

// pseudoVersionTime returns the time in module@v0.0.0-20060102150405-commit.
func pseudoVersionTime(module string) (time.Time, error) {
	parts := strings.Split(filepath.Base(module), "-")
	if len(parts) != 3 {
		return time.Time{}, fmt.Errorf("%s has no pseudo-version", filepath.Base(module))
	}
	return time.Parse("20060102150405", parts[1])
}

func layOutDatabase(entries, folder string, modified time.Time) (*database, error) {
	files, err := filepath.Glob(filepath.Join(entries, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no entries", databaseModule)
	}
	type moduleIndex struct {
		Path  string     `json:"path"`
		Vulns []advisory `json:"vulns"`
	}
	var all []advisory
	modules := map[string]*moduleIndex{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var entry advisory
		if err := json.Unmarshal(text, &entry); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		for _, affected := range entry.Affected {
			path := affected.Package.Name
			if modules[path] == nil {
				modules[path] = &moduleIndex{Path: path}
			}
			index := modules[path]
			if n := len(index.Vulns); n == 0 || index.Vulns[n-1].ID != entry.ID {
				index.Vulns = append(index.Vulns, advisory{ID: entry.ID, Modified: entry.Modified})
			}
		}
		entry.Affected = nil
		all = append(all, entry)
	}
	if err := os.Mkdir(filepath.Join(folder, "index"), 0o755); err != nil {
		return nil, err
	}
	byModule := make([]*moduleIndex, 0, len(modules))
	for _, path := range sorted(modules) {
		byModule = append(byModule, modules[path])
	}
	for name, content := range map[string]any{
		"db":      map[string]time.Time{"modified": modified},
		"vulns":   all,
		"modules": byModule,
	} {
		text, err := json.Marshal(content)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(folder, "index", name+".json"), text, 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.Symlink(entries, filepath.Join(folder, "ID")); err != nil {
		return nil, err
	}
	return &database{folder, modified, len(all)}, nil
}

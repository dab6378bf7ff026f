package proto

import (
	"embed"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Files are the texts of proto files by the path that imports name, such as
// watchroute/v1/options.proto.
type Files map[string][]byte

//go:embed watchroute/v1/*.proto
var own embed.FS

// Imports gives all that a contract may import: watchroute/v1 with its comments,
// and what [Google] gives.
func Imports() (Files, error) {
	files, err := Google()
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(own, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[path], err = own.ReadFile(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}

// Write puts the files below a folder, which need not exist. It replaces what is
// there; an error may leave some of them written.
func Write(folder string, files Files) error {
	for _, path := range slices.Sorted(maps.Keys(files)) {
		path, text := filepath.Join(folder, filepath.FromSlash(path)), files[path]
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

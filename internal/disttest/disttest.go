// Package disttest checks that pages which are committed as they were built are what their
// sources build.
package disttest

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Check compares the folder dist of the package under test with what its build.mjs
// builds. `again` is the command that builds it anew.
func Check(t *testing.T, again string) {
	t.Helper()
	fresh := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "node", "build.mjs", fresh).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	names := map[string]bool{}
	for _, root := range []fs.FS{os.DirFS(fresh), os.DirFS("dist")} {
		entries, err := fs.ReadDir(root, ".")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names[e.Name()] = true
		}
	}
	for name := range names {
		built, _ := os.ReadFile(filepath.Join(fresh, name))
		committed, _ := os.ReadFile(filepath.Join("dist", name))
		if !bytes.Equal(built, committed) {
			t.Errorf("dist/%s differs from what the sources build; run %s", name, again)
		}
	}
}
